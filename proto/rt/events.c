/* A ring of rendered log lines. */
#include "proto/rt/events.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/rt/admin.h"

#include <math.h>
#include <pthread.h>

#define FIELDS_BYTES_MAX 480u

struct event {
    uint64_t seq, at_ms, times;
    enum fb_log_level level;
    const char *text;              /* constant, as in every call of FB_LOG */
    char fields[FIELDS_BYTES_MAX]; /* "a":"b","n":1 */
};

static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[FB_EVENTS_MAX]; /* mtx; event `seq` is at seq % FB_EVENTS_MAX */
static uint64_t last_seq;                /* mtx */
static uint64_t instance;                /* const after setup */

static void put_bytes(struct fb_buf *out, const uint8_t *p, size_t n)
{
    char text[200];
    size_t used = 0;
    /* shown, not kept: what is not ASCII is a question mark, what is long is cut */
    for (; used < n && used + 1 < sizeof(text); used++)
        text[used] = p[used] < 0x80 && p[used] != 0 ? (char)p[used] : '?';
    text[used] = '\0';
    fb_json_string(out, text);
}

static void put_field(struct fb_buf *out, const struct fb_kv *kv)
{
    fb_buf_put_str(out, out->n > 0 ? "," : "");
    fb_json_string(out, kv->key);
    fb_buf_put_u8(out, ':');
    switch (kv->type) {
    case FB_KV_STR:
        put_bytes(out, (const uint8_t *)(kv->s ? kv->s : ""), kv->s ? strlen(kv->s) : 0);
        return;
    case FB_KV_BYTES:
        put_bytes(out, kv->b.p, kv->b.n);
        return;
    case FB_KV_UINT:
        fb_buf_printf(out, "%llu", (unsigned long long)kv->u);
        return;
    case FB_KV_INT:
        fb_buf_printf(out, "%lld", (long long)kv->i);
        return;
    case FB_KV_DOUBLE:
        if (isfinite(kv->d))
            fb_buf_printf(out, "%.6g", kv->d);
        else
            fb_buf_put_str(out, "null");
        return;
    }
}

static void keep(enum fb_log_level level, const char *text, const struct fb_kv *kv, size_t count)
{
    struct fb_buf fields = {0};
    struct event *e;

    for (size_t i = 0; i < count; i++) {
        size_t before = fields.n;
        put_field(&fields, &kv[i]);
        if (fields.n >= FIELDS_BYTES_MAX)
            fields.n = before; /* whole fields are left out */
    }
    fb_buf_put_u8(&fields, 0);
    pthread_mutex_lock(&mtx);
    e = &ring[last_seq % FB_EVENTS_MAX];
    if (last_seq > 0 && e->level == level && strcmp(e->text, text) == 0 &&
        strcmp(e->fields, (const char *)fields.p) == 0) {
        e->times++;
    } else {
        e = &ring[++last_seq % FB_EVENTS_MAX];
        *e = (struct event){.times = 1, .level = level, .text = text, .seq = last_seq};
        memcpy(e->fields, fields.p, fields.n);
    }
    e->at_ms = (uint64_t)fb_wall_ms();
    pthread_mutex_unlock(&mtx);
    fb_buf_fini(&fields);
}

void fb_events_setup(void)
{
    instance = fb_random_u64();
    fb_log_set_sink(keep);
}

void fb_events_json(struct fb_buf *out, uint64_t since)
{
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    uint64_t seq;

    pthread_mutex_lock(&mtx);
    seq = last_seq > FB_EVENTS_MAX ? last_seq - FB_EVENTS_MAX : 0;
    if (since > seq)
        seq = since;
    fb_buf_printf(out, "{\"instance\":\"%016llx\",\"next\":%llu,\"events\":[",
                  (unsigned long long)instance, (unsigned long long)last_seq);
    for (bool first = true; seq < last_seq; first = false) {
        const struct event *e = &ring[++seq % FB_EVENTS_MAX];
        fb_buf_printf(out,
                      "%s{\"seq\":%llu,\"at_ms\":%llu,\"level\":\"%s\",\"times\":%llu,\"event\":",
                      first ? "" : ",", (unsigned long long)e->seq, (unsigned long long)e->at_ms,
                      levels[e->level], (unsigned long long)e->times);
        fb_json_string(out, e->text);
        fb_buf_printf(out, ",\"fields\":{%s}}", e->fields);
    }
    pthread_mutex_unlock(&mtx);
    fb_buf_put_str(out, "]}");
}
