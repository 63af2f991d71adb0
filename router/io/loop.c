/* One loop thread: wake-ups, ticks, start and end.
 *
 * An iteration of libuv: poll (clients' bytes are parsed as they are read) -> check (mailboxes,
 * then everything collected goes out) -> prepare (say that we sleep, look once more) -> poll.
 */
#include "router/io/loop.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/rt/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define HOLD_NAP_NS 20000

void loop_time(struct loop *l)
{
    router_time(l->core, fb_mono_ns(), fb_wall_ms());
}

void loop_wake(struct loop *l)
{
    /* Partner: loop_prepare_cb stores `sleeping` and then looks at the mailboxes. */
    if (atomic_load(&l->sleeping) && atomic_exchange(&l->sleeping, false))
        uv_async_send(&l->async);
}

static void post(struct loop *l, struct event *ev)
{
    fb_mailbox_force(l->events, &ev->mail);
    loop_wake(l);
}

static struct event *event_new(enum event_kind kind)
{
    struct event *ev = fb_xcalloc(1, sizeof(*ev));
    ev->kind = kind;
    return ev;
}

/* --- from other threads --- */

void loop_post_state(struct loop *l, struct fb_cluster_state *state)
{
    struct event *ev = event_new(EVENT_STATE);
    ev->state = fb_cluster_state_get(state);
    post(l, ev);
}

void loop_post_settings(struct loop *l, const struct settings *s)
{
    struct event *ev = event_new(EVENT_SETTINGS);
    ev->settings = fb_xmalloc(sizeof(*ev->settings));
    *ev->settings = *s;
    post(l, ev);
}

void loop_post_kill(struct loop *l)
{
    post(l, event_new(EVENT_KILL));
}

void loop_post_stop(struct loop *l)
{
    post(l, event_new(EVENT_STOP));
}

void loop_net_opened(void *arg, struct fb_conn *c, const struct fb_hello *hello)
{
    struct peer *p = fb_conn_user(c);
    struct event *ev = event_new(EVENT_OPENED);
    (void)arg;
    ev->peer = p;
    ev->conn = fb_conn_get(c);
    ev->inc = hello->inc;
    post(p->loop, ev);
}

void loop_net_closed(void *arg, struct fb_conn *c, const char *why)
{
    struct peer *p = fb_conn_user(c);
    struct event *ev = event_new(EVENT_CLOSED);
    (void)arg;
    ev->peer = p;
    ev->conn = fb_conn_get(c);
    snprintf(ev->why, sizeof(ev->why), "%s", why);
    post(p->loop, ev);
}

void loop_net_received(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    struct peer *p = fb_conn_user(c);
    (void)arg;
    /* same layout, see net.h */
    fb_mailbox_force(p->loop->frames, (struct fb_mail *)(void *)f);
    loop_wake(p->loop);
}

uint32_t loop_nodes_connected(const struct loop *l)
{
    return atomic_load(&l->nodes_connected);
}

uint32_t loop_ops_in_flight(const struct loop *l)
{
    return atomic_load(&l->ops_in_flight);
}

/* --- the loop --- */

static struct router_config core_config(struct loop *l, const struct settings *s);

static void loop_stop(struct loop *l)
{
    if (l->stopping)
        return;
    l->stopping = true;
    l->stop_at_ns = fb_mono_ns() + l->settings.drain_timeout_ms * 1000000u;
    if (l->listening)
        uv_close((uv_handle_t *)&l->listener, NULL);
    l->listening = false;
    clients_check(l);
}

static void settings_take(struct loop *l, struct settings *s)
{
    struct router_config c = core_config(l, s);
    l->settings = *s;
    free(s);
    router_configure(l->core, &c);
}

static void event_run(struct loop *l, struct event *ev)
{
    switch (ev->kind) {
    case EVENT_STATE:
        router_map(l->core, ev->state->map, ev->state->namespaces->multi == FB_MULTI_RELAXED);
        peers_sync(l);
        fb_applied_took(l->process->applied, l->number, ev->state->config_rev);
        fb_cluster_state_put(ev->state);
        break;
    case EVENT_OPENED:
        peer_opened(ev->peer, ev->conn, ev->inc);
        fb_conn_put(ev->conn);
        break;
    case EVENT_CLOSED:
        peer_closed(ev->peer, ev->conn, ev->why);
        fb_conn_put(ev->conn);
        break;
    case EVENT_KILL:
        clients_check(l);
        break;
    case EVENT_SETTINGS:
        settings_take(l, ev->settings);
        break;
    case EVENT_STOP:
        loop_stop(l);
        break;
    }
    free(ev);
}

