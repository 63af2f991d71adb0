/* forebay.dead_letter: what PostgreSQL refused. */
#include "sync/pg/internal.h"

#include <stdlib.h>

static const char *const kind_names[] = {"none", "string", "hash"};

static void put_object(struct pg_args *args, const uint8_t cluster[16], const char *ns,
                       struct fb_bytes id)
{
    char uuid[37];
    struct fb_buf text = {0};
    pg_format_uuid(cluster, uuid);
    pg_put_id(&text, id);
    pg_args_text(args, uuid);
    pg_args_text(args, ns);
    pg_args_text(args, pg_cstr(&text));
    fb_buf_fini(&text);
}

/* Messages come from PostgreSQL cut at some byte: keep what is text. */
static void put_message(struct pg_args *args, const char *message)
{
    struct fb_bytes m = fb_bytes_str(message);
    struct fb_buf text = {0};
    while (m.n > 0 && !pg_utf8_valid(m))
        m.n--;
    fb_buf_put_bytes(&text, m);
    pg_args_text(args, pg_cstr(&text));
    fb_buf_fini(&text);
}

enum pg_class pg_dead_letter_put(struct pg *pg, const uint8_t cluster[16], const char *ns,
                                 uint16_t part, const struct fb_feed_object *o,
                                 const char *sqlstate, const char *message, struct pg_error *err)
{
    struct pg_args args = {0};
    PGresult *res = NULL;
    char time[40];
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    fb_assert(o->kind < FB_COUNT_OF(kind_names));
    put_object(&args, cluster, ns, o->id);
    pg_args_i64(&args, part);
    pg_args_i64(&args, (int64_t)o->ver);
    pg_args_text(&args, kind_names[o->kind]);
    pg_args_bytea(&args, o->value);
    pg_args_text(&args, sqlstate);
    put_message(&args, message);
    pg_args_i64(&args, o->expires_ms == 0 ? 0 : 1);
    pg_format_time(o->expires_ms, time);
    pg_args_text(&args, time);
    /* The checkpoint's lock comes first, as in a batch: a letter whose object was written since, by
     * us or somebody else, would never be taken away. */
    c = pg_run(pg,
               "with c as (insert into forebay.checkpoint as k (cluster, part, ns)"
               " values ($1::uuid, $4::int8::int4, $2) on conflict (cluster, part, ns)"
               " do update set owner = k.owner where k.ver < $5::int8 returning 1),"
               " l as (insert into forebay.dead_letter as d (cluster, ns, id, part, version, kind,"
               " value, sqlstate, message, expires_at)"
               " select $1::uuid, $2, $3, $4::int8::int4, $5::int8, $6, $7, $8, $9,"
               " case $10::int8 when 0 then null else $11::timestamptz end from c"
               " on conflict (cluster, ns, id) do update set part = excluded.part,"
               " version = excluded.version, kind = excluded.kind, value = excluded.value,"
               " sqlstate = excluded.sqlstate, message = excluded.message, at = excluded.at,"
               " expires_at = excluded.expires_at where d.version <= excluded.version)"
               " select count(*) from c",
               &args, true, &res, err);
    if (c == PG_OK && PQgetvalue(res, 0, 0)[0] == '0')
        c = pg_error_set(err, PG_LOST, "", "a later version of the object was written meanwhile");
    PQclear(res);
    pg_args_fini(&args);
    return c;
}

enum pg_class pg_dead_letter_count(struct pg *pg, const uint8_t cluster[16], uint64_t *count,
                                   struct pg_error *err)
{
    struct pg_args args = {0};
    PGresult *res = NULL;
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    pg_args_text(&args, uuid);
    c = pg_run(pg, "select count(*) from forebay.dead_letter where cluster = $1::uuid", &args, true,
               &res, err);
    if (c == PG_OK)
        *count = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    pg_args_fini(&args);
    return c;
}

