/* The n-th allocation fails (fail.h). */
#include "tests/unit/alloc/fail.h"

#include "proto/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static _Thread_local uint64_t count, at; /* at: the one that fails, 0 = none */
static _Thread_local bool all_behind, reached;
static _Thread_local unsigned by_policy; /* within what ends the process instead */
static _Thread_local bool policy_too;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_fb_xmalloc(size_t n);
void *__real_fb_xcalloc(size_t n, size_t size);
void *__real_fb_xrealloc(void *p, size_t n);
char *__real_fb_xstrdup(const char *s);
uint8_t *__real_fb_buf_reserve(struct fb_buf *b, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_fb_xmalloc(size_t n);
void *__wrap_fb_xcalloc(size_t n, size_t size);
void *__wrap_fb_xrealloc(void *p, size_t n);
char *__wrap_fb_xstrdup(const char *s);
uint8_t *__wrap_fb_buf_reserve(struct fb_buf *b, size_t n);
void __wrap_fb_buf_printf(struct fb_buf *b, const char *fmt, ...) FB_PRINTF(2, 3);

static bool fails(void)
{
    if (at == 0 || (by_policy > 0 && !policy_too))
        return false;
    count++;
    if (count != at && !(all_behind && count > at))
        return false;
    reached = true;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_fb_xmalloc(size_t n)
{
    void *p;
    by_policy++;
    p = __real_fb_xmalloc(n);
    by_policy--;
    return p;
}

void *__wrap_fb_xcalloc(size_t n, size_t size)
{
    void *p;
    by_policy++;
    p = __real_fb_xcalloc(n, size);
    by_policy--;
    return p;
}

void *__wrap_fb_xrealloc(void *p, size_t n)
{
    by_policy++;
    p = __real_fb_xrealloc(p, n);
    by_policy--;
    return p;
}

char *__wrap_fb_xstrdup(const char *s)
{
    char *p;
    by_policy++;
    p = __real_fb_xstrdup(s);
    by_policy--;
    return p;
}

uint8_t *__wrap_fb_buf_reserve(struct fb_buf *b, size_t n)
{
    uint8_t *p;
    by_policy++;
    p = __real_fb_buf_reserve(b, n);
    by_policy--;
    return p;
}

void __wrap_fb_buf_printf(struct fb_buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    va_start(ap, fmt);
    (void)vsnprintf((char *)__wrap_fb_buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void fail_from(uint64_t n, bool all)
{
    at = n;
    count = 0;
    all_behind = all;
    reached = false;
}

void fail_policy_too(void)
{
    policy_too = true;
}

bool fail_done(void)
{
    at = 0;
    return reached;
}
