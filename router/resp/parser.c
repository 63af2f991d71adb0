/* Incremental parser: multibulk in place, inline through a small buffer. */
#include "router/resp/parser.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/base/number.h"

/* An argv wider than this is given back after use. */
#define ARGV_KEEP 1024u
/* Refused as a length, as in Redis (proto-max-bulk-len). Below it, our own bound refuses by name.
 */
#define BULK_BYTES_MAX (INT64_C(512) << 20)

void resp_parser_init(struct resp_parser *p)
{
    *p = (struct resp_parser){.bulk_bytes = -1};
}

void resp_parser_fini(struct resp_parser *p)
{
    free(p->argv);
    fb_buf_fini(&p->unquoted);
    *p = (struct resp_parser){.bulk_bytes = -1};
}

const char *resp_parser_error(const struct resp_parser *p)
{
    return p->error;
}

static enum resp_parse fail(struct resp_parser *p, const char *what)
{
    snprintf(p->error, sizeof(p->error), "ERR Protocol error: %s", what);
    return RESP_PARSE_ERROR;
}

static enum resp_parse fail_too_long(struct resp_parser *p)
{
    snprintf(p->error, sizeof(p->error), "ERR Protocol error: command is longer than %u bytes",
             RESP_COMMAND_BYTES_MAX);
    return RESP_PARSE_ERROR;
}

static void argv_push(struct resp_parser *p, struct fb_bytes arg)
{
    if (p->argc == p->argv_cap) {
        p->argv_cap = p->argv_cap ? p->argv_cap * 2 : 16;
        p->argv = fb_xrealloc(p->argv, p->argv_cap * sizeof(*p->argv));
    }
    p->argv[p->argc++] = arg;
}

/* While a command is incomplete its input may move: arguments are kept as offsets in the pointer
 * member. */
static void argv_push_offset(struct resp_parser *p, size_t offset, size_t n)
{
    argv_push(p, (struct fb_bytes){(const uint8_t *)(uintptr_t)offset, n});
}

static void argv_resolve(struct resp_parser *p, const uint8_t *base)
{
    for (uint32_t i = 0; i < p->argc; i++)
        p->argv[i].p = base + (uintptr_t)p->argv[i].p;
}

static void command_begin(struct resp_parser *p)
{
    if (p->argv_cap > ARGV_KEEP && p->argc <= ARGV_KEEP) {
        free(p->argv);
        p->argv = NULL;
        p->argv_cap = 0;
    }
    if (p->unquoted.cap > RESP_INLINE_BYTES_MAX) {
        fb_buf_clear(&p->unquoted);
        fb_buf_shrink(&p->unquoted, RESP_INLINE_BYTES_MAX);
    }
    p->argc = 0;
    p->args_left = 0;
    p->bulk_bytes = -1;
    p->pos = 0;
    p->scan = 0;
}

/* The line of digits after the type byte at p->pos. COMMAND: *line is set and p->pos is behind
 * CRLF. As in Redis the line ends at CR and the byte after it is not looked at.
 */
static enum resp_parse take_line(struct resp_parser *p, const uint8_t *buf, size_t n,
                                 struct fb_bytes *line, const char *too_big)
{
    size_t from = p->scan > p->pos ? p->scan : p->pos;
    const uint8_t *cr = n > from ? memchr(buf + from, '\r', n - from) : NULL;
    if (cr == NULL || (size_t)(cr - buf) + 2 > n) {
        if (cr == NULL && n - p->pos > RESP_INLINE_BYTES_MAX)
            return fail(p, too_big);
        p->scan = cr != NULL ? (size_t)(cr - buf) : n;
        return RESP_PARSE_MORE;
    }
    /* a line that is empty altogether has no type byte: its CR stands in for one and is refused as
     * such */
    *line = fb_bytes(buf + p->pos + 1, cr > buf + p->pos ? (size_t)(cr - buf) - p->pos - 1 : 0);
    p->pos = (size_t)(cr - buf) + 2;
    return RESP_PARSE_COMMAND;
}

/* Short decimal lengths, which nearly all are, without the general parser. */
static bool parse_length(struct fb_bytes s, int64_t *out)
{
    if (s.n == 1 && s.p[0] >= '0' && s.p[0] <= '9') {
        *out = s.p[0] - '0';
        return true;
    }
    return fb_parse_i64(s, out);
}

static enum resp_parse take_bulk(struct resp_parser *p, const uint8_t *buf, size_t n)
{
    if (p->bulk_bytes < 0) {
        struct fb_bytes line;
        int64_t bytes;
        enum resp_parse r;
        if (p->pos >= n)
            return RESP_PARSE_MORE;
        /* Redis finds the end of the line before it looks at the type */
        r = take_line(p, buf, n, &line, "too big bulk count string");
        if (r != RESP_PARSE_COMMAND)
            return r;
        if (line.p[-1] != '$') {
            snprintf(p->error, sizeof(p->error), "ERR Protocol error: expected '$', got '%c'",
                     line.p[-1]);
            return RESP_PARSE_ERROR;
        }
        if (!parse_length(line, &bytes) || bytes < 0 || bytes > BULK_BYTES_MAX)
            return fail(p, "invalid bulk length");
        if ((uint64_t)bytes + p->pos + 2 > RESP_COMMAND_BYTES_MAX)
            return fail_too_long(p);
        p->bulk_bytes = bytes;
    }
    if (n - p->pos < (size_t)p->bulk_bytes + 2)
        return RESP_PARSE_MORE;
    argv_push_offset(p, p->pos, (size_t)p->bulk_bytes);
    p->pos += (size_t)p->bulk_bytes + 2;
    p->bulk_bytes = -1;
    return RESP_PARSE_COMMAND;
}

