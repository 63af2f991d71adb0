/* The loop of a writer thread: jobs, frames, one log write, publish, send. */
#include "node/io/worker.h"

#include "node/io/copies.h"
#include "node/io/lag.h"
#include "node/io/parts.h"
#include "node/io/peers.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/base/probe.h"
#include "proto/base/random.h"
#include "proto/rt/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

#define NO_SYNC_GRACE_NS UINT64_C(2000000000)

struct job *job_new(enum job_kind kind)
{
    struct job *j = fb_xcalloc(1, sizeof(*j));
    j->kind = kind;
    return j;
}

void worker_post(struct worker *w, struct job *j)
{
    fb_mailbox_force(w->jobs, &j->mail);
    fb_mailbox_wake(w->frames);
}

void peer_put(struct peer *p)
{
    /* release: what a worker did with the peer happens before the last one frees it (acquire) */
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0;; i++) {
        struct peer_lane *pl = &p->lane[i];
        if (pl->released)
            break;
        fb_buf_fini(&pl->reply.out);
        fb_buf_fini(&pl->feed.batches);
        fb_buf_fini(&pl->feed.acks);
    }
    fb_conn_put(p->conn);
    free(p);
}

static void array_add(struct peer ***a, uint32_t *count, uint32_t *cap, struct peer *p)
{
    if (*count == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        *a = fb_xrealloc(*a, *cap * sizeof(**a));
    }
    (*a)[(*count)++] = p;
}

static void job_opened(struct worker *w, struct peer *p)
{
    if (p->role == FB_ROLE_NODE)
        peers_opened(w, p);
    if (p->role != FB_ROLE_SYNC)
        return;
    array_add(&w->syncs, &w->sync_count, &w->sync_cap, p);
    w->no_sync_since_ns = 0;
    lane_notes_all(w->lane);
    lane_loads_resend(w->lane);
}

static void job_closed(struct worker *w, struct peer *p)
{
    struct peer_lane *pl = &p->lane[w->index];
    bool was_sync = false;

    for (uint32_t i = 0; i < w->sync_count; i++) {
        if (w->syncs[i] == p) {
            w->syncs[i] = w->syncs[--w->sync_count];
            was_sync = true;
            break;
        }
    }
    if (p->role == FB_ROLE_NODE)
        peers_closed(w, p);
    pl->reply.closed = true;
    pl->feed.closed = true;
    array_add(&w->zombies, &w->zombie_count, &w->zombie_cap, p);
    if (was_sync && w->sync_count > 0)
        lane_loads_resend(w->lane); /* some of them were asked of the one that went */
}

/* Closed connections are let go when the lane owes them nothing and they are on no list of this
 * tick. */
static void release_zombies(struct worker *w)
{
    for (uint32_t i = 0; i < w->zombie_count;) {
        struct peer *p = w->zombies[i];
        struct peer_lane *pl = &p->lane[w->index];
        if (pl->reply.held == 0 && pl->feed.held == 0 && !pl->reply.touched && !pl->feed.touched) {
            w->zombies[i] = w->zombies[--w->zombie_count];
            peer_put(p);
        } else {
            i++;
        }
    }
}

static void config_put(struct node_config *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        fb_cluster_state_put(c->state);
        free(c);
    }
}

#define MEMORY_NS UINT64_C(1000000000)

/* What is held beside the objects leaves less room for them, but half of the limit is theirs. */
static void set_memory_limit(struct worker *w)
{
    uint64_t limit = atomic_load(&w->node->memory_limit), beside = node_memory_beside(w->node);

    lane_set_memory_limit(w->lane, limit - (beside < limit / 2 ? beside : limit / 2));
}

static void count_memory(struct worker *w, uint64_t now)
{
    struct lane_memory m;

    if (now < w->memory_at_ns)
        return;
    w->memory_at_ns = now + MEMORY_NS;
    lane_memory(w->lane, &m);
    atomic_store_explicit(&w->memory.dirty, m.dirty, memory_order_relaxed);
    atomic_store_explicit(&w->memory.feeds, m.feeds, memory_order_relaxed);
    atomic_store_explicit(&w->memory.loads, m.loads, memory_order_relaxed);
    atomic_store_explicit(&w->memory.log, m.log, memory_order_relaxed);
    atomic_store_explicit(&w->memory.replies, m.replies, memory_order_relaxed);
    set_memory_limit(w);
}

