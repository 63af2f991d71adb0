/* Loads: rows and checkpoints in one statement, hence in one snapshot; checkpoints at attach. */
#include "sync/pg/internal.h"

#include <stdlib.h>

#define PG_EXPIRES_MS(col)                                                                         \
    "case when isfinite(" col ") then round(extract(epoch from " col ") * 1000)::int8 else 0 end"

/* The statement's answer: n, xmin, history, ver, expires, then what the row holds. */
enum { COL_N, COL_XMIN, COL_HISTORY, COL_VER, COL_EXPIRES, COL_ROW };

static void put_expires(struct fb_buf *sql, const struct pg_load *l)
{
    const struct fb_column *c =
        l->ns->expires_column[0] == '\0'
            ? NULL
            : fb_schema_column(l->schema, fb_bytes_str(l->ns->expires_column));
    if (c == NULL) {
        fb_buf_put_str(sql, "0");
        return;
    }
    if (c->check == FB_TYPE_INT8) {
        fb_buf_put_str(sql, "coalesce(t.");
        pg_put_ident(sql, c->name);
        fb_buf_put_str(sql, ", 0)");
        return;
    }
    fb_buf_put_str(sql, "case when isfinite(t.");
    pg_put_ident(sql, c->name);
    fb_buf_put_str(sql, ") then round(extract(epoch from t.");
    pg_put_ident(sql, c->name);
    fb_buf_put_str(sql, ") * 1000)::int8 else 0 end");
}

static void load_mapped(const struct pg_load *l, struct fb_buf *sql)
{
    fb_buf_put_str(sql, "select u.n, t.xmin, c.history, c.ver, ");
    put_expires(sql, l);
    pg_put_columns(sql, l->ns, l->schema);
    fb_buf_put_str(sql, " from (select x.n, x.part");
    pg_put_key_types(sql, l->schema, "x.");
    fb_buf_put_str(sql, " from unnest($3::int4[]");
    for (uint32_t k = 0; k < l->schema->key_count; k++)
        fb_buf_printf(sql, ", $%u::text[]", k + 4);
    fb_buf_put_str(sql, ") with ordinality x(part");
    for (uint32_t k = 0; k < l->schema->key_count; k++)
        fb_buf_printf(sql, ", k%u", k);
    fb_buf_put_str(sql, ", n)) u left join ");
    pg_put_table(sql, l->ns);
    fb_buf_put_str(sql, " t on ");
    pg_put_key_match(sql, l->schema);
    fb_buf_put_str(sql, " left join forebay.checkpoint c on c.cluster = $1::uuid and c.ns = $2 and "
                        "c.part = u.part");
}

static const char pg_load_objects_sql[] = "select u.n, o.xmin, c.history, c.ver, " PG_EXPIRES_MS(
    "o.expires_at") ", o.version, o.kind, o.value, o.fields::text"
                    " from unnest($3::int4[], $4::text[]) with ordinality u(part, id, n)"
                    " left join forebay.objects o on o.ns = $2 and o.id = u.id and (o.expires_at "
                    "is null or o.expires_at > now())"
                    " left join forebay.checkpoint c on c.cluster = $1::uuid and c.ns = $2 and "
                    "c.part = u.part";

static uint64_t u64_at(const PGresult *res, int row, int col)
{
    return PQgetisnull(res, row, col) ? 0 : strtoull(PQgetvalue(res, row, col), NULL, 10);
}

static void load_refuse(struct pg_load *l, size_t i, uint8_t status, const char *text,
                        struct fb_buf *bytes, size_t *at)
{
    l->reps[i].status = status;
    l->reps[i].kind = FB_KIND_NONE;
    at[i] = bytes->n;
    fb_buf_put_str(bytes, text);
    l->reps[i].value.n = bytes->n - at[i];
}

