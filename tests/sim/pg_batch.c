/* pg_apply and pg_barrier of sync/pg/pg.h on the model: the same statements in the same order as
 * sync/pg/apply.c, and the same classes for what comes of them. */
#include "tests/sim/pg_apply.h"

#include <stdlib.h>

static int feed_compare(const void *a, const void *b)
{
    const struct pg_feed *x = a, *y = b;
    int c = strcmp(x->ns->name, y->ns->name);
    return c != 0 ? c : (x->part > y->part) - (x->part < y->part);
}

/* Kind of statement of an object; false: *err says why not. *skip: none. */
static bool kind_of(const struct pg_feed *f, const struct fb_feed_object *o, enum pg_op *kind,
                    bool *skip, struct pg_error *err)
{
    *skip = (o->flags & FB_OBJECT_PARKED) != 0;
    if (*skip)
        return true;
    if (!f->ns->mapped) {
        *kind = o->kind == FB_KIND_NONE ? PG_DO_DELETE : PG_DO_PUT;
        return true;
    }
    if (f->schema == NULL || f->schema->problem[0] != '\0') {
        (void)pg_client_fail(err, PG_NAMESPACE, "42P01", "the table is not known");
        return false;
    }
    if (o->kind == FB_KIND_NONE) {
        *kind = PG_DO_DELETE;
        *skip = f->ns->on_delete == FB_ON_DELETE_REFUSE && (o->flags & FB_OBJECT_HAS_BASE) == 0;
        if (f->ns->on_delete != FB_ON_DELETE_REFUSE || *skip)
            return true;
        (void)pg_client_fail(err, PG_ROW, "22000", "rows are not deleted: on_delete = refuse");
        return false;
    }
    if (o->kind != (f->ns->value == FB_VALUE_COLUMN ? FB_KIND_STRING : FB_KIND_HASH)) {
        (void)pg_client_fail(err, PG_ROW, "22000", "a value of the wrong kind");
        return false;
    }
    *kind = (o->flags & FB_OBJECT_BLIND) != 0      ? PG_DO_PUT
            : (o->flags & FB_OBJECT_HAS_BASE) != 0 ? PG_DO_UPDATE
                                                   : PG_DO_INSERT;
    *skip = *kind == PG_DO_UPDATE && f->ns->value != FB_VALUE_COLUMN && o->changed == 0;
    return true;
}

static int ref_compare(const void *x, const void *y)
{
    const struct pg_ref *a = x, *b = y;
    bool ad = a->kind == PG_DO_DELETE, bd = b->kind == PG_DO_DELETE;
    if (ad != bd)
        return ad ? -1 : 1;
    if (a->depth != b->depth)
        return (a->depth < b->depth) == ad ? 1 : -1;
    return (a->number > b->number) - (a->number < b->number);
}

static int by_kind(const void *x, const void *y)
{
    const struct pg_ref *a = x, *b = y;
    if (a->number != b->number) /* of the namespace */
        return a->number < b->number ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->feed != b->feed)
        return a->feed < b->feed ? -1 : 1;
    return (a->object > b->object) - (a->object < b->object);
}

/* Parents before children, deletes the other way round. */
static void order(struct pg_apply_call *a)
{
    bool family = false;
    qsort(a->refs, a->ref_n, sizeof *a->refs, by_kind);
    for (size_t i = 0; i < a->ref_n; i++) {
        struct pg_ref *r = &a->refs[i];
        bool parent = false;
        for (size_t f = 0; f < a->b.feed_count; f++)
            parent = parent || strcmp(a->b.feeds[f].ns->table_name, "team") == 0;
        r->depth = parent && strcmp(a->b.feeds[r->feed].ns->table_name, "member") == 0;
        family = family || r->depth > 0;
        r->number = (uint32_t)i;
    }
    if (family)
        qsort(a->refs, a->ref_n, sizeof *a->refs, ref_compare);
}

