/* Who of the other nodes is connected (links.h). */
#include "node/io/links.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define DIAL_AGAIN_NS UINT64_C(6000000000) /* connecting and HELLO take 5 s at most */
#define SILENT_NS UINT64_C(3000000000)     /* it is asked every second */
#define DEAD_NS UINT64_C(5000000000)       /* then the connection is made anew */

struct link {
    char name[FB_NAME_BYTES_MAX + 1]; /* const once counted */
    struct fb_conn *conn;             /* mtx; the newest, referenced */
    struct fb_conn *dial;             /* mtx; under way, referenced */
    uint64_t dialed_ns;               /* mtx */
    _Atomic uint64_t heard_ns;        /* of `conn`; 0 = never */
};

struct node_links {
    pthread_mutex_t mtx;
    uint32_t count; /* mtx; they are never taken away */
    struct link link[FB_NODES_MAX];
};

struct node_links *node_links_new(void)
{
    struct node_links *l = fb_xcalloc(1, sizeof(*l));
    pthread_mutex_init(&l->mtx, NULL);
    return l;
}

static void put(struct fb_conn **c)
{
    if (*c != NULL)
        fb_conn_put(*c);
    *c = NULL;
}

void node_links_free(struct node_links *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->count; i++) {
        put(&l->link[i].conn);
        put(&l->link[i].dial);
    }
    pthread_mutex_destroy(&l->mtx);
    free(l);
}

/* mtx is held. NULL: too many. */
static struct link *link_of(struct node_links *l, const char *name, bool add)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (strcmp(l->link[i].name, name) == 0)
            return &l->link[i];
    if (!add || l->count == FB_NODES_MAX)
        return NULL;
    snprintf(l->link[l->count].name, sizeof(l->link[0].name), "%s", name);
    return &l->link[l->count++];
}

_Atomic uint64_t *node_links_opened(struct node *n, struct fb_conn *c, const struct fb_hello *peer)
{
    struct node_links *l = n->links;
    struct link *k;

    pthread_mutex_lock(&l->mtx);
    k = link_of(l, peer->name, true);
    if (k != NULL) {
        if (k->dial == c)
            put(&k->dial);
        put(&k->conn); /* if it is not gone yet, the workers end it */
        k->conn = fb_conn_get(c);
        atomic_store(&k->heard_ns, fb_mono_ns());
    }
    pthread_mutex_unlock(&l->mtx);
    return k == NULL ? NULL : &k->heard_ns;
}

void node_links_closed(struct node *n, struct fb_conn *c)
{
    struct node_links *l = n->links;

    pthread_mutex_lock(&l->mtx);
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->link[i].conn == c)
            put(&l->link[i].conn);
        if (l->link[i].dial == c)
            put(&l->link[i].dial);
    }
    pthread_mutex_unlock(&l->mtx);
}

static bool wanted(const struct fb_cluster_state *s)
{
    if (s->namespaces->replicas > 0)
        return true;
    for (uint32_t p = 0; p < s->map->partitions; p++)
        if (s->map->parts[p].isr_count > 1 || s->map->parts[p].learner_count > 0)
            return true;
    return false;
}

/* The outcome comes by node_links_opened or node_links_closed, perhaps before this returns: then
 * what is noted here lasts until the time for a dial is over. */
static void dial(struct node *n, struct link *k, const struct fb_member_info *m)
{
    struct fb_conn *c = NULL;
    struct fb_err err;

    if (fb_net_dial(n->net, m->listen, m->name, NULL, &c, &err) != FB_OK) {
        FB_LOG(DEBUG, "node cannot be dialed", FB_KS("node", m->name), FB_KS("error", err.msg));
        return;
    }
    pthread_mutex_lock(&n->links->mtx);
    put(&k->dial);
    if (k->conn == c)
        fb_conn_put(c);
    else
        k->dial = c;
    pthread_mutex_unlock(&n->links->mtx);
}

static void ask(struct node *n, struct fb_conn *c)
{
    struct fb_frame ping = {.kind = FB_FRAME_PING, .src_inc = n->inc};
    struct fb_buf out = {0};
    size_t mark = fb_frame_begin(&out, &ping);

    fb_frame_end(&out, mark, 0);
    if (fb_conn_send(c, &out) != FB_OK)
        FB_LOG0(DEBUG, "a node's connection takes nothing more");
    fb_buf_fini(&out);
}

static void tend(struct node *n, const struct fb_member_info *m, uint64_t now)
{
    struct node_links *l = n->links;
    struct fb_conn *c = NULL;
    bool dials = false;
    struct link *k;

    pthread_mutex_lock(&l->mtx);
    k = link_of(l, m->name, true);
    if (k != NULL && k->conn != NULL) {
        c = fb_conn_get(k->conn);
    } else if (k != NULL && strcmp(n->name, m->name) < 0 && m->listen[0] != '\0') {
        dials = k->dial == NULL || now - k->dialed_ns >= DIAL_AGAIN_NS;
        if (dials)
            k->dialed_ns = now;
    }
    pthread_mutex_unlock(&l->mtx);
    if (dials)
        dial(n, k, m);
    if (c == NULL)
        return;
    if (now - atomic_load(&k->heard_ns) >= DEAD_NS && now > atomic_load(&k->heard_ns)) {
        FB_LOG(WARN, "node does not answer, its connection is closed", FB_KS("node", m->name));
        fb_conn_close(c);
    } else {
        ask(n, c);
    }
    fb_conn_put(c);
}

void node_links_tend(struct node *n, const struct fb_cluster_state *s)
{
    uint64_t now = fb_mono_ns();

    if (!wanted(s))
        return;
    for (uint32_t i = 0; i < s->map->member_count; i++) {
        const struct fb_member_info *m = &s->map->members[i];
        if (m->kind == FB_MEMBER_NODE && strcmp(m->name, n->name) != 0)
            tend(n, m, now);
    }
}

bool node_links_answers(struct node *n, const char *name)
{
    struct node_links *l = n->links;
    uint64_t heard = 0;
    struct link *k;

    pthread_mutex_lock(&l->mtx);
    k = link_of(l, name, false);
    if (k != NULL && k->conn != NULL)
        heard = atomic_load(&k->heard_ns);
    pthread_mutex_unlock(&l->mtx);
    return heard != 0 && fb_mono_ns() < heard + SILENT_NS;
}
