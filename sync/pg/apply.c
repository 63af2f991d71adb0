/* One transaction over several feeds: compare-and-swap of the checkpoints, the rows, commit. */
#include "sync/pg/apply.h"

#include <stdlib.h>

static const char pg_attach_sql[] = "insert into forebay.checkpoint (cluster, part, ns)"
                                    " select $1::uuid, u.part, u.ns from unnest($2::int4[], "
                                    "$3::text[]) u(part, ns) order by u.ns, u.part"
                                    " on conflict do nothing";

/* The lock comes first and in one order for everybody; the update then compares what is current. */
static const char pg_compare_sql[] =
    "with u as (select * from unnest($2::int4[], $3::text[], $4::int8[], $5::int8[], $6::int8[], "
    "$7::bool[])"
    " x(part, ns, history, prev, next, consistent)),"
    " locked as materialized (select c.part, c.ns from forebay.checkpoint c"
    " where c.cluster = $1::uuid and (c.ns, c.part) in (select u.ns, u.part from u)"
    " order by c.ns, c.part for update of c)"
    " update forebay.checkpoint c set history = u.history, ver = u.next, consistent = "
    "u.consistent, owner = $8,"
    " at = now(), xid = pg_current_xact_id()"
    " from u join locked l on l.part = u.part and l.ns = u.ns"
    " where c.cluster = $1::uuid and c.part = u.part and c.ns = u.ns and c.history <= u.history "
    "and c.ver = u.prev"
    " returning pg_current_xact_id()::text, " PG_REPLICATED_SQL;

static int feed_compare(const void *a, const void *b)
{
    const struct pg_feed *x = a, *y = b;
    int c = strcmp(x->ns->name, y->ns->name);
    return c != 0 ? c : (x->part > y->part) - (x->part < y->part);
}

static int ref_compare(const void *a, const void *b)
{
    const struct pg_ref *x = a, *y = b;
    size_t n;
    int c;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->set != y->set)
        return x->set < y->set ? -1 : 1;
    if (x->by_length && x->o->id.n != y->o->id.n)
        return x->o->id.n < y->o->id.n ? -1 : 1;
    n = x->o->id.n < y->o->id.n ? x->o->id.n : y->o->id.n;
    c = n == 0 ? 0 : memcmp(x->o->id.p, y->o->id.p, n);
    return c != 0 ? c : (x->o->id.n > y->o->id.n) - (x->o->id.n < y->o->id.n);
}

static void plan_fini(struct pg_plan *plan)
{
    free(plan->refs);
    free(plan->sets);
    free(plan->ops);
}

/* The statements of the refs of one namespace. */
static void plan_ops(struct pg_plan *plan, const struct pg_feed *feed, struct pg_ref *refs,
                     size_t count)
{
    size_t bytes = 0;
    struct pg_op *op = NULL;
    qsort(refs, count, sizeof(*refs), ref_compare);
    for (size_t i = 0; i < count; i++) {
        size_t n = refs[i].o->id.n + refs[i].o->value.n * 2 + 64;
        if (op == NULL || op->kind != refs[i].kind || op->refs[0].set != refs[i].set ||
            bytes + n > PG_STATEMENT_BYTES_MAX) {
            if (plan->op_count == plan->op_cap) {
                plan->op_cap = plan->op_cap == 0 ? 16 : plan->op_cap * 2;
                plan->ops = fb_xrealloc(plan->ops, plan->op_cap * sizeof(*plan->ops));
            }
            op = &plan->ops[plan->op_count++];
            *op = (struct pg_op){.kind = refs[i].kind, .feed = feed, .refs = &refs[i]};
            bytes = 0;
        }
        op->count++;
        bytes += n;
    }
}