static void copy_objects(struct pg_apply_call *a, const struct pg_batch *b)
{
    size_t bytes = 0;
    a->b.feeds = fb_xcalloc(b->feed_count, sizeof *a->b.feeds);
    a->b.feed_count = b->feed_count;
    a->b.lock_wait_ms = b->lock_wait_ms;
    a->ns = fb_xcalloc(b->feed_count, sizeof *a->ns);
    a->objects = fb_xcalloc(b->feed_count, sizeof(void *));
    for (size_t i = 0; i < b->feed_count; i++)
        for (size_t k = 0; k < b->feeds[i].count; k++)
            bytes += b->feeds[i].objects[k].id.n + b->feeds[i].objects[k].value.n;
    (void)fb_buf_reserve(&a->bytes, bytes + 1);
    for (size_t i = 0; i < b->feed_count; i++) {
        struct pg_feed *f = &a->b.feeds[i];
        bool again = i > 0 && b->feeds[i - 1].ns == b->feeds[i].ns;
        *f = b->feeds[i];
        if (!again)
            a->ns[i] = *b->feeds[i].ns;
        f->ns = again ? a->b.feeds[i - 1].ns : &a->ns[i];
        a->objects[i] = fb_xcalloc(f->count + 1, sizeof **a->objects);
        for (size_t k = 0; k < f->count; k++) {
            struct fb_feed_object *o = &a->objects[i][k];
            *o = b->feeds[i].objects[k];
            fb_buf_put_bytes(&a->bytes, o->id);
            o->id.p = a->bytes.p + a->bytes.n - o->id.n;
            fb_buf_put_bytes(&a->bytes, o->value);
            o->value.p = a->bytes.p + a->bytes.n - o->value.n;
        }
        f->objects = a->objects[i];
    }
}

static void apply_free(struct pg_apply_call *a)
{
    for (size_t i = 0; i < a->b.feed_count; i++)
        free(a->objects[i]);
    free(a->objects);
    free(a->ns);
    free(a->b.feeds);
    free(a->refs);
    fb_buf_fini(&a->bytes);
    pg_batch_fini(&a->b);
    free(a);
}

static enum pg_class plan(struct pg_apply_call *a, struct pg_error *err)
{
    size_t total = 0;
    uint32_t number = 0;
    for (size_t i = 0; i < a->b.feed_count; i++)
        total += a->b.feeds[i].count;
    a->refs = fb_xcalloc(total + 1, sizeof *a->refs);
    for (uint32_t i = 0; i < a->b.feed_count; i++) {
        const struct pg_feed *f = &a->b.feeds[i];
        number += i > 0 && f->ns != a->b.feeds[i - 1].ns;
        for (uint32_t k = 0; k < f->count; k++) {
            struct pg_ref r = {.feed = i, .object = k, .number = number};
            bool skip;
            if (!kind_of(f, &f->objects[k], &r.kind, &skip, err)) {
                err->feed = i;
                return err->class;
            }
            if (!skip)
                a->refs[a->ref_n++] = r;
        }
    }
    order(a);
    return PG_OK;
}

static bool reaches_all(const struct pg_apply_call *a)
{
    for (size_t i = 0; i < a->ref_n; i++)
        if (a->b.feeds[a->refs[i].feed].ns->mapped && !a->refs[i].done)
            return false;
    return true;
}

/* PG_OK: an answer came, a->c.err is it; else the line broke. */
static enum pg_class commit(struct pg *pg, struct pg_apply_call *a, struct pg_error *err)
{
    struct sim *sim = pg_the_model->sim;
    struct pg_commit_call *k = fb_xcalloc(1, sizeof *k);
    struct pg_call *c = &k->c;
    enum pg_class cls;

    if (sim_strikes(sim, SIM_PG, SIM_FAULT_PG_COMMIT, 15000)) {
        if (sim_chance(sim, SIM_PG, 500000)) {
            sim_trace(sim, "%s loses the answer to COMMIT", sim_self()->name);
            pg_call_and_cut(
                pg, c, pg_run_commit,
                sim_spread(sim, SIM_PG, 10 * SIM_US,
                           sim_fault_on(sim, SIM_FAULT_PG_COMMIT_LATE) ? 12 * SIM_S : SIM_S));
        } else {
            sim_trace(sim, "%s: COMMIT does not reach postgres", sim_self()->name);
            pg_disconnect(pg);
        }
        return pg_client_fail(err, PG_UNKNOWN, "", "the connection broke at COMMIT");
    }
    if (pg_call(pg, c, pg_run_commit, err) != PG_OK)
        return err->class = PG_UNKNOWN;
    a->c.err = c->err;
    cls = c->err.class;
    a->b.replicated = k->replicated;
    a->b.sync_cancelled = k->cancelled;
    free(k);
    *err = a->c.err;
    return cls == PG_OUTAGE ? (err->class = PG_UNKNOWN) : cls;
}

