/* Connections, their delays and their faults (net.h). */
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>

#define QUEUE_BYTES_MAX (64u << 20)
#define HELLO_TIMEOUT_NS (5 * SIM_S)
#define CUTS_MAX 16u

struct packet {
    struct packet *next;
    uint64_t at_ns;
    size_t n;
    uint8_t bytes[];
};

struct sim_conn {
    struct sim_conn *all; /* of the wire */
    struct sim_net *net;
    struct sim_conn *peer; /* the other end; NULL until the listener took it */
    enum { DIALING, OPEN, CLOSING, CLOSED } state;
    bool told; /* the owner knows of it: opened, or a dial it made */
    char expect[FB_NAME_BYTES_MAX + 1];
    char why[64];
    void *user;
    struct fb_hello hello; /* of the peer */
    uint32_t id;
    /* what is on its way to this end */
    struct packet *head, **tail;
    size_t queued;
    uint64_t last_at_ns, stalled_until_ns;
    bool waking; /* an event is under way that delivers */
};

struct listener {
    struct listener *next;
    char address[FB_ADDRESS_BYTES_MAX + 1];
    struct sim_net *net;
};

struct sim_net {
    struct sim_net *all;
    struct sim_wire *wire;
    struct sim_net_config config;
    bool dead, paused;
};

struct cut {
    char from[FB_NAME_BYTES_MAX + 1], to[FB_NAME_BYTES_MAX + 1]; /* to "": from and to everybody */
    uint64_t until_ns;
};

struct sim_wire {
    struct sim *sim;
    struct cut cuts[CUTS_MAX];
    uint32_t cut_next;
    struct sim_net *nets;
    struct sim_conn *conns;
    struct listener *listeners;
    uint32_t next_id;
    /* of this run */
    uint64_t delay_min_ns, delay_max_ns;
};

struct sim_wire *sim_wire_new(struct sim *s)
{
    struct sim_wire *w = fb_xcalloc(1, sizeof *w);
    w->sim = s;
    w->delay_min_ns = sim_spread(s, SIM_NET, 20 * SIM_US, 300 * SIM_US);
    w->delay_max_ns = w->delay_min_ns + sim_spread(s, SIM_NET, 20 * SIM_US, 3 * SIM_MS);
    return w;
}

static bool cut_hits(const struct cut *k, const char *from, const char *to)
{
    if (k->to[0] == 0)
        return strcmp(k->from, from) == 0 || strcmp(k->from, to) == 0;
    return strcmp(k->from, from) == 0 && strcmp(k->to, to) == 0;
}

uint64_t sim_wire_cut_until(const struct sim_wire *w, const char *from, const char *to)
{
    uint64_t until = 0;
    for (uint32_t i = 0; i < CUTS_MAX && !sim_healed(w->sim); i++)
        if (w->cuts[i].until_ns > sim_now_ns(w->sim) && w->cuts[i].until_ns > until &&
            cut_hits(&w->cuts[i], from, to))
            until = w->cuts[i].until_ns;
    return until;
}

static void stall(struct sim_conn *c, uint64_t until_ns)
{
    if (until_ns > c->stalled_until_ns)
        c->stalled_until_ns = until_ns;
}

void sim_wire_cut(struct sim_wire *w, const char *from, const char *to, uint64_t until_ns)
{
    struct cut *k = &w->cuts[w->cut_next++ % CUTS_MAX];
    snprintf(k->from, sizeof k->from, "%s", from);
    snprintf(k->to, sizeof k->to, "%s", to == NULL ? "" : to);
    k->until_ns = until_ns;
    sim_trace(w->sim, "net nothing passes from %s to %s for %llu ms", from, to == NULL ? "all" : to,
              (unsigned long long)((until_ns - sim_now_ns(w->sim)) / SIM_MS));
    for (struct sim_conn *c = w->conns; c != NULL; c = c->all)
        if (c->state != CLOSED && cut_hits(k, c->hello.name, c->net->config.name))
            stall(c, until_ns);
}

static void packets_drop(struct sim_conn *c)
{
    while (c->head != NULL) {
        struct packet *p = c->head;
        c->head = p->next;
        free(p);
    }
    c->tail = &c->head;
    c->queued = 0;
}

