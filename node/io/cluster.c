/* What the coordinator says: states and configurations go where they are needed. */
#include "node/io/node.h"

#include "node/io/control.h"
#include "node/io/worker.h"
#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/coord/entry.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_mutex_t state_mutex = PTHREAD_MUTEX_INITIALIZER;

struct fb_cluster_state *node_state_get(struct node *n)
{
    struct fb_cluster_state *s;
    pthread_mutex_lock(&state_mutex);
    s = n->state ? fb_cluster_state_get(n->state) : NULL;
    pthread_mutex_unlock(&state_mutex);
    return s;
}

static void state_set(struct node *n, struct fb_cluster_state *s)
{
    struct fb_cluster_state *old;
    pthread_mutex_lock(&state_mutex);
    old = n->state;
    n->state = s;
    pthread_mutex_unlock(&state_mutex);
    if (old != NULL)
        fb_cluster_state_put(old);
}

static bool config_changed(const struct fb_cluster_state *a, const struct fb_cluster_state *b)
{
    if (a == NULL || a->config_rev != b->config_rev || a->schema_count != b->schema_count)
        return true;
    for (size_t i = 0; i < a->schema_count; i++) {
        struct fb_buf x = {0}, y = {0};
        bool same;
        fb_schema_encode(&x, a->schemas[i]);
        fb_schema_encode(&y, b->schemas[i]);
        same = fb_bytes_equal(fb_buf_view(&x), fb_buf_view(&y));
        fb_buf_fini(&x);
        fb_buf_fini(&y);
        if (!same)
            return true;
    }
    return false;
}

struct node_config *node_config_new(struct fb_cluster_state *s, uint32_t refs)
{
    struct node_config *c = fb_xcalloc(1, sizeof(*c));
    atomic_store(&c->refs, refs);
    c->state = fb_cluster_state_get(s);
    for (uint32_t i = 0; i < s->namespaces->count; i++)
        c->schemas[i] = s->namespaces->ns[i].mapped
                            ? fb_cluster_state_schema(s, s->namespaces->ns[i].name)
                            : NULL;
    return c;
}

static void post_config(struct node *n, struct fb_cluster_state *s)
{
    struct node_config *c = node_config_new(s, n->worker_count);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct job *j = job_new(JOB_CONFIG);
        j->config = c;
        worker_post(n->workers[i], j);
    }
    FB_LOG(INFO, "configuration", FB_KU("namespaces", s->namespaces->count),
           FB_KU("schemas", s->schema_count), FB_KU("rev", s->config_rev));
}

struct fb_member node_self(const struct node *n)
{
    struct fb_member me = {.inc = n->inc};
    memcpy(me.node, n->name, sizeof(me.node));
    return me;
}

static struct fb_member_info member_info(const struct node *n)
{
    struct fb_member_info m = {.kind = FB_MEMBER_NODE,
                               .inc = n->inc,
                               .started_ms = n->started_wall_ms,
                               .pid = (uint32_t)getpid()};

    memcpy(m.name, n->name, sizeof(m.name));
    snprintf(m.zone, sizeof(m.zone), "%s", fb_options_text(n->options, "process", "zone"));
    snprintf(m.listen, sizeof(m.listen), "%s", n->listen);
    snprintf(m.admin, sizeof(m.admin), "%s", n->admin_bound);
    m.weight = (uint32_t)fb_options_uint(n->options, "node", "weight");
    m.leaving = atomic_load(&n->leaving);
    return m;
}

void node_entry_leaving(struct node *n)
{
    const struct fb_member_info m = member_info(n);
    struct fb_buf value = {0};

    fb_member_info_encode(&value, &m);
    fb_entry_set(n->entry, fb_buf_view(&value));
    fb_buf_fini(&value);
}

enum fb_status node_register(struct node *n, struct fb_err *err)
{
    const struct fb_member_info m = member_info(n);

    return fb_entry_of_member(n->coord, &m, &n->entry, err);
}

void node_cluster_changed(void *arg, struct fb_cluster_state *s)
{
    struct node *n = arg;
    struct fb_cluster_state *old = node_state_get(n);

    if (config_changed(old, s))
        post_config(n, s);
    if (old != NULL)
        fb_cluster_state_put(old);
    node_control_act(n, s);
    state_set(n, s);
}

static void poke(void *arg, struct fb_coord *c)
{
    struct node *n = arg;
    struct fb_cluster_state *s = node_state_get(n);
    (void)c;
    if (s == NULL)
        return;
    node_control_act(n, s);
    fb_cluster_state_put(s);
}

static pthread_mutex_t agent_mutex = PTHREAD_MUTEX_INITIALIZER;

enum fb_status node_agent_run(struct node *n, fb_agent_job_fn fn, void *arg)
{
    enum fb_status s = FB_ECLOSED;

    pthread_mutex_lock(&agent_mutex);
    if (n->agent_on)
        s = fb_agent_run(n->agent, fn, arg);
    pthread_mutex_unlock(&agent_mutex);
    return s;
}

bool node_agent_up(struct node *n)
{
    bool up;

    pthread_mutex_lock(&agent_mutex);
    up = n->agent_on && fb_agent_up(n->agent);
    pthread_mutex_unlock(&agent_mutex);
    return up;
}

void node_agent_use(struct node *n, bool on)
{
    pthread_mutex_lock(&agent_mutex);
    n->agent_on = on;
    pthread_mutex_unlock(&agent_mutex);
}

void node_cluster_poke(struct node *n)
{
    if (node_agent_run(n, poke, n) != FB_OK)
        FB_LOG0(DEBUG, "coordinator thread is busy");
}
