/* forebay-router: wiring. Options, coordinator, loops, admin port, signals. */
#include "router/io/process.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/coord/entry.h"
#include "proto/rt/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void map_changed(void *arg, struct fb_cluster_state *state)
{
    struct process *p = arg;
    const struct fb_map *m = state->map;
    uint32_t assigned = 0, nodes = 0;
    for (uint32_t i = 0; i < m->partitions; i++)
        assigned += m->parts[i].epoch != 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        nodes += m->members[i].kind == FB_MEMBER_NODE;
    atomic_store(&p->map_rev, m->rev);
    atomic_store(&p->map_partitions, m->partitions);
    atomic_store(&p->map_nodes, nodes);
    atomic_store(&p->map_complete, m->partitions > 0 && assigned == m->partitions);
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_post_state(p->loops[i], state);
    fb_cluster_state_put(state);
}

static enum fb_status open_coordinator(struct process *p, struct fb_cluster_state **state,
                                       struct fb_err *err)
{
    char session[FB_NAME_BYTES_MAX + 16];
    enum fb_status st =
        fb_coord_open(fb_options_text(p->options, "process", "coordinator"), true, &p->coord, err);
    if (st == FB_OK)
        st = fb_cluster_init(p->coord, FB_PARTITIONS_DEFAULT, err);
    if (st == FB_OK)
        st = fb_cluster_state_read(p->coord, state, err);
    snprintf(session, sizeof(session), "router/%s", p->settings.name);
    if (st == FB_OK)
        st = fb_coord_session(p->coord, session, err);
    return st;
}

static enum fb_status register_router(struct process *p, struct fb_err *err)
{
    struct fb_member_info m = {
        .kind = FB_MEMBER_ROUTER, .inc = p->inc, .started_ms = p->started_wall_ms, .pid = p->pid};

    snprintf(m.name, sizeof(m.name), "%s", p->settings.name);
    snprintf(m.zone, sizeof(m.zone), "%s", p->settings.zone);
    snprintf(m.admin, sizeof(m.admin), "%s", p->admin_bound);
    snprintf(m.client, sizeof(m.client), "%s", p->client_bound);
    return fb_entry_of_member(p->coord, &m, &p->entry, err);
}

static enum fb_status start_loops(struct process *p, struct fb_cluster_state *state,
                                  struct fb_err *err)
{
    struct fb_net_config net = {.role = FB_ROLE_ROUTER,
                                .has_cluster = true,
                                .inc = p->inc,
                                .arg = p,
                                .opened = loop_net_opened,
                                .received = loop_net_received,
                                .closed = loop_net_closed};
    enum fb_status st;
    snprintf(net.name, sizeof(net.name), "%s", p->settings.name);
    memcpy(net.cluster, state->map->cluster, sizeof(net.cluster));
    st = fb_net_open(&net, &p->net, err);
    while (st == FB_OK && p->loop_count < p->settings.threads) {
        st = loop_start(p, p->loop_count, state, &p->loops[p->loop_count], err);
        if (st == FB_OK)
            p->loop_count++;
    }
    snprintf(p->client_bound, sizeof(p->client_bound),
             strchr(p->settings.host, ':') ? "[%s]:%u" : "%s:%u",
             p->settings.host[0] ? p->settings.host : "0.0.0.0", p->settings.port);
    return st;
}

static enum fb_status start(struct process *p, struct fb_err *err)
{
    struct fb_admin_hooks hooks = {.ready = status_ready, .status = status_json, .arg = p};
    struct fb_cluster_state *state = NULL;
    enum fb_status st = settings_load(&p->settings, p->options, err);
    atomic_store(&p->max_clients, p->settings.max_clients);
    if (st == FB_OK)
        st = open_coordinator(p, &state, err);
    if (st != FB_OK)
        return st;
    p->applied =
        fb_applied_new(p->coord, FB_MEMBER_ROUTER, p->settings.name, p->inc, p->settings.threads);
    metrics_register(p);
    st = start_loops(p, state, err);
    fb_cluster_state_put(state);
    if (st == FB_OK)
        st = fb_admin_start(fb_options_text(p->options, "admin", "listen"), &hooks, p->admin_bound,
                            &p->admin, err);
    if (st == FB_OK)
        st = fb_agent_start(p->coord, map_changed, p, &p->agent, err);
    if (st == FB_OK)
        st = register_router(p, err);
    if (st == FB_OK) {
        fb_agent_enter(p->agent, p->entry);
        fb_agent_report(p->agent, p->applied);
    }
    return st;
}

/* Order: clients first (they may still need the nodes), then connections, then what they call. */
static void stop(struct process *p)
{
    atomic_store(&p->stopping, true);
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_post_stop(p->loops[i]);
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_join(p->loops[i]);
    if (p->admin != NULL)
        fb_admin_stop(p->admin);
    if (p->agent != NULL)
        fb_agent_stop(p->agent);
    if (p->net != NULL)
        fb_net_close(p->net);
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_free(p->loops[i]);
    fb_entry_free(p->entry);
    fb_applied_free(p->applied);
    if (p->coord != NULL)
        fb_coord_close(p->coord);
}

static enum fb_status reload_prepare(void *arg, const struct fb_options *next, struct fb_err *err)
{
    struct process *p = arg;
    return settings_reload(&p->settings, &p->next, next, err);
}

static void reload_commit(void *arg, const struct fb_options *next)
{
    struct process *p = arg;

    (void)next;
    atomic_store(&p->max_clients, p->next.max_clients);
    for (uint32_t i = 0; i < p->loop_count; i++)
        loop_post_settings(p->loops[i], &p->next);
}

static void run(struct process *p, int argc, char **argv)
{
    const struct fb_reload_hooks hooks = {
        .prepare = reload_prepare, .commit = reload_commit, .arg = p};

    FB_LOG(INFO, "listening", FB_KS("client", p->client_bound), FB_KS("admin", p->admin_bound),
           FB_KU("threads", p->loop_count), FB_KU("pid", p->pid));
    fb_process_serve(&p->options, argc, argv, &hooks, NULL);
    FB_LOG(INFO, "draining", FB_KU("clients", atomic_load(&p->client_count)));
}

int main(int argc, char **argv)
{
    static struct process p;
    struct fb_err err = {0};
    int rc = 0;

    switch (fb_options_load(
        "forebay-router", "Speaks to Redis clients and sends their commands to nodes.",
        router_options, router_option_count, router_all_sections, argc, argv, &p.options)) {
    case FB_OPTIONS_EXIT_OK:
        return 0;
    case FB_OPTIONS_EXIT_USAGE:
        return 2;
    case FB_OPTIONS_EXIT_BAD:
        return 1;
    case FB_OPTIONS_RUN:
        break;
    }
    p.inc = fb_random_u64();
    p.started_wall_ms = fb_wall_ms();
    p.started_ns = fb_mono_ns();
    p.pid = (uint32_t)getpid();
    pthread_mutex_init(&p.registry_lock, NULL);
    fb_process_setup(p.options, "router", fb_options_text(p.options, "process", "name"));
    if (fb_process_start(p.options, &err) == FB_OK && start(&p, &err) == FB_OK) {
        run(&p, argc, argv);
    } else {
        FB_LOG(ERROR, "router does not start", FB_KS("error", err.msg));
        rc = 1;
    }
    stop(&p);
    if (rc == 0)
        FB_LOG0(INFO, "stopped");
    pthread_mutex_destroy(&p.registry_lock);
    fb_options_free(p.options);
    return rc;
}