/* Events are taken before frames and run after them: a frame that came before its connection's end
 * is seen first. False: nothing was there. */
static bool mailboxes_run(struct loop *l)
{
    struct fb_mail *events = fb_mailbox_take(l->events);
    struct fb_mail *frames = fb_mailbox_take(l->frames);
    bool any = events != NULL || frames != NULL;
    if (any)
        loop_time(l);
    while (frames != NULL) {
        struct fb_net_frame *f = (struct fb_net_frame *)(void *)frames;
        frames = frames->next;
        peer_frame(l, f);
    }
    while (events != NULL) {
        struct event *ev = (struct event *)(void *)events;
        events = events->next;
        event_run(l, ev);
    }
    return any;
}

/* A batch is held: others have the core meanwhile, and what clients sent by then comes out of one
 * poll. libuv's own time-outs are whole milliseconds. That the handle is active keeps the poll that
 * follows from sleeping. */
static void holding_cb(uv_idle_t *h)
{
    const struct timespec nap = {.tv_nsec = HOLD_NAP_NS};
    (void)h;
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL); /* woken early: a shorter nap */
}

/* Everything collected goes out. */
static void loop_flush(struct loop *l)
{
    struct router_session *s;
    bool again;
    loop_time(l);
    do {
        again = false;
        router_tick(l->core);
        peers_send(l);
        while ((s = router_next_session(l->core)) != NULL)
            client_flush(s->user);
        while ((s = router_next_resume(l->core)) != NULL) {
            client_resume(s->user);
            again = true;
        }
    } while (again);
    if (router_holding(l->core))
        uv_idle_start(&l->holding, holding_cb);
    else
        uv_idle_stop(&l->holding);
    if (l->peers_at_ns != ROUTER_TIME_NEVER)
        peers_dial(l);
}

static void timer_cb(uv_timer_t *t)
{
    struct loop *l = t->data;
    l->timer_at_ns = ROUTER_TIME_NEVER; /* the check that follows does the work */
}

static void timer_arm(struct loop *l)
{
    uint64_t at = router_deadline_ns(l->core), now = fb_mono_ns();
    if (router_holding(l->core)) /* poll returns at once: armed when that is over */
        return;
    if (l->peers_at_ns < at)
        at = l->peers_at_ns;
    if (at >= l->timer_at_ns || at - now > UINT64_C(1000000000) * 3600)
        return;
    l->timer_at_ns = at;
    uv_update_time(&l->uv);
    uv_timer_start(&l->timer, timer_cb, at <= now ? 0 : (at - now + 999999) / 1000000, 0);
}

static void loop_end_if_done(struct loop *l)
{
    if (!l->stopping || l->clients != NULL || uv_is_closing((uv_handle_t *)&l->async))
        return;
    peers_close(l);
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->check, NULL);
    uv_close((uv_handle_t *)&l->holding, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)&l->second, NULL);
}

static void check_cb(uv_check_t *h)
{
    struct loop *l = h->data;
    atomic_store_explicit(&l->sleeping, false, memory_order_relaxed);
    fb_beat("replies and events");
    mailboxes_run(l);
    loop_flush(l);
}

static void prepare_cb(uv_prepare_t *h)
{
    struct loop *l = h->data;
    fb_beat("replies and events");
    for (;;) {
        atomic_store(&l->sleeping, true);
        atomic_thread_fence(memory_order_seq_cst); /* partner: loop_wake, after the push */
        if (!mailboxes_run(l))
            break;
        loop_flush(l);
    }
    loop_end_if_done(l);
    if (!uv_is_closing((uv_handle_t *)&l->timer))
        timer_arm(l);
    fb_beat("waits for clients, or reads their commands"); /* poll calls the readers itself */
}

static void async_cb(uv_async_t *h)
{
    (void)h; /* only to leave poll */
}

static struct registered *entry_of(const struct router_session *s)
{
    return s == NULL ? NULL : &((struct client *)s->user)->entry;
}

/* What CLIENT LIST of any loop shows of this client. */
static void entry_refresh(const struct router_session *s)
{
    struct registered *e = entry_of(s);
    atomic_store_explicit(&e->last_cmd, s->last_cmd, memory_order_relaxed);
    atomic_store_explicit(
        &e->state, s->proto | (s->in_multi ? s->multi_count + 1 : 0) << 8 | s->watch_count << 22,
        memory_order_relaxed);
}

