/* Routers of a world: loops, connections to the node, starting and striking (router_proc.h). */
#include "tests/sim/router_impl.h"

#include "proto/coord/cluster_state.h"
#include "tests/sim/coord.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_MIN_MS 50u
#define BACKOFF_MAX_MS 2000u
#define NO_TIME UINT64_MAX

static uint64_t mono(const struct sim_router *r)
{
    return sim_clock_mono_ns(&r->clock);
}

static void loop_time(struct sim_router *r)
{
    router_time(r->core, mono(r), sim_clock_wall_ms(&r->clock));
}

/* --- connections to nodes, as router/io/peer.c --- */

static void peer_dial_later(struct sim_router *r, struct router_peer *p, uint64_t ms)
{
    p->dial_at_ns = mono(r) + ms * SIM_MS;
}

static void peer_failed(struct sim_router *r, struct router_peer *p)
{
    p->backoff_ms = p->backoff_ms == 0 ? BACKOFF_MIN_MS : p->backoff_ms * 2;
    if (p->backoff_ms > BACKOFF_MAX_MS)
        p->backoff_ms = BACKOFF_MAX_MS;
    peer_dial_later(r, p, p->backoff_ms);
}

static void peers_dial(struct sim_router *r)
{
    for (uint32_t i = 0; i < router_node_count(r->core); i++) {
        struct router_peer *p = &r->peers[i];
        const char *url = router_node_url(r->core, i);
        if (p->dial_at_ns == 0 || mono(r) < p->dial_at_ns)
            continue;
        p->dial_at_ns = 0;
        if (url[0] == 0 || p->conn != NULL)
            continue;
        snprintf(p->url, sizeof p->url, "%s", url);
        p->conn = sim_net_dial(r->net, url, router_node_name(r->core, i), p);
    }
}

static void peers_sync(struct sim_router *r)
{
    for (uint32_t i = 0; i < router_node_count(r->core); i++) {
        struct router_peer *p = &r->peers[i];
        const char *url = router_node_url(r->core, i);
        bool moved = strcmp(url, p->url) != 0;
        if (p->conn != NULL && moved)
            sim_conn_close(p->conn);
        if (url[0] == 0)
            p->dial_at_ns = 0;
        else if (p->conn == NULL && (moved || p->dial_at_ns == 0))
            peer_dial_later(r, p, 0);
        if (moved)
            p->backoff_ms = 0;
    }
}

static void peer_opened(struct sim_router *r, struct router_peer *p, struct sim_conn *c,
                        uint64_t inc)
{
    if (p->conn != c) {
        sim_conn_close(c);
        return;
    }
    p->open = true;
    p->backoff_ms = 0;
    sim_trace(r->sim, "%s is connected to %s", r->name, router_node_name(r->core, p->number));
    router_node_up(r->core, p->number, inc);
}

static void peer_closed(struct sim_router *r, struct router_peer *p, struct sim_conn *c)
{
    if (p->conn != c)
        return;
    if (p->open) {
        sim_trace(r->sim, "%s lost its connection to %s", r->name,
                  router_node_name(r->core, p->number));
        router_node_down(r->core, p->number);
    }
    p->open = false;
    p->conn = NULL;
    peer_failed(r, p);
}

struct owned_frame {
    struct router_frame frame;
    uint8_t tail[];
};

static void owned_free(struct router_frame *f)
{
    free(FB_CONTAINER_OF(f, struct owned_frame, frame));
}

static void peer_frame(struct sim_router *r, struct router_event *ev)
{
    struct router_peer *p = ev->peer;
    struct owned_frame *o;
    if (p->conn != ev->conn || !p->open)
        return;
    o = fb_xcalloc(1, sizeof *o + ev->frame.tail.n);
    if (ev->frame.tail.n > 0)
        memcpy(o->tail, ev->frame.tail.p, ev->frame.tail.n);
    o->frame.refs = 1;
    o->frame.free = owned_free;
    ev->frame.tail = fb_bytes(o->tail, ev->frame.tail.n);
    if (router_node_frame(r->core, p->number, &ev->frame, &o->frame) != FB_OK)
        sim_violation(r->sim, "wire", "%s takes a reply of the node for malformed", r->name);
}