static void take_results(struct pg_batch *b, struct pg_apply_call *a)
{
    b->replicated = a->b.replicated;
    b->sync_cancelled = a->b.sync_cancelled;
    b->xid = a->b.xid;
    for (size_t i = 0; i < b->feed_count; i++)
        b->feeds[i].blamed = a->b.feeds[i].blamed;
    b->rows_updated = a->b.rows_updated;
    b->rows_deleted = a->b.rows_deleted;
    free(b->conflicts);
    free(b->refreshes);
    b->conflicts = a->b.conflicts;
    b->conflict_count = a->b.conflict_count;
    b->refreshes = a->b.refreshes;
    b->refresh_count = a->b.refresh_count;
    a->b.conflicts = a->b.refreshes = NULL;
    fb_buf_clear(&b->bytes);
    fb_buf_put_bytes(&b->bytes, fb_buf_view(&a->b.bytes));
}

enum pg_class pg_apply(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                       struct pg_error *err)
{
    struct pg_apply_call *a;
    enum pg_class cls;

    (void)cluster;
    *err = (struct pg_error){.class = PG_OK, .feed = UINT32_MAX};
    if (!pg_connected(pg))
        return pg_client_fail(err, PG_OUTAGE, "", "not connected to PostgreSQL");
    b->conflict_count = b->refresh_count = 0;
    b->rows_updated = b->rows_inserted = b->rows_deleted = 0;
    b->sync_cancelled = b->replicated = false;
    fb_buf_clear(&b->bytes);
    if (b->feed_count == 0)
        return PG_OK;
    qsort(b->feeds, b->feed_count, sizeof *b->feeds, feed_compare);
    a = fb_xcalloc(1, sizeof *a);
    copy_objects(a, b);
    cls = plan(a, err);
    if (cls != PG_OK) {
        b->feeds[err->feed].blamed = true;
        apply_free(a);
        return cls;
    }
    if (pg_call(pg, &a->c, pg_run_apply, err) != PG_OK)
        return err->class; /* the server may still be at it: `a` is its */
    *err = a->c.err;
    if (err->class == PG_OK && !reaches_all(a)) {
        if (pg_call(pg, &a->c, pg_run_missing, err) != PG_OK)
            return err->class;
        *err = a->c.err;
    }
    if (err->class == PG_OK) {
        cls = commit(pg, a, err);
    } else {
        struct pg_error ignored;
        struct pg_call *c = fb_xcalloc(1, sizeof *c);
        if (pg_connected(pg) && pg_call(pg, c, pg_run_rollback, &ignored) == PG_OK)
            free(c);
        cls = err->class;
    }
    take_results(b, a);
    if (cls != PG_OK)
        b->refresh_count = 0;
    apply_free(a);
    return cls;
}

enum pg_class pg_barrier(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                         struct pg_error *err)
{
    struct pg_apply_call *a;
    enum pg_class cls;

    (void)cluster;
    b->sync_cancelled = b->replicated = false;
    if (!pg_connected(pg))
        return pg_client_fail(err, PG_OUTAGE, "", "not connected to PostgreSQL");
    a = fb_xcalloc(1, sizeof *a);
    copy_objects(a, b);
    if (pg_call(pg, &a->c, pg_run_barrier, err) != PG_OK)
        return err->class = PG_UNKNOWN;
    *err = a->c.err;
    cls = err->class == PG_OK ? commit(pg, a, err) : err->class;
    if (cls == PG_OUTAGE)
        cls = err->class = PG_UNKNOWN;
    b->replicated = a->b.replicated;
    b->sync_cancelled = a->b.sync_cancelled;
    apply_free(a);
    return cls;
}

void pg_batch_fini(struct pg_batch *b)
{
    free(b->conflicts);
    free(b->refreshes);
    fb_buf_fini(&b->bytes);
    b->conflicts = b->refreshes = NULL;
    b->conflict_count = b->refresh_count = 0;
}
