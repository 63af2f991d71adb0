/* forebay.conflict_log: rows changed by Forebay and by SQL, and what was made of them. */
#include "sync/pg/internal.h"

#include <stdlib.h>

/* As jsonb: null, a string, an object, or {"hex": "..."} for what is not text. */
static void put_json(struct pg_args *args, uint8_t kind, struct fb_bytes v)
{
    static const char digits[] = "0123456789abcdef";
    struct fb_buf json = {0};

    if (kind == FB_KIND_HASH && fb_hash_valid(v) && pg_hash_is_text(v)) {
        pg_put_hash_json(&json, v);
    } else if (kind == FB_KIND_STRING && pg_utf8_valid(v)) {
        pg_put_json_string(&json, v);
    } else if (kind != FB_KIND_NONE) {
        fb_buf_put_str(&json, "{\"hex\":\"");
        for (size_t i = 0; i < v.n; i++) {
            fb_buf_put_u8(&json, (uint8_t)digits[v.p[i] >> 4]);
            fb_buf_put_u8(&json, (uint8_t)digits[v.p[i] & 15]);
        }
        fb_buf_put_str(&json, "\"}");
    }
    if (json.n > 0)
        pg_item(args, fb_buf_view(&json));
    else
        pg_item_null(args);
    fb_buf_fini(&json);
}

/* The columns of the row that the change was based on, which is what ours has where the change left
 * it alone. Nothing is known where there was no row, or all of it was written. */
static void put_old_json(struct pg_args *args, const struct pg_feed *f,
                         const struct fb_feed_object *o)
{
    struct fb_buf old = {0};
    struct fb_bytes rest = o->value;
    struct fb_field field;
    bool known = o->kind == FB_KIND_HASH && f->schema != NULL &&
                 (o->flags & FB_OBJECT_HAS_BASE) != 0 && (o->flags & FB_OBJECT_BLIND) == 0 &&
                 o->changed != UINT64_MAX;

    while (known && fb_hash_next(&rest, &field)) {
        const struct fb_column *c = fb_schema_column(f->schema, field.name);
        if (c != NULL && (o->changed & fb_column_bit(c)) == 0)
            fb_hash_put(&old, field.name, field.value);
    }
    put_json(args, old.n > 0 ? FB_KIND_HASH : FB_KIND_NONE, fb_buf_view(&old));
    fb_buf_fini(&old);
}

static void put_columns(const struct pg_batch *b, const uint8_t cluster[16], struct pg_args *args)
{
    static const char *const policies[] = {"cache-wins", "db-wins", "merge-columns",
                                           "last-write-wins"};
    uint32_t n = (uint32_t)b->conflict_count;
    char uuid[37];

    pg_format_uuid(cluster, uuid);
    pg_args_text(args, uuid);
    for (int column = 0; column < 7; column++) {
        pg_args_array(args, column == 2 ? PG_TYPE_INT8 : PG_TYPE_TEXT, n);
        for (uint32_t i = 0; i < n; i++) {
            const struct pg_conflict *c = &b->conflicts[i];
            const struct pg_feed *f = &b->feeds[c->feed];
            const struct fb_feed_object *o = &f->objects[c->object];
            struct fb_buf id = {0};
            switch (column) {
            case 0:
                pg_item(args, fb_bytes_str(f->ns->name));
                break;
            case 1:
                pg_put_id(&id, o->id);
                pg_item(args, fb_buf_view(&id));
                break;
            case 2:
                pg_item_i64(args, (int64_t)o->ver);
                break;
            case 3:
                pg_item(args, fb_bytes_str(policies[f->ns->conflict]));
                break;
            case 4:
                put_json(args, o->kind, o->value);
                break;
            case 5:
                put_old_json(args, f, o);
                break;
            default:
                put_json(args, c->kind, fb_bytes(b->bytes.p + c->value_at, c->value_n));
                break;
            }
            fb_buf_fini(&id);
        }
        pg_args_end(args);
    }
}