/* COMMAND with argc 0: an empty command, to be skipped. */
static enum resp_parse take_multibulk(struct resp_parser *p, const uint8_t *buf, size_t n)
{
    enum resp_parse r;
    if (p->args_left == 0) {
        struct fb_bytes line;
        int64_t count;
        r = take_line(p, buf, n, &line, "too big mbulk count string");
        if (r != RESP_PARSE_COMMAND)
            return r;
        if (!parse_length(line, &count) || count > (int64_t)RESP_ARGS_MAX)
            return fail(p, "invalid multibulk length");
        if (count <= 0)
            return RESP_PARSE_COMMAND;
        p->args_left = (uint32_t)count;
    }
    while (p->args_left > 0) {
        r = take_bulk(p, buf, n);
        if (r != RESP_PARSE_COMMAND)
            return r;
        p->args_left--;
        if (p->pos > RESP_COMMAND_BYTES_MAX)
            return fail_too_long(p);
    }
    argv_resolve(p, buf);
    return RESP_PARSE_COMMAND;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* One escape inside double quotes, at s[*at] == '\\'. */
static uint8_t take_escape(struct fb_bytes s, size_t *at)
{
    size_t i = *at;
    uint8_t c;
    if (s.n - i >= 4 && s.p[i + 1] == 'x' && hex_digit(s.p[i + 2]) >= 0 &&
        hex_digit(s.p[i + 3]) >= 0) {
        *at = i + 4;
        return (uint8_t)(hex_digit(s.p[i + 2]) << 4 | hex_digit(s.p[i + 3]));
    }
    c = s.p[i + 1];
    *at = i + 2;
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* One word of an inline command (sdssplitargs of Redis): quoted parts may stand within it, and a
 * closing quote must be followed by a space or the end. Appends it to `out`; false: unbalanced
 * quotes.
 */
static bool take_word(struct fb_bytes s, size_t *at, struct fb_buf *out)
{
    size_t i = *at;
    uint8_t quote = 0;
    for (;;) {
        if (i >= s.n || s.p[i] == 0) {
            if (quote != 0)
                return false;
            break;
        }
        if (quote == 0) {
            if (is_space(s.p[i]))
                break;
            if (s.p[i] == '"' || s.p[i] == '\'')
                quote = s.p[i++];
            else
                fb_buf_put_u8(out, s.p[i++]);
        } else if (quote == '"' && s.p[i] == '\\' && s.n - i >= 2) {
            fb_buf_put_u8(out, take_escape(s, &i));
        } else if (quote == '\'' && s.p[i] == '\\' && s.n - i >= 2 && s.p[i + 1] == '\'') {
            fb_buf_put_u8(out, '\'');
            i += 2;
        } else if (s.p[i] == quote) {
            if (i + 1 < s.n && !is_space(s.p[i + 1]))
                return false;
            i++;
            break;
        } else {
            fb_buf_put_u8(out, s.p[i++]);
        }
    }
    *at = i;
    return true;
}

static enum resp_parse take_inline(struct resp_parser *p, const uint8_t *buf, size_t n)
{
    const uint8_t *lf = n > p->scan ? memchr(buf + p->scan, '\n', n - p->scan) : NULL;
    struct fb_bytes line;
    size_t at = 0;
    if (lf == NULL) {
        if (n > RESP_INLINE_BYTES_MAX)
            return fail(p, "too big inline request");
        p->scan = n;
        return RESP_PARSE_MORE;
    }
    line = fb_bytes(buf, (size_t)(lf - buf));
    p->pos = line.n + 1;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    /* words only get shorter by unquoting: no growth while views are being made */
    fb_buf_clear(&p->unquoted);
    (void)fb_buf_reserve(&p->unquoted, line.n + 1);
    for (;;) {
        size_t from = p->unquoted.n;
        while (at < line.n && is_space(line.p[at]))
            at++;
        if (at >= line.n || line.p[at] == 0)
            break;
        if (!take_word(line, &at, &p->unquoted))
            return fail(p, "unbalanced quotes in request");
        argv_push(p, fb_bytes(p->unquoted.p + from, p->unquoted.n - from));
    }
    return RESP_PARSE_COMMAND;
}

enum resp_parse resp_parse(struct resp_parser *p, const uint8_t *buf, size_t n, size_t *used)
{
    size_t done = 0;
    enum resp_parse r = RESP_PARSE_MORE;
    if (p->complete)
        command_begin(p);
    p->complete = false;
    while (done < n) {
        r = buf[done] == '*' ? take_multibulk(p, buf + done, n - done)
                             : take_inline(p, buf + done, n - done);
        if (r != RESP_PARSE_COMMAND)
            break;
        done += p->pos;
        if (p->argc > 0) {
            p->complete = true;
            break;
        }
        command_begin(p); /* an empty command: nothing to answer */
        r = RESP_PARSE_MORE;
    }
    *used = done;
    return r;
}

size_t resp_parser_wants(const struct resp_parser *p, size_t n)
{
    if (p->bulk_bytes < 0 || p->complete || p->pos + (size_t)p->bulk_bytes + 2 <= n)
        return 1;
    return p->pos + (size_t)p->bulk_bytes + 2 - n;
}
