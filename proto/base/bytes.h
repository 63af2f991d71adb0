/* A view of bytes owned by somebody else. */
#ifndef FB_PROTO_BASE_BYTES_H_
#define FB_PROTO_BASE_BYTES_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct fb_bytes {
    const uint8_t *p;
    size_t n;
};

static inline struct fb_bytes fb_bytes(const void *p, size_t n)
{
    return (struct fb_bytes){(const uint8_t *)p, n};
}

static inline struct fb_bytes fb_bytes_str(const char *s)
{
    return (struct fb_bytes){(const uint8_t *)s, strlen(s)};
}

static inline bool fb_bytes_equal(struct fb_bytes a, struct fb_bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool fb_bytes_is(struct fb_bytes a, const char *s)
{
    return fb_bytes_equal(a, fb_bytes_str(s));
}

/* Little-endian loads and stores: the byte order of every format of ours. */
static inline void fb_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void fb_put_u32(uint8_t *p, uint32_t v)
{
    fb_put_u16(p, (uint16_t)v);
    fb_put_u16(p + 2, (uint16_t)(v >> 16));
}
static inline void fb_put_u64(uint8_t *p, uint64_t v)
{
    fb_put_u32(p, (uint32_t)v);
    fb_put_u32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t fb_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t fb_get_u32(const uint8_t *p)
{
    return (uint32_t)fb_get_u16(p) | (uint32_t)fb_get_u16(p + 2) << 16;
}
static inline uint64_t fb_get_u64(const uint8_t *p)
{
    return (uint64_t)fb_get_u32(p) | (uint64_t)fb_get_u32(p + 4) << 32;
}

/* A cursor for decoders: every take checks the rest; after the first failure `bad` stays set and
 * takes give zero. */
struct fb_reader {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static inline struct fb_reader fb_reader(struct fb_bytes b)
{
    return (struct fb_reader){b.p, b.n, false};
}

static inline struct fb_bytes fb_take(struct fb_reader *r, size_t n)
{
    struct fb_bytes out = {r->p, n};
    if (r->bad || n > r->n) {
        r->bad = true;
        return (struct fb_bytes){NULL, 0};
    }
    if (n > 0) { /* an empty reader may have no bytes at all */
        r->p += n;
        r->n -= n;
    }
    return out;
}
static inline uint8_t fb_take_u8(struct fb_reader *r)
{
    struct fb_bytes b = fb_take(r, 1);
    return b.p ? b.p[0] : 0;
}
static inline uint16_t fb_take_u16(struct fb_reader *r)
{
    struct fb_bytes b = fb_take(r, 2);
    return b.p ? fb_get_u16(b.p) : 0;
}
static inline uint32_t fb_take_u32(struct fb_reader *r)
{
    struct fb_bytes b = fb_take(r, 4);
    return b.p ? fb_get_u32(b.p) : 0;
}
static inline uint64_t fb_take_u64(struct fb_reader *r)
{
    struct fb_bytes b = fb_take(r, 8);
    return b.p ? fb_get_u64(b.p) : 0;
}

#endif