enum pg_class pg_conflict_put(struct pg *pg, const uint8_t cluster[16], const struct pg_batch *b,
                              struct pg_error *err)
{
    struct pg_args args = {0};
    enum pg_class c = pg_begin_call(pg, err);

    if (c != PG_OK)
        return c;
    fb_assert(b->conflict_count > 0); /* it is asked for behind PG_CONFLICT */
    put_columns(b, cluster, &args);
    /* one version meets one row once; a second try after an unknown outcome changes nothing */
    c = pg_run(pg,
               "insert into forebay.conflict_log (cluster, ns, id, version, policy, outcome, ours, "
               "old, theirs)"
               " select $1::uuid, u.ns, u.id, u.version, u.policy, 'open', u.ours::jsonb, "
               "u.old::jsonb, u.theirs::jsonb"
               " from unnest($2::text[], $3::text[], $4::int8[], $5::text[], $6::text[], "
               "$7::text[], $8::text[]) u(ns, id, version, policy, ours, old, theirs)"
               " where not exists (select from forebay.conflict_log l where l.cluster = $1::uuid "
               "and l.ns = u.ns and l.id = u.id and l.version = u.version)",
               &args, true, NULL, err);
    pg_args_fini(&args);
    return c;
}

enum pg_class pg_conflict_done(struct pg *pg, const uint8_t cluster[16], const char *ns,
                               struct fb_bytes id, uint64_t ver, const char *outcome,
                               struct pg_error *err)
{
    struct pg_args args = {0};
    struct fb_buf text = {0};
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);

    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    pg_put_id(&text, id);
    pg_args_text(&args, uuid);
    pg_args_text(&args, ns);
    pg_args_text(&args, pg_cstr(&text));
    pg_args_i64(&args, (int64_t)ver);
    pg_args_text(&args, outcome);
    c = pg_run(pg,
               "update forebay.conflict_log set outcome = $5 where cluster = $1::uuid and ns = $2 "
               "and id = $3 and version = $4 and outcome in ('open', 'unheard')",
               &args, true, NULL, err);
    pg_args_fini(&args);
    fb_buf_fini(&text);
    return c;
}

enum pg_class pg_conflict_list(struct pg *pg, const uint8_t cluster[16], const char *ns,
                               uint32_t limit, pg_conflict_fn fn, void *arg, struct pg_error *err)
{
    struct pg_args args = {0};
    struct fb_buf id = {0};
    PGresult *res = NULL;
    char uuid[37];
    enum pg_class c = pg_begin_call(pg, err);

    if (c != PG_OK)
        return c;
    pg_format_uuid(cluster, uuid);
    pg_args_text(&args, uuid);
    pg_args_text(&args, ns == NULL ? "" : ns);
    pg_args_i64(&args, limit);
    c = pg_run(pg,
               "select ns, id, version, policy, outcome, coalesce(ours::text, 'null'), "
               "coalesce(theirs::text, 'null'), at::text, coalesce(old::text, 'null')"
               " from forebay.conflict_log where cluster = $1::uuid and ($2 = '' or ns = $2)"
               " order by n desc limit $3",
               &args, true, &res, err);
    for (int i = 0; c == PG_OK && i < PQntuples(res); i++) {
        struct pg_conflict_row row = {.ns = PQgetvalue(res, i, 0),
                                      .ver = strtoull(PQgetvalue(res, i, 2), NULL, 10),
                                      .policy = PQgetvalue(res, i, 3),
                                      .outcome = PQgetvalue(res, i, 4),
                                      .ours_json = PQgetvalue(res, i, 5),
                                      .theirs_json = PQgetvalue(res, i, 6),
                                      .at = PQgetvalue(res, i, 7),
                                      .old_json = PQgetvalue(res, i, 8)};
        fb_buf_clear(&id);
        if (!pg_take_id(&id, PQgetvalue(res, i, 1)))
            continue; /* not a row of ours */
        row.id = fb_buf_view(&id);
        fn(arg, &row);
    }
    PQclear(res);
    pg_args_fini(&args);
    fb_buf_fini(&id);
    return c;
}
