/* Log record encoding: a presence bitmap keeps records small without giving up fixed-size decoding.
 */
#include "proto/wire/record.h"

#include "proto/base/bounds.h"

enum present {
    P_OBJ_VER = 1 << 0,
    P_CHANGED = 1 << 1,
    P_EXPIRES = 1 << 2,
    P_XID = 1 << 3,
    P_HISTORY = 1 << 4,
    P_BASE_XID = 1 << 5,
    P_COUNT = 1 << 6,
    P_SESSION = 1 << 7,
    P_SQLSTATE = 1 << 8,
};

void fb_record_encode(struct fb_buf *out, const struct fb_record *r)
{
    size_t start = out->n;
    uint16_t present = (uint16_t)((r->obj_ver ? P_OBJ_VER : 0) | (r->changed ? P_CHANGED : 0) |
                                  (r->expires_ms ? P_EXPIRES : 0) | (r->xid ? P_XID : 0) |
                                  (r->history ? P_HISTORY : 0) | (r->base_xid ? P_BASE_XID : 0) |
                                  (r->count ? P_COUNT : 0) | (r->session ? P_SESSION : 0) |
                                  (r->sqlstate[0] ? P_SQLSTATE : 0));
    fb_assert(r->key.n <= FB_KEY_BYTES_MAX && r->value.n <= FB_VALUE_BYTES_MAX);
    fb_assert(r->prev < r->ver);
    fb_assert(r->ns_len == 0 || (r->ns_len < r->key.n && r->key.p[r->ns_len] == ':'));
    fb_buf_put_u32(out, 0);
    fb_buf_put_u8(out, r->type);
    fb_buf_put_u8(out, r->flags);
    fb_buf_put_u8(out, r->kind);
    fb_buf_put_u8(out, r->ns_len);
    fb_buf_put_u16(out, r->part);
    fb_buf_put_u16(out, present);
    fb_buf_put_u64(out, r->ver);
    fb_buf_put_u64(out, r->prev);
    fb_buf_put_u64(out, r->ptime_ms);
    if (present & P_OBJ_VER)
        fb_buf_put_u64(out, r->obj_ver);
    if (present & P_CHANGED)
        fb_buf_put_u64(out, r->changed);
    if (present & P_EXPIRES)
        fb_buf_put_u64(out, (uint64_t)r->expires_ms);
    if (present & P_XID)
        fb_buf_put_u64(out, r->xid);
    if (present & P_HISTORY)
        fb_buf_put_u64(out, r->history);
    if (present & P_BASE_XID)
        fb_buf_put_u32(out, r->base_xid);
    if (present & P_COUNT)
        fb_buf_put_u32(out, r->count);
    if (present & P_SESSION) {
        fb_buf_put_u64(out, r->session);
        fb_buf_put_u64(out, r->req_no);
    }
    if (present & P_SQLSTATE)
        fb_buf_put(out, r->sqlstate, 5);
    fb_buf_put_u16(out, (uint16_t)r->key.n);
    fb_buf_put_bytes(out, r->key);
    fb_buf_put_bytes(out, r->value); /* the rest of the record */
    fb_put_u32(out->p + start, (uint32_t)(out->n - start - 4));
}

enum fb_status fb_record_decode(struct fb_reader *in, struct fb_record *out)
{
    uint32_t len = fb_take_u32(in);
    struct fb_reader r = fb_reader(fb_take(in, len));
    uint16_t present, key_n;

    *out = (struct fb_record){0};
    if (in->bad)
        return FB_EPROTO;
    out->type = fb_take_u8(&r);
    out->flags = fb_take_u8(&r);
    out->kind = fb_take_u8(&r);
    out->ns_len = fb_take_u8(&r);
    out->part = fb_take_u16(&r);
    present = fb_take_u16(&r);
    out->ver = fb_take_u64(&r);
    out->prev = fb_take_u64(&r);
    out->ptime_ms = fb_take_u64(&r);
    if (present & P_OBJ_VER)
        out->obj_ver = fb_take_u64(&r);
    if (present & P_CHANGED)
        out->changed = fb_take_u64(&r);
    if (present & P_EXPIRES)
        out->expires_ms = (int64_t)fb_take_u64(&r);
    if (present & P_XID)
        out->xid = fb_take_u64(&r);
    if (present & P_HISTORY)
        out->history = fb_take_u64(&r);
    if (present & P_BASE_XID)
        out->base_xid = fb_take_u32(&r);
    if (present & P_COUNT)
        out->count = fb_take_u32(&r);
    if (present & P_SESSION) {
        out->session = fb_take_u64(&r);
        out->req_no = fb_take_u64(&r);
    }
    if (present & P_SQLSTATE) {
        struct fb_bytes s = fb_take(&r, 5);
        if (s.p != NULL)
            memcpy(out->sqlstate, s.p, 5);
    }
    key_n = fb_take_u16(&r);
    out->key = fb_take(&r, key_n);
    if (r.bad)
        return FB_EPROTO;
    out->value = fb_take(&r, r.n);
    if (out->type < FB_RECORD_EPOCH_START || out->type > FB_RECORD_META ||
        out->kind > FB_KIND_HASH || key_n > FB_KEY_BYTES_MAX || out->value.n > FB_VALUE_BYTES_MAX ||
        out->prev >= out->ver || present > (P_SQLSTATE << 1) - 1)
        return FB_EPROTO;
    /* the id is what follows the colon: readers subtract ns_len + 1 without a look */
    if (out->ns_len != 0 && (out->ns_len >= key_n || out->key.p[out->ns_len] != ':'))
        return FB_EPROTO;
    return FB_OK;
}

const char *fb_record_type_name(uint8_t type)
{
    switch (type) {
#define X(name, number)                                                                            \
    case number:                                                                                   \
        return &#name[10];
        FB_RECORD_TYPE_LIST(X)
#undef X
    default:
        return "?";
    }
}
