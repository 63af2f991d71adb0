/* Requests of routers: reads are answered here from the published state, writes go to the lane of
 * their partition. */
#include "node/io/worker.h"

#include "node/core/copies.h"
#include "node/core/read.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/base/probe.h"

#include <stdlib.h>

/* A REP frame is closed at this size and another begun, so that no batch of large values breaks the
 * frame's bound. */
#define REP_FRAME_BYTES_SOFT (8u << 20)

static void frame_open(struct worker *w, struct peer_lane *pl)
{
    struct fb_frame f = {.kind = FB_FRAME_REP, .src_inc = w->node->inc};
    pl->frame_mark = fb_frame_begin(&pl->reply.out, &f);
    pl->open = true;
}

struct reply_dest *worker_dest(struct worker *w, struct peer *p)
{
    struct peer_lane *pl = &p->lane[w->index];
    if (!pl->open) {
        frame_open(w, pl);
    } else if (pl->reply.out.n - pl->frame_mark > REP_FRAME_BYTES_SOFT && pl->reply.items > 0) {
        fb_frame_timing(&pl->reply.out, pl->frame_mark, pl->queue_us,
                        (uint32_t)((fb_mono_ns() - w->tick_ns) / 1000));
        fb_frame_end(&pl->reply.out, pl->frame_mark, pl->reply.items);
        pl->reply.items = 0;
        frame_open(w, pl);
    }
    return &pl->reply;
}

void worker_touch(struct worker *w, struct reply_dest *d)
{
    struct lane_effects *e = lane_effects(w->lane);
    if (!d->touched) {
        d->touched = true;
        d->next_touched = e->touched;
        e->touched = d;
    }
}

static void reply_error(struct worker *w, struct peer *p, const struct fb_req *req,
                        enum fb_rep_err code, const char *text)
{
    struct reply_dest *d = worker_dest(w, p);
    struct fb_rep rep = {
        .seq = req->seq, .type = FB_REP_ERR, .num = code, .payload = fb_bytes_str(text)};
    fb_rep_encode(&d->out, &rep);
    d->items++;
    worker_touch(w, d);
}

/* True when this node leads the partition at the epoch the router believes in. */
static bool check_epoch(struct worker *w, struct peer *p, const struct fb_req *req)
{
    uint32_t open =
        req->part < w->node->partitions
            ? atomic_load_explicit(&w->node->open_epoch[req->part], memory_order_acquire)
            : 0;
    if (req->part < w->node->partitions && w->refused_in[req->part] == w->frame_number)
        open = 0; /* it opened after an earlier request of this frame was refused: the order of a
                     client is kept */
    if (open != 0 && (open == req->epoch || FB_MUTANT(epoch_unchecked)))
        return true;
    if (req->part < w->node->partitions)
        w->refused_in[req->part] = w->frame_number;
    if (atomic_load_explicit(&w->node->leaving, memory_order_relaxed))
        atomic_store_explicit(&w->node->refused_ns, w->tick_ns, memory_order_relaxed);
    if (open != 0 || req->part >= w->node->partitions)
        reply_error(w, p, req, FB_REP_ERR_NOT_PRIMARY, "");
    else
        reply_error(w, p, req, FB_REP_ERR_RETRY, "");
    return false;
}

/* May what was just read from the published state be told? With one copy always; with several
 * another node may lead by now, unless a lease says that none can (PROTOCOL 4). */
static bool may_tell(struct worker *w, const struct fb_req *req)
{
    const struct worker *of = w->node->workers[node_lane_of(w->node, req->part)];
    uint64_t until = lane_read_until(of->lane, req->part);
    const struct fb_nsset *set;
    uint8_t ns_len, reads;

    if (until == UINT64_MAX)
        return true;
    set = w->config->state->namespaces;
    reads = set->ns[fb_nsset_of_key(set, req->key, &ns_len)].reads;
    if (reads != FB_READS_LEASE)
        return reads == FB_READS_STALE;
    return fb_boot_ns() < until;
}

static void node_wide(struct worker *w, struct peer *p, const struct fb_req *req)
{
    struct reply_dest *d = worker_dest(w, p);
    w->rng = w->rng * UINT64_C(6364136223846793005) + 1442695040888963407u;
    node_read_all(w->node->store, req, w->rng >> 16, w->node->open_epoch, &d->out);
    d->items++;
    worker_touch(w, d);
}

/* FLUSHALL: every lane drops its clean copies; the last one to finish lets the connection's worker
 * answer with the sum. */
struct flush_call {
    _Atomic uint32_t refs;
    _Atomic uint64_t dropped;
    struct worker *home;
    struct peer *peer;
    uint32_t seq;
};

