/* Codecs of flat messages: one list of fields makes both of them. For the .c files of proto/wire.
 *
 * A type NAME of a field is PUT_NAME and TAKE_NAME; a file may add its own.
 */
#ifndef FB_PROTO_WIRE_FIELDS_H_
#define FB_PROTO_WIRE_FIELDS_H_

#include "proto/base/bounds.h"
#include "proto/wire/value.h"

#define PUT_u8(f) fb_buf_put_u8(out, m->f);
#define PUT_u16(f) fb_buf_put_u16(out, m->f);
#define PUT_u32(f) fb_buf_put_u32(out, m->f);
#define PUT_u64(f) fb_buf_put_u64(out, m->f);
#define PUT_i64(f) fb_buf_put_u64(out, (uint64_t)m->f);
#define PUT_bool(f) fb_buf_put_u8(out, m->f);
#define PUT_str(f) fb_list_put(out, m->f);
#define PUT_name(f) PUT_str(f)
#define PUT_key(f) PUT_str(f)
#define PUT_kind(f) PUT_u8(f)

#define TAKE_u8(f) m->f = fb_take_u8(in);
#define TAKE_u16(f) m->f = fb_take_u16(in);
#define TAKE_u32(f) m->f = fb_take_u32(in);
#define TAKE_u64(f) m->f = fb_take_u64(in);
#define TAKE_i64(f) m->f = (int64_t)fb_take_u64(in);
#define TAKE_bool(f) m->f = fb_take_u8(in) != 0;
#define TAKE_str(f) m->f = fb_take(in, fb_take_u32(in));
#define TAKE_name(f) m->f = fb_take_at_most(in, FB_NAME_BYTES_MAX);
#define TAKE_key(f) m->f = fb_take_at_most(in, FB_KEY_BYTES_MAX);
#define TAKE_kind(f)                                                                               \
    m->f = fb_take_u8(in);                                                                         \
    in->bad |= m->f > FB_KIND_HASH;

/* Receivers copy names and keys into places of fixed size, so their limits hold from here on. */
static inline struct fb_bytes fb_take_at_most(struct fb_reader *in, uint32_t max)
{
    uint32_t n = fb_take_u32(in);
    in->bad |= n > max;
    return fb_take(in, n);
}

#define FIELD_PUT(type, field) PUT_##type(field)
#define FIELD_TAKE(type, field) TAKE_##type(field)

#define CODEC(name, FIELDS)                                                                        \
    void fb_##name##_encode(struct fb_buf *out, const struct fb_##name *m)                         \
    {                                                                                              \
        FIELDS(FIELD_PUT)                                                                          \
    }                                                                                              \
    enum fb_status fb_##name##_decode(struct fb_reader *in, struct fb_##name *m)                   \
    {                                                                                              \
        FIELDS(FIELD_TAKE)                                                                         \
        return in->bad ? FB_EPROTO : FB_OK;                                                        \
    }

#endif
