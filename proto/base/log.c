/* Formats and writes log lines. */
#include "proto/base/log.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096

static _Atomic int log_level = FB_LOG_INFO;
static _Atomic int log_format = FB_LOG_LOGFMT;
static fb_log_sink_fn log_sink; /* const once threads run */
static char log_process[64] = "forebay";
static char log_name[64];
static const char *const level_names[] = {"trace", "debug", "info", "warn", "error"};

void fb_log_setup(enum fb_log_level level, enum fb_log_format format, const char *process,
                  const char *name)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
    fb_log_set_format(format);
    snprintf(log_process, sizeof(log_process), "%s", process);
    snprintf(log_name, sizeof(log_name), "%s", name ? name : "");
}

void fb_log_set_level(enum fb_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void fb_log_set_format(enum fb_log_format format)
{
    atomic_store_explicit(&log_format, (int)format, memory_order_relaxed);
}

enum fb_status fb_log_level_parse(const char *s, enum fb_log_level *out)
{
    for (size_t i = 0; i < FB_COUNT_OF(level_names); i++) {
        if (strcmp(s, level_names[i]) == 0) {
            *out = (enum fb_log_level)i;
            return FB_OK;
        }
    }
    return FB_EINVAL;
}

bool fb_log_enabled(enum fb_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

bool fb_log_wanted(enum fb_log_level level)
{
    return fb_log_enabled(level) || (log_sink != NULL && level >= FB_LOG_INFO);
}

void fb_log_set_sink(fb_log_sink_fn sink)
{
    log_sink = sink;
}

struct line {
    char p[LINE_BYTES_MAX];
    size_t n;
};

/* What a pair needs besides its key and value, with room to say that the value was cut. */
#define PAIR_BYTES_MIN 64u

static size_t line_room(const struct line *l)
{
    return sizeof(l->p) - 2 - l->n;
}

static void line_add(struct line *l, const char *s, size_t n)
{
    size_t room = line_room(l);
    if (n > room)
        n = room;
    memcpy(l->p + l->n, s, n);
    l->n += n;
}

static void line_str(struct line *l, const char *s)
{
    line_add(l, s, strlen(s));
}

static void line_quoted(struct line *l, const uint8_t *s, size_t n)
{
    line_str(l, "\"");
    for (size_t i = 0; i < n; i++) {
        char esc[8];
        if (line_room(l) < 16) {
            line_str(l, "..."); /* cut here, so that the line stays well-formed */
            break;
        }
        if (s[i] == '"' || s[i] == '\\') {
            esc[0] = '\\';
            esc[1] = (char)s[i];
            line_add(l, esc, 2);
        } else if (s[i] == '\n') {
            line_str(l, "\\n");
        } else if (s[i] < 0x20 || s[i] >= 0x7f) {
            snprintf(esc, sizeof(esc), "\\u%04x", s[i]);
            line_str(l, esc);
        } else {
            line_add(l, (const char *)s + i, 1);
        }
    }
    line_str(l, "\"");
}

static bool needs_quotes(const uint8_t *s, size_t n)
{
    if (n == 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] == '"' || s[i] == '=' || s[i] == '\\' || s[i] >= 0x7f)
            return true;
    return false;
}

static void line_text(struct line *l, const uint8_t *s, size_t n)
{
    if (log_format == FB_LOG_JSON || needs_quotes(s, n) || n > line_room(l) - PAIR_BYTES_MIN / 2)
        line_quoted(l, s, n);
    else
        line_add(l, (const char *)s, n);
}

static void line_key(struct line *l, const char *key)
{
    if (log_format == FB_LOG_JSON) {
        line_str(l, l->n > 1 ? ",\"" : "\"");
        line_str(l, key);
        line_str(l, "\":");
    } else {
        if (l->n > 0)
            line_str(l, " ");
        line_str(l, key);
        line_str(l, "=");
    }
}

static void line_kv(struct line *l, const struct fb_kv *kv)
{
    char num[64];
    if (line_room(l) < strlen(kv->key) + PAIR_BYTES_MIN)
        return; /* the line is full: whole pairs are left out */
    line_key(l, kv->key);
    switch (kv->type) {
    case FB_KV_STR:
        line_text(l, (const uint8_t *)(kv->s ? kv->s : ""), kv->s ? strlen(kv->s) : 0);
        return;
    case FB_KV_BYTES:
        line_text(l, kv->b.p, kv->b.n);
        return;
    case FB_KV_UINT:
        snprintf(num, sizeof(num), "%llu", (unsigned long long)kv->u);
        break;
    case FB_KV_INT:
        snprintf(num, sizeof(num), "%lld", (long long)kv->i);
        break;
    case FB_KV_DOUBLE:
        /* JSON has no word for what is not a number */
        if (log_format == FB_LOG_JSON && !isfinite(kv->d))
            snprintf(num, sizeof(num), "null");
        else
            snprintf(num, sizeof(num), "%.6g", kv->d);
        break;
    }
    line_str(l, num);
}

void fb_log_emit(enum fb_log_level level, const char *text, const struct fb_kv *kv, size_t count)
{
    struct line l;
    struct timespec ts;
    struct tm tm;
    char when[64];
    size_t n;

    if (log_sink != NULL && level >= FB_LOG_INFO)
        log_sink(level, text, kv, count);
    if (!fb_log_enabled(level))
        return;
    l.n = 0;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof(when) - n, ".%03ldZ", ts.tv_nsec / 1000000);
    if (log_format == FB_LOG_JSON)
        line_str(&l, "{");
    line_kv(&l, &FB_KS("ts", when));
    line_kv(&l, &FB_KS("level", level_names[level]));
    line_kv(&l, &FB_KS("process", log_process));
    if (log_name[0] != '\0')
        line_kv(&l, &FB_KS("name", log_name));
    line_kv(&l, &FB_KS("msg", text));
    for (size_t i = 0; i < count; i++)
        line_kv(&l, &kv[i]);
    if (log_format == FB_LOG_JSON)
        l.p[l.n++] = '}';
    l.p[l.n++] = '\n';
    for (size_t at = 0; at < l.n;) {
        ssize_t w = write(STDERR_FILENO, l.p + at, l.n - at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            break; /* nobody is left to be told */
        at += (size_t)w;
    }
}