static void flush_answer(void *arg, struct worker *w)
{
    struct flush_call *c = arg;
    struct reply_dest *d = worker_dest(w, c->peer);
    struct fb_rep rep = {
        .seq = c->seq, .type = FB_REP_INT, .num = (int64_t)atomic_load(&c->dropped)};
    if (!d->closed) {
        fb_rep_encode(&d->out, &rep);
        d->items++;
        worker_touch(w, d);
    }
    peer_put(c->peer);
    free(c);
}

static void flush_lane(void *arg, struct worker *w)
{
    struct flush_call *c = arg;
    atomic_fetch_add(&c->dropped, lane_flush_clean(w->lane));
    if (atomic_fetch_sub(&c->refs, 1) == 1) {
        struct job *j = job_new(JOB_CALL);
        j->call = flush_answer;
        j->arg = c;
        worker_post(c->home, j);
    }
}

static void flush_all(struct worker *w, struct peer *p, const struct fb_req *req)
{
    struct flush_call *c = fb_xcalloc(1, sizeof(*c));
    atomic_store(&c->refs, w->node->worker_count);
    c->home = w;
    c->peer = p;
    c->seq = req->seq;
    atomic_fetch_add(&p->refs, 1);
    for (uint32_t i = 0; i < w->node->worker_count; i++) {
        struct job *j = job_new(JOB_CALL);
        j->call = flush_lane;
        j->arg = c;
        worker_post(w->node->workers[i], j);
    }
}

static void one_request(struct worker *w, struct peer *p, const struct fb_req *req,
                        struct fb_bytes encoded)
{
    enum fb_op_class cls = fb_op_class(req->op);
    uint32_t lane;

    if (cls == FB_OP_NODE) {
        if (req->op == FB_OP_FLUSHALL)
            flush_all(w, p, req);
        else
            node_wide(w, p, req);
        return;
    }
    if (!check_epoch(w, p, req))
        return;
    if (cls == FB_OP_READ && !(req->flags & FB_REQ_ORDERED)) {
        struct reply_dest *d = worker_dest(w, p);
        size_t before = d->out.n;
        bool done = node_read(w->node->store, req, &d->out, false) == READ_DONE;
        if (done && may_tell(w, req)) {
            /* one writer: no locked instruction needed */
            atomic_store_explicit(&w->hits,
                                  atomic_load_explicit(&w->hits, memory_order_relaxed) + 1,
                                  memory_order_relaxed);
            d->items++;
            worker_touch(w, d);
            return;
        }
        d->out.n = before;
    }
    lane = node_lane_of(w->node, req->part);
    FB_PROBE3(route, w->index, req->part, lane);
    if (lane == w->index) {
        lane_request(w->lane, worker_dest(w, p), req);
        return;
    }
    worker_forward(w, lane, encoded);
}

/* Of the requests that follow: how long they have lain. */
static void note_queue(struct worker *w, struct peer *p, uint64_t received_ns)
{
    struct peer_lane *pl = &p->lane[w->index];
    uint64_t us = w->tick_ns > received_ns ? (w->tick_ns - received_ns) / 1000 : 0;

    lane_queued(w->lane, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
    if (us > pl->queue_us)
        pl->queue_us = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void worker_request_frame(struct worker *w, struct peer *p, const struct fb_frame *f,
                          uint64_t received_ns)
{
    struct fb_reader r = fb_reader(f->tail);
    w->frame_number++;
    note_queue(w, p, received_ns);
    FB_PROBE3(receive, w->index, f->count, f->tail.n);
    for (uint32_t i = 0; i < f->count; i++) {
        const uint8_t *start = r.p;
        struct fb_req req;
        if (fb_req_decode(&r, &req) != FB_OK) {
            FB_LOG(WARN, "malformed request, connection closed",
                   FB_KS("peer", fb_conn_peer(p->conn)->name));
            fb_conn_close(p->conn);
            break;
        }
        one_request(w, p, &req, fb_bytes(start, (size_t)(r.p - start)));
        worker_relieve(w);
    }
    lane_queued(w->lane, 0);
    worker_hand_over(w, p, JOB_FORWARD, f->kind, received_ns);
}

void worker_request_items(struct worker *w, struct peer *p, struct fb_bytes items, uint32_t count,
                          uint64_t received_ns)
{
    struct fb_reader r = fb_reader(items);
    if (p->lane[w->index].reply.closed)
        return;
    w->frame_number++;
    note_queue(w, p, received_ns);
    for (uint32_t i = 0; i < count; i++) {
        struct fb_req req;
        enum fb_status s = fb_req_decode(&r, &req);
        fb_assert(s == FB_OK); /* decoded once already, by the worker it came in at */
        if (check_epoch(w, p, &req))
            lane_request(w->lane, worker_dest(w, p), &req);
        worker_relieve(w);
    }
    lane_queued(w->lane, 0);
}
