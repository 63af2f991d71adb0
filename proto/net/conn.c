/* A connection's life: references, failure, and the end on the reaper thread. */
#include "proto/net/conn.h"

#include "proto/base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct fb_conn *conn_new(struct fb_net *n, bool dialed)
{
    struct fb_conn *c = fb_xcalloc(1, sizeof(*c));

    c->net = n;
    c->dialed = dialed;
    c->state = dialed ? CONN_DIALING : CONN_HELLO;
    c->hello_deadline_ns = fb_mono_ns() + NET_HELLO_TIMEOUT_MS * UINT64_C(1000000);
    atomic_init(&c->refs, 1); /* the live one, dropped by the reaper */
    pthread_mutex_init(&c->mtx, NULL);
    pthread_cond_init(&c->idle, NULL);
    if (nng_aio_alloc(&c->recv_aio, conn_recv_cb, c) != 0 ||
        nng_aio_alloc(&c->send_aio, conn_send_cb, c) != 0 ||
        nng_aio_alloc(&c->try_aio, NULL, NULL) != 0) {
        conn_discard(c);
        return NULL;
    }
    c->read = fb_xmalloc(NET_READ_BYTES);
    return c;
}

struct fb_conn *fb_conn_get(struct fb_conn *c)
{
    uint32_t before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    fb_assert(before > 0);
    return c;
}

void fb_conn_put(struct fb_conn *c)
{
    uint32_t before;
    if (c == NULL)
        return;
    before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    fb_assert(before > 0);
    if (before > 1)
        return;
    frame_pool_fini(c);
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->mtx);
    free(c);
}

bool conn_submit_begin(struct fb_conn *c)
{
    bool ok;
    pthread_mutex_lock(&c->mtx);
    ok = c->state != CONN_CLOSING;
    if (ok)
        c->submits++;
    pthread_mutex_unlock(&c->mtx);
    return ok;
}

void conn_submit_end(struct fb_conn *c)
{
    pthread_mutex_lock(&c->mtx);
    if (--c->submits == 0 && c->state == CONN_CLOSING)
        pthread_cond_signal(&c->idle);
    pthread_mutex_unlock(&c->mtx);
}

void conn_fail(struct fb_conn *c, const char *fmt, ...)
{
    va_list ap;

    pthread_mutex_lock(&c->mtx);
    if (c->state == CONN_CLOSING) {
        pthread_mutex_unlock(&c->mtx);
        return;
    }
    c->state = CONN_CLOSING;
    if (c->why[0] == '\0') { /* else: the reason of a refusal whose sending ended */
        va_start(ap, fmt);
        vsnprintf(c->why, sizeof(c->why), fmt, ap);
        va_end(ap);
    }
    /* Both only start things ending; safe from callbacks and under this mutex (nng calls nothing of
     * ours from here). */
    if (c->dialer != NULL)
        nng_stream_dialer_close(c->dialer);
    if (c->stream != NULL)
        nng_stream_close(c->stream);
    pthread_mutex_unlock(&c->mtx);
    net_reap(c->net, c);
}

/* Nothing runs on it any more. */
static void conn_release(struct fb_conn *c)
{
    if (c->stream != NULL)
        nng_stream_free(c->stream);
    if (c->dialer != NULL)
        nng_stream_dialer_free(c->dialer);
    nng_aio_free(c->recv_aio);
    nng_aio_free(c->send_aio);
    nng_aio_free(c->try_aio);
    if (c->big != NULL)
        frame_box_drop(c->big);
    free(c->read);
    fb_buf_fini(&c->out);
    fb_buf_fini(&c->pending);
    atomic_store(&c->queued, 0);
}

void conn_discard(struct fb_conn *c)
{
    conn_release(c);
    fb_conn_put(c);
}

void conn_reap(struct fb_conn *c)
{
    const struct fb_net_config *config = net_config(c->net);
    bool tell;

    pthread_mutex_lock(&c->mtx);
    while (c->submits > 0)
        pthread_cond_wait(&c->idle, &c->mtx);
    tell = c->opened || c->dialed;
    pthread_mutex_unlock(&c->mtx);
    nng_aio_stop(c->recv_aio);
    nng_aio_stop(c->send_aio); /* its callback is the last that may use try_aio */
    conn_release(c);
    if (tell)
        config->closed(config->arg, c, c->why);
    net_remove(c->net, c);
    fb_conn_put(c);
}

void fb_conn_close(struct fb_conn *c)
{
    conn_fail(c, "closed here");
}

void fb_conn_set_user(struct fb_conn *c, void *user)
{
    atomic_store(&c->user, user);
}

void *fb_conn_user(const struct fb_conn *c)
{
    return atomic_load(&((struct fb_conn *)c)->user);
}

const struct fb_hello *fb_conn_peer(const struct fb_conn *c)
{
    return &c->peer;
}