static void take_limits(void *arg, struct worker *w)
{
    struct node *n = arg;

    set_memory_limit(w);
    lane_set_dirty_limit(w->lane, node_dirty_limit(n, w->config->state->namespaces));
}

void node_set_memory_limit(struct node *n, uint64_t bytes)
{
    if (atomic_exchange(&n->memory_limit, bytes) == bytes)
        return;
    for (uint32_t i = 0; i < n->worker_count && !FB_MUTANT(reload_unheard); i++) {
        struct job *j = job_new(JOB_CALL);
        j->call = take_limits;
        j->arg = n;
        worker_post(n->workers[i], j);
    }
}

static void job_config(struct worker *w, struct node_config *c)
{
    lane_configure(w->lane, c->state->namespaces, c->schemas);
    lane_set_dirty_limit(w->lane, node_dirty_limit(w->node, c->state->namespaces));
    config_put(w->config);
    w->config = c;
    fb_applied_took(w->node->applied, w->index, c->state->config_rev);
}

static void write_log(struct worker *w)
{
    struct lane_effects *e = lane_effects(w->lane);
    struct fb_err err;

    if (e->log.n == 0)
        return;
    if (FB_MUTANT(publish_unwritten))
        lane_written(w->lane);
    fb_beat_blocks(FB_BEAT_DISK, "writes the log");
    if (log_append(w->node->log, w->index, e->log_seq, fb_buf_view(&e->log), false, &err) !=
            FB_OK &&
        log_append(w->node->log, w->index, e->log_seq, fb_buf_view(&e->log), true, &err) != FB_OK) {
        /* The records are evaluated and cannot be taken back: stop before anything was acknowledged
         * (I18, I19). */
        FB_LOG(
            ERROR,
            "the log cannot be written and its reserve is used up; free disk space and start again",
            FB_KS("error", err.msg));
        abort();
    }
    w->log_seq = e->log_seq;
    if (e->sync_wanted)
        log_sync_soon(w->node->log, w->index);
    fb_beat("publishes what was written");
    if (!FB_MUTANT(publish_unwritten))
        lane_written(w->lane);
    FB_PROBE3(commit, w->index, w->log_seq, e->log.n);
}

void worker_write_out(struct worker *w)
{
    write_log(w);
    if (w->copied)
        worker_copies_written(w);
    worker_flush(w);
}

/* The lane's clock for this tick: ours, and what is known of PostgreSQL's. */
static void take_clocks(struct worker *w, uint64_t now)
{
    int64_t db = atomic_load_explicit(&w->node->db_clock_ms, memory_order_relaxed);
    uint64_t held;

    if (db != 0)
        lane_database_clock(w->lane, db);
    lane_now(w->lane, now, fb_wall_ms());
    held = atomic_load_explicit(&lane_stats(w->lane)->clock_held_ms, memory_order_relaxed);
    if (held > 0 && !w->clock_held && w->index == 0)
        FB_LOG(WARN,
               "the clock of this machine is far ahead of PostgreSQL's, or of the last record "
               "while PostgreSQL's is not known: "
               "time of the objects is held back, so that they do not all expire; correct the "
               "clock that is wrong",
               FB_KU("ahead_ms", held));
    w->clock_held = held > 0;
}

static const char *const job_notes[] = {[JOB_OPENED] = "takes a connection",
                                        [JOB_CLOSED] = "lets go of a connection",
                                        [JOB_FORWARD] = "requests of another worker",
                                        [JOB_FEED] = "feeds of a sync process",
                                        [JOB_CONFIG] = "takes a configuration",
                                        [JOB_REPLICA] = "another node's stream",
                                        [JOB_RECORD] = "opens and closes partitions",
                                        [JOB_CALL] = "snapshots or limits",
                                        [JOB_STOP] = "stops"};

