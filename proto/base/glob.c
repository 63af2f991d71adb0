/* Glob matching: Redis's rules, without its exponential time on many stars. */
#include "proto/base/glob.h"

/* Match the class at p[*i] (just after '[') against c; moves *i to the closing ']' or the last byte
 * of the pattern. */
static bool class_match(struct fb_bytes pat, size_t *at, uint8_t c)
{
    size_t i = *at;
    bool negate = i < pat.n && pat.p[i] == '^';
    bool match = false;
    if (negate)
        i++;
    for (;; i++) {
        if (i < pat.n && pat.p[i] == '\\' && pat.n - i >= 2) {
            i++;
            match |= pat.p[i] == c;
        } else if (i >= pat.n) {
            i--; /* no closing bracket: the class ends with the pattern */
            break;
        } else if (pat.p[i] == ']') {
            break;
        } else if (pat.n - i >= 3 && pat.p[i + 1] == '-') {
            uint8_t lo = pat.p[i], hi = pat.p[i + 2];
            if (lo > hi) {
                uint8_t t = lo;
                lo = hi;
                hi = t;
            }
            i += 2;
            match |= c >= lo && c <= hi;
        } else {
            match |= pat.p[i] == c;
        }
    }
    *at = i;
    return match != negate;
}

/* Match one element of the pattern at *at against c and step over it. */
static bool element_match(struct fb_bytes pat, size_t *at, uint8_t c)
{
    size_t i = *at;
    bool match;
    switch (pat.p[i]) {
    case '?':
        match = true;
        break;
    case '[':
        i++;
        match = class_match(pat, &i, c);
        break;
    case '\\':
        if (pat.n - i >= 2)
            i++;
        match = pat.p[i] == c;
        break;
    default:
        match = pat.p[i] == c;
    }
    *at = i + 1;
    return match;
}

bool fb_glob_match(struct fb_bytes pattern, struct fb_bytes text)
{
    size_t p = 0, t = 0;
    /* where to go back to: behind the latest star, and the text it is to swallow up to. Only the
     * latest one matters. */
    size_t star_p = SIZE_MAX, star_t = 0;
    if (text.n == 0)
        return pattern.n == 0;
    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star_p = ++p;
            star_t = t;
            continue;
        }
        if (p < pattern.n && element_match(pattern, &p, text.p[t])) {
            t++;
            continue;
        }
        if (star_p == SIZE_MAX)
            return false;
        p = star_p;
        t = ++star_t;
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

bool fb_glob_is_all(struct fb_bytes pattern)
{
    return pattern.n == 1 && pattern.p[0] == '*';
}
