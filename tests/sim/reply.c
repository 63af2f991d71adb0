/* Replies as bytes and as text, commands as bytes and as text (shadow.h). */
#include "proto/base/number.h"
#include "tests/sim/shadow.h"

#include <stdlib.h>

#define TEXT_SHOWN 24u

void reply_fini(struct reply *r)
{
    for (size_t i = 0; i < r->n; i++)
        reply_fini(&r->items[i]);
    free(r->items);
    free((void *)(uintptr_t)r->text.p);
    *r = (struct reply){0};
}

static void keep_text(struct reply *r, const uint8_t *p, size_t n)
{
    uint8_t *copy = fb_xmalloc(n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    r->text = fb_bytes(copy, n);
}

static size_t parse_bulk(const uint8_t *p, size_t n, size_t line, struct reply *out)
{
    size_t len = (size_t)out->num;
    if (out->num < 0) {
        out->type = 'N';
        return line;
    }
    if (n < line + len + 2)
        return 0;
    if (p[line + len] != '\r' || p[line + len + 1] != '\n')
        return SIZE_MAX;
    out->type = '$';
    keep_text(out, p + line, len);
    return line + len + 2;
}

static size_t parse_items(const uint8_t *p, size_t n, size_t line, struct reply *out)
{
    size_t at = line, count = (size_t)out->num;
    if (out->num < 0) {
        out->type = 'N';
        return line;
    }
    if (out->num > 1 << 20)
        return SIZE_MAX;
    if (out->type == '%')
        count *= 2;
    out->items = fb_xcalloc(count + 1, sizeof *out->items);
    for (; out->n < count; out->n++) {
        size_t used = reply_parse(p + at, n - at, &out->items[out->n]);
        if (used == 0 || used == SIZE_MAX) {
            reply_fini(out);
            return used;
        }
        at += used;
    }
    return at;
}

size_t reply_parse(const uint8_t *p, size_t n, struct reply *out)
{
    const uint8_t *end = n < 3 ? NULL : memchr(p, '\n', n);
    size_t line;
    *out = (struct reply){0};
    if (end == NULL)
        return 0;
    line = (size_t)(end - p) + 1;
    if (line < 3 || p[line - 2] != '\r')
        return SIZE_MAX;
    out->type = (char)p[0];
    switch (p[0]) {
    case '+':
    case '-':
        keep_text(out, p + 1, line - 3);
        return line;
    case '_':
        out->type = 'N';
        return line;
    case ':':
    case '$':
    case '*':
    case '%':
        if (!fb_parse_i64(fb_bytes(p + 1, line - 3), &out->num))
            return SIZE_MAX;
        if (p[0] == ':')
            return line;
        return p[0] == '$' ? parse_bulk(p, n, line, out) : parse_items(p, n, line, out);
    default:
        return SIZE_MAX;
    }
}

static void put_short(struct fb_buf *out, struct fb_bytes v)
{
    fb_buf_put_u8(out, '"');
    for (size_t i = 0; i < v.n && i < TEXT_SHOWN; i++) {
        if (v.p[i] >= ' ' && v.p[i] < 127)
            fb_buf_put_u8(out, v.p[i]);
        else
            fb_buf_printf(out, "\\x%02x", v.p[i]);
    }
    if (v.n > TEXT_SHOWN)
        fb_buf_printf(out, "...%zu bytes", v.n);
    fb_buf_put_u8(out, '"');
}

void reply_text(const struct reply *r, struct fb_buf *out)
{
    switch (r->type) {
    case 'N':
        fb_buf_put_str(out, "nil");
        return;
    case ':':
        fb_buf_printf(out, "%lld", (long long)r->num);
        return;
    case '$':
        put_short(out, r->text);
        return;
    case '*':
    case '%':
        fb_buf_put_u8(out, '[');
        for (size_t i = 0; i < r->n && i < 12; i++) {
            if (i > 0)
                fb_buf_put_str(out, ", ");
            reply_text(&r->items[i], out);
        }
        fb_buf_put_u8(out, ']');
        return;
    default:
        fb_buf_put_u8(out, (uint8_t)r->type);
        fb_buf_put(out, r->text.p, r->text.n > 100 ? 100 : r->text.n);
    }
}

void shadow_text(const struct shadow *s, struct fb_buf *out)
{
    struct fb_bytes rest = fb_buf_view(&s->value);
    struct fb_field f;
    if (s->kind == FB_KIND_NONE) {
        fb_buf_put_str(out, "absent");
        return;
    }
    if (s->kind == FB_KIND_STRING) {
        put_short(out, rest);
    } else {
        fb_buf_put_u8(out, '{');
        while (fb_hash_next(&rest, &f)) {
            fb_buf_put_u8(out, ' ');
            fb_buf_put_bytes(out, f.name);
            fb_buf_put_u8(out, '=');
            put_short(out, f.value);
        }
        fb_buf_put_str(out, " }");
    }
    if (s->expires_ms == SHADOW_SOME_TIME)
        fb_buf_put_str(out, " until some time");
    else if (s->expires_ms != 0)
        fb_buf_printf(out, " until %lld", (long long)s->expires_ms);
}

/* --- commands --- */

#define ARGS_MAX 8u
struct args {
    struct fb_bytes v[ARGS_MAX];
    char number[2][FB_NUMBER_BYTES_MAX];
    uint32_t n, numbers;
};

static void arg(struct args *a, struct fb_bytes v)
{
    fb_assert(a->n < ARGS_MAX);
    a->v[a->n++] = v;
}

static void arg_number(struct args *a, int64_t n)
{
    char *text = a->number[a->numbers++];
    arg(a, fb_bytes(text, fb_format_i64(n, text)));
}

static void set_args(const struct shadow_cmd *c, struct args *a)
{
    static const struct {
        uint16_t flag;
        const char *word;
    } words[] = {{SHADOW_NX, "NX"},
                 {SHADOW_XX, "XX"},
                 {SHADOW_GIVE_OLD, "GET"},
                 {SHADOW_KEEPTTL, "KEEPTTL"}};
    arg(a, fb_buf_view(&c->value));
    if (c->flags & (SHADOW_PX | SHADOW_PXAT)) {
        arg(a, fb_bytes_str(c->flags & SHADOW_PX ? "PX" : "PXAT"));
        arg_number(a, c->b);
    }
    for (size_t i = 0; i < FB_COUNT_OF(words); i++)
        if (c->flags & words[i].flag)
            arg(a, fb_bytes_str(words[i].word));
}

static void cmd_args(const struct shadow_cmd *c, struct args *a)
{
    arg(a, fb_bytes_str(shadow_op_word(c->op)));
    arg(a, fb_bytes_str(c->key));
    switch (c->op) {
    case SHADOW_SET:
        set_args(c, a);
        return;
    case SHADOW_SETIF:
        arg_number(a, c->a);
        arg(a, fb_buf_view(&c->value));
        return;
    case SHADOW_APPEND:
        arg(a, fb_buf_view(&c->value));
        return;
    case SHADOW_INCRBY:
        arg_number(a, c->a);
        return;
    case SHADOW_PEXPIREAT:
    case SHADOW_SYNC:
        arg_number(a, c->b);
        return;
    case SHADOW_HGET:
    case SHADOW_HDEL:
    case SHADOW_HSET:
    case SHADOW_HINCRBY:
        arg(a, fb_bytes_str(c->field));
        if (c->op == SHADOW_HSET)
            arg(a, fb_buf_view(&c->value));
        if (c->op == SHADOW_HINCRBY)
            arg_number(a, c->a);
        return;
    default:
        return;
    }
}

void shadow_cmd_encode(const struct shadow_cmd *c, struct fb_buf *out)
{
    struct args a = {0};
    cmd_args(c, &a);
    fb_buf_printf(out, "*%u\r\n", a.n);
    for (uint32_t i = 0; i < a.n; i++) {
        fb_buf_printf(out, "$%zu\r\n", a.v[i].n);
        fb_buf_put_bytes(out, a.v[i]);
        fb_buf_put_str(out, "\r\n");
    }
}

void shadow_cmd_text(const struct shadow_cmd *c, struct fb_buf *out)
{
    struct args a = {0};
    cmd_args(c, &a);
    for (uint32_t i = 0; i < a.n; i++) {
        if (i > 0)
            fb_buf_put_u8(out, ' ');
        if (a.v[i].n == 0 || a.v[i].n > SHADOW_TEXT_MAX)
            put_short(out, a.v[i]);
        else
            fb_buf_put_bytes(out, a.v[i]);
    }
}