static void entries_refresh(struct loop *l)
{
    for (struct client *c = l->clients; c != NULL; c = c->next)
        if (c->session != NULL)
            entry_refresh(c->session);
}

static void count_memory(struct loop *l)
{
    struct router_memory m;

    router_memory(l->core, &m);
    for (const struct client *c = l->clients; c != NULL; c = c->next)
        m.clients += sizeof(*c) + c->in.cap + c->writing.cap;
    atomic_store_explicit(&l->memory.clients, m.clients, memory_order_relaxed);
    atomic_store_explicit(&l->memory.operations, m.operations, memory_order_relaxed);
    atomic_store_explicit(&l->memory.batches, m.batches, memory_order_relaxed);
    atomic_store_explicit(&l->memory.core, m.core + sizeof(*l), memory_order_relaxed);
}

void loop_memory_add(const struct loop *l, struct router_memory *m)
{
    m->clients += atomic_load_explicit(&l->memory.clients, memory_order_relaxed);
    m->operations += atomic_load_explicit(&l->memory.operations, memory_order_relaxed);
    m->batches += atomic_load_explicit(&l->memory.batches, memory_order_relaxed);
    m->core += atomic_load_explicit(&l->memory.core, memory_order_relaxed);
}

static void second_cb(uv_timer_t *t)
{
    struct loop *l = t->data;
    metrics_publish(l->process, router_stats(l->core), &l->published);
    atomic_store(&l->ops_in_flight, router_ops_in_flight(l->core));
    loop_time(l);
    clients_check(l);
    entries_refresh(l);
    count_memory(l);
}

static void loop_thread(void *arg)
{
    struct loop *l = arg;
    /* this thread's; without it a nap would take 50 us more. Fails nowhere on Linux, and a longer
     * nap is no fault. */
    (void)prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    atomic_store(&l->sleeping, false); /* late callbacks of connections wake nobody */
    metrics_publish(l->process, router_stats(l->core), &l->published);
}

/* --- hooks of the core --- */

static void hook_lines(void *arg, struct fb_buf *out, const struct router_session *only,
                       const uint64_t *ids, size_t n)
{
    struct loop *l = arg;
    entries_refresh(l);
    registry_lines(l->process, out, entry_of(only), ids, n);
}

static uint32_t hook_kill(void *arg, const struct router_session *self, uint64_t id,
                          struct fb_bytes addr, struct fb_bytes laddr, bool skip_self)
{
    struct loop *l = arg;
    return registry_kill(l->process, entry_of(self), id, addr, laddr, skip_self);
}

static void hook_changed(void *arg, const struct router_session *s)
{
    struct loop *l = arg;
    registry_rename(l->process, entry_of(s), s);
}

static void hook_slow(void *arg, const struct router_slow *w)
{
    struct loop *l = arg;
    slowlog_add(w, l->settings.slow_keys);
}

static void hook_slowlog_get(void *arg, struct fb_buf *out, uint32_t count)
{
    (void)arg;
    slowlog_get(out, count);
}

static size_t hook_slowlog_len(void *arg)
{
    (void)arg;
    return slowlog_len();
}

static void hook_slowlog_reset(void *arg)
{
    (void)arg;
    slowlog_reset();
}

static void hook_info(void *arg, struct fb_buf *out, const struct fb_bytes *names, size_t n)
{
    struct loop *l = arg;
    metrics_publish(l->process, router_stats(l->core), &l->published);
    info_append(l->process, out, names, n);
}

static struct router_config core_config(struct loop *l, const struct settings *s)
{
    struct router_config c = {
        .inflight_per_client = s->inflight_per_client,
        .inflight_max = s->inflight_max / s->threads,
        .output_bytes_max = s->output_bytes_max,
        .retry_deadline_ns = s->retry_deadline_ms * 1000000u,
        .request_timeout_ns = s->request_timeout_ms * 1000000u,
        .window = s->window,
        .window_wait_ns = s->window_wait_us * 1000u,
        .hold_ns = s->hold_us * 1000u,
        .seed = fb_random_u64(),
        .inc = l->process->inc,
        .maxclients_shown = s->max_clients,
        .slow_ns = s->slow_ms * 1000000u,
        .hooks = {.arg = l,
                  .client_lines = hook_lines,
                  .client_kill = hook_kill,
                  .client_changed = hook_changed,
                  .slow = hook_slow,
                  .slowlog_get = hook_slowlog_get,
                  .slowlog_len = hook_slowlog_len,
                  .slowlog_reset = hook_slowlog_reset,
                  .info = hook_info},
    };
    if (c.inflight_max == 0)
        c.inflight_max = 1;
    snprintf(c.password, sizeof(c.password), "%s", s->password);
    return c;
}

