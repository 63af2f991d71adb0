/* The event thread: owns the core and everything the core's inputs come from. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/probe.h"
#include "proto/base/random.h"
#include "sync/io/admin.h"
#include "sync/io/engine_state.h"
#include "sync/io/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define STATUS_MS 500u
#define FAREWELL_MS 1000u

enum event_kind {
    EV_OPENED,
    EV_CLOSED,
    EV_FRAME,
    EV_STATE,
    EV_RESULT,
    EV_OPERATOR,
    EV_STANDBYS,
    EV_DB_UP
};

struct event {
    struct fb_mail mail;
    enum event_kind kind;
    struct fb_conn *conn; /* OPENED, CLOSED: a reference */
    struct fb_hello hello;
    char why[200];
    struct fb_net_frame *frame; /* FRAME, OPERATOR */
    struct fb_cluster_state *state;
    struct sync_job *job;
    struct fb_verdict verdict;
    struct fb_buf bytes; /* what verdict's views point into */
    struct pg_standbys standbys;
    uint64_t asked_ms;
};

static void post(struct sync_process *p, struct event *e)
{
    fb_mailbox_force(p->engine->box, &e->mail);
}

static struct event *event_new(enum event_kind kind)
{
    struct event *e = fb_xcalloc(1, sizeof(*e));
    e->kind = kind;
    return e;
}

/* ---- callbacks of other threads ---- */

void sync_engine_opened(void *arg, struct fb_conn *c, const struct fb_hello *peer)
{
    struct event *e;

    if (fb_conn_user(c) == NULL)
        return; /* the CLI dialled us: only its frames matter */
    e = event_new(EV_OPENED);
    e->conn = fb_conn_get(c);
    e->hello = *peer;
    post(arg, e);
}

void sync_engine_closed(void *arg, struct fb_conn *c, const char *why)
{
    struct event *e;

    if (fb_conn_user(c) == NULL)
        return;
    e = event_new(EV_CLOSED);
    e->conn = fb_conn_get(c);
    (void)snprintf(e->why, sizeof(e->why), "%s", why);
    post(arg, e);
}

void sync_engine_received(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    struct sync_process *p = arg;
    struct event *e;

    if (f->f.kind == FB_FRAME_LOAD_REQ) {
        sync_load(p, f);
        return;
    }
    e = event_new(EV_FRAME);
    e->frame = f;
    if (fb_mailbox_put(p->engine->box, &e->mail) != FB_OK) {
        fb_conn_close(c); /* it talks faster than we can listen; notes come again */
        fb_net_frame_free(f);
        free(e);
    }
}

void sync_engine_state(void *arg, struct fb_cluster_state *s)
{
    struct sync_process *p = arg;
    struct fb_cluster_state *old;
    struct event *e;

    pthread_mutex_lock(&p->mtx);
    old = p->state;
    p->state = fb_cluster_state_get(s);
    pthread_mutex_unlock(&p->mtx);
    if (old != NULL)
        fb_cluster_state_put(old);
    if (p->engine == NULL) { /* before the start: the engine begins with p->state */
        fb_cluster_state_put(s);
        return;
    }
    e = event_new(EV_STATE);
    e->state = s;
    post(p, e);
}

static void applied(void *arg, struct sync_job *job)
{
    struct event *e = event_new(EV_RESULT);
    e->job = job;
    post(arg, e);
}

void sync_engine_standbys(struct sync_process *p, const struct pg_standbys *seen, uint64_t asked_ms)
{
    struct event *e = event_new(EV_STANDBYS);
    e->standbys = *seen;
    e->asked_ms = asked_ms;
    post(p, e);
}

void sync_engine_db_answers(struct sync_process *p)
{
    post(p, event_new(EV_DB_UP));
}

void sync_engine_operator(struct sync_process *p, const struct fb_verdict *v,
                          struct fb_net_frame *f)
{
    struct event *e = event_new(EV_OPERATOR);