/* It would read as bytes that are no text. */
static bool only_field_is_hex(struct fb_bytes hash)
{
    struct fb_bytes v;
    return fb_hash_count(hash) == 1 && fb_hash_get(hash, fb_bytes_str("hex"), &v);
}

static void put_value_json(struct fb_buf *out, const char *kind, struct fb_bytes v, const char *hex)
{
    if (strcmp(kind, "none") == 0) {
        fb_buf_put_str(out, "null");
    } else if (strcmp(kind, "hash") == 0 && fb_hash_valid(v) && pg_hash_is_text(v) &&
               !only_field_is_hex(v)) {
        pg_put_hash_json(out, v);
    } else if (strcmp(kind, "string") == 0 && pg_utf8_valid(v)) {
        pg_put_json_string(out, v);
    } else {
        fb_buf_put_str(out, "{\"hex\":\"");
        fb_buf_put_str(out, hex + 2);
        fb_buf_put_str(out, "\"}");
    }
}

static void take_letter(const PGresult *res, int row, pg_dead_letter_fn fn, void *arg)
{
    struct fb_buf id = {0}, value = {0}, json = {0};
    const char *hex = PQgetvalue(res, row, 8);
    struct pg_letter l = {.ns = PQgetvalue(res, row, 0),
                          .part = (uint16_t)strtoul(PQgetvalue(res, row, 1), NULL, 10),
                          .id_text = PQgetvalue(res, row, 2),
                          .ver = strtoull(PQgetvalue(res, row, 3), NULL, 10),
                          .sqlstate = PQgetvalue(res, row, 4),
                          .message = PQgetvalue(res, row, 5),
                          .at = PQgetvalue(res, row, 6),
                          .kind = PQgetvalue(res, row, 7),
                          .expires_ms = strtoll(PQgetvalue(res, row, 9), NULL, 10)};

    l.ours =
        pg_take_id(&id, l.id_text) && pg_take_hex(&value, hex, (size_t)PQgetlength(res, row, 8));
    if (l.ours)
        put_value_json(&json, l.kind, fb_buf_view(&value), hex);
    l.id = fb_buf_view(&id);
    l.value_json = pg_cstr(&json);
    fn(arg, &l);
    fb_buf_fini(&id);
    fb_buf_fini(&value);
    fb_buf_fini(&json);
}

enum pg_class pg_dead_letter_list(struct pg *pg, const uint8_t cluster[16],
                                  const struct pg_letter_query *q, pg_dead_letter_fn fn, void *arg,
                                  struct pg_error *err)
{
    struct pg_args args = {0};
    struct fb_buf id = {0};
    PGresult *res = NULL;
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    if (q->id != NULL)
        pg_put_id(&id, *q->id);
    pg_args_text(&args, uuid);
    pg_args_text(&args, q->ns == NULL ? "" : q->ns);
    pg_args_i64(&args, q->limit);
    pg_args_i64(&args, q->id != NULL);
    pg_args_text(&args, pg_cstr(&id));
    pg_args_text(&args, q->after_at == NULL ? "-infinity" : q->after_at);
    pg_args_text(&args, q->after_ns == NULL ? "" : q->after_ns);
    pg_args_text(&args, q->after_id == NULL ? "" : q->after_id);
    c = pg_run(
        pg,
        "select ns, part, id, version, sqlstate, message, at::text, kind, coalesce(value, ''),"
        " coalesce(round(extract(epoch from expires_at) * 1000)::int8, 0)"
        " from forebay.dead_letter where cluster = $1::uuid and ($2 = '' or ns = $2)"
        " and ($4::int8 = 0 or id = $5) and (at, ns, id) > ($6::timestamptz, $7, $8)"
        " order by at, ns, id limit $3",
        &args, true, &res, err);
    for (int i = 0; c == PG_OK && i < PQntuples(res); i++)
        take_letter(res, i, fn, arg);
    PQclear(res);
    fb_buf_fini(&id);
    pg_args_fini(&args);
    return c;
}