static void peers_send(struct sim_router *r)
{
    for (uint32_t i = 0; i < router_node_count(r->core); i++) {
        struct fb_buf *out = router_node_output(r->core, i);
        if (out == NULL || out->n == 0 || r->peers[i].conn == NULL)
            continue;
        if (sim_conn_send(r->peers[i].conn, out) != FB_OK)
            continue; /* full: the next tick; closed: its end is on the way to us */
    }
}

/* --- the network's events: kept until the loop runs --- */

static struct router_event *event_add(struct sim_router *r, enum router_event_kind kind,
                                      struct sim_conn *c)
{
    struct router_event *ev = fb_xcalloc(1, sizeof *ev), **at;
    ev->kind = kind;
    ev->conn = c;
    ev->peer = c == NULL ? NULL : sim_conn_user(c);
    /* frames have a mailbox of their own, which is emptied first */
    at = kind == ROUTER_EVENT_FRAME ? &r->frames : &r->events;
    while (*at != NULL)
        at = &(*at)->next;
    *at = ev;
    router_loop_wake(r);
    return ev;
}

static void net_opened(void *arg, struct sim_conn *c, const struct fb_hello *peer)
{
    event_add(arg, ROUTER_EVENT_OPENED, c)->inc = peer->inc;
}

static void net_received(void *arg, struct sim_conn *c, const struct fb_frame *f)
{
    struct router_event *ev = event_add(arg, ROUTER_EVENT_FRAME, c);
    ev->frame = *f;
    fb_buf_put_bytes(&ev->bytes, f->tail);
    ev->frame.tail = fb_buf_view(&ev->bytes);
}

static void net_closed(void *arg, struct sim_conn *c, const char *why)
{
    (void)why;
    (void)event_add(arg, ROUTER_EVENT_CLOSED, c);
}

static void map_changed(void *arg, uint64_t tag)
{
    struct sim_router *r = arg;
    (void)tag;
    if (r->up)
        (void)event_add(r, ROUTER_EVENT_MAP, NULL);
}

static void take_map(struct sim_router *r)
{
    struct fb_coord_list list;
    struct fb_cluster_state *state;
    struct fb_err err = {0};
    sim_coord_list(r->world->coord, &list);
    if (fb_cluster_state_of_list(&list, &state, &err) != FB_OK)
        sim_violation(r->sim, "world", "%s cannot read the cluster's state: %s", r->name, err.msg);
    router_map(r->core, state->map, state->namespaces->multi == FB_MULTI_RELAXED);
    fb_cluster_state_put(state);
    fb_coord_list_free(&list);
    peers_sync(r);
}

static void event_free(struct router_event *ev)
{
    fb_buf_fini(&ev->bytes);
    free(ev);
}

static void events_run(struct sim_router *r)
{
    struct router_event *frames = r->frames, *events = r->events, *next;
    r->frames = r->events = NULL;
    for (; frames != NULL; frames = next) {
        next = frames->next;
        peer_frame(r, frames);
        event_free(frames);
    }
    for (; events != NULL; events = next) {
        next = events->next;
        if (events->kind == ROUTER_EVENT_OPENED)
            peer_opened(r, events->peer, events->conn, events->inc);
        else if (events->kind == ROUTER_EVENT_CLOSED)
            peer_closed(r, events->peer, events->conn);
        else
            take_map(r);
        event_free(events);
    }
}

/* --- the loop --- */

static void loop_ev(void *arg, uint64_t tag);

static void loop_arm(struct sim_router *r, uint64_t at_ns)
{
    if (at_ns >= r->loop_at_ns)
        return;
    r->loop_at_ns = at_ns;
    sim_at(r->sim, at_ns, loop_ev, r, ++r->loop_tag);
}

void router_loop_wake(struct sim_router *r)
{
    uint64_t delay = sim_range(r->sim, SIM_ROUTER, 500, 20000);
    if (sim_chance(r->sim, SIM_ROUTER, 10000)) /* other processes have the processor */
        delay = sim_spread(r->sim, SIM_ROUTER, 20 * SIM_US, 5 * SIM_MS);
    loop_arm(r, sim_now_ns(r->sim) + delay);
}

