/* Sending: one write under way per connection, everything queued meanwhile goes out with the next.
 */
#include "proto/net/conn.h"

#include "proto/base/clock.h"

#define KEEP_BYTES_MAX (256u << 10)
/* Writes that follow each other closer than this are a burst. */
#define BURST_NS 20000u
#define QUEUE_BYTES_DEFAULT (64u << 20)

static void swap(struct fb_buf *a, struct fb_buf *b)
{
    struct fb_buf t = *a;
    *a = *b;
    *b = t;
}

static void set_rest(struct fb_conn *c, nng_aio *aio)
{
    nng_iov iov = {.iov_buf = c->out.p + c->out_done, .iov_len = c->out.n - c->out_done};
    int rc = nng_aio_set_iov(aio, 1, &iov);
    fb_assert(rc == 0);
}

/* Give the rest of `out` to nng; conn_send_cb follows. */
static void submit(struct fb_conn *c)
{
    set_rest(c, c->send_aio);
    nng_aio_set_timeout(c->send_aio, c->close_after_send ? (nng_duration)NET_HELLO_TIMEOUT_MS
                                                         : NNG_DURATION_INFINITE);
    nng_stream_send(c->stream, c->send_aio);
}

/* What was queued meanwhile becomes the next write. Gives false when there is nothing or the
 * connection closes. */
static bool next_write(struct fb_conn *c, bool *close)
{
    bool more;

    pthread_mutex_lock(&c->mtx);
    atomic_store_explicit(&c->queued, c->pending.n, memory_order_relaxed);
    more = c->state != CONN_CLOSING && c->pending.n > 0;
    *close = !more && c->close_after_send;
    if (more)
        swap(&c->out, &c->pending);
    else
        c->sending = false;
    pthread_mutex_unlock(&c->mtx);
    return more;
}

/* `n` more bytes of `out` are gone. False: nothing is left to write, or the connection ends. */
static bool wrote(struct fb_conn *c, size_t n)
{
    bool close, more;

    c->out_done += n;
    if (c->out_done < c->out.n)
        return true;
    c->out_done = 0;
    fb_buf_clear(&c->out);
    fb_buf_shrink(&c->out, KEEP_BYTES_MAX);
    more = next_write(c, &close);
    if (close)
        conn_fail(c, "refused");
    return more;
}

/* The first write after a pause. The caller owns the write (sending), holds no lock, and has
 * something to write.
 *
 * nng writes within nng_stream_send when it can, but tells so by the callback on another thread: a
 * wake-up that a lone write does not need (measured: it doubles a round trip over loopback). An aio
 * without a callback has none: cancel does nothing to a finished operation, and takes one back that
 * found the socket full (nng finishes a write at the first byte, so that nothing of it was
 * written); then the aio with the callback takes over. */
static void write_lone(struct fb_conn *c)
{
    int rc;

    set_rest(c, c->try_aio);
    nng_stream_send(c->stream, c->try_aio);
    nng_aio_cancel(c->try_aio);
    nng_aio_wait(c->try_aio);
    rc = nng_aio_result(c->try_aio);
    if (rc != 0 && rc != NNG_ECANCELED)
        conn_fail(c, "send: %s", nng_strerror(rc));
    else if (rc != 0 || wrote(c, nng_aio_count(c->try_aio)))
        submit(c);
}

/* In a burst the callback's delay is welcome: what is sent until then goes out as one write. */
static void write_first(struct fb_conn *c)
{
    uint64_t now = fb_mono_ns();
    bool lone = now - c->write_ns > BURST_NS;

    c->write_ns = now;
    if (lone)
        write_lone(c);
    else
        submit(c);
}

void conn_send_cb(void *arg)
{
    struct fb_conn *c = arg;
    int rc = nng_aio_result(c->send_aio);

    if (rc != 0)
        conn_fail(c, "send: %s", nng_strerror(rc));
    else if (wrote(c, nng_aio_count(c->send_aio)))
        submit(c);
}

void conn_send_hello(struct fb_conn *c, const char *error, bool close)
{
    if (!conn_submit_begin(c))
        return;
    pthread_mutex_lock(&c->mtx);
    c->close_after_send = close;
    if (c->sending) { /* a refusal while our own HELLO is on its way: goes behind it */
        hello_encode(net_config(c->net), error, &c->pending);
        pthread_mutex_unlock(&c->mtx);
    } else {
        c->sending = true;
        pthread_mutex_unlock(&c->mtx);
        hello_encode(net_config(c->net), error, &c->out);
        submit(c);
    }
    conn_submit_end(c);
}

enum fb_status fb_conn_send(struct fb_conn *c, struct fb_buf *frames)
{
    size_t queued, max = net_config(c->net)->send_queue_bytes_max;

    if (max == 0)
        max = QUEUE_BYTES_DEFAULT;
    if (frames->n == 0)
        return FB_OK;
    pthread_mutex_lock(&c->mtx);
    if (c->state != CONN_OPEN) {
        pthread_mutex_unlock(&c->mtx);
        return FB_ECLOSED;
    }
    queued = atomic_load_explicit(&c->queued, memory_order_relaxed);
    if (queued > 0 && queued + frames->n >
                          max) { /* an empty queue takes any frame, else one could never be sent */
        pthread_mutex_unlock(&c->mtx);
        return FB_EFULL;
    }
    atomic_store_explicit(&c->queued, queued + frames->n, memory_order_relaxed);
    if (c->sending) {
        if (c->pending.n == 0) {
            swap(&c->pending, frames);
        } else {
            fb_buf_put_bytes(&c->pending, fb_buf_view(frames));
            fb_buf_clear(frames);
        }
        pthread_mutex_unlock(&c->mtx);
        return FB_OK;
    }
    c->sending = true;
    c->submits++;
    swap(&c->out, frames);
    pthread_mutex_unlock(&c->mtx);
    write_first(c);
    conn_submit_end(c);
    return FB_OK;
}

size_t fb_conn_send_queue_bytes(const struct fb_conn *c)
{
    return atomic_load_explicit(&((struct fb_conn *)c)->queued, memory_order_relaxed);
}
