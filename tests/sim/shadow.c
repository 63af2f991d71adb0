/* Meaning of commands (shadow.h). */
#include "tests/sim/shadow.h"

#include "proto/base/number.h"

#include <stdlib.h>

void shadow_fini(struct shadow *s)
{
    fb_buf_fini(&s->value);
    *s = (struct shadow){0};
}

void shadow_copy(struct shadow *to, const struct shadow *from)
{
    *to = (struct shadow){.kind = from->kind, .expires_ms = from->expires_ms};
    fb_buf_put_bytes(&to->value, fb_buf_view(&from->value));
}

static bool hash_equal(struct fb_bytes a, struct fb_bytes b)
{
    struct fb_bytes rest = a, v;
    struct fb_field f;
    if (a.n != b.n)
        return false;
    while (fb_hash_next(&rest, &f))
        if (!fb_hash_get(b, f.name, &v) || !fb_bytes_equal(f.value, v))
            return false;
    return fb_hash_count(a) == fb_hash_count(b);
}

bool shadow_equal(const struct shadow *a, const struct shadow *b)
{
    struct fb_bytes x = fb_buf_view(&a->value), y = fb_buf_view(&b->value);
    if (a->kind != b->kind)
        return false;
    if (a->kind == FB_KIND_NONE)
        return true;
    if (a->expires_ms != b->expires_ms && a->expires_ms != SHADOW_SOME_TIME &&
        b->expires_ms != SHADOW_SOME_TIME)
        return false;
    return a->kind == FB_KIND_HASH ? hash_equal(x, y) : fb_bytes_equal(x, y);
}

void shadow_cmd_fini(struct shadow_cmd *c)
{
    fb_buf_fini(&c->value);
}

void shadow_cmd_copy(struct shadow_cmd *to, const struct shadow_cmd *from)
{
    *to = *from;
    to->value = (struct fb_buf){0};
    fb_buf_put_bytes(&to->value, fb_buf_view(&from->value));
}

bool shadow_cmd_equal(const struct shadow_cmd *a, const struct shadow_cmd *b)
{
    return a->op == b->op && ((a->flags ^ b->flags) & ~SHADOW_AGAIN) == 0 && a->a == b->a &&
           a->b == b->b && strcmp(a->key, b->key) == 0 && strcmp(a->field, b->field) == 0 &&
           fb_bytes_equal(fb_buf_view(&a->value), fb_buf_view(&b->value));
}

const char *shadow_op_word(enum shadow_op op)
{
    static const char *const words[] = {
#define X(name, word, writes) word,
        SHADOW_OP_LIST(X)
#undef X
    };
    return words[op];
}

bool shadow_op_writes(enum shadow_op op)
{
    static const bool all[] = {
#define X(name, word, writes) writes,
        SHADOW_OP_LIST(X)
#undef X
    };
    return all[op];
}

/* --- what a command does --- */

/* The number a value stands for, an absent one for 0. */
static bool number_of(struct fb_bytes v, bool there, int64_t *out)
{
    *out = 0;
    return !there || fb_parse_i64(v, out);
}

static void put_number(struct fb_buf *out, int64_t n)
{
    char text[FB_NUMBER_BYTES_MAX];
    fb_buf_put(out, text, fb_format_i64(n, text));
}

static enum shadow_effect set(const struct shadow_cmd *c, const struct shadow *before,
                              uint64_t now_ms, struct shadow *after)
{
    bool live = before->kind != FB_KIND_NONE;
    if (((c->flags & SHADOW_NX) && live) || ((c->flags & SHADOW_XX) && !live))
        return SHADOW_NOTHING;
    if ((c->flags & SHADOW_GIVE_OLD) && live && before->kind != FB_KIND_STRING)
        return SHADOW_NOTHING;
    after->kind = FB_KIND_STRING;
    fb_buf_put_bytes(&after->value, fb_buf_view(&c->value));
    if (c->flags & SHADOW_KEEPTTL)
        after->expires_ms = before->expires_ms;
    if (c->flags & SHADOW_PX) {
        after->expires_ms = SHADOW_SOME_TIME; /* two clocks are in it */
        return c->flags & SHADOW_FUTURE ? SHADOW_WRITES : SHADOW_MAY_DELETE;
    }
    if (c->flags & SHADOW_PXAT) {
        after->expires_ms = c->b;
        if (c->b > (int64_t)now_ms)
            return SHADOW_WRITES;
        fb_buf_fini(&after->value);
        *after = (struct shadow){0};
        /* what is not in memory may be in PostgreSQL: deleted blindly */
        return live ? SHADOW_WRITES : SHADOW_MAY_DELETE;
    }
    return SHADOW_WRITES;
}

