/* Connections of a loop to the nodes: dialing with back-off, sending batches, taking replies. */
#include "router/io/loop.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdio.h>

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 2000u

static void peer_dial_later(struct peer *p, uint64_t ms)
{
    p->dial_at_ns = fb_mono_ns() + ms * 1000000u;
    if (p->dial_at_ns < p->loop->peers_at_ns)
        p->loop->peers_at_ns = p->dial_at_ns;
}

static void peer_failed(struct peer *p)
{
    p->backoff_ms = p->backoff_ms == 0 ? BACKOFF_MIN_MS : p->backoff_ms * 2;
    if (p->backoff_ms > BACKOFF_MAX_MS)
        p->backoff_ms = BACKOFF_MAX_MS;
    if (!p->loop->stopping)
        peer_dial_later(p, p->backoff_ms);
}

static void peer_dial(struct peer *p)
{
    struct router *core = p->loop->core;
    const char *url = router_node_url(core, p->number);
    struct fb_err err = {0};
    p->dial_at_ns = 0;
    if (url[0] == 0 || p->conn != NULL)
        return;
    snprintf(p->url, sizeof(p->url), "%s", url);
    if (fb_net_dial(p->loop->process->net, url, router_node_name(core, p->number), p, &p->conn,
                    &err) != FB_OK) {
        p->conn = NULL;
        FB_LOG(WARN, "node cannot be dialed", FB_KS("node", router_node_name(core, p->number)),
               FB_KS("error", err.msg));
        peer_failed(p);
    }
}

void peers_dial(struct loop *l)
{
    uint64_t now = fb_mono_ns(), least = ROUTER_TIME_NEVER;
    if (now < l->peers_at_ns)
        return;
    l->peers_at_ns = ROUTER_TIME_NEVER;
    for (uint32_t i = 0; i < FB_NODES_MAX; i++) {
        struct peer *p = &l->peers[i];
        if (p->dial_at_ns == 0)
            continue;
        if (now >= p->dial_at_ns)
            peer_dial(p);
        else if (p->dial_at_ns < least)
            least = p->dial_at_ns;
    }
    if (least < l->peers_at_ns)
        l->peers_at_ns = least;
}

void peers_sync(struct loop *l)
{
    if (l->stopping)
        return;
    for (uint32_t i = 0; i < router_node_count(l->core); i++) {
        struct peer *p = &l->peers[i];
        const char *url = router_node_url(l->core, i);
        bool moved = strcmp(url, p->url) != 0;
        if (p->conn != NULL && moved)
            fb_conn_close(p->conn); /* `closed` dials the new address */
        if (url[0] == 0)
            p->dial_at_ns = 0;
        else if (p->conn == NULL && (moved || p->dial_at_ns == 0))
            peer_dial_later(p, 0);
        if (moved)
            p->backoff_ms = 0;
    }
}

void peer_opened(struct peer *p, struct fb_conn *c, uint64_t inc)
{
    struct loop *l = p->loop;
    if (p->conn != c || l->stopping) {
        fb_conn_close(c);
        return;
    }
    p->open = true;
    p->backoff_ms = 0;
    router_node_up(l->core, p->number, inc);
    atomic_fetch_add(&l->nodes_connected, 1);
    FB_LOG(INFO, "node connected", FB_KS("node", router_node_name(l->core, p->number)),
           FB_KS("url", p->url), FB_KU("loop", l->number));
}

void peer_closed(struct peer *p, struct fb_conn *c, const char *why)
{
    struct loop *l = p->loop;
    if (p->conn != c)
        return;
    if (p->open) {
        FB_LOG(WARN, "node connection lost", FB_KS("node", router_node_name(l->core, p->number)),
               FB_KS("why", why), FB_KU("loop", l->number));
        router_node_down(l->core, p->number);
        atomic_fetch_sub(&l->nodes_connected, 1);
    } else {
        FB_LOG(DEBUG, "node not reached", FB_KS("node", router_node_name(l->core, p->number)),
               FB_KS("why", why), FB_KU("loop", l->number));
    }
    p->open = false;
    fb_conn_put(p->conn);
    p->conn = NULL;
    peer_failed(p);
}

static void held_free_cb(struct router_frame *f)
{
    struct held_frame *h = FB_CONTAINER_OF(f, struct held_frame, frame);
    fb_net_frame_free(h->net);
    h->next = h->loop->held_free;
    h->loop->held_free = h;
}

void peer_frame(struct loop *l, struct fb_net_frame *f)
{
    struct peer *p = fb_conn_user(f->conn);
    struct held_frame *h;
    if (p->conn != f->conn || !p->open) {
        fb_net_frame_free(f);
        return;
    }
    h = l->held_free;
    if (h == NULL) {
        h = fb_xcalloc(1, sizeof(*h));
        h->loop = l;
        h->frame.free = held_free_cb;
    } else {
        l->held_free = h->next;
    }
    h->net = f;
    h->frame.refs = 1;
    if (router_node_frame(l->core, p->number, &f->f, &h->frame) != FB_OK) {
        FB_LOG(ERROR, "node sent a malformed reply; the connection is closed",
               FB_KS("node", router_node_name(l->core, p->number)));
        fb_conn_close(p->conn);
    }
}

void peers_send(struct loop *l)
{
    for (uint32_t i = 0; i < router_node_count(l->core); i++) {
        struct fb_buf *out = router_node_output(l->core, i);
        /* FULL: the connection has its bound queued; the frames stay for the next tick. CLOSED: its
           end is on the way to us. */
        if (out != NULL && out->n > 0 && l->peers[i].conn != NULL &&
            fb_conn_send(l->peers[i].conn, out) != FB_OK)
            continue;
    }
}

void peers_close(struct loop *l)
{
    for (uint32_t i = 0; i < FB_NODES_MAX; i++) {
        struct peer *p = &l->peers[i];
        if (p->conn == NULL)
            continue;
        if (p->open)
            router_node_down(l->core, i);
        fb_conn_close(p->conn);
        fb_conn_put(p->conn);
        p->conn = NULL;
        p->open = false;
    }
}
