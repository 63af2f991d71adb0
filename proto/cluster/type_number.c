/* Input rules of integers, numeric and floats (PostgreSQL: pg_strtoint32 and friends, numeric_in,
 * float8in_internal). */
#include "proto/base/buf.h"
#include "proto/cluster/type_input.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Limits of an unconstrained numeric: digits before and after the point. */
#define NUMERIC_WHOLE_DIGITS_MAX 131072
#define NUMERIC_FRACTION_DIGITS_MAX 16383
#define EXPONENT_MAX 1000000 /* past every limit already; larger ones are held here */

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static struct fb_bytes trim(struct fb_bytes s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

static bool take_sign(struct fb_bytes *s)
{
    bool negative = s->n > 0 && s->p[0] == '-';
    if (s->n > 0 && (s->p[0] == '-' || s->p[0] == '+')) {
        s->p++;
        s->n--;
    }
    return negative;
}

enum fb_input fb_input_int(struct fb_bytes s, unsigned bits)
{
    uint64_t v = 0, limit;
    bool negative, over = false;

    s = trim(s);
    negative = take_sign(&s);
    limit = (UINT64_C(1) << (bits - 1)) - (negative ? 0 : 1);
    if (s.n == 0)
        return FB_INPUT_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return FB_INPUT_SYNTAX;
        /* the rest is still read, so that "99...9x" is a matter of form and not of range */
        over = over || __builtin_mul_overflow(v, 10u, &v) ||
               __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v) || v > limit;
    }
    return over ? FB_INPUT_RANGE : FB_INPUT_OK;
}

bool fb_canonical_int(struct fb_bytes s)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    if (negative) {
        s.p++;
        s.n--;
    }
    if (s.n == 0 || (s.p[0] == '0' && (s.n > 1 || negative)))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]))
            return false;
    return true;
}

static bool is_word(struct fb_bytes s, const char *lower)
{
    size_t n = strlen(lower);
    if (s.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((s.p[i] | 0x20) != (uint8_t)lower[i])
            return false;
    return true;
}

/* A decimal number taken apart: digits with at most one point, and an exponent. */
struct decimal {
    struct fb_bytes mantissa; /* digits and at most one '.' */
    int64_t whole;            /* digits before the point */
    int64_t fraction;         /* digits after it */
    int64_t exponent;
};

static bool take_exponent(struct fb_bytes s, int64_t *out)
{
    bool negative;
    int64_t v = 0;
    negative = take_sign(&s);
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return false;
        v = v * 10 + (s.p[i] - '0');
        if (v > EXPONENT_MAX)
            v = EXPONENT_MAX;
    }
    *out = negative ? -v : v;
    return true;
}

/* s without blanks and sign. */
static bool take_decimal(struct fb_bytes s, struct decimal *d)
{
    size_t i = 0;
    bool point = false;
    *d = (struct decimal){0};
    for (; i < s.n && (is_digit(s.p[i]) || (s.p[i] == '.' && !point)); i++) {
        if (s.p[i] == '.')
            point = true;
        else if (point)
            d->fraction++;
        else
            d->whole++;
    }
    d->mantissa = fb_bytes(s.p, i);
    if (d->whole + d->fraction == 0)
        return false;
    if (i == s.n)
        return true;
    if (s.p[i] != 'e' && s.p[i] != 'E')
        return false;
    return take_exponent(fb_bytes(s.p + i + 1, s.n - i - 1), &d->exponent);
}

/* Where the value's first non-zero digit stands: 10^(lead-1) <= |v| < 10^lead. False for zero. */
static bool leading_digit(const struct decimal *d, int64_t *lead)
{
    int64_t place = d->whole + d->exponent;
    for (size_t i = 0; i < d->mantissa.n; i++) {
        if (d->mantissa.p[i] == '.')
            continue;
        if (d->mantissa.p[i] != '0') {
            *lead = place;
            return true;
        }
        place--;
    }
    return false;
}

/* Does rounding to `scale` digits after the point carry into a new leading digit? */
static bool rounds_up_whole(const struct decimal *d, int64_t lead, int64_t scale)
{
    int64_t place = d->whole + d->exponent;
    for (size_t i = 0; i < d->mantissa.n; i++) {
        uint8_t c = d->mantissa.p[i];
        if (c == '.')
            continue;
        if (place <= lead) { /* leading zeros are no digits */
            if (place == -scale)
                return c >= '5';
            if (place > -scale && c != '9')
                return false;
        }
        place--;
    }
    return false;
}

static enum fb_input judge_numeric(const struct decimal *d, int32_t precision, int32_t scale)
{
    int64_t lead = 0, fraction = d->fraction - d->exponent;
    bool zero = !leading_digit(d, &lead);

    if ((!zero && lead > NUMERIC_WHOLE_DIGITS_MAX) || d->exponent >= EXPONENT_MAX ||
        d->exponent <= -EXPONENT_MAX)
        return FB_INPUT_RANGE;
    /* The text becomes a numeric without limits first, whatever the column then rounds it to. */
    if (fraction > NUMERIC_FRACTION_DIGITS_MAX)
        return FB_INPUT_RANGE;
    if (precision < 0)
        return FB_INPUT_OK;
    if (zero || lead < -(int64_t)scale)
        return FB_INPUT_OK; /* rounds to nothing */
    if (rounds_up_whole(d, lead, scale))
        lead++;
    else if (lead == -(int64_t)scale)
        return FB_INPUT_OK;
    return lead > (int64_t)precision - scale ? FB_INPUT_RANGE : FB_INPUT_OK;
}

static bool is_infinity(struct fb_bytes s)
{
    return is_word(s, "infinity") || is_word(s, "inf");
}

enum fb_input fb_input_numeric(struct fb_bytes s, int32_t precision, int32_t scale)
{
    struct decimal d;
    s = trim(s);
    if (is_word(s, "nan"))
        return FB_INPUT_OK;
    (void)take_sign(&s);
    if (is_infinity(s))
        return precision < 0 ? FB_INPUT_OK : FB_INPUT_RANGE;
    if (!take_decimal(s, &d))
        return FB_INPUT_SYNTAX;
    return judge_numeric(&d, precision, scale);
}

enum fb_input fb_input_float(struct fb_bytes s, bool single)
{
    struct fb_bytes number;
    struct decimal d;
    char stack[128], *text = stack;
    bool out_of_range;

    s = trim(s);
    if (is_word(s, "nan"))
        return FB_INPUT_OK;
    number = s;
    (void)take_sign(&number);
    if (is_infinity(number))
        return FB_INPUT_OK;
    if (!take_decimal(number, &d))
        return FB_INPUT_SYNTAX;
    if (number.n >= sizeof(stack))
        text = fb_xmalloc(number.n + 1);
    memcpy(text, number.p, number.n);
    text[number.n] = '\0';
    errno = 0;
    /* as PostgreSQL: too large, or too small for anything but zero */
    if (single) {
        float v = strtof(text, NULL);
        out_of_range = errno == ERANGE && (v == 0.0f || v >= HUGE_VALF);
    } else {
        double v = strtod(text, NULL);
        out_of_range = errno == ERANGE && (v == 0.0 || v >= HUGE_VAL);
    }
    if (text != stack)
        free(text);
    return out_of_range ? FB_INPUT_RANGE : FB_INPUT_OK;
}