static enum shadow_effect incrby(const struct shadow_cmd *c, const struct shadow *before,
                                 struct shadow *after)
{
    bool live = before->kind != FB_KIND_NONE;
    int64_t n;
    if ((live && before->kind != FB_KIND_STRING) ||
        !number_of(fb_buf_view(&before->value), live, &n) || __builtin_add_overflow(n, c->a, &n))
        return SHADOW_NOTHING;
    after->kind = FB_KIND_STRING;
    after->expires_ms = before->expires_ms;
    put_number(&after->value, n);
    return SHADOW_WRITES;
}

/* The hash with `field` := value, or without it (value.p NULL). True: it was there. */
static bool with_field(struct fb_bytes hash, struct fb_bytes field, struct fb_bytes value,
                       struct fb_buf *out)
{
    struct fb_field f;
    bool found = false;
    while (fb_hash_next(&hash, &f)) {
        if (fb_bytes_equal(f.name, field))
            found = true;
        else
            fb_hash_put(out, f.name, f.value);
    }
    if (value.p != NULL)
        fb_hash_put(out, field, value);
    return found;
}

static enum shadow_effect hash_write(const struct shadow_cmd *c, const struct shadow *before,
                                     struct shadow *after)
{
    struct fb_bytes field = fb_bytes_str(c->field), old, hash = fb_buf_view(&before->value);
    struct fb_bytes value = fb_bytes(c->value.n > 0 ? c->value.p : (const uint8_t *)"", c->value.n);
    bool live = before->kind != FB_KIND_NONE, found;
    struct fb_buf text = {0};
    int64_t n;

    if (live && before->kind != FB_KIND_HASH)
        return SHADOW_NOTHING;
    found = live && fb_hash_get(hash, field, &old);
    if (c->op == SHADOW_HDEL) {
        if (!found)
            return SHADOW_NOTHING;
        (void)with_field(hash, field, fb_bytes(NULL, 0), &after->value);
        if (after->value.n == 0)
            return SHADOW_WRITES; /* the last field: the key goes */
    } else {
        if (c->op == SHADOW_HINCRBY) {
            if (!number_of(found ? old : fb_bytes("", 0), found, &n) ||
                __builtin_add_overflow(n, c->a, &n))
                return SHADOW_NOTHING;
            put_number(&text, n);
            value = fb_buf_view(&text);
        }
        (void)with_field(hash, field, value, &after->value);
        fb_buf_fini(&text);
    }
    after->kind = FB_KIND_HASH;
    after->expires_ms = before->expires_ms;
    return SHADOW_WRITES;
}

static enum shadow_effect lifetime(const struct shadow_cmd *c, const struct shadow *before,
                                   uint64_t now_ms, struct shadow *after)
{
    if (before->kind == FB_KIND_NONE || (c->op == SHADOW_PERSIST && before->expires_ms == 0))
        return SHADOW_NOTHING;
    if (c->op == SHADOW_PEXPIREAT && c->b <= (int64_t)now_ms)
        return SHADOW_WRITES; /* in the past: deleted */
    shadow_copy(after, before);
    after->expires_ms = c->op == SHADOW_PERSIST ? 0 : c->b;
    return SHADOW_WRITES;
}

static enum shadow_effect apply(const struct shadow_cmd *c, const struct shadow *before,
                                uint64_t ver, uint64_t now_ms, struct shadow *after)
{
    bool live = before->kind != FB_KIND_NONE;
    switch (c->op) {
    case SHADOW_SET:
        return set(c, before, now_ms, after);
    case SHADOW_SETIF:
        /* an expected version with epoch 0 is a row's: the history knows no such versions */
        if ((live && before->kind != FB_KIND_STRING) || (c->a == 0 && live) ||
            (c->a >> 40 != 0 && (!live || (uint64_t)c->a != ver)))
            return SHADOW_NOTHING;
        after->kind = FB_KIND_STRING;
        fb_buf_put_bytes(&after->value, fb_buf_view(&c->value));
        return SHADOW_WRITES;
    case SHADOW_GETDEL:
        return before->kind == FB_KIND_STRING ? SHADOW_WRITES : SHADOW_NOTHING;
    case SHADOW_APPEND:
        if ((live && before->kind != FB_KIND_STRING) || (live && c->value.n == 0))
            return SHADOW_NOTHING;
        after->kind = FB_KIND_STRING;
        after->expires_ms = before->expires_ms;
        fb_buf_put_bytes(&after->value, fb_buf_view(&before->value));
        fb_buf_put_bytes(&after->value, fb_buf_view(&c->value));
        return SHADOW_WRITES;
    case SHADOW_INCRBY:
        return incrby(c, before, after);
    case SHADOW_HSET:
    case SHADOW_HDEL:
    case SHADOW_HINCRBY:
        return hash_write(c, before, after);
    case SHADOW_DEL:
        return live ? SHADOW_WRITES : SHADOW_NOTHING;
    case SHADOW_PEXPIREAT:
    case SHADOW_PERSIST:
        return lifetime(c, before, now_ms, after);
    default:
        return SHADOW_NOTHING;
    }
}

