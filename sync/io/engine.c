/* The event thread: owns the core and everything the core's inputs come from. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "sync/io/admin.h"
#include "sync/io/apply.h"
#include "sync/io/link.h"
#include "sync/io/metrics.h"

#include <stdio.h>
#include <stdlib.h>

#define STATUS_MS 500u
#define OPERATOR_TIMEOUT_MS 15000u
#define FAREWELL_MS 1000u
#define WAITERS_MAX 64u
#define OPERATOR_BIT (UINT64_C(1) << 63) /* verdict numbers of operators; the core counts from 1 */

enum event_kind { EV_OPENED, EV_CLOSED, EV_FRAME, EV_STATE, EV_RESULT, EV_DEAD, EV_OPERATOR };

struct event {
    struct fb_mail mail;
    enum event_kind kind;
    struct fb_conn *conn;           /* OPENED, CLOSED: a reference */
    struct fb_hello hello;
    char why[200];
    struct fb_net_frame *frame;     /* FRAME, OPERATOR */
    struct fb_cluster_state *state;
    struct sync_job *job;
    struct sync_dead *dead;
    struct fb_verdict verdict;
    struct fb_buf bytes;            /* what verdict's views point into */
};

/* An admin request that waits: for an ack (number != 0) or for feeds to become idle. */
struct waiter {
    struct fb_net_frame *frame;
    uint64_t number, deadline_ms;
    char ns[FB_NAME_BYTES_MAX + 1];
};

struct sync_engine {
    struct sync_process *p;
    struct fb_mailbox *box;
    struct fb_thread *thread;
    _Atomic bool stop;
    /* event thread only */
    struct sync_core *core;
    struct sync_links links;
    struct sync_applier *applier[SYNC_LANES_MAX];
    struct fb_cluster_state *state;
    const struct fb_schema *schemas[FB_NAMESPACES_MAX];
    struct waiter waiters[WAITERS_MAX];
    size_t waiter_count;
    uint64_t operators, now_ms, next_status_ms, config_rev;
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

void sync_engine_dead_letters(struct sync_process *p, struct sync_dead *chain)
{
    struct event *e = event_new(EV_DEAD);
    e->dead = chain;
    post(p, e);
}

void sync_engine_operator(struct sync_process *p, const struct fb_verdict *v, struct fb_net_frame *f)
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

static json_t *status_json(const struct sync_engine *g)
{
    json_t *list = json_array();
    char problem[sizeof(g->p->db_problem)];

    pthread_mutex_lock(&g->p->mtx);
    memcpy(problem, g->p->db_problem, sizeof(problem));
    pthread_mutex_unlock(&g->p->mtx);
    for (size_t i = 0; i < sync_core_ns_count(g->core); i++) {
        struct sync_ns_status s;
        sync_core_ns_status(g->core, i, &s);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:o}", "ns", s.name, "feeds",
                            (json_int_t)s.feeds, "dirty", (json_int_t)s.dirty, "oldest_age_ms",
                            (json_int_t)s.oldest_age_ms, "rows", (json_int_t)s.rows, "batches", (json_int_t)s.batches,
                            "parked", (json_int_t)s.parked, "conflicts", (json_int_t)s.conflicts, "lost",
                            (json_int_t)s.lost, "paused", s.paused, "stopped", s.stopped, "last_error",
                            sync_admin_text(fb_bytes_str(s.last_error))));
    }
    return json_pack("{s:b, s:s, s:b, s:b, s:o, s:I, s:I, s:o}", "ok", 1, "name", g->p->name, "db_up",
                     (int)atomic_load(&g->p->db_up), "attached", (int)sync_core_db_up(g->core), "db_problem",
                     sync_admin_text(fb_bytes_str(problem)), "transactions",
                     (json_int_t)sync_core_stats(g->core)->transactions, "dead_letters",
                     (json_int_t)sync_core_stats(g->core)->dead_letters, "namespaces", list);
}

static void publish_status(struct sync_engine *g)
{
    json_t *o = status_json(g);
    char *text = json_dumps(o, JSON_COMPACT);

    json_decref(o);
    pthread_mutex_lock(&g->p->mtx);
    fb_buf_clear(&g->p->status);
    fb_buf_put_str(&g->p->status, text != NULL ? text : "{}");
    pthread_mutex_unlock(&g->p->mtx);
    free(text);
    sync_metrics_update(g->core);
}