static enum pg_class plan_init(struct pg_plan *plan, struct pg_batch *b, struct pg_error *err)
{
    size_t total = 0, from = 0;
    *plan = (struct pg_plan){0};
    for (size_t i = 0; i < b->feed_count; i++)
        total += b->feeds[i].count;
    plan->refs = fb_xcalloc(total + 1, sizeof(*plan->refs));
    for (uint32_t i = 0; i < b->feed_count; i++) {
        const struct pg_feed *f = &b->feeds[i];
        for (uint32_t k = 0; k < f->count; k++) {
            struct pg_ref *r = &plan->refs[plan->ref_count];
            bool skip = (f->objects[k].flags & FB_OBJECT_PARKED) != 0;
            *r = (struct pg_ref){.feed = i, .object = k, .o = &f->objects[k]};
            if (skip)
                continue;
            if (f->ns->mapped) {
                enum pg_class c = pg_row_plan(plan, f, r, &skip, err);
                if (c != PG_OK) {
                    err->feed = i;
                    b->feeds[i].blamed = true;
                    return c;
                }
            } else {
                r->kind = r->o->kind == FB_KIND_NONE ? PG_OP_OBJECT_DELETE : PG_OP_OBJECT_PUT;
            }
            plan->ref_count += !skip;
        }
        if (i + 1 == b->feed_count || strcmp(f->ns->name, b->feeds[i + 1].ns->name) != 0) {
            plan_ops(plan, f, plan->refs + from, plan->ref_count - from);
            from = plan->ref_count;
        }
    }
    for (size_t i = 0; i < plan->op_count; i++) /* now that the array of sets no longer moves */
        plan->ops[i].set = plan->set_count == 0 ? NULL : &plan->sets[plan->ops[i].refs[0].set];
    pg_plan_order(plan);
    return PG_OK;
}

