/* The adapter as a whole: listeners, live connections, the reaper. */
#include "proto/net/conn.h"

#include "proto/rt/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPT_RETRY_MS 100

struct listener {
    struct listener *next; /* net->mtx */
    struct fb_net *net;    /* const */
    nng_stream_listener *l;
    nng_aio *aio;
    bool pausing; /* accept callback: the aio sleeps after a failure */
};

struct fb_net {
    struct fb_net_config config;       /* const */
    struct fb_counter *foreign_frames; /* of the process */
    pthread_mutex_t mtx;
    pthread_cond_t empty;       /* conn_count became 0 */
    bool closing;               /* mtx */
    struct fb_conn *conns;      /* mtx */
    uint32_t conn_count;        /* mtx */
    struct listener *listeners; /* mtx */
    struct fb_mailbox *dead;    /* connections for the reaper */
    struct fb_thread *reaper;
    _Atomic bool stop;
};

void net_foreign_frame(struct fb_net *n)
{
    fb_counter_add(n->foreign_frames, 1);
}

const struct fb_net_config *net_config(const struct fb_net *n)
{
    return &n->config;
}

bool net_add(struct fb_net *n, struct fb_conn *c)
{
    bool ok;
    pthread_mutex_lock(&n->mtx);
    ok = !n->closing && n->conn_count < NET_CONNS_MAX;
    if (ok) {
        c->next = n->conns;
        if (c->next != NULL)
            c->next->prev = c;
        n->conns = c;
        n->conn_count++;
    }
    pthread_mutex_unlock(&n->mtx);
    return ok;
}

void net_remove(struct fb_net *n, struct fb_conn *c)
{
    pthread_mutex_lock(&n->mtx);
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        n->conns = c->next;
    if (--n->conn_count == 0)
        pthread_cond_signal(&n->empty);
    pthread_mutex_unlock(&n->mtx);
}

uint64_t fb_net_memory_bytes(struct fb_net *n)
{
    uint64_t bytes = frame_pool_bytes();

    if (n == NULL) /* not open yet: a node is asked for its metrics while it recovers */
        return bytes;
    pthread_mutex_lock(&n->mtx);
    for (const struct fb_conn *c = n->conns; c != NULL; c = c->next)
        bytes += sizeof(*c) + NET_READ_BYTES + atomic_load(&c->queued);
    pthread_mutex_unlock(&n->mtx);
    return bytes;
}

void net_reap(struct fb_net *n, struct fb_conn *c)
{
    fb_mailbox_force(n->dead, &c->reap); /* bounded by NET_CONNS_MAX */
}

static void reaper_loop(void *arg)
{
    struct fb_net *n = arg;
    while (!atomic_load(&n->stop)) {
        struct fb_mail *m = fb_mailbox_take(n->dead);
        if (m == NULL)
            fb_mailbox_wait(n->dead, UINT64_MAX);
        while (m != NULL) {
            struct fb_mail *next = m->next;
            conn_reap(FB_CONTAINER_OF(m, struct fb_conn, reap));
            m = next;
        }
    }
}

enum fb_status fb_net_open(const struct fb_net_config *config, struct fb_net **out,
                           struct fb_err *err)
{
    struct fb_net *n = fb_xcalloc(1, sizeof(*n));
    enum fb_status s;

    *out = NULL;
    n->config = *config;
    n->foreign_frames = fb_counter_register(
        "foreign_frames_total", NULL,
        "Frames that a peer of that role does not send; its connection was closed.");
    pthread_mutex_init(&n->mtx, NULL);
    pthread_cond_init(&n->empty, NULL);
    n->dead = fb_mailbox_new(NET_CONNS_MAX);
    s = fb_thread_start("fb-net-reaper", reaper_loop, n, &n->reaper, err);
    if (s != FB_OK) {
        fb_mailbox_free(n->dead);
        free(n);
        return s;
    }
    *out = n;
    return FB_OK;
}

static void accepted(struct fb_net *n, nng_stream *s)
{
    struct fb_conn *c = conn_new(n, false);

    if (c == NULL) {
        nng_stream_free(s);
        return;
    }
    c->stream = s;
    (void)nng_stream_set_bool(s, NNG_OPT_TCP_NODELAY, true); /* ipc:// has no such option */
    if (!net_add(n, c)) {
        conn_discard(c);
        return;
    }
    conn_recv_start(c);
}

static void accept_cb(void *arg)
{
    struct listener *l = arg;
    int rc = nng_aio_result(l->aio);

    if (rc == NNG_ECLOSED || rc == NNG_ECANCELED)
        return;
    if (l->pausing) {
        l->pausing = false;
    } else if (rc == 0) {
        accepted(l->net, nng_aio_get_output(l->aio, 0));
    } else { /* out of files or memory: others may give some back; do not spin */
        l->pausing = true;
        nng_sleep_aio(ACCEPT_RETRY_MS, l->aio);
        return;
    }
    nng_stream_listener_accept(l->l, l->aio);
}