static void loop_flush(struct sim_router *r)
{
    struct router_session *s;
    bool again;
    do {
        again = false;
        router_tick(r->core);
        peers_send(r);
        while ((s = router_next_session(r->core)) != NULL)
            router_client_flush(s->user);
        while ((s = router_next_resume(r->core)) != NULL) {
            router_client_resume(s->user);
            again = true;
        }
    } while (again);
    peers_dial(r);
}

static void loop_ev(void *arg, uint64_t tag)
{
    struct sim_router *r = arg;
    uint64_t at;
    if (!r->up || tag != r->loop_tag)
        return;
    r->loop_at_ns = NO_TIME;
    if (r->paused) {
        loop_arm(r, sim_now_ns(r->sim) + 10 * SIM_MS);
        return;
    }
    loop_time(r);
    router_clients_read(r);
    events_run(r);
    loop_flush(r);
    at = router_deadline_ns(r->core);
    for (uint32_t i = 0; i < FB_NODES_MAX; i++)
        if (r->peers[i].dial_at_ns != 0 && r->peers[i].dial_at_ns < at)
            at = r->peers[i].dial_at_ns;
    if (at != ROUTER_TIME_NEVER) /* uv's timers count whole milliseconds */
        loop_arm(r, sim_clock_when(&r->clock, at) + SIM_US);
}

/* --- starting, ending, striking --- */

static void router_start(struct sim_router *r)
{
    struct world *w = r->world;
    struct sim_net_config c = {.role = FB_ROLE_ROUTER,
                               .has_cluster = true,
                               .inc = sim_rand(r->sim, SIM_ROUTER) | 1,
                               .arg = r,
                               .opened = net_opened,
                               .received = net_received,
                               .closed = net_closed};
    struct router_config config = {
        .inflight_per_client = (uint32_t)sim_range(r->sim, SIM_ROUTER, 1, 64),
        .inflight_max = (uint32_t)sim_spread(r->sim, SIM_ROUTER, 64, 4096),
        .output_bytes_max = sim_spread(r->sim, SIM_ROUTER, 64u << 10, 64u << 20),
        .retry_deadline_ns = 5 * SIM_S,
        .request_timeout_ns = 30 * SIM_S,
        .window = (uint32_t)sim_range(r->sim, SIM_ROUTER, 1, 3),
        .window_wait_ns = SIM_MS,
        .hold_ns = sim_chance(r->sim, SIM_ROUTER, 500000) ? 20 * SIM_US : 0,
        .seed = sim_rand(r->sim, SIM_ROUTER),
        .inc = c.inc,
        .maxclients_shown = 100};

    snprintf(c.name, sizeof c.name, "%s", r->name);
    memcpy(c.cluster, w->cluster, sizeof c.cluster);
    r->up = true;
    r->paused = false;
    r->loop_at_ns = NO_TIME;
    sim_clock_init(&r->clock, r->sim);
    r->core = router_new(&config);
    r->net = sim_net_open(w->wire, &c);
    memset(r->peers, 0, sizeof r->peers);
    for (uint32_t i = 0; i < FB_NODES_MAX; i++)
        r->peers[i].number = i;
    sim_trace(r->sim, "%s starts", r->name);
    loop_time(r);
    take_map(r);
    router_loop_wake(r);
}

static void router_end(struct sim_router *r, const char *why)
{
    sim_trace(r->sim, "%s %s", r->name, why);
    router_clients_end(r);
    sim_net_kill(r->net, false);
    r->net = NULL;
    while (r->frames != NULL || r->events != NULL) {
        struct router_event **at = r->frames != NULL ? &r->frames : &r->events, *ev = *at;
        *at = ev->next;
        event_free(ev);
    }
    r->up = false;
    router_free(r->core);
    r->core = NULL;
}

static void start_ev(void *arg, uint64_t tag)
{
    struct sim_router *r = arg;
    (void)tag;
    if (!r->up && !r->stopped)
        router_start(r);
}