static void log_event(struct sync_engine *g, const struct sync_event *e)
{
    uint32_t ns;

    switch (e->kind) {
    case SYNC_EVENT_DB_UP:
        FB_LOG(INFO, "write-behind attached to PostgreSQL", FB_KS("name", g->p->name));
        break;
    case SYNC_EVENT_DB_DOWN:
        FB_LOG(WARN, "write-behind waits for PostgreSQL, order is kept", FB_KS("error", e->text));
        break;
    case SYNC_EVENT_NAMESPACE_STOPPED:
        FB_LOG(WARN, "write-behind of a namespace stopped, others go on", FB_KS("namespace", e->ns), FB_KS("error", e->text));
        sync_control_read_schemas(g->p->control);
        break;
    case SYNC_EVENT_NAMESPACE_BACK:
        FB_LOG(INFO, "write-behind of a namespace goes on", FB_KS("namespace", e->ns));
        break;
    case SYNC_EVENT_PARKED:
        FB_LOG(WARN, "object parked, see forebayctl deadletter list", FB_KS("namespace", e->ns), FB_KU("part", e->part),
               FB_KU("ver", e->ver), FB_KS("error", e->text));
        break;
    case SYNC_EVENT_LOST:
        FB_LOG(INFO, "another sync process moved the checkpoint", FB_KS("namespace", e->ns), FB_KU("part", e->part));
        break;
    case SYNC_EVENT_CONFLICT:
        ns = fb_nsset_find(g->state->namespaces, fb_bytes_str(e->ns));
        if (ns != UINT32_MAX)
            sync_metrics_conflicts(g->state->namespaces->ns[ns].conflict, e->ver);
        FB_LOG(DEBUG, "rows changed in PostgreSQL meanwhile", FB_KS("namespace", e->ns), FB_KU("part", e->part),
               FB_KU("rows", e->ver));
        break;
    case SYNC_EVENT_BAD_BATCH:
        FB_LOG(ERROR, "a node sent an impossible batch", FB_KS("namespace", e->ns), FB_KU("part", e->part),
               FB_KS("what", e->text));
        break;
    case SYNC_EVENT_RESYNC:
        FB_LOG(ERROR, "the node no longer has what follows the checkpoint; PostgreSQL lost commits or was restored",
               FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("checkpoint", e->ver));
        break;
    case SYNC_EVENT_AHEAD:
        FB_LOG(ERROR, "the checkpoint in PostgreSQL is ahead of the node's log; is this the right database?",
               FB_KS("namespace", e->ns), FB_KU("part", e->part), FB_KU("checkpoint", e->ver));
        break;
    }
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
    sync_core_members(g->core, (const char(*)[FB_NAME_BYTES_MAX + 1])names, n);
    sync_links_map(&g->links, s->map, g->now_ms);
    g->state = s;
    if (old != NULL)
        fb_cluster_state_put(old);
    if (s->config_rev != g->config_rev)
        sync_control_read_schemas(g->p->control);
    g->config_rev = s->config_rev;
}

static void wait_for(struct sync_engine *g, struct fb_net_frame *f, uint64_t number, const char *ns, uint64_t ms)
{
    struct waiter *w;

    if (g->waiter_count == WAITERS_MAX) {
        sync_admin_fail(f, "too many requests wait");
        fb_net_frame_free(f);
        return;
    }
    w = &g->waiters[g->waiter_count++];
    *w = (struct waiter){.frame = f, .number = number, .deadline_ms = g->now_ms + ms};
    (void)snprintf(w->ns, sizeof(w->ns), "%s", ns != NULL ? ns : "");
}

static void waiter_done(struct sync_engine *g, size_t i, json_t *body)
{
    sync_admin_reply(g->waiters[i].frame, body);
    fb_net_frame_free(g->waiters[i].frame);
    g->waiters[i] = g->waiters[--g->waiter_count];
}

/* An operator's verdict is acknowledged. */
static void operator_ack(struct sync_engine *g, const struct fb_verdict_ack *ack)
{
    for (size_t i = 0; i < g->waiter_count; i++) {
        if (g->waiters[i].number != ack->id64)
            continue;
        if (ack->status == FB_OK)
            waiter_done(g, i, json_pack("{s:b, s:I}", "ok", 1, "ver", (json_int_t)ack->ver));
        else
            waiter_done(g, i, json_pack("{s:b, s:s}", "ok", 0, "error",
                                        ack->status == FB_ESTALE ? "a newer version of the object exists already"
                                                                 : fb_status_text((enum fb_status)ack->status)));
        return;
    }
}

static void check_waiters(struct sync_engine *g)
{
    for (size_t i = 0; i < g->waiter_count;) {
        struct waiter *w = &g->waiters[i];
        size_t busy = w->number != 0 ? 1 : sync_core_busy(g->core, w->ns[0] != '\0' ? w->ns : NULL);
        if (busy == 0)
            waiter_done(g, i, json_pack("{s:b, s:b}", "ok", 1, "done", 1));
        else if (g->now_ms < w->deadline_ms)
            i++;
        else if (w->number != 0)
            waiter_done(g, i, json_pack("{s:b, s:s}", "ok", 0, "error", "the node did not answer in time"));
        else
            waiter_done(g, i, json_pack("{s:b, s:b, s:I}", "ok", 1, "done", 0, "busy", (json_int_t)busy));
    }
}