void sim_wire_free(struct sim_wire *w)
{
    while (w->conns != NULL) {
        struct sim_conn *c = w->conns;
        w->conns = c->all;
        packets_drop(c);
        free(c);
    }
    while (w->listeners != NULL) {
        struct listener *l = w->listeners;
        w->listeners = l->next;
        free(l);
    }
    while (w->nets != NULL) {
        struct sim_net *n = w->nets;
        w->nets = n->all;
        free(n);
    }
    free(w);
}

struct sim_net *sim_net_open(struct sim_wire *w, const struct sim_net_config *config)
{
    struct sim_net *n = fb_xcalloc(1, sizeof *n);
    n->wire = w;
    n->config = *config;
    n->all = w->nets;
    w->nets = n;
    return n;
}

void sim_net_listen(struct sim_net *n, const char *address)
{
    struct listener *l;
    for (l = n->wire->listeners; l != NULL; l = l->next)
        if (strcmp(l->address, address) == 0)
            break;
    if (l == NULL) {
        l = fb_xcalloc(1, sizeof *l);
        snprintf(l->address, sizeof l->address, "%s", address);
        l->next = n->wire->listeners;
        n->wire->listeners = l;
    }
    fb_assert(l->net == NULL || l->net->dead || l->net == n);
    l->net = n;
}

static uint64_t delay(struct sim_wire *w)
{
    uint64_t d = sim_range(w->sim, SIM_NET, w->delay_min_ns, w->delay_max_ns);
    if (sim_strikes(w->sim, SIM_NET, SIM_FAULT_NET_SLOW, 3000))
        d += sim_spread(w->sim, SIM_NET, SIM_MS, 2 * SIM_S);
    return d;
}

static struct sim_conn *conn_new(struct sim_net *n)
{
    struct sim_conn *c = fb_xcalloc(1, sizeof *c);
    c->net = n;
    c->tail = &c->head;
    c->id = ++n->wire->next_id;
    c->all = n->wire->conns;
    n->wire->conns = c;
    return c;
}

/* This end has come to its end: the owner hears of it once. */
static void conn_closed_ev(void *arg, uint64_t tag)
{
    struct sim_conn *c = arg;
    (void)tag;
    if (c->state == CLOSED || c->net->dead)
        return;
    if (c->net->paused) {
        sim_after(c->net->wire->sim, 10 * SIM_MS, conn_closed_ev, c, 0);
        return;
    }
    c->state = CLOSED;
    packets_drop(c);
    sim_trace(c->net->wire->sim, "%s connection %u to %s closed: %s", c->net->config.name, c->id,
              c->hello.name, c->why);
    if (c->told)
        c->net->config.closed(c->net->config.arg, c, c->why);
}

/* `after_ns` from now this end learns that it is closed; what was on its way and is not there by
 * then is lost. */
static void conn_end(struct sim_conn *c, uint64_t after_ns, const char *why)
{
    if (c == NULL || c->state == CLOSED || c->state == CLOSING)
        return;
    snprintf(c->why, sizeof c->why, "%s", why);
    if (after_ns == 0) {
        c->state = CLOSING;
        packets_drop(c);
    }
    sim_after(c->net->wire->sim, after_ns, conn_closed_ev, c, 0);
}

static void deliver_ev(void *arg, uint64_t tag);

static void wake(struct sim_conn *c)
{
    uint64_t at;
    if (c->waking || c->head == NULL || c->state != OPEN || c->net->dead)
        return;
    at = c->head->at_ns > c->stalled_until_ns ? c->head->at_ns : c->stalled_until_ns;
    c->waking = true;
    sim_at(c->net->wire->sim, at, deliver_ev, c, 0);
}

static void deliver_ev(void *arg, uint64_t tag)
{
    struct sim_conn *c = arg;
    struct sim_wire *w = c->net->wire;
    struct packet *p = c->head;
    struct fb_frame f;
    struct fb_err err = {0};
    (void)tag;

    c->waking = false;
    if (p == NULL || c->state != OPEN || c->net->dead || c->net->paused)
        return;
    if (p->at_ns > sim_now_ns(w->sim) || c->stalled_until_ns > sim_now_ns(w->sim)) {
        wake(c);
        return;
    }
    c->head = p->next;
    if (c->head == NULL)
        c->tail = &c->head;
    c->queued -= p->n;
    if (fb_frame_decode(fb_bytes(p->bytes, p->n), &f, &err) != FB_OK)
        sim_violation(w->sim, "frame", "%s sent to %s what is no frame: %s", c->hello.name,
                      c->net->config.name, err.msg);
    c->net->config.received(c->net->config.arg, c, &f);
    free(p);
    wake(c);
}

