/* Receiving: bytes to frames, HELLO first. All of it runs in the callback of one aio, so one thread
 * at a time. */
#include "proto/net/conn.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <string.h>

/* Left of the time for connecting and HELLO, at least 1 ms. */
static nng_duration hello_left_ms(const struct fb_conn *c)
{
    uint64_t now = fb_mono_ns();
    if (now + 1000000u >= c->hello_deadline_ns)
        return 1;
    return (nng_duration)((c->hello_deadline_ns - now) / 1000000u);
}

static enum conn_state state_of(struct fb_conn *c)
{
    enum conn_state s;
    pthread_mutex_lock(&c->mtx);
    s = c->state;
    pthread_mutex_unlock(&c->mtx);
    return s;
}

static void submit(struct fb_conn *c, enum conn_state state)
{
    nng_iov iov[2];
    unsigned n = 0;
    int rc;

    if (c->big != NULL)
        iov[n++] = (nng_iov){.iov_buf = c->big->bytes + c->big_n, .iov_len = c->big->n - c->big_n};
    iov[n++] = (nng_iov){.iov_buf = c->read + c->read_n, .iov_len = NET_READ_BYTES - c->read_n};
    rc = nng_aio_set_iov(c->recv_aio, n, iov);
    fb_assert(rc == 0);
    nng_aio_set_timeout(c->recv_aio, state == CONN_OPEN ? NNG_DURATION_INFINITE : hello_left_ms(c));
    nng_stream_recv(c->stream, c->recv_aio);
}

void conn_recv_start(struct fb_conn *c)
{
    if (!conn_submit_begin(c))
        return;
    submit(c, CONN_HELLO);
    conn_submit_end(c);
}

/* Say why, then close. The peer that does not take it is cut off with the HELLO timeout of the
 * send. */
static void refuse(struct fb_conn *c, const char *why)
{
    pthread_mutex_lock(&c->mtx);
    memcpy(c->why, why,
           strnlen(why,
                   sizeof(c->why) - 1)); /* zeroed before; for the end of the send, see conn_fail */
    pthread_mutex_unlock(&c->mtx);
    conn_send_hello(c, why, true);
}

/* The first frame. True: the connection is open now. */
static bool recv_hello(struct fb_conn *c, const struct fb_frame *f)
{
    const struct fb_net_config *config = net_config(c->net);
    struct fb_err err;
    bool tell, ok;

    if (hello_check(config, c->expect, f, &tell, &err) != FB_OK) {
        if (tell)
            refuse(c, err.msg);
        else
            conn_fail(c, "%s", err.msg);
        return false;
    }
    c->peer = f->hello;
    if (!c->dialed) /* a dialer said HELLO when it was connected */
        conn_send_hello(c, "", false);
    pthread_mutex_lock(&c->mtx);
    ok = c->state == CONN_HELLO;
    if (ok) {
        c->state = CONN_OPEN;
        c->opened = true;
    }
    pthread_mutex_unlock(&c->mtx);
    if (ok)
        config->opened(config->arg, c, &c->peer);
    return ok;
}

/* A whole frame in its own memory. Takes the box. False: stop reading. */
static bool recv_frame(struct fb_conn *c, struct frame_box *b, uint64_t now, enum conn_state *state)
{
    const struct fb_net_config *config = net_config(c->net);
    struct fb_err err;

    if (fb_frame_decode(fb_bytes(b->bytes, b->n), &b->frame.f, &err) != FB_OK) {
        frame_box_drop(b);
        conn_fail(c, "peer sent a bad frame: %s", err.msg);
        return false;
    }
    if (*state == CONN_HELLO) {
        bool ok = recv_hello(c, &b->frame.f);
        frame_box_drop(b);
        *state = CONN_OPEN;
        return ok;
    }
    if (b->frame.f.kind == FB_FRAME_HELLO) {
        if (b->frame.f.has_hello && b->frame.f.hello.error[0] != '\0')
            conn_fail(c, "peer %s refused the connection: %s", c->peer.name,
                      b->frame.f.hello.error);
        else
            conn_fail(c, "peer %s sent a second HELLO", c->peer.name);
        frame_box_drop(b);
        return false;
    }
    if (!fb_frame_allowed(b->frame.f.kind, c->peer.role, config->role)) {
        net_foreign_frame(c->net);
        FB_LOG(WARN, "frame of another role, connection closed", FB_KS("peer", c->peer.name),
               FB_KS("role", fb_role_name(c->peer.role)),
               FB_KS("kind", fb_frame_kind_name(b->frame.f.kind)));
        conn_fail(c, "peer %s sent %s, which a %s does not send", c->peer.name,
                  fb_frame_kind_name(b->frame.f.kind), fb_role_name(c->peer.role));
        frame_box_drop(b);
        return false;
    }
    b->frame.conn = fb_conn_get(c);
    b->frame.received_ns = now;
    config->received(config->arg, c, &b->frame);
    return true;
}

