/* Writing forebay.objects: ours alone, so always an upsert. */
#include "sync/pg/apply.h"

static void put_ids(const struct pg_op *op, struct pg_args *args)
{
    struct fb_buf id = {0};
    pg_args_array(args, PG_TYPE_TEXT, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        fb_buf_clear(&id);
        pg_put_id(&id, op->refs[i].o->id);
        pg_item(args, fb_buf_view(&id));
    }
    pg_args_end(args);
    fb_buf_fini(&id);
}

static bool as_json(const struct fb_feed_object *o)
{
    return o->kind == FB_KIND_HASH && pg_hash_is_text(o->value);
}

static void put_times(const struct pg_op *op, struct pg_args *args)
{
    char time[40];
    pg_args_array(args, PG_TYPE_TEXT, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        if (op->refs[i].o->expires_ms == 0) {
            pg_item_null(args);
        } else {
            pg_format_time(op->refs[i].o->expires_ms, time);
            pg_item(args, fb_bytes_str(time));
        }
    }
    pg_args_end(args);
}

void pg_object_statement(const struct pg_op *op, struct fb_buf *sql, struct pg_args *args)
{
    struct fb_buf json = {0};
    pg_args_text(args, op->feed->ns->name);
    put_ids(op, args);
    if (op->kind == PG_OP_OBJECT_DELETE) {
        fb_buf_put_str(sql, "delete from forebay.objects t using unnest($2::text[]) u(id) where "
                            "t.ns = $1 and t.id = u.id");
        return;
    }
    pg_args_array(args, PG_TYPE_TEXT, op->count);
    for (uint32_t i = 0; i < op->count; i++)
        pg_item(args, fb_bytes_str(op->refs[i].o->kind == FB_KIND_HASH ? "hash" : "string"));
    pg_args_end(args);
    pg_args_array(args, PG_TYPE_BYTEA, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        if (as_json(op->refs[i].o))
            pg_item_null(args);
        else
            pg_item(args, op->refs[i].o->value);
    }
    pg_args_end(args);
    pg_args_array(args, PG_TYPE_TEXT, op->count);
    for (uint32_t i = 0; i < op->count; i++) {
        if (as_json(op->refs[i].o)) {
            fb_buf_clear(&json);
            pg_put_hash_json(&json, op->refs[i].o->value);
            pg_item(args, fb_buf_view(&json));
        } else {
            pg_item_null(args);
        }
    }
    pg_args_end(args);
    fb_buf_fini(&json);
    pg_args_array(args, PG_TYPE_INT8, op->count);
    for (uint32_t i = 0; i < op->count; i++)
        pg_item_i64(args, (int64_t)op->refs[i].o->ver);
    pg_args_end(args);
    put_times(op, args);
    fb_buf_put_str(
        sql,
        "insert into forebay.objects (ns, id, kind, value, fields, version, expires_at)"
        " select $1, u.id, u.kind, u.value, u.fields::jsonb, u.version, u.expires_at::timestamptz"
        " from unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::int8[], $7::text[])"
        " u(id, kind, value, fields, version, expires_at)"
        " on conflict (ns, id) do update set kind = excluded.kind, value = excluded.value,"
        " fields = excluded.fields, version = excluded.version, expires_at = excluded.expires_at,"
        " updated_at = excluded.updated_at");
}
