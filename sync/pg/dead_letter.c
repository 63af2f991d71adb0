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
    c = pg_run(pg,
               "insert into forebay.dead_letter as d (cluster, ns, id, part, version, kind, value, "
               "sqlstate, message)"
               " values ($1::uuid, $2, $3, $4::int8::int4, $5, $6, $7, $8, $9)"
               " on conflict (cluster, ns, id) do update set part = excluded.part, version = "
               "excluded.version,"
               " kind = excluded.kind, value = excluded.value, sqlstate = excluded.sqlstate,"
               " message = excluded.message, at = excluded.at where d.version <= excluded.version",
               &args, true, NULL, err);
    pg_args_fini(&args);
    return c;
}

enum pg_class pg_dead_letter_clear(struct pg *pg, const uint8_t cluster[16], const char *ns,
                                   struct fb_bytes id, uint64_t up_to_ver, struct pg_error *err)
{
    struct pg_args args = {0};
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    put_object(&args, cluster, ns, id);
    pg_args_i64(&args, (int64_t)up_to_ver);
    c = pg_run(pg,
               "delete from forebay.dead_letter where cluster = $1::uuid and ns = $2 and id = $3 "
               "and version <= $4",
               &args, true, NULL, err);
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

enum pg_class pg_dead_letter_list(struct pg *pg, const uint8_t cluster[16], const char *ns,
                                  uint32_t limit, pg_dead_letter_fn fn, void *arg,
                                  struct pg_error *err)
{
    struct pg_args args = {0};
    struct fb_buf id = {0}, value = {0}, json = {0};
    PGresult *res = NULL;
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);
    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    pg_args_text(&args, uuid);
    pg_args_text(&args, ns == NULL ? "" : ns);
    pg_args_i64(&args, limit);
    c = pg_run(
        pg,
        "select ns, part, id, version, sqlstate, message, at::text, kind, coalesce(value, '')"
        " from forebay.dead_letter where cluster = $1::uuid and ($2 = '' or ns = $2)"
        " order by at, ns, id limit $3",
        &args, true, &res, err);
    for (int i = 0; c == PG_OK && i < PQntuples(res); i++) {
        const char *hex = PQgetvalue(res, i, 8);
        fb_buf_clear(&id);
        fb_buf_clear(&value);
        fb_buf_clear(&json);
        if (!pg_take_id(&id, PQgetvalue(res, i, 2)) ||
            !pg_take_hex(&value, hex, (size_t)PQgetlength(res, i, 8)))
            continue; /* not a row of ours */
        put_value_json(&json, PQgetvalue(res, i, 7), fb_buf_view(&value), hex);
        fn(arg, PQgetvalue(res, i, 0), (uint16_t)strtoul(PQgetvalue(res, i, 1), NULL, 10),
           fb_buf_view(&id), strtoull(PQgetvalue(res, i, 3), NULL, 10), PQgetvalue(res, i, 4),
           PQgetvalue(res, i, 5), PQgetvalue(res, i, 6), PQgetvalue(res, i, 7), pg_cstr(&json));
    }
    PQclear(res);
    fb_buf_fini(&id);
    fb_buf_fini(&value);
    fb_buf_fini(&json);
    pg_args_fini(&args);
    return c;
}
