/* What came of writing the rows of mapped tables: refreshes, conflicts, refusals. */
#include "sync/pg/apply.h"

#include <stdlib.h>

/* Is the hash `a` the same set of fields as `b`? */
static bool same_fields(struct fb_bytes a, struct fb_bytes b)
{
    struct fb_field f;
    struct fb_bytes other;
    if (fb_hash_count(a) != fb_hash_count(b))
        return false;
    while (fb_hash_next(&a, &f))
        if (!fb_hash_get(b, f.name, &other) || !fb_bytes_equal(other, f.value))
            return false;
    return true;
}

static struct pg_conflict *conflict_add(struct pg_conflict **v, size_t *count,
                                        const struct pg_ref *r)
{
    struct pg_conflict *c;
    if ((*count & (*count - 1)) == 0) /* a power of two is full */
        *v = fb_xrealloc(*v, (*count == 0 ? 1 : *count * 2) * sizeof(**v));
    c = &(*v)[(*count)++];
    *c = (struct pg_conflict){.feed = r->feed, .object = r->object};
    return c;
}

static void take_refresh(struct pg_batch *b, const struct pg_op *op, const struct pg_ref *r,
                         const PGresult *res, int row, int at)
{
    size_t from = b->bytes.n;
    uint8_t kind = pg_take_row(&b->bytes, op->feed->ns, op->feed->schema, res, row, at + 1);
    struct fb_bytes stored = fb_bytes(b->bytes.p + from, b->bytes.n - from);
    bool same = kind == r->o->kind && (kind == FB_KIND_HASH ? same_fields(stored, r->o->value)
                                                            : fb_bytes_equal(stored, r->o->value));
    struct pg_conflict *c;
    if (same) {
        b->bytes.n = from;
        return;
    }
    c = conflict_add(&b->refreshes, &b->refresh_count, r);
    c->kind = kind;
    c->xmin = (uint32_t)strtoul(PQgetvalue(res, row, at), NULL, 10);
    c->value_at = from;
    c->value_n = b->bytes.n - from;
}

/* Is the row's key, as texts from column 1 on, that of the ref? */
static bool key_is(const struct fb_schema *s, const struct pg_ref *r, const PGresult *res, int row)
{
    struct fb_buf scratch = {0};
    struct fb_bytes parts[16];
    bool same = fb_schema_split_id(s, r->o->id, &scratch, parts) == FB_OK;
    for (uint32_t k = 0; same && k < s->key_count; k++)
        same = fb_bytes_equal(parts[k], fb_bytes(PQgetvalue(res, row, 1 + (int)k),
                                                 (size_t)PQgetlength(res, row, 1 + (int)k)));
    fb_buf_fini(&scratch);
    return same;
}

void pg_row_result(struct pg_batch *b, struct pg_op *op, const PGresult *res)
{
    const struct fb_schema *s = op->feed->schema;
    int rows = PQntuples(res);
    uint32_t next = 0;
    if (op->kind == PG_OP_ROW_PUT)
        return;
    for (int row = 0; row < rows; row++) {
        struct pg_ref *r = NULL;
        if (op->kind == PG_OP_ROW_INSERT) {
            /* Rows come back in the order they were sent, without those that exist. When all came,
             * position is enough; it must be, where the key's text differs from what the type
             * prints. */
            while (next < op->count && (uint32_t)rows != op->count &&
                   !key_is(s, &op->refs[next], res, row))
                next++;
            if (next < op->count)
                r = &op->refs[next++];
        } else {
            unsigned long n = strtoul(PQgetvalue(res, row, 0), NULL, 10);
            if (n >= 1 && n <= op->count)
                r = &op->refs[n - 1];
        }
        if (r == NULL)
            continue;
        r->done = true;
        if (pg_row_wants_row(op))
            take_refresh(b, op, r, res, row,
                         op->kind == PG_OP_ROW_INSERT ? 1 + (int)s->key_count : 1);
    }
}

bool pg_row_missing(const struct pg_op *op)
{
    bool deletes = op->kind == PG_OP_ROW_DELETE || op->kind == PG_OP_ROW_NULL;
    if (op->kind == PG_OP_ROW_PUT || (deletes && !pg_row_has_token(op)))
        return false;
    for (uint32_t i = 0; i < op->count; i++)
        if (!op->refs[i].done)
            return true;
    return false;
}

enum pg_class pg_row_read_result(struct pg_batch *b, struct pg_op *op, const PGresult *res,
                                 struct pg_error *err)
{
    bool deletes = op->kind == PG_OP_ROW_DELETE || op->kind == PG_OP_ROW_NULL;
    for (int row = 0; row < PQntuples(res); row++) {
        unsigned long n = strtoul(PQgetvalue(res, row, 0), NULL, 10);
        uint32_t xmin = (uint32_t)strtoul(PQgetvalue(res, row, 1), NULL, 10);
        struct pg_ref *r = n >= 1 && n <= op->count ? &op->refs[n - 1] : NULL;
        struct pg_conflict *c;
        size_t from = b->bytes.n;
        uint8_t kind;
        if (r == NULL || r->done)
            continue;
        if (op->kind != PG_OP_ROW_INSERT && (r->o->flags & FB_OBJECT_TOKEN_KNOWN) != 0 &&
            xmin == r->o->base_xid)
            return pg_error_set(err, PG_ROW, "09000",
                                "%s: a trigger or policy of the table keeps the row from being %s",
                                op->feed->ns->name, deletes ? "deleted" : "updated");
        kind = pg_take_row(&b->bytes, op->feed->ns, op->feed->schema, res, row, 2);
        c = conflict_add(&b->conflicts, &b->conflict_count, r);
        c->kind = kind;
        c->xmin = xmin;
        c->value_at = from;
        c->value_n = b->bytes.n - from;
        r->done = true;
    }
    for (uint32_t i = 0; i < op->count; i++) {
        struct pg_ref *r = &op->refs[i];
        if (!r->done && op->kind == PG_OP_ROW_UPDATE)
            conflict_add(&b->conflicts, &b->conflict_count, r)->kind = FB_KIND_NONE;
    }
    return PG_OK;
}

struct pg_op pg_row_not_inserted(struct pg_op *op)
{
    struct pg_op rest = *op;
    struct pg_ref *moved = fb_xcalloc(op->count, sizeof(*moved));
    uint32_t done = 0, n = 0;

    rest.count = 0;
    if (op->kind == PG_OP_ROW_INSERT) {
        for (uint32_t i = 0; i < op->count; i++) {
            if (op->refs[i].done)
                op->refs[done++] = op->refs[i];
            else
                moved[n++] = op->refs[i];
        }
        memcpy(op->refs + done, moved, n * sizeof(*moved));
        rest.refs = op->refs + done;
        rest.count = n;
    }
    free(moved);
    return rest;
}

enum pg_class pg_row_not_inserted_again(const struct pg_op *op, struct pg_error *err)
{
    return pg_error_set(err, PG_ROW, "09000",
                        "%s: a trigger or policy of the table keeps the row from being inserted",
                        op->feed->ns->name);
}
