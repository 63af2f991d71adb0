/* Growable byte buffer and allocation that cannot fail. */
#include "proto/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static FB_NORETURN void out_of_memory(size_t n)
{
    fprintf(
        stderr,
        "forebay: out of memory asking for %zu bytes; give the process more or lower its limits\n",
        n);
    abort();
}

void *fb_xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (p == NULL)
        out_of_memory(n);
    return p;
}

void *fb_xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (p == NULL)
        out_of_memory(n * size);
    return p;
}

void *fb_xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (q == NULL)
        out_of_memory(n);
    return q;
}

void *fb_xaligned(size_t align, size_t n)
{
    void *p = aligned_alloc(align, n);
    if (p == NULL)
        out_of_memory(n);
    return p;
}

char *fb_xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(fb_xmalloc(n), s, n);
}

void *fb_try_malloc(size_t n)
{
    return malloc(n ? n : 1);
}

void fb_buf_fini(struct fb_buf *b)
{
    free(b->p);
    *b = (struct fb_buf){0};
}

static size_t grown(const struct fb_buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 256;
    fb_assert(n < SIZE_MAX / 4 && b->n < SIZE_MAX / 4);
    while (cap - b->n < n)
        cap *= 2;
    return cap;
}

uint8_t *fb_buf_reserve(struct fb_buf *b, size_t n)
{
    if (b->p == NULL || b->cap - b->n < n) {
        size_t cap = grown(b, n);
        b->p = fb_xrealloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

uint8_t *fb_buf_try_reserve(struct fb_buf *b, size_t n)
{
    if (b->p == NULL || b->cap - b->n < n) {
        size_t cap = grown(b, n);
        uint8_t *p = realloc(b->p, cap);
        if (p == NULL)
            return NULL;
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->n;
}

void fb_buf_consume(struct fb_buf *b, size_t n)
{
    fb_assert(n <= b->n);
    if (n == 0)
        return;
    if (n < b->n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void fb_buf_shrink(struct fb_buf *b, size_t keep)
{
    fb_assert(b->n == 0);
    if (b->cap > keep)
        fb_buf_fini(b);
}

void fb_buf_printf(struct fb_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    fb_assert(n >= 0);
    va_start(ap, fmt);
    vsnprintf((char *)fb_buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}
