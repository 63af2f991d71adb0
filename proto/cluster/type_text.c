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

/* The range of PostgreSQL's type date: 4714-11-24 BC .. 5874897-12-31. */
#define DATE_YEAR_MAX 5874897u
#define DATE_YEAR_BC_MAX 4714u

static bool date_exists(unsigned year, unsigned month, unsigned day, bool bc)
{
    /* the year before 1 is 1 BC: number 0, and a leap year; 4800 is a multiple of 400 */
    unsigned counted = bc ? 4801 - year : year;
    if (year < 1 || year > (bc ? DATE_YEAR_BC_MAX : DATE_YEAR_MAX) || month < 1 || month > 12)
        return false;
    if (bc && year == DATE_YEAR_BC_MAX && (month < 11 || (month == 11 && day < 24)))
        return false;
    return day >= 1 && day <= days_of(counted, month);
}

/* Takes min to max digits. */
static bool take_digits(struct fb_bytes *s, size_t min, size_t max, unsigned *out)
{
    size_t n = 0;
    for (*out = 0; n < s->n && n < max && is_digit(s->p[n]); n++)
        *out = *out * 10 + (unsigned)(s->p[n] - '0');
    if (n > 0) { /* an empty text may have no bytes at all */
        s->p += n;
        s->n -= n;
    }
    return n >= min;
}

static bool take_dash(struct fb_bytes *s)
{
    if (s->n == 0 || s->p[0] != '-')
        return false;
    s->p++;
    s->n--;
    return true;
}

/* Year-month-day; `digits` is how many a month or day has at least. */
static bool is_dashed_date(struct fb_bytes s, size_t digits)
{
    unsigned year, month, day;
    struct fb_bytes from = s;
    if (!take_digits(&s, 4, 7, &year) || (from.n - s.n > 4 && from.p[0] == '0') || !take_dash(&s) ||
        !take_digits(&s, digits, 2, &month) || !take_dash(&s) ||
        !take_digits(&s, digits, 2, &day) || (s.n > 0 && !fb_bytes_is(s, " BC")))
        return false;
    return date_exists(year, month, day, s.n > 0);
}

bool fb_canonical_date(struct fb_bytes s)
{
    return fb_bytes_is(s, "infinity") || fb_bytes_is(s, "-infinity") || is_dashed_date(s, 2);
}

enum fb_input fb_input_date(struct fb_bytes s)
{
    unsigned year, month, day;
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1]))
        s.n--;
    if (fb_canonical_date(s) || is_dashed_date(s, 1))
        return FB_INPUT_OK;
    if (s.n == 8 && take_digits(&s, 4, 4, &year) && take_digits(&s, 2, 2, &month) &&
        take_digits(&s, 2, 2, &day) && date_exists(year, month, day, false))
        return FB_INPUT_OK;
    return FB_INPUT_SYNTAX;
}