static bool take_object(const PGresult *res, int row, struct fb_load_rep *rep, struct fb_buf *bytes)
{
    int kind = COL_ROW + 1, value = COL_ROW + 2, fields = COL_ROW + 3;
    size_t start = bytes->n;
    rep->stored_ver = u64_at(res, row, COL_ROW);
    if (strcmp(PQgetvalue(res, row, kind), "string") == 0) {
        rep->kind = FB_KIND_STRING;
        return PQgetisnull(res, row, value) || pg_take_hex(bytes, PQgetvalue(res, row, value),
                                                           (size_t)PQgetlength(res, row, value));
    }
    rep->kind = FB_KIND_HASH;
    if (!PQgetisnull(res, row, fields))
        return pg_take_hash_json(bytes, PQgetvalue(res, row, fields),
                                 (size_t)PQgetlength(res, row, fields));
    return PQgetisnull(res, row, value) ||
           (pg_take_hex(bytes, PQgetvalue(res, row, value), (size_t)PQgetlength(res, row, value)) &&
            fb_hash_valid(fb_bytes(bytes->p + start, bytes->n - start)));
}

static void load_take(struct pg_load *l, const PGresult *res, const size_t *index, size_t asked,
                      struct fb_buf *bytes, size_t *at)
{
    for (int row = 0; row < PQntuples(res); row++) {
        uint64_t n = u64_at(res, row, COL_N);
        struct fb_load_rep *rep;
        size_t i;
        bool ok = true;
        fb_assert(n >= 1 && n <= asked); /* the ordinality of what was asked for */
        i = index[n - 1];
        rep = &l->reps[i];
        at[i] = bytes->n;
        rep->history = u64_at(res, row, COL_HISTORY);
        rep->ckpt_ver = u64_at(res, row, COL_VER);
        rep->status = FB_LOAD_ABSENT;
        if (PQgetisnull(res, row, COL_XMIN))
            continue;
        rep->status = FB_LOAD_FOUND;
        rep->xmin = (uint32_t)u64_at(res, row, COL_XMIN);
        rep->expires_ms = (int64_t)u64_at(res, row, COL_EXPIRES);
        if (l->schema != NULL)
            rep->kind = pg_take_row(bytes, l->ns, l->schema, res, row, COL_ROW);
        else
            ok = take_object(res, row, rep, bytes);
        rep->value.n = bytes->n - at[i];
        if (!ok || rep->value.n > FB_VALUE_BYTES_MAX) {
            bytes->n = at[i];
            load_refuse(l, i, FB_LOAD_REFUSED,
                        ok ? "the row is larger than 8 MiB"
                           : "the row of forebay.objects is not one that Forebay wrote: fields "
                             "must be a JSON object, value of type bytea",
                        bytes, at);
        }
    }
}

/* The requests index[0..n). PG_ROW: one of them has a key PostgreSQL does not take. */
static enum pg_class load_some(struct pg *pg, const char *uuid, struct pg_load *l,
                               const size_t *index, size_t n, struct fb_buf *bytes, size_t *at,
                               struct pg_error *err)
{
    struct pg_args args = {0};
    struct fb_buf sql = {0}, id = {0};
    struct fb_bytes *ids = fb_xcalloc(n, sizeof(*ids));
    PGresult *res = NULL;
    struct fb_err why = {0};
    enum pg_class c = PG_OK;
    size_t bad = 0;

