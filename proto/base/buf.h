/* A growable byte buffer with a limit. One owner, no thread of its own. */
#ifndef FB_PROTO_BASE_BUF_H_
#define FB_PROTO_BASE_BUF_H_

#include "proto/base/assert.h"
#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct fb_buf {
    uint8_t *p;
    size_t n;   /* bytes used */
    size_t cap; /* bytes allocated */
};

/* All-zero is an empty buffer. fini frees and zeroes. */
void fb_buf_fini(struct fb_buf *b);
/* Room for `n` more bytes, or the process ends: memory for bounded structures of ours is not a
 * peer's to refuse. Callers bound `n` before they ask. Gives the place to write; b->n is not
 * advanced. */
uint8_t *fb_buf_reserve(struct fb_buf *b, size_t n);
/* Like reserve, and advances. */
static inline uint8_t *fb_buf_grow(struct fb_buf *b, size_t n)
{
    uint8_t *at = (b->cap - b->n >= n && b->p != NULL) ? b->p + b->n : fb_buf_reserve(b, n);
    b->n += n;
    return at;
}
/* For sizes that come from outside: like reserve, but NULL when there is no memory; nothing has
 * changed then. */
FB_MUST_USE uint8_t *fb_buf_try_reserve(struct fb_buf *b, size_t n);
static inline void fb_buf_clear(struct fb_buf *b)
{
    b->n = 0;
}
/* Drop `n` bytes at the front (moves the rest). */
void fb_buf_consume(struct fb_buf *b, size_t n);
/* Give memory back when more than `keep` is allocated; contents must be empty. */
void fb_buf_shrink(struct fb_buf *b, size_t keep);
static inline struct fb_bytes fb_buf_view(const struct fb_buf *b)
{
    return fb_bytes(b->p, b->n);
}

static inline void fb_buf_put(struct fb_buf *b, const void *p, size_t n)
{
    if (n > 0)
        memcpy(fb_buf_grow(b, n), p, n);
}
static inline void fb_buf_put_bytes(struct fb_buf *b, struct fb_bytes v)
{
    fb_buf_put(b, v.p, v.n);
}
static inline void fb_buf_put_str(struct fb_buf *b, const char *s)
{
    fb_buf_put(b, s, strlen(s));
}
static inline void fb_buf_put_u8(struct fb_buf *b, uint8_t v)
{
    *fb_buf_grow(b, 1) = v;
}
static inline void fb_buf_put_u16(struct fb_buf *b, uint16_t v)
{
    fb_put_u16(fb_buf_grow(b, 2), v);
}
static inline void fb_buf_put_u32(struct fb_buf *b, uint32_t v)
{
    fb_put_u32(fb_buf_grow(b, 4), v);
}
static inline void fb_buf_put_u64(struct fb_buf *b, uint64_t v)
{
    fb_put_u64(fb_buf_grow(b, 8), v);
}
void fb_buf_printf(struct fb_buf *b, const char *fmt, ...) FB_PRINTF(2, 3);

/* malloc and friends that end the process on failure: for start-up and bounded structures of ours.
 */
void *fb_xmalloc(size_t n);
void *fb_xcalloc(size_t n, size_t size);
void *fb_xrealloc(void *p, size_t n);
char *fb_xstrdup(const char *s);
/* n: a multiple of align. Freed with free(). */
void *fb_xaligned(size_t align, size_t n);
/* For sizes that come from outside (a file, a peer): NULL is an answer, which becomes FB_ENOMEM. */
FB_MUST_USE void *fb_try_malloc(size_t n);

#endif
