/* String operations that write. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"
#include "proto/base/number.h"
#include "proto/cluster/type_input.h"

#include <math.h>

/* format = json judges a value that is written, never one that is only kept (GETEX, EXPIRE) or was
 * loaded: it may be older than the line in the cluster file. */
static bool format_refuses(struct op *op, struct fb_bytes v)
{
    const struct fb_namespace *conf = op->ns->conf;
    const char *why = "";
    if (!conf->format_json || fb_input_json(v, false, &why) == FB_INPUT_OK)
        return false;
    op_err(op, "ERR value is not JSON: %s; namespace \"%s\" has format = json (nothing changed)",
           why, conf->name);
    return true;
}

/* Put a string by the rules of the namespace. expires_ms is for unmapped namespaces. */
static bool put_string(struct op *op, struct fb_bytes v, int64_t expires_ms)
{
    uint64_t changed = 0;
    if (op->ns->conf->mapped && row_refuses_string(op, v, &changed))
        return false;
    if (format_refuses(op, v))
        return false;
    return op_put(op, FB_KIND_STRING, v, expires_ms, changed);
}

static int64_t default_expiry(const struct op *op)
{
    const struct fb_namespace *conf = op->ns->conf;
    return !conf->mapped && conf->ttl_ms != 0 ? (int64_t)(op->now + conf->ttl_ms) : 0;
}

static int64_t kept_expiry(const struct op *op)
{
    return op->live ? object_expires(op->cur) : default_expiry(op);
}

/* A deadline in the past deletes, as in Redis; the reply is that of the write. What is not resident
 * may be in PostgreSQL: SET does not load. */
static bool put_until(struct op *op, struct fb_bytes v, int64_t expires_ms)
{
    if (expires_ms != 0 && expires_ms <= (int64_t)op->now) {
        if (!op->live && (op->cur != NULL || FB_MUTANT(past_set_ignored)))
            return true;
        return op_del(op);
    }
    return put_string(op, v, expires_ms);
}

static void set(struct op *op)
{
    uint16_t flags = op->req->flags;
    struct fb_bytes v;
    int64_t expires = flags & FB_REQ_KEEPTTL ? kept_expiry(op)
                      : op->req->b != 0      ? op->req->b
                                             : default_expiry(op);
    bool blocked = ((flags & FB_REQ_NX) && op->live) || ((flags & FB_REQ_XX) && !op->live);
    struct fb_rep old;

    if (!op_arg(op, 0, &v)) {
        op_err(op, "ERR SET without a value");
        return;
    }
    if ((flags & FB_REQ_GET) && op_wrong_type(op, FB_KIND_STRING))
        return;
    if ((flags & FB_REQ_GET) && op->live)
        op_bulk(op, object_value(op->cur));
    else
        op_nil(op);
    if (blocked)
        return;
    old = op->rep;
    if (!put_until(op, v, expires))
        return;
    if (flags & FB_REQ_GET)
        op->rep = old;
    else
        op_ok(op);
}

static void setif(struct op *op)
{
    struct fb_bytes v;
    uint64_t ver = op->live ? op->cur->ver : 0;

    if (!op_arg(op, 0, &v)) {
        op_err(op, "ERR FB.SETIF without a value");
        return;
    }
    if (ver != (uint64_t)op->req->a) {
        op_nil(op);
        return;
    }
    if (op_wrong_type(op, FB_KIND_STRING))
        return;
    if (put_string(op, v, op->req->b != 0 ? op->req->b : default_expiry(op)))
        op_int(op, (int64_t)op->wrote_ver);
}

static void getdel(struct op *op)
{
    if (op_wrong_type(op, FB_KIND_STRING))
        return;
    if (!op->live) {
        op_nil(op);
        return;
    }
    op_bulk(op, object_value(op->cur));
    (void)op_del(op);
}

static void getex(struct op *op)
{
    bool persist = op->req->flags & FB_REQ_PERSIST;

    if (op_wrong_type(op, FB_KIND_STRING))
        return;
    if (!op->live) {
        op_nil(op);
        return;
    }
    op_bulk(op, object_value(op->cur));
    if (op->req->b != 0 && op->req->b <= (int64_t)op->now)
        (void)op_del(op);
    else if (op->req->b != 0 || (persist && !op->ns->conf->mapped && object_expires(op->cur) != 0))
        (void)op_put(op, FB_KIND_STRING, object_value(op->cur), op->req->b, 0);
}