    e->verdict = *v;
    e->frame = f;
    fb_buf_put_bytes(&e->bytes, v->ns);
    fb_buf_put_bytes(&e->bytes, v->id);
    fb_buf_put_bytes(&e->bytes, v->value);
    e->verdict.ns.p = e->bytes.p;
    e->verdict.id.p = e->bytes.p + v->ns.n;
    e->verdict.value.p = e->bytes.p + v->ns.n + v->id.n;
    post(p, e);
}

/* ---- status ---- */

static void publish_status(struct sync_engine *g)
{
    struct sync_memory m;
    json_t *o = sync_engine_status(g);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    pthread_mutex_lock(&g->p->mtx);
    fb_buf_clear(&g->p->status);
    fb_buf_put_str(&g->p->status, text != NULL ? text : "{}");
    pthread_mutex_unlock(&g->p->mtx);
    free(text);
    sync_metrics_update(g->core);
    sync_core_memory(g->core, &m);
    atomic_store_explicit(&g->p->memory_feeds, m.feeds, memory_order_relaxed);
    atomic_store_explicit(&g->p->memory_batches, m.batches, memory_order_relaxed);
}

/* ---- inputs ---- */

static void take_state(struct sync_engine *g, struct fb_cluster_state *s)
{
    bool paused[FB_NAMESPACES_MAX];
    char names[SYNC_MEMBERS_MAX][FB_NAME_BYTES_MAX + 1];
    struct fb_cluster_state *old = g->state;
    size_t n = 0;

    for (uint32_t i = 0; i < s->namespaces->count; i++) {
        const struct fb_namespace *ns = &s->namespaces->ns[i];
        g->schemas[i] = ns->mapped ? fb_cluster_state_schema(s, ns->name) : NULL;
        paused[i] = s->sync_paused_all || fb_cluster_state_paused(s, ns->name);
    }
    sync_core_configure(g->core, s->namespaces, g->schemas, paused);
    memset(names, 0, sizeof(names));
    for (uint32_t i = 0; i < s->map->member_count && n < SYNC_MEMBERS_MAX; i++)
        if (s->map->members[i].kind == FB_MEMBER_SYNC && s->map->members[i].alive)
            memcpy(names[n++], s->map->members[i].name, sizeof(names[0]));
    sync_core_members(g->core, (const char(*)[FB_NAME_BYTES_MAX + 1]) names, n);
    sync_links_map(&g->links, s->map, g->now_ms);
    g->state = s;
    if (old != NULL)
        fb_cluster_state_put(old);
    if (s->config_rev != g->config_rev)
        sync_control_read_schemas(g->p->control);
    g->config_rev = s->config_rev;
    if (g->p->applied != NULL) /* not in tests of the engine alone */
        fb_applied_took(g->p->applied, 0, s->config_rev);
}

static void feed_frame(struct sync_engine *g, struct sync_link *l, struct fb_net_frame *f)
{
    struct fb_reader in = fb_reader(f->f.tail);
    enum fb_status st = FB_OK;

    while (in.n > 0 && st == FB_OK) {
        if (f->f.kind == FB_FRAME_NOTE) {
            struct fb_feed_note n;
            st = fb_feed_note_decode(&in, &n);
            if (st == FB_OK)
                sync_core_note(g->core, l->peer, &n);
        } else if (f->f.kind == FB_FRAME_FEED_DATA) {
            struct fb_feed_batch b;
            st = fb_feed_batch_decode(&in, &b);
            FB_PROBE3(receive, b.part, b.count, b.status);
            if (st == FB_OK)
                sync_core_batch(g->core, l->peer, &b);
        } else {
            struct fb_verdict_ack a;
            st = fb_verdict_ack_decode(&in, &a);
            if (st == FB_OK && (a.id64 & OPERATOR_BIT) != 0)
                sync_engine_operator_ack(g, &a);
            else if (st == FB_OK)
                sync_core_ack(g->core, l->peer, &a);
        }
    }
    if (st != FB_OK) {
        FB_LOG(ERROR, "malformed message, connection closed", FB_KS("node", l->name),
               FB_KS("kind", fb_frame_kind_name(f->f.kind)));
        fb_conn_close(f->conn);
    }
}

