/* Connections: who they are and which worker reads them. Callbacks run on nng's threads. */
#include "node/io/links.h"
#include "node/io/worker.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdlib.h>

static void post_all(struct node *n, struct peer *p, enum job_kind kind)
{
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct job *j = job_new(kind);
        j->peer = p;
        worker_post(n->workers[i], j);
    }
}

static void opened_cb(void *arg, struct fb_conn *c, const struct fb_hello *peer)
{
    struct node *n = arg;
    struct peer *p = fb_xcalloc(1, sizeof(*p) + (n->worker_count + 1) * sizeof(p->lane[0]));

    p->conn = fb_conn_get(c);
    p->role = peer->role;
    /* each worker lets go once, after JOB_CLOSED */
    atomic_store(&p->refs, n->worker_count);
    p->worker = atomic_fetch_add(&n->next_worker, 1) % n->worker_count;
    for (uint32_t i = 0; i < n->worker_count; i++) {
        p->lane[i].reply.owner = p;
        p->lane[i].feed.owner = p;
    }
    p->lane[n->worker_count].released = true; /* ends the array */
    if (p->role == FB_ROLE_NODE)
        p->heard_ns = node_links_opened(n, c, peer);
    fb_conn_set_user(c, p);
    FB_LOG(DEBUG, "peer connected", FB_KS("peer", peer->name), FB_KU("role", peer->role));
    post_all(n, p, JOB_OPENED);
}

static void received_cb(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    struct node *n = arg;
    struct peer *p = fb_conn_user(c);
    if (p->heard_ns != NULL)
        atomic_store_explicit(p->heard_ns, fb_mono_ns(), memory_order_relaxed);
    atomic_fetch_add(&p->refs, 1); /* dropped when the frame was worked on */
    if (fb_mailbox_put(n->workers[p->worker]->frames, (struct fb_mail *)(void *)f) != FB_OK) {
        FB_LOG(WARN, "worker is overrun, connection closed", FB_KS("peer", fb_conn_peer(c)->name));
        fb_net_frame_free(f);
        peer_put(p);
        fb_conn_close(c);
    }
}

static void closed_cb(void *arg, struct fb_conn *c, const char *why)
{
    struct node *n = arg;
    struct peer *p = fb_conn_user(c);
    if (p == NULL || p->role == FB_ROLE_NODE)
        node_links_closed(n, c);
    if (p == NULL)
        return;
    FB_LOG(DEBUG, "peer gone", FB_KS("peer", fb_conn_peer(c)->name), FB_KS("why", why));
    post_all(n, p, JOB_CLOSED);
}

enum fb_status node_net_open(struct node *n, struct fb_err *err)
{
    struct fb_net_config c = {.role = FB_ROLE_NODE,
                              .has_cluster = true,
                              .inc = n->inc,
                              .arg = n,
                              .opened = opened_cb,
                              .received = received_cb,
                              .closed = closed_cb};

    memcpy(c.name, n->name, sizeof(c.name));
    memcpy(c.cluster, n->cluster, sizeof(c.cluster));
    return fb_net_open(&c, &n->net, err);
}

enum fb_status node_net_listen(struct node *n, struct fb_err *err)
{
    const char *url = fb_options_text(n->options, "node", "listen");
    enum fb_status s = fb_net_listen(n->net, url, n->listen, err);

    if (s != FB_OK)
        return fb_err_wrap(err, s, "listen on %s ([node] listen)", url);
    return FB_OK;
}