static void append(struct op *op)
{
    struct fb_bytes v;
    struct fb_buf *out = &op->l->value;

    if (op_wrong_type(op, FB_KIND_STRING) || !op_arg(op, 0, &v))
        return;
    fb_buf_clear(out);
    if (op->live)
        fb_buf_put_bytes(out, object_value(op->cur));
    fb_buf_put_bytes(out, v);
    if (v.n == 0 && op->live) {
        op_int(op, (int64_t)out->n);
        return;
    }
    if (put_string(op, fb_buf_view(out), kept_expiry(op)))
        op_int(op, (int64_t)out->n);
}

static void setrange(struct op *op)
{
    struct fb_bytes v, old = op->live ? object_value(op->cur) : fb_bytes("", 0);
    struct fb_buf *out = &op->l->value;
    size_t end;

    if (op->req->a < 0) {
        op_err(op, "ERR offset is out of range");
        return;
    }
    if (op_wrong_type(op, FB_KIND_STRING) || !op_arg(op, 0, &v))
        return;
    if (v.n == 0) {
        op_int(op, (int64_t)old.n);
        return;
    }
    if ((uint64_t)op->req->a > FB_VALUE_BYTES_MAX ||
        (uint64_t)op->req->a + v.n > FB_VALUE_BYTES_MAX) {
        op_err(op, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        return;
    }
    end = (size_t)op->req->a + v.n;
    fb_buf_clear(out);
    fb_buf_put_bytes(out, old);
    if (end > out->n) {
        size_t more = end - out->n;
        memset(fb_buf_grow(out, more), 0, more);
    }
    memcpy(out->p + op->req->a, v.p, v.n);
    if (put_string(op, fb_buf_view(out), kept_expiry(op)))
        op_int(op, (int64_t)out->n);
}

static void incrby(struct op *op)
{
    char text[FB_NUMBER_BYTES_MAX];
    int64_t n = 0;

    if (op_wrong_type(op, FB_KIND_STRING))
        return;
    if (op->live && !fb_parse_i64(object_value(op->cur), &n)) {
        op_err(op, "ERR value is not an integer or out of range");
        return;
    }
    if (__builtin_add_overflow(n, op->req->a, &n)) {
        op_err(op, "ERR increment or decrement would overflow");
        return;
    }
    if (put_string(op, fb_bytes(text, fb_format_i64(n, text)), kept_expiry(op)))
        op_int(op, n);
}

static void incrbyfloat(struct op *op)
{
    char text[FB_LONG_DOUBLE_BYTES_MAX];
    long double n = 0, by;
    struct fb_bytes arg;

    if (op_wrong_type(op, FB_KIND_STRING))
        return;
    if ((op->live && !fb_parse_long_double(object_value(op->cur), &n)) || !op_arg(op, 0, &arg) ||
        !fb_parse_long_double(arg, &by)) {
        op_err(op, "ERR value is not a valid float");
        return;
    }
    n += by;
    if (isnan(n) || isinf(n)) {
        op_err(op, "ERR increment would produce NaN or Infinity");
        return;
    }
    arg = fb_bytes(text, fb_format_long_double(n, text));
    if (put_string(op, arg, kept_expiry(op)))
        op_bulk(op, arg);
}

void exec_string(struct op *op)
{
    switch (op->req->op) {
    case FB_OP_SET:
        set(op);
        return;
    case FB_OP_GETDEL:
        getdel(op);
        return;
    case FB_OP_GETEX:
        getex(op);
        return;
    case FB_OP_APPEND:
        append(op);
        return;
    case FB_OP_SETRANGE:
        setrange(op);
        return;
    case FB_OP_INCRBY:
        incrby(op);
        return;
    case FB_OP_INCRBYFLOAT:
        incrbyfloat(op);
        return;
    default:
        setif(op);
        return;
    }
}
