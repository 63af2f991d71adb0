/* Connections of clients: byte streams to a simulated router, and what router/io/client.c does with
 * them. Bytes arrive in pieces of any size, in order, after a delay that differs. */
#include "tests/sim/router_impl.h"

#include <stdlib.h>

#define READ_BYTES (64u << 10)

struct stream { /* one direction: what is on its way, and what has arrived */
    struct fb_buf wire, here;
    uint64_t last_at_ns; /* nothing overtakes */
};

struct router_tcp {
    struct router_tcp *next;
    struct sim_router *router;
    struct router_session *session; /* NULL: the router has closed it */
    struct router_tcp_client client;
    bool client_gone, told, reading, paused;
    struct stream up, down;
    struct fb_buf in;      /* bytes not taken yet */
    struct fb_buf writing; /* taken from the session, not in the socket yet */
    bool write_busy;
};

static uint64_t delay(struct sim *s)
{
    if (sim_strikes(s, SIM_ROUTER, SIM_FAULT_NET_SLOW, 3000))
        return sim_spread(s, SIM_ROUTER, SIM_MS, SIM_S);
    return sim_range(s, SIM_ROUTER, 10 * SIM_US, 300 * SIM_US);
}

/* When something sent now arrives. */
static uint64_t arrival(struct sim *s, struct stream *st)
{
    uint64_t at = sim_now_ns(s) + delay(s);
    if (at < st->last_at_ns)
        at = st->last_at_ns;
    st->last_at_ns = at;
    return at;
}

/* The next n bytes on the wire have arrived. */
static void stream_arrived(struct stream *st, size_t n)
{
    if (n > st->wire.n)
        n = st->wire.n;
    fb_buf_put(&st->here, st->wire.p, n);
    fb_buf_consume(&st->wire, n);
}

static void stream_send(struct router_tcp *t, struct stream *st, struct fb_bytes bytes, sim_fn fn)
{
    struct sim *s = t->router->sim;
    fb_buf_put_bytes(&st->wire, bytes);
    while (bytes.n > 0) {
        size_t n = bytes.n;
        if (sim_chance(s, SIM_ROUTER, 200000)) /* cut anywhere */
            n = sim_range(s, SIM_ROUTER, 1, n);
        bytes.n -= n;
        sim_at(s, arrival(s, st), fn, t, n);
    }
}

/* --- the router's end --- */

static void down_ev(void *arg, uint64_t n)
{
    struct router_tcp *t = arg;
    struct fb_buf take = {0};
    stream_arrived(&t->down, n);
    if (t->client_gone || t->paused || t->down.here.n == 0)
        return;
    take = t->down.here;
    t->down.here = (struct fb_buf){0};
    t->client.received(t->client.arg, take.p, take.n);
    fb_buf_fini(&take);
}

static void closed_ev(void *arg, uint64_t tag)
{
    struct router_tcp *t = arg;
    (void)tag;
    if (t->client_gone)
        return;
    t->client_gone = true;
    t->client.closed(t->client.arg, "closed by the router");
}

static void tcp_close(struct router_tcp *t)
{
    struct sim_router *r = t->router;
    if (t->session == NULL)
        return;
    router_session_gone(t->session);
    t->session = NULL;
    if (!t->told)
        sim_at(r->sim, arrival(r->sim, &t->down), closed_ev, t, 0);
    t->told = true;
}

static void written_ev(void *arg, uint64_t tag)
{
    struct router_tcp *t = arg;
    (void)tag;
    if (t->session == NULL)
        return;
    t->write_busy = false;
    stream_send(t, &t->down, fb_buf_view(&t->writing), down_ev);
    router_session_output(t->session, t->writing.n, 0);
    fb_buf_clear(&t->writing);
    router_client_flush(t);
}

