/* proto/net/net.h for the real code of simulated processes, on the simulated network. */
#include "tests/sim/os_net.h"
#include "proto/base/clock.h"
#include "proto/net/net.h"
#include "tests/sim/net.h"

#include <stdio.h>
#include <stdlib.h>

/* One end as proto/net shows it. */
struct fb_conn {
    uint32_t refs;
    struct fb_net *net;
    struct sim_conn *conn;
    void *user;
    struct fb_hello peer;
};

struct fb_net {
    struct fb_net_config config;
    struct sim_proc *proc;
    struct sim_net *net;
    bool closed;
};

struct held_frame { /* a frame and its bytes */
    struct fb_net_frame frame;
    uint8_t tail[];
};

static struct sim_wire *the_wire;
static sim_sent_fn watch;
static sim_received_fn watch_in;

void sim_os_net_world(struct sim_wire *w, sim_sent_fn sent, sim_received_fn in)
{
    the_wire = w;
    watch = sent;
    watch_in = in;
}

struct fb_conn *fb_conn_get(struct fb_conn *c)
{
    c->refs++;
    return c;
}

void fb_conn_put(struct fb_conn *c)
{
    fb_assert(c->refs > 0);
    if (--c->refs == 0)
        free(c);
}

static void opened(void *arg, struct sim_conn *sc, const struct fb_hello *peer)
{
    struct fb_net *n = arg;
    struct fb_conn *c = sim_conn_user(sc);
    struct sim_proc *before = sim_proc_enter(n->proc);
    if (c == NULL) {
        c = fb_xcalloc(1, sizeof *c);
        c->refs = 1;
        c->net = n;
        c->conn = sc;
        sim_conn_set_user(sc, c);
    }
    c->peer = *peer;
    n->config.opened(n->config.arg, c, peer);
    sim_proc_leave(before);
}

static void received(void *arg, struct sim_conn *sc, const struct fb_frame *f)
{
    struct fb_net *n = arg;
    struct fb_conn *c = sim_conn_user(sc);
    struct sim_proc *before = sim_proc_enter(n->proc);
    struct held_frame *h = fb_xcalloc(1, sizeof *h + f->tail.n);
    if (watch_in != NULL)
        watch_in(n->proc, sc, f);
    h->frame.conn = fb_conn_get(c);
    h->frame.f = *f;
    h->frame.received_ns = fb_mono_ns();
    if (f->tail.n > 0)
        memcpy(h->tail, f->tail.p, f->tail.n);
    h->frame.f.tail = fb_bytes(h->tail, f->tail.n);
    n->config.received(n->config.arg, c, &h->frame);
    sim_proc_leave(before);
}

static void closed(void *arg, struct sim_conn *sc, const char *why)
{
    struct fb_net *n = arg;
    struct fb_conn *c = sim_conn_user(sc);
    struct sim_proc *before = sim_proc_enter(n->proc);
    n->config.closed(n->config.arg, c, why);
    fb_conn_put(c);
    sim_proc_leave(before);
}

void fb_net_frame_free(struct fb_net_frame *f)
{
    struct held_frame *h = FB_CONTAINER_OF(f, struct held_frame, frame);
    fb_conn_put(f->conn);
    free(h);
}

enum fb_status fb_net_open(const struct fb_net_config *config, struct fb_net **out,
                           struct fb_err *err)
{
    struct fb_net *n = fb_xcalloc(1, sizeof *n);
    struct sim_net_config c = {.role = config->role,
                               .has_cluster = config->has_cluster,
                               .inc = config->inc,
                               .send_queue_bytes_max = config->send_queue_bytes_max,
                               .arg = n,
                               .opened = opened,
                               .received = received,
                               .closed = closed};
    (void)err;
    memcpy(c.name, config->name, sizeof c.name);
    memcpy(c.cluster, config->cluster, sizeof c.cluster);
    n->config = *config;
    n->proc = sim_self();
    n->net = sim_net_open(the_wire, &c);
    n->proc->net = n->net;
    *out = n;
    return FB_OK;
}

void fb_net_shutdown(struct fb_net *n)
{
    n->proc->net = NULL;
    sim_net_close(n->net);
    n->net = NULL;
}

void fb_net_close(struct fb_net *n)
{
    if (n == NULL)
        return;
    if (n->net != NULL)
        fb_net_shutdown(n);
    free(n);
}

enum fb_status fb_net_listen(struct fb_net *n, const char *url, char *bound, struct fb_err *err)
{
    (void)err;
    sim_net_listen(n->net, url);
    snprintf(bound, FB_ADDRESS_BYTES_MAX + 1, "%s", url);
    return FB_OK;
}

enum fb_status fb_net_dial(struct fb_net *n, const char *url, const char *expect_name, void *user,
                           struct fb_conn **out, struct fb_err *err)
{
    struct fb_conn *c = fb_xcalloc(1, sizeof *c);
    (void)err;
    c->refs = 2; /* until closed, and the caller's */
    c->net = n;
    c->user = user;
    c->conn = sim_net_dial(n->net, url, expect_name, c);
    *out = c;
    return FB_OK;
}

enum fb_status fb_conn_send(struct fb_conn *c, struct fb_buf *frames)
{
    if (watch != NULL && sim_conn_open(c->conn))
        watch(c->net->proc, c->conn, fb_buf_view(frames));
    return sim_conn_send(c->conn, frames);
}

uint64_t fb_net_memory_bytes(struct fb_net *n)
{
    (void)n;
    return 0;
}

size_t fb_conn_send_queue_bytes(const struct fb_conn *c)
{
    return sim_conn_queue_bytes(c->conn);
}

void fb_conn_close(struct fb_conn *c)
{
    sim_conn_close(c->conn);
}

void fb_conn_set_user(struct fb_conn *c, void *user)
{
    c->user = user;
}

void *fb_conn_user(const struct fb_conn *c)
{
    return c->user;
}

const struct fb_hello *fb_conn_peer(const struct fb_conn *c)
{
    return &c->peer;
}