static void take_frame(struct sync_engine *g, struct fb_net_frame *f)
{
    struct sync_link *l = fb_conn_user(f->conn);

    switch (f->f.kind) {
    case FB_FRAME_ADMIN_REQ:
        sync_engine_admin(g, f);
        return;
    case FB_FRAME_PING: {
        struct fb_frame pong = {.kind = FB_FRAME_PONG, .id = f->f.id};
        struct fb_buf out = {0};
        fb_frame_end(&out, fb_frame_begin(&out, &pong), 0);
        if (fb_conn_send(f->conn, &out) != FB_OK)
            fb_conn_close(f->conn);
        fb_buf_fini(&out);
        break;
    }
    case FB_FRAME_NOTE:
    case FB_FRAME_FEED_DATA:
    case FB_FRAME_VERDICT_ACK:
        if (l != NULL && l->up && l->conn == f->conn)
            feed_frame(g, l, f);
        break;
    default:
        break;
    }
    fb_net_frame_free(f);
}

static void take_result(struct sync_engine *g, struct sync_job *job)
{
    sync_core_result(g->core, job->op);
    pg_batch_fini(&job->op->batch);
    sync_op_free(job->op);
    fb_cluster_state_put(job->state);
    free(job);
}

static void take_event(struct sync_engine *g, struct event *e)
{
    struct sync_link *l = e->conn != NULL ? fb_conn_user(e->conn) : NULL;

    switch (e->kind) {
    case EV_OPENED:
        if (l->conn == e->conn)
            sync_links_opened(&g->links, l, &e->hello);
        break;
    case EV_CLOSED:
        sync_links_closed(&g->links, l, e->conn, e->why, g->now_ms);
        break;
    case EV_FRAME:
        take_frame(g, e->frame);
        break;
    case EV_STATE:
        take_state(g, e->state);
        break;
    case EV_RESULT:
        take_result(g, e->job);
        break;
    case EV_OPERATOR:
        sync_engine_send_operator(g, &e->verdict, e->frame);
        break;
    case EV_STANDBYS:
        sync_core_standbys(g->core, &e->standbys, e->asked_ms);
        if (e->standbys.clock_ms > 0)
            sync_links_tell_clock(&g->links, (uint64_t)e->standbys.clock_ms);
        break;
    case EV_DB_UP:
        sync_core_db_answers(g->core);
        break;
    }
    if (e->conn != NULL)
        fb_conn_put(e->conn);
    fb_buf_fini(&e->bytes);
    free(e);
}

/* ---- the thread ---- */

static void outputs(struct sync_engine *g)
{
    struct sync_event ev;

    sync_core_step(g->core);
    sync_links_send(&g->links);
    for (uint32_t i = 0; i < g->p->appliers; i++) {
        struct sync_op *op = sync_core_take_op(g->core, i);
        struct sync_job *job;
        if (op == NULL)
            continue;
        job = fb_xcalloc(1, sizeof(*job));
        job->op = op;
        job->state = fb_cluster_state_get(g->state);
        FB_PROBE2(route, i, op->kind);
        sync_applier_run(g->applier[i], job);
    }
    while (sync_core_take_event(g->core, &ev))
        sync_engine_log(g, &ev);
}

static void take_mail(struct sync_engine *g)
{
    struct fb_mail *m = fb_mailbox_take(g->box);

    g->now_ms = fb_mono_ns() / 1000000;
    sync_core_now(g->core, g->now_ms);
    while (m != NULL) {
        struct event *e = FB_CONTAINER_OF(m, struct event, mail);
        m = m->next;
        take_event(g, e);
    }
}