void router_client_flush(struct router_tcp *t)
{
    struct router_session *s = t->session;
    struct sim *sim = t->router->sim;
    size_t n;
    if (s == NULL)
        return;
    if (s->cut) {
        tcp_close(t);
        return;
    }
    if (t->write_busy)
        return; /* what is in s->out goes with the next */
    if (s->out.n > 0) {
        n = s->out.n;
        if (sim_chance(sim, SIM_ROUTER, 30000)) /* the socket takes a part of it */
            n = sim_range(sim, SIM_ROUTER, 0, n);
        stream_send(t, &t->down, fb_bytes(s->out.p, n), down_ev);
        if (n < s->out.n) {
            fb_buf_put(&t->writing, s->out.p + n, s->out.n - n);
            fb_buf_clear(&s->out);
            router_session_output(s, n, t->writing.n);
            t->write_busy = true;
            sim_after(sim, sim_spread(sim, SIM_ROUTER, 10 * SIM_US, 50 * SIM_MS), written_ev, t, 0);
            return;
        }
        fb_buf_clear(&s->out);
        router_session_output(s, n, 0);
    }
    if (s->close && s->out.n == 0)
        tcp_close(t);
}

static void client_take(struct router_tcp *t)
{
    struct router_session *s = t->session;
    fb_buf_consume(&t->in, router_session_input(s, t->in.p, t->in.n));
    t->reading = !s->stalled && !s->close && !s->ending;
}

void router_client_resume(struct router_tcp *t)
{
    client_take(t);
}

static void read_some(struct router_tcp *t)
{
    size_t n = t->up.here.n < READ_BYTES ? t->up.here.n : READ_BYTES;
    fb_buf_put(&t->in, t->up.here.p, n);
    fb_buf_consume(&t->up.here, n);
    client_take(t);
    if (t->reading && t->up.here.n > 0)
        router_loop_wake(t->router);
}

void router_clients_read(struct sim_router *r)
{
    for (struct router_tcp *t = r->tcps; t != NULL; t = t->next) {
        if (t->session == NULL)
            continue;
        if (t->reading && t->up.here.n > 0)
            read_some(t);
        else if (t->client_gone && t->reading)
            tcp_close(t);
    }
}

void router_clients_end(struct sim_router *r)
{
    for (struct router_tcp *t = r->tcps; t != NULL; t = t->next)
        tcp_close(t);
}

/* --- the client's end --- */

struct router_tcp *router_tcp_connect(struct world *w, uint32_t router,
                                      const struct router_tcp_client *client)
{
    struct sim_router *r = router_of(w, router);
    struct router_tcp *t;
    if (!r->up)
        return NULL;
    t = fb_xcalloc(1, sizeof *t);
    t->router = r;
    t->client = *client;
    t->reading = true;
    t->session = router_session_new(r->core, ++r->client_ids, "client", r->name, t);
    t->next = r->tcps;
    r->tcps = t;
    return t;
}

static void up_ev(void *arg, uint64_t n)
{
    struct router_tcp *t = arg;
    stream_arrived(&t->up, n);
    if (t->session != NULL)
        router_loop_wake(t->router);
}

void router_tcp_send(struct router_tcp *t, struct fb_bytes bytes)
{
    stream_send(t, &t->up, bytes, up_ev);
}

void router_tcp_close(struct router_tcp *t)
{
    t->client_gone = true;
    /* the end travels behind the bytes; a router that does not read it learns of it later */
    sim_at(t->router->sim, arrival(t->router->sim, &t->up), up_ev, t, 0);
}

void router_tcp_pause(struct router_tcp *t, bool paused)
{
    t->paused = paused;
    if (!paused)
        sim_after(t->router->sim, 0, down_ev, t, 0);
}

void router_tcps_free(struct sim_router *r)
{
    while (r->tcps != NULL) {
        struct router_tcp *t = r->tcps;
        r->tcps = t->next;
        fb_buf_fini(&t->up.wire);
        fb_buf_fini(&t->up.here);
        fb_buf_fini(&t->down.wire);
        fb_buf_fini(&t->down.here);
        fb_buf_fini(&t->in);
        fb_buf_fini(&t->writing);
        free(t);
    }
}