/* Cuts whole frames off `read`; the start of a large one moves to its own memory, so that the rest
 * is read there. */
static bool cut_frames(struct fb_conn *c, uint64_t now, enum conn_state *state)
{
    size_t at = 0;

    while (at < c->read_n) {
        struct fb_bytes rest = fb_bytes(c->read + at, c->read_n - at);
        struct frame_box *b;
        size_t size;
        enum fb_status s = fb_frame_size(rest, &size);

        if (s != FB_OK || (*state == CONN_HELLO && size > NET_HELLO_BYTES_MAX)) {
            conn_fail(c, "peer sent a bad frame: length is out of bounds");
            return false;
        }
        if (size == 0 || (size > rest.n && size <= NET_READ_BYTES / 2))
            break;
        b = frame_box_new(c, size);
        if (b == NULL) {
            conn_fail(c, "no memory for a frame of %zu bytes", size);
            return false;
        }
        if (size > rest.n) {
            memcpy(b->bytes, rest.p, rest.n);
            c->big = b;
            c->big_n = rest.n;
            at = c->read_n;
            break;
        }
        memcpy(b->bytes, rest.p, size);
        at += size;
        if (!recv_frame(c, b, now, state))
            return false;
    }
    if (at > 0 && at < c->read_n)
        memmove(c->read, c->read + at, c->read_n - at);
    c->read_n -= at;
    return true;
}

static bool recv_bytes(struct fb_conn *c, size_t n, enum conn_state *state)
{
    uint64_t now = fb_mono_ns();

    if (c->big != NULL) {
        size_t part = c->big->n - c->big_n;
        struct frame_box *b = c->big;
        if (part > n)
            part = n;
        c->big_n += part;
        n -= part;
        if (c->big_n < b->n)
            return true;
        c->big = NULL;
        if (!recv_frame(c, b, now, state))
            return false;
    }
    c->read_n += n;
    return cut_frames(c, now, state);
}

static bool connected(struct fb_conn *c)
{
    bool ok;
    nng_stream *s = nng_aio_get_output(c->recv_aio, 0);

    pthread_mutex_lock(&c->mtx);
    ok = c->state == CONN_DIALING;
    c->stream = s; /* the reaper frees it, whatever the state */
    if (ok)
        c->state = CONN_HELLO;
    pthread_mutex_unlock(&c->mtx);
    if (ok)
        conn_send_hello(c, "", false);
    return ok;
}

void conn_recv_cb(void *arg)
{
    struct fb_conn *c = arg;
    int rc = nng_aio_result(c->recv_aio);
    enum conn_state state = state_of(c);

    if (rc != 0) {
        if (state == CONN_DIALING)
            conn_fail(c, "connect %s: %s", c->url, nng_strerror(rc));
        else if (rc == NNG_ETIMEDOUT)
            conn_fail(c, "no HELLO from the peer within %u s", NET_HELLO_TIMEOUT_MS / 1000);
        else
            conn_fail(c,
                      rc == NNG_ECLOSED || rc == NNG_ECONNSHUT ? "peer closed the connection"
                                                               : "receive: %s",
                      nng_strerror(rc));
        return;
    }
    if (state == CONN_CLOSING) {
        if (c->stream == NULL) /* connected at the same moment */
            c->stream = nng_aio_get_output(c->recv_aio, 0);
        return;
    }
    if (state == CONN_DIALING) {
        if (connected(c))
            submit(c, CONN_HELLO);
        return;
    }
    if (recv_bytes(c, nng_aio_count(c->recv_aio), &state))
        submit(c, state);
}