static void run_job(struct worker *w, struct job *j)
{
    struct peer *release = NULL;
    switch (j->kind) {
    case JOB_OPENED:
        job_opened(w, j->peer);
        break;
    case JOB_CLOSED:
        job_closed(w, j->peer);
        break;
    case JOB_FORWARD:
        worker_request_items(w, j->peer, fb_buf_view(&j->items), j->count, j->received_ns);
        release = j->peer;
        break;
    case JOB_FEED:
        worker_sync_items(w, j->peer, j->frame_kind, fb_buf_view(&j->items), j->count);
        release = j->peer;
        break;
    case JOB_CONFIG:
        job_config(w, j->config);
        break;
    case JOB_REPLICA:
        peers_items(w, j->peer, j->frame_kind, fb_buf_view(&j->items), j->count);
        release = j->peer;
        break;
    case JOB_RECORD:
        parts_record(w, j);
        return;
    case JOB_CALL:
        /* a snapshot shows what jobs before it did (a checkpoint that moved), and then waits for
         * what was written */
        if (!w->stop && !FB_MUTANT(call_unwritten))
            worker_write_out(w);
        j->call(j->arg, w);
        break;
    case JOB_STOP:
        w->stop = true;
        break;
    }
    if (release != NULL)
        peer_put(release);
    fb_buf_fini(&j->items);
    free(j);
}

void worker_relieve(struct worker *w)
{
    if (lane_effects(w->lane)->log.n < LANE_TICK_LOG_BYTES)
        return;
    worker_write_out(w);
}

static void run_jobs(struct worker *w)
{
    struct fb_mail *m = fb_mailbox_take(w->jobs);
    while (m != NULL) {
        struct job *j = FB_CONTAINER_OF(m, struct job, mail);
        m = m->next;
        fb_beat(job_notes[j->kind]);
        run_job(w, j);
        if (!w->stop)
            worker_relieve(w);
    }
}

/* The frame's reference to its peer outlives what is done with it here. */
static void run_frame(struct worker *w, struct fb_net_frame *f, struct peer *p)
{
    if (p->lane[w->index].reply.closed) {
        fb_net_frame_free(f); /* the lane has let go of this connection */
        return;
    }
    switch (f->f.kind) {
    case FB_FRAME_REQ:
        worker_request_frame(w, p, &f->f, f->received_ns);
        break;
    case FB_FRAME_FEED_REQ:
    case FB_FRAME_FEED_POS:
    case FB_FRAME_LOAD_REP:
    case FB_FRAME_VERDICT:
        worker_sync_frame(w, p, &f->f);
        break;
    case FB_FRAME_APPEND:
    case FB_FRAME_APPEND_ACK:
    case FB_FRAME_REPLICA_HELLO:
        peers_frame(w, p, &f->f);
        break;
    case FB_FRAME_PONG: /* its arrival was noted (links.h) */
        break;
    case FB_FRAME_DB_CLOCK:
        worker_clock_frame(w, &f->f);
        break;
    case FB_FRAME_ADMIN_REQ:
        node_admin_request(w->node, f);
        return;
    case FB_FRAME_PING: {
        struct fb_frame pong = {.kind = FB_FRAME_PONG, .src_inc = w->node->inc, .id = f->f.id};
        size_t mark;
        fb_buf_clear(&w->scratch);
        mark = fb_frame_begin(&w->scratch, &pong);
        fb_frame_end(&w->scratch, mark, 0);
        if (fb_conn_send(f->conn, &w->scratch) != FB_OK)
            fb_conn_close(f->conn);
        break;
    }
    default:
        FB_LOG(WARN, "unexpected frame, connection closed",
               FB_KS("kind", fb_frame_kind_name(f->f.kind)),
               FB_KS("peer", fb_conn_peer(f->conn)->name));
        fb_conn_close(f->conn);
        break;
    }
    fb_net_frame_free(f);
}

static void run_frames(struct worker *w)
{
    struct fb_mail *m = fb_mailbox_take(w->frames);
    while (m != NULL) {
        struct fb_net_frame *f =
            (struct fb_net_frame *)(void *)m; /* same first member, see net.h */
        struct peer *p = fb_conn_user(f->conn);
        m = m->next;
        run_frame(w, f, p);
        peer_put(p);
        worker_relieve(w);
    }
}

static void check_synced(struct worker *w)
{
    uint64_t synced = log_synced_seq(w->node->log, w->index);
    if (synced > w->synced_seq) {
        w->synced_seq = synced;
        lane_synced(w->lane, synced);
    }
}

