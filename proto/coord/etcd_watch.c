/* The watch over etcd's JSON gateway: one request whose answer goes on, an object a line. */
#include "proto/coord/etcd_watch.h"

#include "proto/coord/backend.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdatomic.h>
#include <stdlib.h>

#define AGAIN_NS UINT64_C(1000000000)
#define CONNECT_MS 1000L
#define LINE_BYTES_MAX (64u << 20)

enum fb_status etcd_watch_init(struct etcd_watch *w, struct etcd_shared *s, struct fb_err *err)
{
    *w = (struct etcd_watch){.shared = s, .multi = curl_multi_init()};
    return w->multi != NULL ? FB_OK : fb_err_set(err, FB_ENOMEM, "coordinator: no memory");
}

static void stream_close(struct etcd_watch *w)
{
    if (w->easy != NULL) {
        (void)curl_multi_remove_handle(w->multi, w->easy);
        curl_easy_cleanup(w->easy);
        curl_slist_free_all(w->headers);
        w->easy = NULL;
        w->headers = NULL;
    }
    fb_buf_clear(&w->line);
}

void etcd_watch_fini(struct etcd_watch *w)
{
    stream_close(w);
    if (w->multi != NULL)
        (void)curl_multi_cleanup(w->multi);
    fb_buf_fini(&w->line);
}

static void take_line(struct etcd_watch *w, struct fb_bytes line)
{
    struct etcd_watched e;
    struct fb_err err = {0};

    if (etcd_take_watch(line, &e, &err) != FB_OK) {
        char text[ETCD_REASON_BYTES_MAX];
        /* an error before the stream began is an answer like others */
        if (etcd_take_error(line, text) >= 0)
            etcd_forget_login(w->shared);
        else
            FB_LOG(DEBUG, "coordinator's watch is not understood", FB_KS("error", err.msg));
        w->over = true;
        return;
    }
    w->created = w->created || e.created;
    if (e.revision > w->revision)
        w->revision = e.revision;
    if (e.ended) {
        FB_LOG(DEBUG, "coordinator's watch was ended", FB_KS("reason", e.reason));
        if (strstr(e.reason, "auth") != NULL || strstr(e.reason, "permission") != NULL)
            etcd_forget_login(w->shared);
        w->over = true;
    }
}

static size_t received(char *p, size_t size, size_t n, void *arg)
{
    struct etcd_watch *w = arg;
    uint8_t *to, *end;
    size_t from = w->line.n; /* before it there is no newline */

    n *= size;
    to = w->line.n + n <= LINE_BYTES_MAX ? fb_buf_try_reserve(&w->line, n) : NULL;
    if (to == NULL)
        return 0;
    memcpy(to, p, n);
    w->line.n += n;
    while (!w->over && w->line.n > from &&
           (end = memchr(w->line.p + from, '\n', w->line.n - from)) != NULL) {
        size_t line = (size_t)(end - w->line.p);
        if (line > 0)
            take_line(w, fb_bytes(w->line.p, line));
        fb_buf_consume(&w->line, line + 1);
        from = 0;
    }
    return n;
}

static void stream_open(struct etcd_watch *w, uint64_t seen_rev)
{
    struct fb_buf body = {0};

    w->easy = curl_easy_init();
    if (w->easy == NULL)
        return; /* tried again by the next wait */
    w->at = atomic_load(&w->shared->endpoint);
    w->from = seen_rev + 1;
    w->revision = 0;
    w->created = w->over = false;
    etcd_put_watch(&body, w->shared->url.prefix, w->from);
    etcd_prepare(w->shared, w->easy, w->at, "/v3/watch", fb_buf_view(&body), &w->headers);
    fb_buf_fini(&body);
    curl_easy_setopt(w->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(w->easy, CURLOPT_WRITEFUNCTION, received);
    curl_easy_setopt(w->easy, CURLOPT_WRITEDATA, w);
    if (curl_multi_add_handle(w->multi, w->easy) != CURLM_OK)
        stream_close(w);
}

/* Lets libcurl work; true: the stream has ended. */
static bool run(struct etcd_watch *w)
{
    int running = 0, left;

    if (w->easy == NULL)
        return false;
    if (curl_multi_perform(w->multi, &running) != CURLM_OK)
        return true;
    if (running == 0) {
        if (w->line.n > 0) /* an error has no newline */
            take_line(w, fb_buf_view(&w->line));
        while (curl_multi_info_read(w->multi, &left) != NULL)
            ;
    }
    return running == 0 || w->over;
}

enum fb_status etcd_watch_wait(struct etcd_watch *w, uint64_t seen_rev, uint32_t timeout_ms)
{
    uint64_t until = fb_mono_ns() + timeout_ms * UINT64_C(1000000);

    for (;;) {
        uint64_t now = fb_mono_ns(), next = until;

        /* Who asks elsewhere watches there; and one that began later than what was seen, because
         * the caller went back, has missed something. */
        if (w->easy != NULL &&
            (w->at != atomic_load(&w->shared->endpoint) || w->from > seen_rev + 1))
            stream_close(w);
        if (w->easy == NULL && now >= w->again_ns) {
            w->again_ns = now + AGAIN_NS;
            stream_open(w, seen_rev);
        }
        if (run(w)) {
            fb_coord_count(FB_COORD_WATCH_DROPPED);
            stream_close(w);
            return FB_OK;
        }
        if (w->revision > seen_rev || atomic_exchange(&w->woken, false))
            return FB_OK;
        if (now >= until)
            return FB_ETIMEOUT;
        if (w->easy == NULL && w->again_ns < next)
            next = w->again_ns;
        (void)curl_multi_poll(w->multi, NULL, 0, (int)((next - now) / 1000000 + 1), NULL);
    }
}

void etcd_watch_wake(struct etcd_watch *w)
{
    atomic_store(&w->woken, true);
    (void)curl_multi_wakeup(w->multi);
}
