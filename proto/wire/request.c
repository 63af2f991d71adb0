/* Flat encoding of requests and replies. */
#include "proto/wire/request.h"

#include "proto/base/bounds.h"

bool fb_op_known(uint16_t op)
{
    switch (op) {
#define X(name, number, cls)                                                                       \
    case number:                                                                                   \
        return true;
        FB_OP_LIST(X)
#undef X
    default:
        return false;
    }
}

enum fb_op_class fb_op_class(uint16_t op)
{
    switch (op) {
#define X(name, number, cls)                                                                       \
    case number:                                                                                   \
        return FB_OP_##cls;
        FB_OP_LIST(X)
#undef X
    default:
        return FB_OP_WRITE;
    }
}

const char *fb_op_name(uint16_t op)
{
    switch (op) {
#define X(name, number, cls)                                                                       \
    case number:                                                                                   \
        return &#name[6];
        FB_OP_LIST(X)
#undef X
    default:
        return "?";
    }
}

/* 40 bytes fixed, then key, then args. */
#define REQ_FIXED_BYTES 40u

void fb_req_encode(struct fb_buf *out, const struct fb_req *r)
{
    uint8_t *p = fb_buf_grow(out, REQ_FIXED_BYTES);
    fb_assert(r->key.n <= FB_KEY_BYTES_MAX);
    fb_put_u32(p, r->seq);
    fb_put_u16(p + 4, r->op);
    fb_put_u16(p + 6, r->flags);
    fb_put_u16(p + 8, r->part);
    fb_put_u16(p + 10, (uint16_t)r->key.n);
    fb_put_u32(p + 12, r->epoch);
    fb_put_u64(p + 16, (uint64_t)r->a);
    fb_put_u64(p + 24, (uint64_t)r->b);
    fb_put_u32(p + 32, (uint32_t)r->level << 24 | r->nargs);
    fb_put_u32(p + 36, (uint32_t)r->args.n);
    fb_assert(r->nargs < (1u << 24));
    fb_buf_put_bytes(out, r->key);
    fb_buf_put_bytes(out, r->args);
}

enum fb_status fb_req_decode(struct fb_reader *in, struct fb_req *out)
{
    struct fb_bytes h = fb_take(in, REQ_FIXED_BYTES);
    uint32_t level_nargs, args_n;
    uint16_t key_n;
    if (h.p == NULL)
        return FB_EPROTO;
    out->seq = fb_get_u32(h.p);
    out->op = fb_get_u16(h.p + 4);
    out->flags = fb_get_u16(h.p + 6);
    out->part = fb_get_u16(h.p + 8);
    key_n = fb_get_u16(h.p + 10);
    out->epoch = fb_get_u32(h.p + 12);
    out->a = (int64_t)fb_get_u64(h.p + 16);
    out->b = (int64_t)fb_get_u64(h.p + 24);
    level_nargs = fb_get_u32(h.p + 32);
    args_n = fb_get_u32(h.p + 36);
    out->level = (uint8_t)(level_nargs >> 24);
    out->nargs = level_nargs & 0xffffff;
    out->key = fb_take(in, key_n);
    out->args = fb_take(in, args_n);
    if (in->bad || key_n > FB_KEY_BYTES_MAX || out->level > FB_LEVEL_DATABASE ||
        !fb_op_known(out->op))
        return FB_EPROTO;
    /* the count is believed later, so it is checked here, once */
    if (out->nargs == 0) {
        if (out->args.n != 0)
            return FB_EPROTO;
    } else {
        struct fb_bytes rest = out->args, item;
        uint32_t n = 0;
        while (fb_list_next(&rest, &item)) {
            if (item.p == NULL)
                return FB_EPROTO;
            n++;
        }
        if (rest.n != 0 || n != out->nargs)
            return FB_EPROTO;
    }
    return FB_OK;
}

#define REP_FIXED_BYTES 28u
#define REP_TIMES_BYTES 12u /* behind the payload when byte 7 is 1 */

const char *fb_wait_on_name(uint8_t on)
{
    static const char *const names[] = {"nothing",  "fsync", "database",
                                        "throttle", "load",  "copies"};
    return on < FB_COUNT_OF(names) ? names[on] : "?";
}

void fb_rep_encode(struct fb_buf *out, const struct fb_rep *r)
{
    uint8_t *p = fb_buf_grow(out, REP_FIXED_BYTES);
    bool timed = (r->queue_us | r->wait_us) != 0;
    fb_put_u32(p, r->seq);
    p[4] = r->type;
    p[5] = r->level;
    p[6] = r->hit;
    p[7] = timed;
    fb_put_u64(p + 8, (uint64_t)r->num);
    fb_put_u64(p + 16, r->ver);
    fb_put_u32(p + 24, (uint32_t)r->payload.n);
    fb_buf_put_bytes(out, r->payload);
    if (timed) {
        p = fb_buf_grow(out, REP_TIMES_BYTES);
        fb_put_u32(p, r->queue_us);
        fb_put_u32(p + 4, r->wait_us);
        fb_put_u32(p + 8, r->wait_on);
    }
}

enum fb_status fb_rep_decode(struct fb_reader *in, struct fb_rep *out)
{
    struct fb_bytes h = fb_take(in, REP_FIXED_BYTES);
    if (h.p == NULL)
        return FB_EPROTO;
    out->seq = fb_get_u32(h.p);
    out->type = h.p[4];
    out->level = h.p[5];
    out->hit = h.p[6] != 0;
    out->num = (int64_t)fb_get_u64(h.p + 8);
    out->ver = fb_get_u64(h.p + 16);
    out->payload = fb_take(in, fb_get_u32(h.p + 24));
    out->queue_us = out->wait_us = 0;
    out->wait_on = FB_WAIT_NOTHING;
    if (h.p[7] == 1) {
        struct fb_bytes t = fb_take(in, REP_TIMES_BYTES);
        if (t.p == NULL || fb_get_u32(t.p + 8) > FB_WAIT_COPIES)
            return FB_EPROTO;
        out->queue_us = fb_get_u32(t.p);
        out->wait_us = fb_get_u32(t.p + 4);
        out->wait_on = t.p[8];
    } else if (h.p[7] != 0) {
        return FB_EPROTO;
    }
    if (in->bad || out->type > FB_REP_ERR || out->level > FB_LEVEL_DATABASE)
        return FB_EPROTO;
    return FB_OK;
}
