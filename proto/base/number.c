/* Numbers as text. */
#include "proto/base/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/base/assert.h"

bool fb_parse_u64(struct fb_bytes s, uint64_t *out)
{
    uint64_t v;
    if (s.n == 0 || s.n > 20)
        return false;
    if (s.n == 1 && s.p[0] == '0') {
        *out = 0;
        return true;
    }
    if (s.p[0] < '1' || s.p[0] > '9')
        return false;
    v = (uint64_t)(s.p[0] - '0');
    for (size_t i = 1; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (c < '0' || c > '9')
            return false;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, c - '0', &v))
            return false;
    }
    *out = v;
    return true;
}

bool fb_parse_i64(struct fb_bytes s, int64_t *out)
{
    uint64_t v;
    if (s.n == 0)
        return false;
    if (s.p[0] != '-') {
        if (!fb_parse_u64(s, &v) || v > INT64_MAX)
            return false;
        *out = (int64_t)v;
        return true;
    }
    if (!fb_parse_u64(fb_bytes(s.p + 1, s.n - 1), &v) || v == 0 || v > (uint64_t)INT64_MAX + 1)
        return false;
    *out = (int64_t)(0 - v);
    return true;
}

size_t fb_format_u64(uint64_t v, char *out)
{
    char digits[FB_NUMBER_BYTES_MAX];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

size_t fb_format_i64(int64_t v, char *out)
{
    if (v >= 0)
        return fb_format_u64((uint64_t)v, out);
    out[0] = '-';
    return 1 + fb_format_u64(0 - (uint64_t)v, out + 1);
}

bool fb_parse_long_double(struct fb_bytes s, long double *out)
{
    char text[FB_LONG_DOUBLE_BYTES_MAX];
    char *end;
    long double v;
    if (s.n == 0 || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    /* strtold skips what isspace says; Redis does not let it */
    if (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r'))
        return false;
    errno = 0;
    v = strtold(text, &end);
    if ((size_t)(end - text) != s.n || isnan(v) || errno == EINVAL)
        return false;
    if (errno == ERANGE && (isinf(v) || v == 0))
        return false;
    *out = v;
    return true;
}

size_t fb_format_long_double(long double v, char *out)
{
    int n;
    fb_assert(isfinite(v));
    n = snprintf(out, FB_LONG_DOUBLE_BYTES_MAX, "%.17Lf", v);
    fb_assert(n > 0 && (size_t)n < FB_LONG_DOUBLE_BYTES_MAX);
    while (out[n - 1] == '0')
        n--;
    if (out[n - 1] == '.')
        n--;
    if (n == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        n = 1;
    }
    return (size_t)n;
}
