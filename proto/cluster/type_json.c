/* Strict JSON (RFC 8259) as PostgreSQL reads it. Not jansson: it judges duplicates, depth and
 * numbers otherwise. No recursion: the kind of each open bracket is one bit. */
#include "proto/base/utf8.h"
#include "proto/cluster/type_input.h"

/* PostgreSQL stops at its stack (max_stack_depth), some thousand levels; nobody means more than
 * this. */
#define DEPTH_MAX 1000u

struct scan {
    const uint8_t *p;
    size_t n, at;
    bool binary;
    const char *why;
    uint8_t is_object[DEPTH_MAX / 8 + 1];
    unsigned depth;
};

static void skip_blanks(struct scan *s)
{
    while (s->at < s->n && (s->p[s->at] == ' ' || s->p[s->at] == '\t' || s->p[s->at] == '\n' ||
                            s->p[s->at] == '\r'))
        s->at++;
}

static bool fail(struct scan *s, const char *why)
{
    s->why = why;
    return false;
}

static bool take_byte(struct scan *s, uint8_t c)
{
    if (s->at < s->n && s->p[s->at] == c) {
        s->at++;
        return true;
    }
    return false;
}

static bool take_hex4(struct scan *s, unsigned *out)
{
    unsigned v = 0;
    if (s->n - s->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = s->p[s->at++], low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (unsigned)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (unsigned)(low - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

/* Behind "\u". Type json stores the text and does not look at what the escape means; jsonb decodes
 * it. */
static bool take_unicode(struct scan *s)
{
    unsigned c, low;
    if (!take_hex4(s, &c))
        return fail(s, "\"\\u\" needs four hexadecimal digits");
    if (!s->binary)
        return true;
    if (c == 0)
        return fail(s, "\\u0000 cannot be stored in jsonb");
    if (c >= 0xdc00 && c <= 0xdfff)
        return fail(s, "a low surrogate without the high one before it");
    if (c < 0xd800 || c > 0xdbff)
        return true;
    if (!take_byte(s, '\\') || !take_byte(s, 'u') || !take_hex4(s, &low) || low < 0xdc00 ||
        low > 0xdfff)
        return fail(s, "a high surrogate without the low one behind it");
    return true;
}

static bool take_string(struct scan *s)
{
    if (!take_byte(s, '"'))
        return fail(s, "a string was expected");
    while (s->at < s->n) {
        uint8_t c = s->p[s->at++];
        if (c == '"')
            return true;
        if (c < 0x20)
            return fail(s, "control characters in a string must be escaped");
        if (c != '\\')
            continue;
        if (s->at == s->n)
            break;
        c = s->p[s->at++];
        if (c == 'u') {
            if (!take_unicode(s))
                return false;
        } else if (c == 0 || memchr("\"\\/bfnrt", c, 8) == NULL) {
            return fail(s, "unknown escape in a string");
        }
    }
    return fail(s, "a string does not end");
}

static size_t take_digits(struct scan *s)
{
    size_t from = s->at;
    while (s->at < s->n && s->p[s->at] >= '0' && s->p[s->at] <= '9')
        s->at++;
    return s->at - from;
}

static bool take_number(struct scan *s)
{
    size_t from = s->at;
    bool ok;
    (void)take_byte(s, '-');
    ok = take_byte(s, '0') || take_digits(s) > 0;
    if (ok && take_byte(s, '.'))
        ok = take_digits(s) > 0;
    if (ok && (take_byte(s, 'e') || take_byte(s, 'E'))) {
        if (!take_byte(s, '+'))
            (void)take_byte(s, '-');
        ok = take_digits(s) > 0;
    }
    if (!ok)
        return fail(s, "a number is malformed");
    if (s->binary && fb_input_numeric(fb_bytes(s->p + from, s->at - from), -1, 0) != FB_INPUT_OK)
        return fail(s, "a number is out of range");
    return true;
}

static bool take_literal(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n - s->at < n || memcmp(s->p + s->at, word, n) != 0)
        return fail(s, "a value was expected");
    s->at += n;
    return true;
}

static bool push(struct scan *s, bool object)
{
    if (s->depth == DEPTH_MAX)
        return fail(s, "nested deeper than 1000 levels");
    if (object)
        s->is_object[s->depth / 8] |= (uint8_t)(1u << s->depth % 8);
    else
        s->is_object[s->depth / 8] &= (uint8_t) ~(1u << s->depth % 8);
    s->depth++;
    return true;
}

static bool in_object(const struct scan *s)
{
    unsigned d = s->depth - 1;
    return (s->is_object[d / 8] >> d % 8 & 1) != 0;
}

static bool take_name(struct scan *s)
{
    skip_blanks(s);
    if (!take_string(s))
        return false;
    skip_blanks(s);
    return take_byte(s, ':') || fail(s, "':' was expected");
}

/* A scalar, or an opening bracket. *done: a whole value is behind us. */
static bool take_start(struct scan *s, bool *done)
{
    uint8_t c;
    skip_blanks(s);
    *done = true;
    if (s->at == s->n)
        return fail(s, "it ends too early");
    c = s->p[s->at];
    if (c == '{' || c == '[') {
        s->at++;
        if (!push(s, c == '{'))
            return false;
        skip_blanks(s);
        if (take_byte(s, c == '{' ? '}' : ']')) {
            s->depth--;
            return true;
        }
        *done = false;
        return c == '[' || take_name(s);
    }
    if (c == '"')
        return take_string(s);
    if (c == '-' || (c >= '0' && c <= '9'))
        return take_number(s);
    return take_literal(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
}

/* Behind a value: close what ends here; *more: another value follows. */
static bool take_end(struct scan *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        bool object = in_object(s);
        skip_blanks(s);
        if (take_byte(s, ',')) {
            *more = true;
            return !object || take_name(s);
        }
        if (!take_byte(s, object ? '}' : ']'))
            return fail(s, object ? "',' or '}' was expected" : "',' or ']' was expected");
        s->depth--;
    }
    return true;
}

static bool take_document(struct scan *s)
{
    bool more = true;
    while (more) {
        bool done;
        if (!take_start(s, &done))
            return false;
        if (done && !take_end(s, &more))
            return false;
    }
    skip_blanks(s);
    return s->at == s->n || fail(s, "text behind the value");
}

enum fb_input fb_input_json(struct fb_bytes s, bool binary, const char **why)
{
    struct scan scan = {.p = s.p, .n = s.n, .binary = binary};
    if (!fb_utf8_valid(s, NULL) || (s.n > 0 && memchr(s.p, 0, s.n) != NULL)) {
        *why = "not UTF-8, or a zero byte in it";
        return FB_INPUT_SYNTAX;
    }
    if (take_document(&scan))
        return FB_INPUT_OK;
    *why = scan.why;
    return FB_INPUT_SYNTAX;
}