static void hello_of(const struct sim_net *n, struct fb_hello *out)
{
    *out = (struct fb_hello){.protocol = FB_PROTOCOL_VERSION,
                             .role = n->config.role,
                             .has_cluster = n->config.has_cluster,
                             .inc = n->config.inc};
    memcpy(out->name, n->config.name, sizeof out->name);
    memcpy(out->cluster, n->config.cluster, sizeof out->cluster);
}

static void opened_ev(void *arg, uint64_t tag)
{
    struct sim_conn *c = arg;
    (void)tag;
    if (c->state != DIALING || c->net->dead)
        return;
    if (c->net->paused) {
        sim_after(c->net->wire->sim, 10 * SIM_MS, opened_ev, c, 0);
        return;
    }
    c->state = OPEN;
    c->told = true;
    c->net->config.opened(c->net->config.arg, c, &c->hello);
    wake(c);
}

static bool strangers(const struct sim_net_config *a, const struct sim_net_config *b)
{
    return a->has_cluster && b->has_cluster && memcmp(a->cluster, b->cluster, FB_UUID_BYTES) != 0;
}

/* The dial arrives at the address. tag: the listener's place in the list does not matter, it is
 * looked up by `user` data kept in `why` until now. */
static void arrive_ev(void *arg, uint64_t tag)
{
    struct sim_conn *c = arg, *far;
    struct sim_wire *w = c->net->wire;
    struct listener *l;
    (void)tag;

    if (c->state != DIALING || c->net->dead)
        return;
    for (l = w->listeners; l != NULL; l = l->next)
        if (strcmp(l->address, c->hello.error) == 0)
            break;
    if (l == NULL || l->net->dead || sim_strikes(w->sim, SIM_NET, SIM_FAULT_NET_REFUSE, 60000)) {
        conn_end(c, delay(w), "connection refused");
        return;
    }
    if (sim_wire_cut_until(w, c->net->config.name, l->net->config.name) != 0 ||
        sim_wire_cut_until(w, l->net->config.name, c->net->config.name) != 0) {
        conn_end(c, HELLO_TIMEOUT_NS, "no answer");
        return;
    }
    if (strangers(&c->net->config, &l->net->config)) {
        conn_end(c, delay(w), "the peer belongs to another cluster");
        return;
    }
    if (c->expect[0] != 0 && strcmp(c->expect, l->net->config.name) != 0) {
        conn_end(c, delay(w), "the peer has another name");
        return;
    }
    if (l->net->paused) { /* the kernel takes the connection, nobody says HELLO */
        conn_end(c, HELLO_TIMEOUT_NS, "no HELLO in 5 s");
        return;
    }
    far = conn_new(l->net);
    far->peer = c;
    c->peer = far;
    hello_of(l->net, &c->hello);
    hello_of(c->net, &far->hello);
    sim_after(w->sim, delay(w), opened_ev, far, 0);
    sim_after(w->sim, delay(w), opened_ev, c, 0);
}

struct sim_conn *sim_net_dial(struct sim_net *n, const char *address, const char *expect_name,
                              void *user)
{
    struct sim_conn *c = conn_new(n);
    fb_assert(!n->dead);
    c->told = true;
    c->user = user;
    if (expect_name != NULL)
        snprintf(c->expect, sizeof c->expect, "%s", expect_name);
    snprintf(c->hello.error, sizeof c->hello.error, "%s", address);
    sim_after(n->wire->sim, delay(n->wire), arrive_ev, c, 0);
    return c;
}

void sim_net_kill(struct sim_net *n, bool machine)
{
    struct sim_wire *w = n->wire;
    n->dead = true;
    for (struct sim_conn *c = w->conns; c != NULL; c = c->all) {
        if (c->net != n || c->state == CLOSED)
            continue;
        c->state = CLOSED;
        packets_drop(c);
        if (c->peer != NULL && c->peer->state != CLOSED) {
            uint64_t after = machine ? sim_spread(w->sim, SIM_NET, SIM_MS, 60 * SIM_S)
                                     : sim_range(w->sim, SIM_NET, 0, 2 * w->delay_max_ns);
            conn_end(c->peer, after, machine ? "no answer from the machine" : "closed by the peer");
        }
    }
}

void sim_net_pause(struct sim_net *n, bool paused)
{
    n->paused = paused;
    if (!paused)
        for (struct sim_conn *c = n->wire->conns; c != NULL; c = c->all)
            if (c->net == n)
                wake(c);
}

