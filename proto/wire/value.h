/* What an object holds: a string of bytes, or a hash of fields in one flat run of bytes.
 *
 * Hash encoding: for each field  u16 name length | u32 value length | name | value,  names unique,
 * order of insertion. A list (rows of columns, array replies) is: for each item  u32 length
 * (0xffffffff = null) | bytes.
 */
#ifndef FB_PROTO_WIRE_VALUE_H_
#define FB_PROTO_WIRE_VALUE_H_

#include "proto/base/buf.h"

enum fb_kind {
    FB_KIND_NONE = 0, /* absent: a tombstone in logs and feeds, "no such row" in load replies */
    FB_KIND_STRING = 1,
    FB_KIND_HASH = 2,
};

struct fb_field {
    struct fb_bytes name;
    struct fb_bytes value;
};

/* Is `v` a well-formed hash? Checks lengths and that names are unique. */
bool fb_hash_valid(struct fb_bytes v);
/* Next field; false at the end. `rest` starts as the whole encoding and must be valid. */
static inline bool fb_hash_next(struct fb_bytes *rest, struct fb_field *out)
{
    size_t fn, vn;
    if (rest->n < 6)
        return false;
    fn = fb_get_u16(rest->p);
    vn = fb_get_u32(rest->p + 2);
    if (rest->n - 6 < fn || rest->n - 6 - fn < vn)
        return false;
    out->name = fb_bytes(rest->p + 6, fn);
    out->value = fb_bytes(rest->p + 6 + fn, vn);
    rest->p += 6 + fn + vn;
    rest->n -= 6 + fn + vn;
    return true;
}
/* Value of field `name`: false when the hash has none. */
bool fb_hash_get(struct fb_bytes hash, struct fb_bytes name, struct fb_bytes *value);
size_t fb_hash_count(struct fb_bytes hash);
void fb_hash_put(struct fb_buf *out, struct fb_bytes name, struct fb_bytes value);
static inline size_t fb_hash_field_bytes(size_t name_n, size_t value_n)
{
    return 6 + name_n + value_n;
}

#define FB_LIST_NULL UINT32_C(0xffffffff)
/* Next item; false at the end or where the bytes are malformed (then rest->n stays > 0). Null:
 * out->p == NULL. */
static inline bool fb_list_next(struct fb_bytes *rest, struct fb_bytes *out)
{
    uint32_t n;
    if (rest->n < 4)
        return false;
    n = fb_get_u32(rest->p);
    if (n == FB_LIST_NULL) {
        *out = fb_bytes(NULL, 0);
        n = 0;
    } else {
        if (rest->n - 4 < n)
            return false;
        *out = fb_bytes(rest->p + 4, n);
    }
    rest->p += 4 + n;
    rest->n -= 4 + n;
    return true;
}
static inline void fb_list_put(struct fb_buf *out, struct fb_bytes item)
{
    fb_buf_put_u32(out, (uint32_t)item.n);
    fb_buf_put_bytes(out, item);
}
static inline void fb_list_put_null(struct fb_buf *out)
{
    fb_buf_put_u32(out, FB_LIST_NULL);
}
bool fb_list_valid(struct fb_bytes v);
size_t fb_list_count(struct fb_bytes v);

#endif
