/* Durations and sizes: a whole number and a unit. */
#include "proto/base/units.h"

#include "proto/base/compiler.h"

#include <stdio.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* A century: far enough for every setting, and near enough that nanoseconds of it still fit 64
 * bits. */
#define DURATION_MS_MAX (UINT64_C(36500) * 86400000)
#define SIZE_BYTES_MAX (UINT64_C(1) << 60)
#define TEXT_BYTES_MAX 32

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {{"TiB", UINT64_C(1) << 40},
                                         {"GiB", 1 << 30},
                                         {"MiB", 1 << 20},
                                         {"KiB", 1 << 10},
                                         {"TB", 1000000000000},
                                         {"GB", 1000000000},
                                         {"MB", 1000000},
                                         {"KB", 1000},
                                         {"kB", 1000},
                                         {"B", 1}};

/* Digits at the start of s; false when there are none or they overflow. */
static bool take_number(struct fb_bytes *s, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s->p[i] - '0'), &v))
            return false;
    }
    s->p += i;
    s->n -= i;
    *out = v;
    return i > 0;
}

static const struct unit *find_unit(struct fb_bytes name, const struct unit *units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fb_bytes_is(name, units[i].name))
            return &units[i];
    return NULL;
}

static int shown(struct fb_bytes s)
{
    return s.n > 40 ? 40 : (int)s.n;
}

enum fb_status fb_duration_parse(struct fb_bytes s, uint64_t *ms, struct fb_err *err)
{
    struct fb_bytes rest = s;
    const struct unit *unit;
    uint64_t v;

    *ms = 0;
    if (fb_bytes_is(s, "none") || fb_bytes_is(s, "0"))
        return FB_OK;
    if (!take_number(&rest, &v) ||
        (unit = find_unit(rest, duration_units, FB_COUNT_OF(duration_units))) == NULL)
        return fb_err_set(
            err, FB_EINVAL,
            "\"%.*s\" is not a duration; write a whole number and ms, s, m, h or d: 250ms, 5s, 30m",
            shown(s), s.p ? (const char *)s.p : "");
    if (__builtin_mul_overflow(v, unit->factor, &v) || v > DURATION_MS_MAX)
        return fb_err_set(err, FB_EINVAL, "duration \"%.*s\" is too long; at most 36500d", shown(s),
                          (const char *)s.p);
    *ms = v;
    return FB_OK;
}

enum fb_status fb_size_parse(struct fb_bytes s, uint64_t *bytes, struct fb_err *err)
{
    struct fb_bytes rest = s;
    const struct unit *unit;
    uint64_t v;

    *bytes = 0;
    if (fb_bytes_is(s, "none") || fb_bytes_is(s, "0"))
        return FB_OK;
    if (!take_number(&rest, &v) || (unit = find_unit(rest.n ? rest : fb_bytes_str("B"), size_units,
                                                     FB_COUNT_OF(size_units))) == NULL)
        return fb_err_set(
            err, FB_EINVAL,
            "\"%.*s\" is not a size; write a whole number and B, KiB, MiB, GiB or TiB: 64MiB",
            shown(s), s.p ? (const char *)s.p : "");
    if (__builtin_mul_overflow(v, unit->factor, &v) || v > SIZE_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "size \"%.*s\" is too large", shown(s),
                          (const char *)s.p);
    *bytes = v;
    return FB_OK;
}

static char *shortest(uint64_t v, const struct unit *units, size_t count, char *out)
{
    char text[TEXT_BYTES_MAX];
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (v == 0 || v % units[i].factor != 0)
            continue;
        snprintf(text, sizeof(text), "%llu%s", (unsigned long long)(v / units[i].factor),
                 units[i].name);
        if (out[0] == '\0' || strlen(text) < strlen(out))
            memcpy(out, text, strlen(text) + 1);
    }
    if (out[0] == '\0')
        memcpy(out, "0", 2);
    return out;
}

char *fb_duration_text(uint64_t ms, char *out)
{
    return shortest(ms, duration_units, FB_COUNT_OF(duration_units), out);
}

char *fb_size_text(uint64_t bytes, char *out)
{
    return shortest(bytes, size_units, FB_COUNT_OF(size_units), out);
}