static void send_operator(struct sync_engine *g, struct event *e)
{
    struct fb_frame head = {.kind = FB_FRAME_VERDICT, .src_inc = g->p->inc};
    struct fb_buf out = {0};
    struct sync_link *l = NULL;
    size_t mark;

    if (e->verdict.part < g->state->map->partitions)
        l = sync_links_find(&g->links, g->state->map->parts[e->verdict.part].primary.node);
    if (l == NULL || !l->up) {
        sync_admin_fail(e->frame, "the node that leads the object's partition is not connected");
        fb_net_frame_free(e->frame);
        return;
    }
    e->verdict.id64 = ++g->operators | OPERATOR_BIT;
    mark = fb_frame_begin(&out, &head);
    fb_verdict_encode(&out, &e->verdict);
    fb_frame_end(&out, mark, 1);
    if (fb_conn_send(l->conn, &out) != FB_OK)
        fb_conn_close(l->conn); /* the wait ends with its time-out */
    fb_buf_fini(&out);
    wait_for(g, e->frame, e->verdict.id64, NULL, OPERATOR_TIMEOUT_MS);
}

/* Takes the frame. */
static void admin(struct sync_engine *g, struct fb_net_frame *f)
{
    json_t *req = sync_admin_parse(f);
    const char *verb = "", *ns = NULL;
    json_int_t wait_ms = 0;

    (void)json_unpack(req, "{s?s, s?s, s?I}", "verb", &verb, "ns", &ns, "wait_ms", &wait_ms);
    if (strcmp(verb, "sync.lsn") == 0 || strncmp(verb, "deadletter.", 11) == 0) {
        if (strcmp(verb, "sync.lsn") == 0 || strcmp(verb + 11, "list") == 0 || strcmp(verb + 11, "show") == 0 ||
            strcmp(verb + 11, "retry") == 0 || strcmp(verb + 11, "discard") == 0) {
            sync_control_admin(g->p->control, f);
            json_decref(req);
            return;
        }
    }
    if (strcmp(verb, "sync.status") == 0) {
        sync_admin_reply(f, status_json(g));
    } else if (strcmp(verb, "sync.flush") == 0) {
        sync_core_flush(g->core, ns);
        if (wait_ms > 0) {
            wait_for(g, f, 0, ns, wait_ms < 600000 ? (uint64_t)wait_ms : 600000);
            json_decref(req);
            return;
        }
        sync_admin_reply(f, json_pack("{s:b}", "ok", 1));
    } else {
        sync_admin_fail(f, req == NULL ? "the request is not a JSON object" : "unknown verb");
    }
    json_decref(req);
    fb_net_frame_free(f);
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
            if (st == FB_OK)
                sync_core_batch(g->core, l->peer, &b);
        } else {
            struct fb_verdict_ack a;
            st = fb_verdict_ack_decode(&in, &a);
            if (st == FB_OK && (a.id64 & OPERATOR_BIT) != 0)
                operator_ack(g, &a);
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
        admin(g, f);
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

static void take_dead(struct sync_engine *g, struct sync_dead *d)
{
    sync_core_dead_begin(g->core);
    while (d != NULL) {
        struct sync_dead *next = d->next;
        sync_core_dead_add(g->core, d->ns, fb_bytes(d->id, d->id_n), d->ver);
        free(d);
        d = next;
    }
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
    case EV_DEAD:
        take_dead(g, e->dead);
        break;
    case EV_OPERATOR:
        send_operator(g, e);
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
        sync_applier_run(g->applier[i], job);
    }
    while (sync_core_take_event(g->core, &ev))
        log_event(g, &ev);
}

/* The last positions go out, so that the nodes need not be told by whoever comes next. */
static void farewell(struct sync_engine *g)
{
    uint64_t end = fb_mono_ns() + FAREWELL_MS * UINT64_C(1000000);

    sync_links_send(&g->links);
    for (size_t i = 0; i < g->links.count; i++)
        while (g->links.link[i]->up && fb_conn_send_queue_bytes(g->links.link[i]->conn) > 0 && fb_mono_ns() < end)
            fb_mailbox_wait(g->box, 5000000);
}

static void engine_run(void *arg)
{
    struct sync_engine *g = arg;

    for (;;) {
        uint64_t wake;
        struct fb_mail *m = fb_mailbox_take(g->box);
        g->now_ms = fb_mono_ns() / 1000000;
        sync_core_now(g->core, g->now_ms);
        while (m != NULL) {
            struct event *e = FB_CONTAINER_OF(m, struct event, mail);
            m = m->next;
            take_event(g, e);
        }
        if (atomic_load(&g->stop)) {
            sync_core_drain(g->core);
            if (sync_core_quiet(g->core))
                break;
        }
        sync_links_tick(&g->links, g->now_ms);
        outputs(g);
        check_waiters(g);
        if (g->now_ms >= g->next_status_ms) {
            publish_status(g);
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
        st = sync_applier_start(p, applied, p, &g->applier[i], err);
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
    while (e->dead != NULL) {
        struct sync_dead *next = e->dead->next;
        free(e->dead);
        e->dead = next;
    }
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
