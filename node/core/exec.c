/* Evaluating one operation: dispatch, replies, and the two ways to write. */
#include "node/core/lane_impl.h"

#include <stdarg.h>
#include <stdio.h>

void op_err(struct op *op, const char *fmt, ...)
{
    struct lane *l = op->l;
    char text[1024];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof text)
        n = sizeof text - 1;
    for (int i = 0; i < n; i++) /* one line: a reply cannot hold a line end */
        if (text[i] == '\r' || text[i] == '\n')
            text[i] = ' ';
    fb_buf_clear(&l->payload);
    fb_buf_put(&l->payload, text, (size_t)n);
    op->rep.type = FB_REP_ERR;
    op->rep.num = FB_REP_ERR_PLAIN;
    op->rep.payload = fb_buf_view(&l->payload);
    STAT_ADD(l, rejected_invalid, 1);
}

void op_int(struct op *op, int64_t n)
{
    op->rep.type = FB_REP_INT;
    op->rep.num = n;
}

void op_ok(struct op *op)
{
    op->rep.type = FB_REP_OK;
}

void op_nil(struct op *op)
{
    op->rep.type = FB_REP_NIL;
}

void op_bulk(struct op *op, struct fb_bytes v)
{
    struct lane *l = op->l;
    fb_buf_clear(&l->payload);
    fb_buf_put_bytes(&l->payload, v);
    op->rep.type = FB_REP_BULK;
    op->rep.payload = fb_buf_view(&l->payload);
}

bool op_arg(const struct op *op, uint32_t index, struct fb_bytes *out)
{
    struct fb_bytes rest = op->req->args;
    do {
        if (!fb_list_next(&rest, out))
            return false;
    } while (index-- > 0);
    return out->p != NULL;
}

bool op_wrong_type(struct op *op, uint8_t kind)
{
    if (!op->live || op->cur->kind == kind)
        return false;
    op_err(op, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return true;
}

bool op_put(struct op *op, uint8_t kind, struct fb_bytes value, int64_t expires_ms,
            uint64_t changed)
{
    struct lane *l = op->l;
    const struct fb_namespace *conf = op->ns->conf;
    uint64_t limit = conf->max_value != 0 && conf->max_value < FB_VALUE_BYTES_MAX
                         ? conf->max_value
                         : FB_VALUE_BYTES_MAX;
    struct object *next;

    if (value.n > limit) {
        op_err(op,
               "ERR a value of %zu bytes is above max_value = %llu of namespace \"%s\" (nothing "
               "changed)",
               value.n, (unsigned long long)limit, conf->name);
        return false;
    }
    next = object_new(op->key, op->ns_len, op->nsid, op->p->id, kind, value.n);
    if (value.n > 0)
        memcpy(next->bytes + next->klen, value.p, value.n);
    if (conf->mapped)
        atomic_store_explicit(&next->flags, OBJECT_MAPPED, memory_order_relaxed);
    else
        atomic_store_explicit(&next->expires_ms, expires_ms, memory_order_relaxed);
    op->wrote_ver = write_object(l, op->p, next, op->hash, FB_RECORD_PUT, op->cur, changed, false);
    op->wrote = true;
    return true;
}

bool op_del(struct op *op)
{
    struct lane *l = op->l;
    struct object *next = object_new(op->key, op->ns_len, op->nsid, op->p->id, FB_KIND_NONE, 0);
    if (op->ns->conf->mapped)
        atomic_store_explicit(&next->flags, OBJECT_MAPPED, memory_order_relaxed);
    op->wrote_ver = write_object(l, op->p, next, op->hash, FB_RECORD_DEL, op->cur,
                                 op->ns->conf->mapped ? UINT64_MAX : 0, false);
    op->wrote = true;
    return true;
}

void exec_op(struct op *op)
{
    uint16_t n = op->req->op;

    if (fb_op_class(n) == FB_OP_READ) {
        if (op->live) {
            STAT_ADD(op->l, hits, op->loaded ? 0 : 1);
            if (!(op->req->flags & FB_REQ_IDLE))
                object_visit(op->cur);
        }
        exec_read(op);
    } else if (n >= FB_OP_SET && n <= FB_OP_SETIF) {
        exec_string(op);
    } else if (n >= FB_OP_HSET && n <= FB_OP_HINCRBYFLOAT) {
        exec_hash(op);
    } else {
        exec_key(op);
    }
}