void pg_args_feeds(struct pg_args *a, const uint8_t cluster[16], const struct pg_feed *feeds,
                   uint32_t n)
{
    char uuid[37];

    pg_args_reset(a);
    pg_format_uuid(cluster, uuid);
    pg_args_text(a, uuid);
    pg_args_array(a, PG_TYPE_INT4, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_u32(a, feeds[i].part);
    pg_args_end(a);
    pg_args_array(a, PG_TYPE_TEXT, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item(a, fb_bytes_str(feeds[i].ns->name));
    pg_args_end(a);
}

void pg_args_histories(struct pg_args *a, const struct pg_feed *feeds, uint32_t n)
{
    pg_args_array(a, PG_TYPE_INT8, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_i64(a, (int64_t)feeds[i].history);
    pg_args_end(a);
}

static void checkpoint_args(const struct pg_batch *b, const uint8_t cluster[16], bool attach,
                            struct pg_args *a)
{
    uint32_t n = (uint32_t)b->feed_count;
    pg_args_feeds(a, cluster, b->feeds, n);
    if (attach)
        return;
    pg_args_histories(a, b->feeds, n);
    pg_args_array(a, PG_TYPE_INT8, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_i64(a, (int64_t)b->feeds[i].prev);
    pg_args_end(a);
    pg_args_array(a, PG_TYPE_INT8, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_i64(a, (int64_t)b->feeds[i].next);
    pg_args_end(a);
    pg_args_array(a, PG_TYPE_BOOL, n);
    for (uint32_t i = 0; i < n; i++)
        pg_item_bool(a, b->feeds[i].consistent);
    pg_args_end(a);
    pg_args_text(a, b->owner == NULL ? "" : b->owner);
}

/* One transaction under way. */
struct pg_txn {
    struct pg *pg;
    struct pg_batch *b;
    struct pg_plan plan;
    struct pg_args args;
    struct fb_buf sql;
    bool attach;
    bool letters, conflicts; /* is there anything that the batch may settle? */
    uint32_t syncs;          /* points of synchronisation sent whose answer was not read */
    struct pg_statement *attach_prepares, *compare_prepares, *open_prepares;
};

static enum pg_class txn_push_checkpoints(struct pg_txn *t, const uint8_t cluster[16],
                                          struct pg_error *err)
{
    struct pg_statement *none;
    enum pg_class c =
        pg_push(t->pg, "begin isolation level read committed", NULL, false, &none, err);
    for (size_t i = 0; i < t->b->feed_count; i++)
        t->attach = t->attach || t->b->feeds[i].prev == 0;
    if (c == PG_OK && t->attach) {
        checkpoint_args(t->b, cluster, true, &t->args);
        c = pg_push(t->pg, pg_attach_sql, &t->args, true, &t->attach_prepares, err);
    }
    if (c == PG_OK) {
        checkpoint_args(t->b, cluster, false, &t->args);
        c = pg_push(t->pg, pg_compare_sql, &t->args, true, &t->compare_prepares, err);
    }
    if (c == PG_OK) {
        pg_settle_open_args(t->b, cluster, &t->args);
        c = pg_push(t->pg, pg_settle_open_sql, &t->args, true, &t->open_prepares, err);
    }
    return c;
}

static enum pg_class txn_push_ops(struct pg_txn *t, struct pg_error *err)
{
    enum pg_class c = PG_OK;
    for (size_t i = 0; i < t->plan.op_count && c == PG_OK; i++) {
        struct pg_op *op = &t->plan.ops[i];
        fb_buf_clear(&t->sql);
        pg_args_reset(&t->args);
        if (op->feed->ns->mapped)
            pg_row_statement(op, &t->sql, &t->args);
        else
            pg_object_statement(op, &t->sql, &t->args);
        c = pg_push(t->pg, pg_cstr(&t->sql), &t->args, true, &op->prepares, err);
    }
    return c;
}

/* A synchronisation, not a mere flush: behind it the session is idle in its transaction, so that
 * the server's timeout ends it should this process stop in the middle. Within a flushed pipeline
 * the session counts as active and its locks would stay for as long as the process is paused. */
static enum pg_class txn_sync(struct pg_txn *t, struct pg_error *err)
{
    if (PQpipelineSync(t->pg->conn)) {
        t->syncs++;
        return PG_OK;
    }
    pg_error_of(t->pg, NULL, err);
    pg_disconnect(t->pg);
    return err->class;
}

/* Read what is left up to the answer of the last synchronisation. */
static enum pg_class txn_synced(struct pg_txn *t, struct pg_error *err)
{
    while (t->syncs > 0) {
        PGresult *res;
        enum pg_class c = pg_wait(t->pg, &res, err);
        if (c != PG_OK)
            return c;
        t->syncs -= res != NULL && PQresultStatus(res) == PGRES_PIPELINE_SYNC;
        PQclear(res);
    }
    return PG_OK;
}

static enum pg_class txn_pull_checkpoints(struct pg_txn *t, struct pg_error *err)
{
    PGresult *res;
    enum pg_class c = pg_pull(t->pg, NULL, &res, err);
    if (c != PG_OK)
        return c;
    PQclear(res);
    if (t->attach) {
        if ((c = pg_pull(t->pg, t->attach_prepares, &res, err)) != PG_OK)
            return c;
        PQclear(res);
    }
    if ((c = pg_pull(t->pg, t->compare_prepares, &res, err)) != PG_OK)
        return c;
    if ((size_t)PQntuples(res) != t->b->feed_count) {
        c = pg_error_set(err, PG_LOST, "", "%d of %zu checkpoints are where they were expected",
                         PQntuples(res), t->b->feed_count);
    } else {
        t->b->xid = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
        t->b->replicated = PQgetvalue(res, 0, 1)[0] == 't'; /* if COMMIT agrees */
    }
    PQclear(res);
    if (c != PG_OK || (c = pg_pull(t->pg, t->open_prepares, &res, err)) != PG_OK)
        return c;
    t->letters = PQgetvalue(res, 0, 0)[0] == 't';
    t->conflicts = PQgetvalue(res, 0, 1)[0] == 't';
    PQclear(res);
    return PG_OK;
}

static void count_rows(struct pg_batch *b, const struct pg_op *op, const PGresult *res)
{
    uint64_t n = strtoull(PQcmdTuples((PGresult *)(uintptr_t)res), NULL, 10);
    switch (op->kind) {
    case PG_OP_OBJECT_DELETE:
    case PG_OP_ROW_DELETE:
        b->rows_deleted += n;
        break;
    case PG_OP_ROW_INSERT:
        b->rows_inserted += n;
        break;
    default:
        b->rows_updated += n;
    }
}

/* A statement writes rows of many feeds, and its error does not say of which. */
static void blame(struct pg_txn *t, const struct pg_op *op, struct pg_error *err)
{
    err->feed = op->refs[0].feed;
    for (uint32_t i = 0; i < op->count; i++)
        t->b->feeds[op->refs[i].feed].blamed = true;
}

static enum pg_class txn_pull_ops(struct pg_txn *t, struct pg_error *err)
{
    for (size_t i = 0; i < t->plan.op_count; i++) {
        struct pg_op *op = &t->plan.ops[i];
        PGresult *res;
        enum pg_class c = pg_pull(t->pg, op->prepares, &res, err);
        if (c != PG_OK) {
            blame(t, op, err);
            return c;
        }
        count_rows(t->b, op, res);
        if (op->feed->ns->mapped)
            pg_row_result(t->b, op, res);
        PQclear(res);
    }
    return PG_OK;
}

/* The statement in t->sql and t->args, alone. */
static enum pg_class txn_ask(struct pg_txn *t, PGresult **res, struct pg_error *err)
{
    struct pg_statement *prepares;
    enum pg_class c = pg_push(t->pg, pg_cstr(&t->sql), &t->args, true, &prepares, err);
    if (c == PG_OK)
        c = txn_sync(t, err);
    if (c == PG_OK)
        c = pg_pull(t->pg, prepares, res, err);
    if (c != PG_OK)
        return c;
    c = txn_synced(t, err);
    if (c != PG_OK)
        PQclear(*res);
    return c;
}

/* What the rows are that an operation did not reach. */
static enum pg_class txn_read(struct pg_txn *t, struct pg_op *op, struct pg_error *err)
{
    PGresult *res;
    enum pg_class c;
    fb_buf_clear(&t->sql);
    pg_args_reset(&t->args);
    pg_row_read_statement(op, &t->sql, &t->args);
    c = txn_ask(t, &res, err);
    if (c != PG_OK)
        return c;
    c = pg_row_read_result(t->b, op, res, err);
    PQclear(res);
    return c;
}

static enum pg_class txn_insert_again(struct pg_txn *t, struct pg_op *op, struct pg_error *err)
{
    PGresult *res;
    enum pg_class c;
    fb_buf_clear(&t->sql);
    pg_args_reset(&t->args);
    pg_row_statement(op, &t->sql, &t->args);
    c = txn_ask(t, &res, err);
    if (c != PG_OK)
        return c;
    count_rows(t->b, op, res);
    pg_row_result(t->b, op, res);
    PQclear(res);
    if (!pg_row_missing(op))
        return PG_OK;
    c = txn_read(t, op, err);
    return c == PG_OK && pg_row_missing(op) ? pg_row_not_inserted_again(op, err) : c;
}

/* Rows the statements did not reach: gone (nothing to do for a delete), or changed by somebody
 * else. */
static enum pg_class txn_missing(struct pg_txn *t, struct pg_error *err)
{
    for (size_t i = 0; i < t->plan.op_count; i++) {
        struct pg_op *op = &t->plan.ops[i], rest;
        enum pg_class c;
        if (!op->feed->ns->mapped || !pg_row_missing(op))
            continue;
        c = txn_read(t, op, err);
        if (c == PG_OK) {
            rest = pg_row_not_inserted(op);
            c = rest.count == 0 ? PG_OK : txn_insert_again(t, &rest, err);
        }
        if (c != PG_OK) {
            blame(t, op, err);
            return c;
        }
    }
    if (t->b->conflict_count > 0)
        return pg_error_set(err, PG_CONFLICT, "", "%zu rows were changed by somebody else",
                            t->b->conflict_count);
    return PG_OK;
}

/* Are the letters there of what was parked before, and is passed now? */
static enum pg_class txn_letters(struct pg_txn *t, const uint8_t cluster[16], struct pg_error *err)
{
    PGresult *res;
    enum pg_class c;
    fb_buf_clear(&t->sql);
    if (!pg_letters_missing_statement(t->b, cluster, &t->sql, &t->args))
        return PG_OK;
    c = txn_ask(t, &res, err);
    if (c != PG_OK)
        return c;
    pg_letters_missing_result(t->b, res);
    PQclear(res);
    if (t->b->conflict_count > 0)
        return pg_error_set(err, PG_NO_LETTER, "", "%zu parked objects have no dead letter",
                            t->b->conflict_count);
    return PG_OK;
}

static enum pg_class txn_settle(struct pg_txn *t, const uint8_t cluster[16], struct pg_error *err)
{
    const bool wanted[PG_SETTLE_COUNT] = {
        [PG_SETTLE_LETTERS] = t->letters, [PG_SETTLE_CONFLICTS] = t->conflicts};
    for (int what = 0; what < PG_SETTLE_COUNT; what++) {
        PGresult *res;
        enum pg_class c;
        fb_buf_clear(&t->sql);
        if (!wanted[what] ||
            !pg_settle_statement((enum pg_settle)what, t->b, cluster, &t->sql, &t->args))
            continue;
        c = txn_ask(t, &res, err);
        if (c != PG_OK)
            return c;
        PQclear(res);
    }
    return PG_OK;
}

/* Read everything and leave the mode. */
static enum pg_class txn_leave(struct pg_txn *t, struct pg_error *err)
{
    enum pg_class c = txn_sync(t, err);
    if (c == PG_OK)
        c = txn_synced(t, err);
    if (c == PG_OK)
        PQexitPipelineMode(t->pg->conn);
    return c;
}

static void txn_rollback(struct pg_txn *t)
{
    struct pg_error ignored;
    if (t->pg->conn == NULL)
        return;
    if (txn_leave(t, &ignored) != PG_OK || pg_script(t->pg, "rollback", &ignored) != PG_OK)
        pg_disconnect(t->pg);
    pg_statements_drop_unready(t->pg);
}

static enum pg_class txn_commit(struct pg_txn *t, struct pg_error *err)
{
    struct pg_statement *none;
    PGresult *res = NULL;
    struct pg_error leave;
    enum pg_class c = pg_push(t->pg, "commit", NULL, false, &none, err);
    t->pg->warned = false;
    if (c == PG_OK && !PQpipelineSync(t->pg->conn)) {
        pg_error_of(t->pg, NULL, err);
        pg_disconnect(t->pg);
        c = PG_OUTAGE;
    }
    if (c == PG_OK)
        c = pg_pull(t->pg, NULL, &res, err);
    if (c == PG_OK && strcmp(PQcmdStatus(res), "COMMIT") != 0)
        c = pg_error_set(err, PG_RETRY, "", "PostgreSQL answered COMMIT with %s", PQcmdStatus(res));
    PQclear(res);
    if (t->pg->conn == NULL || c == PG_OUTAGE) { /* also what only looks like one, as a full disk */
        pg_disconnect(t->pg);
        return err->class = PG_UNKNOWN;
    }
    /* A warning at COMMIT is most often "canceling wait for synchronous replication", whose text
     * depends on the server's language and which has no SQLSTATE of its own: any warning counts. */
    t->b->sync_cancelled = t->pg->warned;
    t->b->replicated = t->b->replicated && !t->pg->warned;
    /* The answer to the sync. Losing the line here no longer matters: the outcome is known. */
    if (pg_wait(t->pg, &res, &leave) == PG_OK) {
        PQclear(res);
        if (!PQexitPipelineMode(t->pg->conn))
            pg_disconnect(t->pg);
    }
    return c;
}

enum pg_class pg_apply(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                       struct pg_error *err)
{
    struct pg_txn t = {.pg = pg, .b = b};
    enum pg_class c = pg_begin_call(pg, err);
    bool began = false;
    if (c != PG_OK)
        return c;
    b->conflict_count = b->refresh_count = 0;
    b->rows_updated = b->rows_inserted = b->rows_deleted = 0;
    b->sync_cancelled = b->replicated = false;
    fb_buf_clear(&b->bytes);
    if (b->feed_count == 0)
        return PG_OK;
    c = pg_lock_wait(pg, b->lock_wait_ms, err);
    if (c != PG_OK)
        return c;
    qsort(b->feeds, b->feed_count, sizeof(*b->feeds), feed_compare);
    c = plan_init(&t.plan, b, err);
    if (c == PG_OK) {
        began = PQenterPipelineMode(pg->conn) == 1;
        fb_assert(began);
        c = txn_push_checkpoints(&t, cluster, err);
    }
    if (c == PG_OK)
        c = txn_push_ops(&t, err);
    if (c == PG_OK)
        c = txn_sync(&t, err);
    if (c == PG_OK)
        c = txn_pull_checkpoints(&t, err);
    if (c == PG_OK)
        c = txn_pull_ops(&t, err);
    if (c == PG_OK)
        c = txn_synced(&t, err);
    if (c == PG_OK)
        c = txn_missing(&t, err);
    if (c == PG_OK)
        c = txn_letters(&t, cluster, err);
    if (c == PG_OK)
        c = txn_settle(&t, cluster, err);
    if (c == PG_OK) {
        c = txn_commit(&t, err);
    } else if (began) {
        txn_rollback(&t);
        c = pg_reclassify(pg, err);
    }
    if (c != PG_OK)
        b->refresh_count = 0;
    plan_fini(&t.plan);
    pg_args_fini(&t.args);
    fb_buf_fini(&t.sql);
    return c;
}

void pg_batch_fini(struct pg_batch *b)
{
    free(b->conflicts);
    free(b->refreshes);
    fb_buf_fini(&b->bytes);
    b->conflicts = b->refreshes = NULL;
    b->conflict_count = b->refresh_count = 0;
}