enum shadow_effect shadow_apply(const struct shadow_cmd *c, const struct shadow *before,
                                uint64_t ver, uint64_t now_ms, struct shadow *after)
{
    *after = (struct shadow){0};
    enum shadow_effect e = apply(c, before, ver, now_ms, after);
    if (e != SHADOW_NOTHING && c->value_max != 0 && after->value.n > c->value_max) {
        shadow_fini(after); /* its time may be over, then nothing is too large */
        return e == SHADOW_MAY_DELETE ? SHADOW_MAY_DELETE : SHADOW_NOTHING;
    }
    return e;
}

/* Is what it would write above the limit of its namespace? */
bool shadow_oversize(const struct shadow_cmd *c, const struct shadow *before)
{
    struct shadow after = {0};
    bool over = c->value_max != 0 &&
                apply(c, before, (uint64_t)c->a, 0, &after) != SHADOW_NOTHING &&
                after.value.n > c->value_max;
    shadow_fini(&after);
    return over;
}

/* --- what a client may be told --- */

static bool is_error(const struct reply *r, const char *prefix)
{
    size_t n = strlen(prefix);
    return r->type == '-' && r->text.n >= n && memcmp(r->text.p, prefix, n) == 0;
}

static bool is_int(const struct reply *r, int64_t n)
{
    return r->type == ':' && r->num == n;
}

static bool is_bulk(const struct reply *r, struct fb_bytes v)
{
    return r->type == '$' && fb_bytes_equal(r->text, v);
}

static bool is_ok(const struct reply *r)
{
    return r->type == '+' && fb_bytes_is(r->text, "OK");
}

static bool is_hash(const struct reply *r, struct fb_bytes hash)
{
    struct fb_bytes v;
    if ((r->type != '*' && r->type != '%') || r->n % 2 != 0 || r->n / 2 != fb_hash_count(hash))
        return false;
    for (size_t i = 0; i < r->n; i += 2)
        if (!fb_hash_get(hash, r->items[i].text, &v) || !is_bulk(&r->items[i + 1], v))
            return false;
    return true;
}

static bool read_fits(const struct shadow_cmd *c, const struct shadow *s, const struct reply *r)
{
    bool live = s->kind != FB_KIND_NONE;
    struct fb_bytes v = fb_buf_view(&s->value), field;
    bool hash_op = c->op == SHADOW_HGET || c->op == SHADOW_HGETALL || c->op == SHADOW_HLEN;
    bool string_op = c->op == SHADOW_GET || c->op == SHADOW_STRLEN;

    if (live && ((hash_op && s->kind != FB_KIND_HASH) || (string_op && s->kind != FB_KIND_STRING)))
        return c->flags & SHADOW_ONE_OF ? r->type == 'N' : is_error(r, "WRONGTYPE");
    switch (c->op) {
    case SHADOW_GET:
        return live ? is_bulk(r, v) : r->type == 'N';
    case SHADOW_STRLEN:
        return is_int(r, (int64_t)v.n);
    case SHADOW_EXISTS:
        return is_int(r, live);
    case SHADOW_TYPE:
        return r->type == '+' && fb_bytes_is(r->text, !live                       ? "none"
                                                      : s->kind == FB_KIND_STRING ? "string"
                                                                                  : "hash");
    case SHADOW_PEXPIRETIME:
        return is_int(r, !live ? -2 : s->expires_ms == 0 ? -1 : s->expires_ms);
    case SHADOW_FBGET:
        if (r->type != '*' || r->n != 4)
            return false;
        if (!is_int(&r->items[3], !live || s->expires_ms == 0 ? -1 : s->expires_ms))
            return false;
        if (!live)
            return r->items[0].type == 'N' && is_int(&r->items[1], 0);
        return s->kind == FB_KIND_HASH ? is_hash(&r->items[0], v) : is_bulk(&r->items[0], v);
    case SHADOW_HGET:
        return live && fb_hash_get(v, fb_bytes_str(c->field), &field) ? is_bulk(r, field)
                                                                      : r->type == 'N';
    case SHADOW_HGETALL:
        return is_hash(r, v);
    case SHADOW_HLEN:
        return is_int(r, (int64_t)fb_hash_count(v));
    default: /* EVICT, SYNC: nothing about the value */
        return r->type == ':' || r->type == 'N';
    }
}

