/* Hash operations that write. */
#include "node/core/lane_impl.h"

#include "proto/base/number.h"

#include <math.h>

/* The present hash with field := value (or without it when value.p is NULL), built in l->value.
 * True: it was there. */
static bool with_field(struct fb_buf *out, struct fb_bytes hash, struct fb_bytes name,
                       struct fb_bytes value)
{
    struct fb_field f;
    bool found = false;

    while (fb_hash_next(&hash, &f)) {
        if (fb_bytes_equal(f.name, name)) {
            found = true;
            if (value.p != NULL)
                fb_hash_put(out, name, value);
        } else {
            fb_hash_put(out, f.name, f.value);
        }
    }
    if (!found && value.p != NULL)
        fb_hash_put(out, name, value);
    return found;
}

static struct fb_bytes present(const struct op *op)
{
    return op->live ? object_value(op->cur) : fb_bytes("", 0);
}

/* Bit of a field's column, 0 in unmapped namespaces and for unknown columns (which
 * row_refuses_fields names). */
static uint64_t field_bit(const struct op *op, struct fb_bytes name)
{
    const struct fb_column *c;
    if (!op->ns->conf->mapped || op->ns->schema == NULL)
        return 0;
    c = fb_schema_column(op->ns->schema, name);
    return c == NULL ? 0 : fb_column_bit(c);
}

static bool put_hash(struct op *op, struct fb_bytes hash, uint64_t bits)
{
    uint64_t changed = 0;
    int64_t expires = op->live ? object_expires(op->cur) : 0;

    if (op->ns->conf->mapped) {
        if (row_refuses_fields(op, hash, bits, &changed))
            return false;
    } else if (!op->live && op->ns->conf->ttl_ms != 0) {
        expires = (int64_t)(op->now + op->ns->conf->ttl_ms);
    }
    return op_put(op, FB_KIND_HASH, hash, expires, changed);
}

static bool field_refused(struct op *op, struct fb_bytes name)
{
    if (name.n > FB_FIELD_BYTES_MAX) {
        op_err(op, "ERR a field name of %zu bytes is above the limit of %u (nothing changed)",
               name.n, FB_FIELD_BYTES_MAX);
        return true;
    }
    if (op->ns->conf->mapped && op->ns->schema != NULL &&
        fb_schema_column(op->ns->schema, name) == NULL) {
        op_err(op, "ERR %s.%s has no column \"%.*s\" (nothing changed)", op->ns->conf->table_schema,
               op->ns->conf->table_name, (int)(name.n > 64 ? 64 : name.n), (const char *)name.p);
        return true;
    }
    return false;
}

static void hset(struct op *op)
{
    struct fb_bytes args = op->req->args, name, value, ignored;
    struct fb_buf a = {0}, b = {0};
    uint64_t bits = 0;
    int64_t added = 0;

    if (op_wrong_type(op, FB_KIND_HASH))
        return;
    if (op->req->nargs == 0 || op->req->nargs % 2 != 0) {
        op_err(op, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    if (op->req->flags & FB_REQ_NX) {
        struct fb_bytes first = args;
        if (fb_list_next(&first, &name) && fb_hash_get(present(op), name, &ignored)) {
            op_int(op, 0);
            return;
        }
    }
    fb_buf_put_bytes(&a, present(op));
    while (fb_list_next(&args, &name) && fb_list_next(&args, &value)) {
        struct fb_buf swap = a;
        if (field_refused(op, name))
            goto out;
        fb_buf_clear(&b);
        added += !with_field(&b, fb_buf_view(&a), name, value);
        bits |= field_bit(op, name);
        a = b;
        b = swap;
    }
    if (put_hash(op, fb_buf_view(&a), bits))
        op_int(op, added);
out:
    fb_buf_fini(&a);
    fb_buf_fini(&b);
}

static void hdel(struct op *op)
{
    struct fb_bytes args = op->req->args, name;
    struct fb_buf a = {0}, b = {0};
    uint64_t bits = 0;
    int64_t removed = 0;

    if (op_wrong_type(op, FB_KIND_HASH))
        return;
    fb_buf_put_bytes(&a, present(op));
    while (fb_list_next(&args, &name)) {
        struct fb_buf swap = a;
        if (op->ns->conf->mapped && field_refused(op, name))
            goto out;
        fb_buf_clear(&b);
        if (with_field(&b, fb_buf_view(&a), name, fb_bytes(NULL, 0))) {
            removed++;
            bits |= field_bit(op, name);
        }
        a = b;
        b = swap;
    }
    /* a hash without fields is no key in Redis; a row stays a row */
    if (removed > 0 && a.n == 0 && kept_refuses_del(op))
        goto out;
    if (removed == 0 ||
        (a.n == 0 && !op->ns->conf->mapped ? op_del(op) : put_hash(op, fb_buf_view(&a), bits)))
        op_int(op, removed);
out:
    fb_buf_fini(&a);
    fb_buf_fini(&b);
}

static void put_one(struct op *op, struct fb_bytes name, struct fb_bytes value, struct fb_rep done)
{
    struct fb_buf *out = &op->l->value;

    if (field_refused(op, name))
        return;
    fb_buf_clear(out);
    with_field(out, present(op), name, value);
    if (put_hash(op, fb_buf_view(out), field_bit(op, name))) {
        done.seq = op->rep.seq;
        if (done.type == FB_REP_BULK)
            op_bulk(op, value);
        else
            op->rep = done;
    }
}

static void hincrby(struct op *op)
{
    char text[FB_NUMBER_BYTES_MAX];
    struct fb_bytes name, v;
    int64_t n = 0;

    if (op_wrong_type(op, FB_KIND_HASH) || !op_arg(op, 0, &name))
        return;
    if (fb_hash_get(present(op), name, &v) && !fb_parse_i64(v, &n)) {
        op_err(op, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(n, op->req->a, &n)) {
        op_err(op, "ERR increment or decrement would overflow");
        return;
    }
    put_one(op, name, fb_bytes(text, fb_format_i64(n, text)),
            (struct fb_rep){.type = FB_REP_INT, .num = n});
}

static void hincrbyfloat(struct op *op)
{
    char text[FB_LONG_DOUBLE_BYTES_MAX];
    struct fb_bytes name, by_text, v;
    long double n = 0, by;

    if (op_wrong_type(op, FB_KIND_HASH) || !op_arg(op, 0, &name))
        return;
    if (!op_arg(op, 1, &by_text) || !fb_parse_long_double(by_text, &by)) {
        op_err(op, "ERR value is not a valid float");
        return;
    }
    if (fb_hash_get(present(op), name, &v) && !fb_parse_long_double(v, &n)) {
        op_err(op, "ERR hash value is not a float");
        return;
    }
    n += by;
    if (isnan(n) || isinf(n)) {
        op_err(op, "ERR increment would produce NaN or Infinity");
        return;
    }
    put_one(op, name, fb_bytes(text, fb_format_long_double(n, text)),
            (struct fb_rep){.type = FB_REP_BULK});
}

void exec_hash(struct op *op)
{
    switch (op->req->op) {
    case FB_OP_HSET:
        hset(op);
        return;
    case FB_OP_HDEL:
        hdel(op);
        return;
    case FB_OP_HINCRBY:
        hincrby(op);
        return;
    default:
        hincrbyfloat(op);
        return;
    }
}
