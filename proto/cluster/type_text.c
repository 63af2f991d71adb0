/* Input rules of bool, uuid, bytea and date (PostgreSQL: parse_bool_with_len, string_to_uuid,
 * byteain, date_out). */
#include "proto/cluster/type_input.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Is s, in any case, a prefix of `word` with at least `min` letters? */
static bool is_prefix(struct fb_bytes s, const char *word, size_t min)
{
    size_t n = strlen(word);
    if (s.n < min || s.n > n)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] | 0x20) != (uint8_t)word[i] || s.p[i] < 'A')
            return false;
    return true;
}

enum fb_input fb_input_bool(struct fb_bytes s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    /* "o" alone could be on or off */
    if (is_prefix(s, "true", 1) || is_prefix(s, "false", 1) || is_prefix(s, "yes", 1) ||
        is_prefix(s, "no", 1) || is_prefix(s, "on", 2) || is_prefix(s, "off", 2) ||
        fb_bytes_is(s, "1") || fb_bytes_is(s, "0"))
        return FB_INPUT_OK;
    return FB_INPUT_SYNTAX;
}

enum fb_input fb_input_uuid(struct fb_bytes s)
{
    size_t at = 0;
    bool braces = s.n > 0 && s.p[0] == '{';
    if (braces)
        at++;
    for (int i = 0; i < 16; i++) {
        if (s.n - at < 2 || !is_hex(s.p[at]) || !is_hex(s.p[at + 1]))
            return FB_INPUT_SYNTAX;
        at += 2;
        /* a dash may follow each group of four digits */
        if (at < s.n && s.p[at] == '-' && i % 2 == 1 && i < 15)
            at++;
    }
    if (braces && (at == s.n || s.p[at++] != '}'))
        return FB_INPUT_SYNTAX;
    return at == s.n ? FB_INPUT_OK : FB_INPUT_SYNTAX;
}

bool fb_canonical_uuid(struct fb_bytes s)
{
    if (s.n != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : !(is_digit(s.p[i]) || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    }
    return true;
}

static enum fb_input bytea_hex(struct fb_bytes s)
{
    for (size_t i = 2; i < s.n;) {
        if (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\t' || s.p[i] == '\r') {
            i++;
            continue;
        }
        if (i + 1 >= s.n || !is_hex(s.p[i]) || !is_hex(s.p[i + 1]))
            return FB_INPUT_SYNTAX;
        i += 2;
    }
    return FB_INPUT_OK;
}

static bool is_octal(uint8_t c, uint8_t max)
{
    return c >= '0' && c <= max;
}

enum fb_input fb_input_bytea(struct fb_bytes s)
{
    if (s.n >= 2 && s.p[0] == '\\' && s.p[1] == 'x')
        return bytea_hex(s);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\\')
            continue;
        if (s.n - i >= 2 && s.p[i + 1] == '\\')
            i++;
        else if (s.n - i >= 4 && is_octal(s.p[i + 1], '3') && is_octal(s.p[i + 2], '7') &&
                 is_octal(s.p[i + 3], '7'))
            i += 3;
        else
            return FB_INPUT_SYNTAX;
    }
    return FB_INPUT_OK;
}

static unsigned days_of(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

#define DATE_YEAR_MAX 5874897u /* PostgreSQL's last year of type date */

bool fb_canonical_date(struct fb_bytes s)
{
    unsigned year = 0, month, day;
    size_t n = s.n >= 10 ? s.n - 6 : 0; /* digits of the year; the rest is -MM-DD */
    const uint8_t *t;
    if (fb_bytes_is(s, "infinity") || fb_bytes_is(s, "-infinity"))
        return true;
    if (n < 4 || n > 7 || (n > 4 && s.p[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(s.p[i]))
            return false;
        year = year * 10 + (unsigned)(s.p[i] - '0');
    }
    t = s.p + n;
    if (t[0] != '-' || !is_digit(t[1]) || !is_digit(t[2]) || t[3] != '-' || !is_digit(t[4]) ||
        !is_digit(t[5]))
        return false;
    month = (unsigned)(t[1] - '0') * 10 + (unsigned)(t[2] - '0');
    day = (unsigned)(t[4] - '0') * 10 + (unsigned)(t[5] - '0');
    return year >= 1 && year <= DATE_YEAR_MAX && month >= 1 && month <= 12 && day >= 1 &&
           day <= days_of(year, month);
}