static bool hash_reply(const struct shadow_cmd *c, const struct shadow *before, bool wrote,
                       const struct shadow *after, const struct reply *r)
{
    struct fb_bytes v;
    bool had = before->kind == FB_KIND_HASH &&
               fb_hash_get(fb_buf_view(&before->value), fb_bytes_str(c->field), &v);
    int64_t n;
    if (before->kind == FB_KIND_STRING)
        return is_error(r, "WRONGTYPE");
    if (c->op == SHADOW_HDEL)
        return is_int(r, had);
    if (!wrote)
        return c->op == SHADOW_HINCRBY && (is_error(r, "ERR hash value is not an integer") ||
                                           is_error(r, "ERR increment or decrement"));
    if (c->op == SHADOW_HSET)
        return is_int(r, !had);
    return fb_hash_get(fb_buf_view(&after->value), fb_bytes_str(c->field), &v) &&
           fb_parse_i64(v, &n) && is_int(r, n);
}

static bool set_reply(const struct shadow_cmd *c, const struct shadow *before, bool wrote,
                      const struct reply *r)
{
    bool live = before->kind != FB_KIND_NONE;
    bool blocked = ((c->flags & SHADOW_NX) && live) || ((c->flags & SHADOW_XX) && !live);
    if (c->flags & SHADOW_GIVE_OLD) {
        if (live && before->kind != FB_KIND_STRING)
            return is_error(r, "WRONGTYPE");
        return live ? is_bulk(r, fb_buf_view(&before->value)) : r->type == 'N';
    }
    if (!wrote && !blocked && shadow_oversize(c, before) && !(c->flags & (SHADOW_PX | SHADOW_PXAT)))
        return false;
    if (!wrote && !blocked &&
        (!(c->flags & (SHADOW_PX | SHADOW_PXAT)) || (c->flags & SHADOW_FUTURE)))
        return false;
    return blocked ? r->type == 'N' : is_ok(r);
}

bool shadow_reply_fits(const struct shadow_cmd *c, const struct shadow *before, bool wrote,
                       const struct shadow *after, const struct reply *r)
{
    bool live = before->kind != FB_KIND_NONE;
    int64_t n;
    if (!wrote && is_error(r, "ERR a value of"))
        return shadow_oversize(c, before);
    switch (c->op) {
    case SHADOW_SET:
        return set_reply(c, before, wrote, r);
    case SHADOW_SETIF:
        if (before->kind == FB_KIND_HASH && is_error(r, "WRONGTYPE"))
            return true;
        return wrote ? r->type == ':' : r->type == 'N';
    case SHADOW_GETDEL:
        if (before->kind == FB_KIND_HASH)
            return is_error(r, "WRONGTYPE");
        return live ? is_bulk(r, fb_buf_view(&before->value)) : r->type == 'N';
    case SHADOW_APPEND:
        if (before->kind == FB_KIND_HASH)
            return is_error(r, "WRONGTYPE");
        return (wrote || !shadow_oversize(c, before)) &&
               is_int(r, (int64_t)(before->value.n + c->value.n));
    case SHADOW_INCRBY:
        if (before->kind == FB_KIND_HASH)
            return is_error(r, "WRONGTYPE");
        if (!wrote)
            return is_error(r, "ERR value is not an integer") ||
                   is_error(r, "ERR increment or decrement");
        return fb_parse_i64(fb_buf_view(&after->value), &n) && is_int(r, n);
    case SHADOW_HSET:
    case SHADOW_HDEL:
    case SHADOW_HINCRBY:
        return hash_reply(c, before, wrote, after, r);
    case SHADOW_DEL:
        return is_int(r, live);
    case SHADOW_PEXPIREAT:
    case SHADOW_PERSIST:
        return is_int(r, wrote);
    default:
        return read_fits(c, before, r);
    }
}