static void check_loads(struct worker *w, uint64_t now)
{
    if (w->sync_count > 0 || !lane_loads_waiting(w->lane)) {
        w->no_sync_since_ns = 0;
        return;
    }
    if (w->no_sync_since_ns == 0)
        w->no_sync_since_ns = now;
    else if (now - w->no_sync_since_ns >= NO_SYNC_GRACE_NS)
        lane_loads_fail(w->lane, "no sync process is connected to this node");
}

static uint64_t wait_ns(struct worker *w, uint64_t now)
{
    uint64_t deadline = lane_deadline_ns(w->lane);
    if (w->no_sync_since_ns != 0 && w->no_sync_since_ns + NO_SYNC_GRACE_NS < deadline)
        deadline = w->no_sync_since_ns + NO_SYNC_GRACE_NS;
    if (deadline == UINT64_MAX)
        return deadline;
    return deadline > now ? deadline - now : 0;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    lane_bind(w->lane);
    while (!w->stop) {
        uint64_t now = fb_mono_ns();
        fb_mailbox_wait(w->frames, wait_ns(w, now));
        w->tick_ns = now = fb_mono_ns();
        take_clocks(w, now);
        if (w->copied)
            worker_copies_tick(w, now);
        if (w->later_head != NULL)
            parts_later(w);
        lane_set_disk_low(w->lane, log_disk_low(w->node->log));
        run_jobs(w);
        fb_beat("requests");
        run_frames(w);
        fb_beat("timers of the lane");
        check_synced(w);
        check_loads(w, now);
        if (now >= lane_deadline_ns(w->lane))
            lane_tick(w->lane);
        count_memory(w, now);
        if (FB_MUTANT(answer_before_write))
            worker_flush(w);
        worker_write_out(w);
        release_zombies(w);
        atomic_fetch_add_explicit(&w->ticks, 1, memory_order_relaxed);
    }
    lane_unbind(w->lane);
}

struct worker *worker_new(struct node *n, uint32_t index, struct lane *lane)
{
    struct worker *w = fb_xcalloc(1, sizeof(*w));
    w->node = n;
    w->index = index;
    w->lane = lane;
    w->frames = fb_mailbox_new(1u << 20);
    w->jobs = fb_mailbox_new(1u << 20);
    w->forward = fb_xcalloc(n->worker_count, sizeof(*w->forward));
    w->forward_count = fb_xcalloc(n->worker_count, sizeof(*w->forward_count));
    w->refused_in = fb_xcalloc(n->partitions, sizeof(*w->refused_in));
    w->lag = worker_lag_new();
    w->rng = fb_random_u64();
    return w;
}

enum fb_status worker_start(struct worker *w, struct fb_err *err)
{
    char name[16];
    snprintf(name, sizeof(name), "worker-%u", w->index);
    return fb_thread_start(name, worker_main, w, &w->thread, err);
}

void worker_stop(struct worker *w)
{
    if (w->thread == NULL)
        return;
    worker_post(w, job_new(JOB_STOP));
    fb_thread_join(w->thread);
    w->thread = NULL;
}

void worker_drain(struct worker *w)
{
    struct fb_mail *m;
    /* Nobody else posts any more: what is left belongs to connections that are closed already. */
    run_jobs(w);
    for (m = fb_mailbox_take(w->frames); m != NULL;) {
        struct fb_net_frame *f = (struct fb_net_frame *)(void *)m;
        struct peer *p = fb_conn_user(f->conn);
        m = m->next;
        fb_net_frame_free(f);
        peer_put(p);
    }
}

void worker_free(struct worker *w)
{
    worker_drain(w);
    for (uint32_t i = 0; i < w->zombie_count; i++)
        peer_put(w->zombies[i]);
    config_put(w->config);
    for (uint32_t i = 0; i < w->node->worker_count; i++)
        fb_buf_fini(&w->forward[i]);
    free(w->forward);
    free(w->forward_count);
    free(w->refused_in);
    worker_lag_free(w->lag);
    free(w->syncs);
    free(w->zombies);
    fb_buf_fini(&w->scratch);
    parts_drop_later(w);
    fb_mailbox_free(w->frames);
    fb_mailbox_free(w->jobs);
    lane_free(w->lane);
    free(w);
}
