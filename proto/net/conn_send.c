/* Sending: one write under way per connection, everything queued meanwhile goes out with the next. */
#include "proto/net/conn.h"

#define KEEP_BYTES_MAX (256u << 10)
#define QUEUE_BYTES_DEFAULT (64u << 20)

static void swap(struct fb_buf *a, struct fb_buf *b)
{
    struct fb_buf t = *a;
    *a = *b;
    *b = t;
}

/* Give the rest of `out` to nng. The caller owns the write (sending) and holds no lock: nng writes at once, in this thread, when
 * the socket takes it. */
static void submit(struct fb_conn *c)
{
    nng_iov iov = {.iov_buf = c->out.p + c->out_done, .iov_len = c->out.n - c->out_done};
    int rc = nng_aio_set_iov(c->send_aio, 1, &iov);
    fb_assert(rc == 0);
    nng_aio_set_timeout(c->send_aio, c->close_after_send ? (nng_duration)NET_HELLO_TIMEOUT_MS : NNG_DURATION_INFINITE);
    nng_stream_send(c->stream, c->send_aio);
}

/* What was queued meanwhile becomes the next write. Gives false when there is nothing or the connection closes. */
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

void conn_send_cb(void *arg)
{
    struct fb_conn *c = arg;
    int rc = nng_aio_result(c->send_aio);
    bool close;

    if (rc != 0) {
        conn_fail(c, "send: %s", nng_strerror(rc));
        return;
    }
    c->out_done += nng_aio_count(c->send_aio);
    if (c->out_done < c->out.n) {
        submit(c);
        return;
    }
    c->out_done = 0;
    fb_buf_clear(&c->out);
    fb_buf_shrink(&c->out, KEEP_BYTES_MAX);
    if (next_write(c, &close))
        submit(c);
    else if (close)
        conn_fail(c, "refused");
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
    if (queued > 0 && queued + frames->n > max) { /* an empty queue takes any frame, else one could never be sent */
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
    submit(c);
    conn_submit_end(c);
    return FB_OK;
}

size_t fb_conn_send_queue_bytes(const struct fb_conn *c)
{
    return atomic_load_explicit(&((struct fb_conn *)c)->queued, memory_order_relaxed);
}