    pg_args_text(&args, uuid);
    pg_args_text(&args, l->ns->name);
    pg_args_array(&args, PG_TYPE_INT4, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        pg_item_u32(&args, l->reqs[index[i]].part);
    pg_args_end(&args);
    if (l->schema != NULL) {
        for (size_t i = 0; i < n; i++)
            ids[i] = l->reqs[index[i]].id;
        if (!pg_args_keys(&args, l->schema, ids, n, &why, &bad))
            c = pg_error_set(err, PG_ROW, "22000", "%s", why.msg);
        load_mapped(l, &sql);
    } else {
        pg_args_array(&args, PG_TYPE_TEXT, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
            fb_buf_clear(&id);
            pg_put_id(&id, l->reqs[index[i]].id);
            pg_item(&args, fb_buf_view(&id));
        }
        pg_args_end(&args);
        fb_buf_put_str(&sql, pg_load_objects_sql);
    }
    if (c == PG_OK)
        c = pg_run(pg, pg_cstr(&sql), &args, true, &res, err);
    if (c == PG_OK) {
        load_take(l, res, index, n, bytes, at);
        PQclear(res);
    }
    free(ids);
    fb_buf_fini(&id);
    fb_buf_fini(&sql);
    pg_args_fini(&args);
    return c;
}

/* Like load_some, but never PG_ROW or PG_NAMESPACE: halves until the bad keys stand alone. Depth is
 * log2 of the count. */
static enum pg_class load_halves(struct pg *pg, const char *uuid, struct pg_load *l,
                                 const size_t *index, size_t n, struct fb_buf *bytes, size_t *at,
                                 struct pg_error *err)
{
    enum pg_class c = load_some(pg, uuid, l, index, n, bytes, at, err);
    if (c == PG_RETRY)
        c = pg_begin_call(pg, err) == PG_OK ? load_some(pg, uuid, l, index, n, bytes, at, err)
                                            : PG_OUTAGE;
    if (c == PG_OK || c == PG_OUTAGE)
        return c;
    if (c == PG_ROW && n > 1) {
        c = load_halves(pg, uuid, l, index, n / 2, bytes, at, err);
        return c != PG_OK ? c : load_halves(pg, uuid, l, index + n / 2, n - n / 2, bytes, at, err);
    }
    l->locked = strcmp(err->sqlstate, "55P03") == 0;
    for (size_t i = 0; i < n; i++)
        load_refuse(l, index[i], c == PG_RETRY || l->locked ? FB_LOAD_DB_DOWN : FB_LOAD_REFUSED,
                    err->message, bytes, at);
    return PG_OK;
}

enum pg_class pg_load(struct pg *pg, const uint8_t cluster[16], struct pg_load *l,
                      struct fb_buf *bytes, struct pg_error *err)
{
    char uuid[37];
    size_t *index, *at;
    enum pg_class c = pg_begin_call(pg, err);
    fb_assert(!l->ns->mapped || l->schema != NULL);
    l->locked = false;
    if (c == PG_OK)
        c = pg_lock_wait(pg, l->lock_wait_ms, err);
    pg_format_uuid(cluster, uuid);
    index = fb_xcalloc(l->count + 1, sizeof(*index));
    at = fb_xcalloc(l->count + 1, sizeof(*at));
    for (size_t i = 0; i < l->count; i++) {
        const struct fb_load_req *q = &l->reqs[i];
        l->reps[i] = (struct fb_load_rep){
            .part = q->part, .token = q->token, .ns = q->ns, .id = q->id, .status = FB_LOAD_ABSENT};
        index[i] = i;
    }
    if (c == PG_OK && l->schema != NULL && l->schema->problem[0] != '\0') {
        for (size_t i = 0; i < l->count; i++)
            load_refuse(l, i, FB_LOAD_REFUSED, l->schema->problem, bytes, at);
    } else if (c == PG_OK && l->count > 0) {
        c = load_halves(pg, uuid, l, index, l->count, bytes, at, err);
    }
    if (c != PG_OK) {
        size_t from = bytes->n;
        fb_buf_put_str(bytes, err->message);
        for (size_t i = 0; i < l->count; i++) {
            l->reps[i].status = FB_LOAD_DB_DOWN;
            l->reps[i].kind = FB_KIND_NONE;
            l->reps[i].value.n = bytes->n - from;
            at[i] = from;
        }
    }
    for (size_t i = 0; i < l->count; i++)
        l->reps[i].value = l->reps[i].value.n == 0 ? fb_bytes("", 0)
                                                   : fb_bytes(bytes->p + at[i], l->reps[i].value.n);
    free(index);
    free(at);
    return c;
}

enum pg_class pg_read_checkpoints(struct pg *pg, const uint8_t cluster[16], pg_checkpoint_fn fn,
                                  void *arg, struct pg_error *err)
{
    struct pg_args args = {0};
    PGresult *res = NULL;
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    pg_args_text(&args, uuid);
    c = pg_run(pg,
               "select part, ns, history, ver from forebay.checkpoint where cluster = $1::uuid "
               "order by ns, part",
               &args, true, &res, err);
    pg_args_fini(&args);
    if (c != PG_OK)
        return c;
    for (int i = 0; i < PQntuples(res); i++)
        fn(arg, (uint16_t)u64_at(res, i, 0), PQgetvalue(res, i, 1), u64_at(res, i, 2),
           u64_at(res, i, 3));
    PQclear(res);
    return PG_OK;
}