static void pause_set(struct sim_router *r, bool paused)
{
    if (r->paused == paused)
        return;
    r->paused = paused;
    sim_net_pause(r->net, paused);
    sim_trace(r->sim, "%s %s", r->name, paused ? "is paused" : "goes on");
}

static void goes_on_ev(void *arg, uint64_t number)
{
    struct sim_router *r = arg;
    if (r->up && r->pauses == number)
        pause_set(r, false);
}

static void strike_ev(void *arg, uint64_t tag)
{
    struct sim_router *r = arg;
    (void)tag;
    if (r->stopped || sim_healed(r->sim))
        return;
    if (r->up && sim_strikes(r->sim, SIM_ROUTER, SIM_FAULT_ROUTER_KILL, 30000)) {
        router_end(r, "is killed");
        sim_after(r->sim, sim_spread(r->sim, SIM_ROUTER, 10 * SIM_MS, 5 * SIM_S), start_ev, r, 0);
    } else if (r->up && !r->paused &&
               sim_strikes(r->sim, SIM_ROUTER, SIM_FAULT_ROUTER_PAUSE, 30000)) {
        pause_set(r, true);
        sim_after(r->sim, sim_spread(r->sim, SIM_ROUTER, 10 * SIM_MS, 20 * SIM_S), goes_on_ev, r,
                  ++r->pauses);
    }
    sim_after(r->sim, sim_range(r->sim, SIM_ROUTER, 100 * SIM_MS, SIM_S), strike_ev, r, 0);
}

uint32_t router_count(const struct world *w)
{
    return ((struct router_set *)w->router)->n;
}

struct sim_router *router_of(const struct world *w, uint32_t router)
{
    struct router_set *set = w->router;
    fb_assert(router < set->n);
    return &set->r[router];
}

bool router_is_up(const struct world *w, uint32_t router)
{
    return router_of(w, router)->up;
}

static void module_start(struct world *w)
{
    struct router_set *set = fb_xcalloc(1, sizeof *set);
    w->router = set;
    set->n = (uint32_t)sim_range(w->sim, SIM_ROUTER, 1, ROUTERS_MAX);
    for (uint32_t i = 0; i < set->n; i++) {
        struct sim_router *r = &set->r[i];
        r->world = w;
        r->sim = w->sim;
        snprintf(r->name, sizeof r->name, "r%u", (i + 1) % 100);
        sim_coord_watch(w->coord, map_changed, r);
        router_start(r);
        sim_after(w->sim, sim_range(w->sim, SIM_ROUTER, SIM_MS, SIM_S), strike_ev, r, 0);
    }
}

static void module_heal(struct world *w)
{
    struct router_set *set = w->router;
    for (uint32_t i = 0; i < set->n; i++) {
        struct sim_router *r = &set->r[i];
        if (!r->up)
            router_start(r);
        pause_set(r, false);
        router_loop_wake(r);
    }
}

static bool module_settled(struct world *w, char *why, size_t n)
{
    struct router_set *set = w->router;
    for (uint32_t i = 0; i < set->n; i++) {
        struct sim_router *r = &set->r[i];
        bool whole = router_map_complete(r->core);
        for (uint32_t k = 0; k < w->nodes && whole; k++)
            whole = router_node_is_up(r->core, k);
        if (!whole) {
            snprintf(why, n, "%s has no complete map, or no connection to a node", r->name);
            return false;
        }
    }
    return true;
}

static void module_stop(struct world *w)
{
    struct router_set *set = w->router;
    for (uint32_t i = 0; i < set->n; i++) {
        set->r[i].stopped = true;
        if (set->r[i].up)
            router_end(&set->r[i], "ends");
        router_tcps_free(&set->r[i]);
    }
    free(set);
    w->router = NULL;
}

static void module_finish(struct world *w)
{
    (void)w;
}

const struct world_module router_module = {.name = "router",
                                           .start = module_start,
                                           .heal = module_heal,
                                           .settled = module_settled,
                                           .finish = module_finish,
                                           .stop = module_stop};
