/* Small texts: glob patterns against a plain recursion, durations, sizes and numbers against their
 * own output, UTF-8 against the rules written down once more. The first byte says which.
 */
#include "tests/fuzz/input.h"

#include "proto/base/buf.h"
#include "proto/base/glob.h"
#include "proto/base/number.h"
#include "proto/base/units.h"
#include "proto/base/utf8.h"

#include <math.h>
#include <stdlib.h>

/* Redis's stringmatchlen as it is written there: recursion at each star. */
static bool plain_glob(const uint8_t *p, size_t pn, const uint8_t *s, size_t sn, unsigned *budget)
{
    if (*budget == 0)
        return false;
    --*budget;
    if (sn == 0)
        return pn == 0; /* nothing matches an empty text but an empty pattern */
    while (pn > 0 && sn > 0) {
        switch (p[0]) {
        case '*':
            while (pn > 1 && p[1] == '*') {
                p++;
                pn--;
            }
            if (pn == 1)
                return true;
            for (; sn > 0; s++, sn--)
                if (plain_glob(p + 1, pn - 1, s, sn, budget))
                    return true;
            return false;
        case '?':
            break;
        case '[': {
            bool not, match = false;
            p++;
            pn--;
            not = pn > 0 && p[0] == '^';
            if (not ) {
                p++;
                pn--;
            }
            for (;; p++, pn--) {
                if (pn >= 2 && p[0] == '\\') {
                    p++;
                    pn--;
                    match |= p[0] == s[0];
                } else if (pn == 0) {
                    p--;
                    pn++;
                    break;
                } else if (p[0] == ']') {
                    break;
                } else if (pn >= 3 && p[1] == '-') {
                    uint8_t lo = p[0] < p[2] ? p[0] : p[2], hi = p[0] < p[2] ? p[2] : p[0];
                    p += 2;
                    pn -= 2;
                    match |= s[0] >= lo && s[0] <= hi;
                } else {
                    match |= p[0] == s[0];
                }
            }
            if (match == not )
                return false;
            break;
        }
        case '\\':
            if (pn >= 2) {
                p++;
                pn--;
            }
            /* fall through */
        default:
            if (p[0] != s[0])
                return false;
        }
        p++;
        pn--;
        s++;
        sn--;
    }
    while (sn == 0 && pn > 0 && p[0] == '*') {
        p++;
        pn--;
    }
    return pn == 0 && sn == 0;
}

static void check_glob(struct fb_bytes b)
{
    struct fuzz_in in = {b.p, b.n};
    size_t n = fuzz_u8(&in) % 24;
    struct fb_bytes pattern = fuzz_bytes(&in, n), text = fuzz_bytes(&in, 24);
    unsigned budget = 20000;
    bool ours = fb_glob_match(pattern, text), plain;

    fb_assert(!fb_glob_is_all(pattern) || text.n == 0 || ours);
    plain = plain_glob(pattern.p, pattern.n, text.p, text.n, &budget);
    fb_assert(budget == 0 || ours == plain);
    (void)fb_glob_match(b, b);
}

static void check_units(struct fb_bytes b)
{
    struct fb_err err = {0};
    char text[32];
    uint64_t v, again;

    if (fb_duration_parse(b, &v, &err) == FB_OK) {
        fb_assert(fb_duration_parse(fb_bytes_str(fb_duration_text(v, text)), &again, &err) ==
                  FB_OK);
        fb_assert(v == again);
    } else {
        fb_assert(err.msg[0] != 0);
    }
    if (fb_size_parse(b, &v, &err) == FB_OK) {
        fb_assert(fb_size_parse(fb_bytes_str(fb_size_text(v, text)), &again, &err) == FB_OK);
        fb_assert(v == again);
    }
}

static void check_numbers(struct fb_bytes b)
{
    char text[FB_LONG_DOUBLE_BYTES_MAX];
    int64_t i;
    uint64_t u;
    long double d, e;

    if (fb_parse_i64(b, &i))
        fb_assert(fb_bytes_equal(b, fb_bytes(text, fb_format_i64(i, text))));
    if (fb_parse_u64(b, &u))
        fb_assert(fb_bytes_equal(b, fb_bytes(text, fb_format_u64(u, text))));
    if (fb_parse_long_double(b, &d) && isfinite(d)) {
        size_t n = fb_format_long_double(d, text);
        fb_assert(n > 0 && n <= sizeof(text));
        if (n < 256) {
            fb_assert(fb_parse_long_double(fb_bytes(text, n), &e));
            fb_assert(fabsl(d - e) <= 1e-17L + fabsl(d) * 1e-15L);
        }
    }
}

static bool plain_utf8(struct fb_bytes b, size_t *chars)
{
    *chars = 0;
    for (size_t i = 0; i < b.n; ++*chars) {
        uint32_t c = b.p[i], more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if ((c >= 0x80 && c < 0xc0) || c >= 0xf8 || b.n - i <= more)
            return false;
        c = more == 0 ? c : c & (0x3fu >> more);
        for (uint32_t k = 1; k <= more; k++) {
            if ((b.p[i + k] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (b.p[i + k] & 0x3f);
        }
        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
        i += more + 1;
    }
    return true;
}

static void check_utf8(struct fb_bytes b)
{
    size_t chars = 0, plain;
    bool valid = fb_utf8_valid(b, &chars);
    fb_assert(valid == plain_utf8(b, &plain));
    fb_assert(!valid || chars == plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static void (*const checks[])(struct fb_bytes) = {check_glob, check_units, check_numbers,
                                                      check_utf8};
    uint8_t *exact;

    if (n < 1)
        return 0;
    exact = fb_xmalloc(n - 1);
    memcpy(exact, data + 1, n - 1);
    checks[data[0] % FB_COUNT_OF(checks)](fb_bytes(exact, n - 1));
    free(exact);
    return 0;
}