/* The last positions go out, so that the nodes need not be told by whoever comes next. */
static void farewell(struct sync_engine *g)
{
    uint64_t end = fb_mono_ns() + FAREWELL_MS * UINT64_C(1000000);

    sync_links_send(&g->links);
    for (size_t i = 0; i < g->links.count; i++)
        while (g->links.link[i]->up && fb_conn_send_queue_bytes(g->links.link[i]->conn) > 0 &&
               fb_mono_ns() < end) {
            fb_mailbox_wait(g->box, 5000000);
            take_mail(g); /* what is left there would make the wait none */
        }
}

static void engine_run(void *arg)
{
    struct sync_engine *g = arg;

    for (;;) {
        uint64_t wake;
        take_mail(g);
        if (atomic_load(&g->stop)) {
            sync_core_drain(g->core);
            if (sync_core_quiet(g->core))
                break;
        }
        sync_links_tick(&g->links, g->now_ms);
        outputs(g);
        sync_engine_check_waiters(g);
        if (g->now_ms >= g->next_status_ms) {
            publish_status(g);
            sync_engine_tell_conflicts(g);
            g->next_status_ms = g->now_ms + STATUS_MS;
        }
        wake = sync_core_deadline_ms(g->core);
        if (sync_links_deadline_ms(&g->links) < wake)
            wake = sync_links_deadline_ms(&g->links);
        if (g->next_status_ms < wake)
            wake = g->next_status_ms;
        g->now_ms = fb_mono_ns() / 1000000;
        if (wake > g->now_ms)
            fb_mailbox_wait(g->box, (wake - g->now_ms) * 1000000);
    }
    farewell(g);
}

enum fb_status sync_engine_start(struct sync_process *p, struct fb_err *err)
{
    struct sync_engine *g = fb_xcalloc(1, sizeof(*g));
    struct sync_core_config config = {.inc = p->inc, .lanes = p->appliers, .seed = fb_random_u64()};
    enum fb_status st;

    memcpy(config.name, p->name, sizeof(config.name));
    g->p = p;
    g->box = fb_mailbox_new(SYNC_EVENTS_QUEUE_MAX);
    g->core = sync_core_new(&config);
    g->links = (struct sync_links){.p = p, .core = g->core};
    g->now_ms = fb_mono_ns() / 1000000;
    sync_core_now(g->core, g->now_ms);
    p->engine = g; /* callbacks of net may come from the first dial on, which the thread does */
    take_state(g, sync_process_state(p));
    for (uint32_t i = 0; i < p->appliers; i++) {
        st = sync_applier_start(p, i, applied, p, &g->applier[i], err);
        if (st != FB_OK)
            return st;
    }
    return fb_thread_start("event", engine_run, g, &g->thread, err);
}

void sync_engine_stop(struct sync_process *p)
{
    struct sync_engine *g = p->engine;

    atomic_store(&g->stop, true);
    fb_mailbox_wake(g->box);
    fb_thread_join(g->thread);
    for (uint32_t i = 0; i < p->appliers; i++)
        sync_applier_stop(g->applier[i]);
}

static void event_free(struct event *e)
{
    if (e->frame != NULL)
        fb_net_frame_free(e->frame);
    if (e->state != NULL)
        fb_cluster_state_put(e->state);
    fb_assert(e->job == NULL);
    if (e->conn != NULL)
        fb_conn_put(e->conn);
    fb_buf_fini(&e->bytes);
    free(e);
}

void sync_engine_free(struct sync_process *p)
{
    struct sync_engine *g = p->engine;
    struct fb_mail *m = fb_mailbox_take(g->box);

    while (m != NULL) {
        struct event *e = FB_CONTAINER_OF(m, struct event, mail);
        m = m->next;
        event_free(e);
    }
    while (g->waiter_count > 0)
        fb_net_frame_free(g->waiters[--g->waiter_count].frame);
    sync_links_free(&g->links);
    sync_core_free(g->core);
    fb_cluster_state_put(g->state);
    fb_mailbox_free(g->box);
    free(g);
    p->engine = NULL;
}