void sim_net_close(struct sim_net *n)
{
    for (struct sim_conn *c = n->wire->conns; c != NULL; c = c->all) {
        bool tell = c->told;
        if (c->net != n || c->state == CLOSED)
            continue;
        c->state = CLOSED;
        packets_drop(c);
        if (c->peer != NULL)
            conn_end(c->peer, n->wire->delay_max_ns, "closed by the peer");
        if (tell)
            n->config.closed(n->config.arg, c, "shutting down");
    }
    n->dead = true;
}

static void packet_put(struct sim_conn *to, const uint8_t *p, size_t n)
{
    struct sim_wire *w = to->net->wire;
    struct packet *k = fb_xmalloc(sizeof *k + n);
    uint64_t at = sim_now_ns(w->sim) + delay(w);
    k->next = NULL;
    k->n = n;
    memcpy(k->bytes, p, n);
    k->at_ns = at > to->last_at_ns ? at : to->last_at_ns;
    to->last_at_ns = k->at_ns;
    *to->tail = k;
    to->tail = &k->next;
    to->queued += n;
}

static void strike(struct sim_conn *c)
{
    struct sim *s = c->net->wire->sim;
    if (sim_strikes(s, SIM_NET, SIM_FAULT_NET_STALL, 1000)) {
        uint64_t ns = sim_spread(s, SIM_NET, 10 * SIM_MS, 8 * SIM_S);
        sim_trace(s, "net connection %u to %s stalls for %llu ms", c->id, c->hello.name,
                  (unsigned long long)(ns / SIM_MS));
        c->peer->stalled_until_ns = sim_now_ns(s) + ns;
    }
    if (sim_strikes(s, SIM_NET, SIM_FAULT_NET_RESET, 700)) {
        sim_trace(s, "net connection %u of %s to %s is reset", c->id, c->net->config.name,
                  c->hello.name);
        conn_end(c->peer, sim_range(s, SIM_NET, 0, 20 * SIM_MS), "reset");
        conn_end(c, sim_range(s, SIM_NET, 0, 20 * SIM_MS), "reset");
    }
}

enum fb_status sim_conn_send(struct sim_conn *c, struct fb_buf *frames)
{
    size_t max = c->net->config.send_queue_bytes_max, at = 0, size;
    if (max == 0)
        max = QUEUE_BYTES_MAX;
    if (c->state != OPEN || c->net->dead)
        return FB_ECLOSED;
    if (c->peer == NULL || c->peer->state == CLOSED || c->peer->state == CLOSING) {
        fb_buf_clear(frames); /* into the void: this end does not know yet */
        return FB_OK;
    }
    if (c->peer->queued > 0 && c->peer->queued + frames->n > max)
        return FB_EFULL;
    while (at < frames->n) {
        struct fb_bytes rest = {frames->p + at, frames->n - at};
        if (fb_frame_size(rest, &size) != FB_OK || size == 0 || size > rest.n)
            sim_violation(c->net->wire->sim, "frame", "%s sends a broken frame",
                          c->net->config.name);
        packet_put(c->peer, rest.p, size);
        at += size;
    }
    fb_buf_clear(frames);
    stall(c->peer, sim_wire_cut_until(c->net->wire, c->net->config.name, c->hello.name));
    wake(c->peer);
    strike(c);
    return FB_OK;
}

size_t sim_conn_queue_bytes(const struct sim_conn *c)
{
    return c->peer == NULL ? 0 : c->peer->queued;
}

void sim_conn_close(struct sim_conn *c)
{
    if (c->state == CLOSED || c->state == CLOSING || c->net->dead)
        return;
    if (c->peer != NULL) /* what was sent before arrives first */
        conn_end(c->peer, c->net->wire->delay_max_ns, "closed by the peer");
    conn_end(c, 0, "closed here");
}

uint32_t sim_conn_id(const struct sim_conn *c)
{
    return c->id;
}

bool sim_conn_open(const struct sim_conn *c)
{
    return c->state == OPEN && !c->net->dead;
}

void sim_conn_set_user(struct sim_conn *c, void *user)
{
    c->user = user;
}

void *sim_conn_user(const struct sim_conn *c)
{
    return c->user;
}

const struct fb_hello *sim_conn_peer(const struct sim_conn *c)
{
    return &c->hello;
}
