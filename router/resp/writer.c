/* RESP encoding of replies. */
#include "router/resp/writer.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "proto/base/number.h"

/* type, number, CRLF */
static void put_header(struct fb_buf *out, char type, int64_t v)
{
    char *p = (char *)fb_buf_grow(out, FB_NUMBER_BYTES_MAX + 3);
    size_t n = 1;
    p[0] = type;
    if (v >= 0 && v < 10)
        p[n++] = (char)('0' + v);
    else
        n += fb_format_i64(v, p + 1);
    p[n++] = '\r';
    p[n++] = '\n';
    out->n -= FB_NUMBER_BYTES_MAX + 3 - n;
}

void resp_put_simple(struct fb_buf *out, const char *s)
{
    fb_buf_put_u8(out, '+');
    fb_buf_put_str(out, s);
    fb_buf_put(out, "\r\n", 2);
}

void resp_put_error(struct fb_buf *out, struct fb_bytes text)
{
    uint8_t *p;
    while (text.n > 0 && (text.p[text.n - 1] == '\r' || text.p[text.n - 1] == '\n'))
        text.n--;
    p = fb_buf_grow(out, text.n + 3);
    *p++ = '-';
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        *p++ = (c == '\r' || c == '\n' || c == 0) ? ' ' : c;
    }
    *p++ = '\r';
    *p = '\n';
}

void resp_put_errorf(struct fb_buf *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    int n;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fb_assert(n >= 0);
    if ((size_t)n >= sizeof(text))
        n = (int)sizeof(text) - 1;
    resp_put_error(out, fb_bytes(text, (size_t)n));
}

void resp_put_int(struct fb_buf *out, int64_t v)
{
    put_header(out, ':', v);
}

void resp_put_bulk(struct fb_buf *out, struct fb_bytes v)
{
    uint8_t *p;
    fb_assert(v.n <= INT64_MAX);
    /* room for all of it at once: one check, one copy */
    (void)fb_buf_grow(out, FB_NUMBER_BYTES_MAX + 5 + v.n);
    out->n -= FB_NUMBER_BYTES_MAX + 5 + v.n;
    put_header(out, '$', (int64_t)v.n);
    p = out->p + out->n;
    if (v.n > 0)
        memcpy(p, v.p, v.n);
    p[v.n] = '\r';
    p[v.n + 1] = '\n';
    out->n += v.n + 2;
}

void resp_put_bulk_str(struct fb_buf *out, const char *s)
{
    resp_put_bulk(out, fb_bytes_str(s));
}

void resp_put_bulk_int(struct fb_buf *out, int64_t v)
{
    char text[FB_NUMBER_BYTES_MAX];
    resp_put_bulk(out, fb_bytes(text, fb_format_i64(v, text)));
}

void resp_put_null(struct fb_buf *out, int proto)
{
    if (proto == 3)
        fb_buf_put(out, "_\r\n", 3);
    else
        fb_buf_put(out, "$-1\r\n", 5);
}

void resp_put_null_array(struct fb_buf *out, int proto)
{
    if (proto == 3)
        fb_buf_put(out, "_\r\n", 3);
    else
        fb_buf_put(out, "*-1\r\n", 5);
}

void resp_put_array(struct fb_buf *out, size_t n)
{
    put_header(out, '*', (int64_t)n);
}

void resp_put_map(struct fb_buf *out, int proto, size_t pairs)
{
    if (proto == 3)
        put_header(out, '%', (int64_t)pairs);
    else
        put_header(out, '*', (int64_t)pairs * 2);
}

void resp_put_set(struct fb_buf *out, int proto, size_t n)
{
    put_header(out, proto == 3 ? '~' : '*', (int64_t)n);
}

void resp_put_push(struct fb_buf *out, int proto, size_t n)
{
    put_header(out, proto == 3 ? '>' : '*', (int64_t)n);
}

void resp_put_double(struct fb_buf *out, int proto, double v)
{
    char text[64];
    int n;
    if (isinf(v))
        n = snprintf(text, sizeof(text), "%s", v > 0 ? "inf" : "-inf");
    else if (isnan(v))
        n = snprintf(text, sizeof(text), "nan");
    else
        n = snprintf(text, sizeof(text), "%.17g", v);
    fb_assert(n > 0);
    if (proto != 3) {
        resp_put_bulk(out, fb_bytes(text, (size_t)n));
        return;
    }
    fb_buf_put_u8(out, ',');
    fb_buf_put(out, text, (size_t)n);
    fb_buf_put(out, "\r\n", 2);
}

void resp_put_bool(struct fb_buf *out, int proto, bool v)
{
    if (proto == 3)
        fb_buf_put(out, v ? "#t\r\n" : "#f\r\n", 4);
    else
        resp_put_int(out, v);
}

void resp_put_big(struct fb_buf *out, int proto, struct fb_bytes digits)
{
    if (proto != 3) {
        resp_put_bulk(out, digits);
        return;
    }
    fb_buf_put_u8(out, '(');
    fb_buf_put_bytes(out, digits);
    fb_buf_put(out, "\r\n", 2);
}

void resp_put_verbatim(struct fb_buf *out, int proto, const char ext[3], struct fb_bytes v)
{
    if (proto != 3) {
        resp_put_bulk(out, v);
        return;
    }
    put_header(out, '=', (int64_t)v.n + 4);
    fb_buf_put(out, ext, 3);
    fb_buf_put_u8(out, ':');
    fb_buf_put_bytes(out, v);
    fb_buf_put(out, "\r\n", 2);
}