static struct router *core_make(struct loop *l)
{
    struct router_config c = core_config(l, &l->settings);
    return router_new(&c);
}

/* --- start and end --- */

static void loop_destroy(struct loop *l)
{
    struct fb_mail *m;
    while ((m = fb_mailbox_take(l->frames)) != NULL)
        while (m != NULL) {
            struct fb_net_frame *f = (struct fb_net_frame *)(void *)m;
            m = m->next;
            fb_net_frame_free(f);
        }
    while ((m = fb_mailbox_take(l->events)) != NULL)
        while (m != NULL) {
            struct event *ev = (struct event *)(void *)m;
            m = m->next;
            if (ev->state != NULL)
                fb_cluster_state_put(ev->state);
            if (ev->conn != NULL)
                fb_conn_put(ev->conn);
            free(ev->settings);
            free(ev);
        }
    router_free(l->core);
    while (l->held_free != NULL) {
        struct held_frame *h = l->held_free;
        l->held_free = h->next;
        free(h);
    }
    fb_mailbox_free(l->frames);
    fb_mailbox_free(l->events);
    free(l);
}

static void handles_init(struct loop *l)
{
    /* these only fail on bad arguments; uv_async_init on too many files, which loop_init has had */
    fb_assert(uv_prepare_init(&l->uv, &l->prepare) == 0);
    fb_assert(uv_check_init(&l->uv, &l->check) == 0);
    fb_assert(uv_idle_init(&l->uv, &l->holding) == 0);
    fb_assert(uv_timer_init(&l->uv, &l->timer) == 0);
    fb_assert(uv_timer_init(&l->uv, &l->second) == 0);
    l->prepare.data = l->check.data = l->timer.data = l->second.data = l;
    fb_assert(uv_prepare_start(&l->prepare, prepare_cb) == 0);
    fb_assert(uv_check_start(&l->check, check_cb) == 0);
    fb_assert(uv_timer_start(&l->second, second_cb, 1000, 1000) == 0);
}

enum fb_status loop_start(struct process *p, uint32_t number, struct fb_cluster_state *state,
                          struct loop **out, struct fb_err *err)
{
    struct loop *l = fb_xcalloc(1, sizeof(*l));
    char name[16];
    enum fb_status st;
    int rc;

    l->process = p;
    l->number = number;
    l->settings = p->settings;
    l->timer_at_ns = l->peers_at_ns = ROUTER_TIME_NEVER;
    for (uint32_t i = 0; i < FB_NODES_MAX; i++) {
        l->peers[i].loop = l;
        l->peers[i].number = i;
    }
    l->events = fb_mailbox_new(UINT32_MAX);
    l->frames = fb_mailbox_new(UINT32_MAX);
    l->core = core_make(l);
    rc = uv_loop_init(&l->uv);
    if (rc == 0)
        rc = uv_async_init(&l->uv, &l->async, async_cb);
    if (rc != 0) {
        st = fb_err_set(err, FB_EIO, "event loop: %s", uv_strerror(rc));
        loop_destroy(l);
        return st;
    }
    handles_init(l);
    loop_time(l);
    /* before the first client: the partition of a key is a matter of their number */
    router_map(l->core, state->map, state->namespaces->multi == FB_MULTI_RELAXED);
    loop_post_state(l, state);
    st = client_listen(l, err);
    snprintf(name, sizeof(name), "loop-%u", number);
    if (st == FB_OK)
        st = fb_thread_start(name, loop_thread, l, &l->thread, err);
    if (st != FB_OK) {
        loop_stop(l);
        loop_end_if_done(l);
        uv_run(&l->uv, UV_RUN_DEFAULT);
        loop_free(l);
        return st;
    }
    *out = l;
    return FB_OK;
}

void loop_join(struct loop *l)
{
    fb_thread_join(l->thread);
}

void loop_free(struct loop *l)
{
    fb_assert(uv_loop_close(&l->uv) == 0);
    loop_destroy(l);
}