/* The URL with the port that was really bound. */
static void bound_url(const struct listener *l, const char *url, char *bound)
{
    const char *colon = strrchr(url, ':');
    int port = 0;

    if (strncmp(url, "tcp", 3) == 0 && colon != NULL &&
        nng_stream_listener_get_int(l->l, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        snprintf(bound, FB_ADDRESS_BYTES_MAX + 1, "%.*s:%d", (int)(colon - url), url, port);
    else
        snprintf(bound, FB_ADDRESS_BYTES_MAX + 1, "%s", url);
}

static enum fb_status status_of_nng(int rc)
{
    switch (rc) {
    case 0:
        return FB_OK;
    case NNG_EADDRINUSE:
    case NNG_EBUSY:
        return FB_EBUSY;
    case NNG_ENOMEM:
    case NNG_ENOFILES:
        return FB_ENOMEM;
    case NNG_EPERM:
        return FB_EPERM;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
    case NNG_ENOTSUP:
        return FB_EINVAL;
    default:
        return FB_EIO;
    }
}

static enum fb_status check_url(const char *url, struct fb_err *err)
{
    if (strlen(url) > FB_ADDRESS_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "address is longer than %u bytes", FB_ADDRESS_BYTES_MAX);
    if (strncmp(url, "tcp://", 6) != 0 && strncmp(url, "ipc://", 6) != 0)
        return fb_err_set(err, FB_EINVAL, "address \"%s\" is not tcp://HOST:PORT or ipc://PATH",
                          url);
    return FB_OK;
}

enum fb_status fb_net_listen(struct fb_net *n, const char *url, char *bound, struct fb_err *err)
{
    struct listener *l;
    enum fb_status s = check_url(url, err);
    int rc;

    if (s != FB_OK)
        return s;
    l = fb_xcalloc(1, sizeof(*l));
    l->net = n;
    rc = nng_stream_listener_alloc(&l->l, url);
    if (rc != 0)
        goto out_free;
    rc = nng_aio_alloc(&l->aio, accept_cb, l);
    if (rc != 0)
        goto out_listener;
    rc = nng_stream_listener_listen(l->l);
    if (rc != 0)
        goto out_aio;
    bound_url(l, url, bound);
    pthread_mutex_lock(&n->mtx);
    l->next = n->listeners;
    n->listeners = l;
    pthread_mutex_unlock(&n->mtx);
    nng_stream_listener_accept(l->l, l->aio);
    return FB_OK;
out_aio:
    nng_aio_free(l->aio);
out_listener:
    nng_stream_listener_free(l->l);
out_free:
    free(l);
    return fb_err_set(err, status_of_nng(rc), "listen on %s: %s", url,
                      rc == NNG_EADDRINUSE ? "in use by another process; choose another address"
                                           : nng_strerror(rc));
}

enum fb_status fb_net_dial(struct fb_net *n, const char *url, const char *expect_name, void *user,
                           struct fb_conn **out, struct fb_err *err)
{
    struct fb_conn *c;
    enum fb_status s = check_url(url, err);
    int rc;

    *out = NULL;
    if (s != FB_OK)
        return s;
    c = conn_new(n, true);
    if (c == NULL)
        return fb_err_set(err, FB_ENOMEM, "connect %s: out of memory", url);
    snprintf(c->url, sizeof(c->url), "%s", url);
    snprintf(c->expect, sizeof(c->expect), "%s", expect_name == NULL ? "" : expect_name);
    fb_conn_set_user(c, user);
    rc = nng_stream_dialer_alloc(&c->dialer, url);
    if (rc != 0) {
        s = fb_err_set(err, status_of_nng(rc), "connect %s: %s", url, nng_strerror(rc));
        conn_discard(c);
        return s;
    }
    (void)nng_stream_dialer_set_bool(c->dialer, NNG_OPT_TCP_NODELAY, true);
    if (!net_add(n, c)) {
        conn_discard(c);
        return fb_err_set(err, FB_EFULL, "connect %s: closing, or more than %u connections", url,
                          NET_CONNS_MAX);
    }
    *out = fb_conn_get(c);
    if (conn_submit_begin(c)) {
        nng_aio_set_timeout(c->recv_aio, (nng_duration)NET_HELLO_TIMEOUT_MS);
        nng_stream_dialer_dial(c->dialer, c->recv_aio);
        conn_submit_end(c);
    }
    return FB_OK;
}

static void close_listeners(struct fb_net *n)
{
    while (n->listeners != NULL) {
        struct listener *l = n->listeners;
        n->listeners = l->next;
        nng_stream_listener_close(l->l);
        nng_aio_stop(l->aio);
        nng_aio_free(l->aio);
        nng_stream_listener_free(l->l);
        free(l);
    }
}

void fb_net_shutdown(struct fb_net *n)
{
    pthread_mutex_lock(&n->mtx);
    fb_assert(!n->closing);
    n->closing = true; /* nothing is added from here on */
    pthread_mutex_unlock(&n->mtx);
    close_listeners(n);
    /* The live reference of a connection in the list cannot go while the mutex is held: net_remove
     * comes before it. */
    pthread_mutex_lock(&n->mtx);
    for (struct fb_conn *c = n->conns; c != NULL; c = c->next)
        conn_fail(c, "shutting down");
    while (n->conn_count > 0)
        pthread_cond_wait(&n->empty, &n->mtx);
    pthread_mutex_unlock(&n->mtx);
    atomic_store(&n->stop, true);
    fb_mailbox_wake(n->dead);
    fb_thread_join(n->reaper);
    n->reaper = NULL;
}

void fb_net_close(struct fb_net *n)
{
    if (n == NULL)
        return;
    if (n->reaper != NULL)
        fb_net_shutdown(n);
    fb_mailbox_free(n->dead);
    pthread_cond_destroy(&n->empty);
    pthread_mutex_destroy(&n->mtx);
    free(n);
}
