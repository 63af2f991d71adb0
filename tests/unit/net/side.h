/* One adapter of a test: what it was told is counted under one lock, for all sides, and can be
 * waited for. One program has it once. */
#ifndef FB_TESTS_UNIT_NET_SIDE_H_
#define FB_TESTS_UNIT_NET_SIDE_H_

#include "proto/net/net.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

struct side {
    struct fb_net *net;
    struct fb_conn *conn; /* last opened; referenced */
    uint32_t opened, closed;
    uint64_t frames, bytes, next_id;
    bool bad_order, echo;
    char why[512];
    char peer[64];
};

static pthread_mutex_t mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static void on_open(void *arg, struct fb_conn *c, const struct fb_hello *peer)
{
    struct side *s = arg;
    pthread_mutex_lock(&mtx);
    s->opened++;
    fb_conn_put(s->conn);
    s->conn = fb_conn_get(c);
    snprintf(s->peer, sizeof(s->peer), "%s", peer->name);
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mtx);
}

static void on_frame(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    struct side *s = arg;
    struct fb_buf b = {0};
    pthread_mutex_lock(&mtx);
    s->bad_order |= f->f.id != s->next_id ||
                    (f->f.tail.n > 0 && f->f.tail.p[f->f.tail.n - 1] != (uint8_t)f->f.id);
    s->next_id++;
    s->frames++;
    s->bytes += f->f.tail.n;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mtx);
    if (s->echo) {
        size_t mark = fb_frame_begin(&b, &f->f);
        fb_buf_put_bytes(&b, f->f.tail);
        fb_frame_end(&b, mark, 1);
        if (fb_conn_send(c, &b) != FB_OK)
            fb_buf_clear(&b);
    }
    fb_buf_fini(&b);
    fb_net_frame_free(f);
}

static void on_close(void *arg, struct fb_conn *c, const char *why)
{
    struct side *s = arg;
    (void)c;
    pthread_mutex_lock(&mtx);
    s->closed++;
    snprintf(s->why, sizeof(s->why), "%s", why);
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mtx);
}

#define WAIT_FOR(expr)                                                                             \
    do {                                                                                           \
        struct timespec until_;                                                                    \
        clock_gettime(CLOCK_REALTIME, &until_);                                                    \
        until_.tv_sec += 20;                                                                       \
        pthread_mutex_lock(&mtx);                                                                  \
        while (!(expr))                                                                            \
            if (pthread_cond_timedwait(&cond, &mtx, &until_) != 0)                                 \
                fail_msg("waited in vain for %s", #expr);                                          \
        pthread_mutex_unlock(&mtx);                                                                \
    } while (0)

static void side_open(struct side *s, const char *name, uint8_t cluster)
{
    struct fb_net_config config = {.role = FB_ROLE_NODE,
                                   .has_cluster = cluster != 0,
                                   .arg = s,
                                   .opened = on_open,
                                   .received = on_frame,
                                   .closed = on_close,
                                   .inc = 7};
    struct fb_err err;
    *s = (struct side){0};
    snprintf(config.name, sizeof(config.name), "%s", name);
    config.cluster[0] = cluster;
    assert_int_equal(fb_net_open(&config, &s->net, &err), FB_OK);
}

static void side_close(struct side *s)
{
    fb_net_close(s->net);
    fb_conn_put(s->conn);
    assert_true(s->closed >= s->opened);
}

#endif
