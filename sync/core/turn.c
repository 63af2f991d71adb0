/* Turns: what a lane does next. Collecting (asking nodes) goes on while PostgreSQL works on the
 * transaction before. */
#include "sync/core/state.h"

#include <stdio.h>
#include <stdlib.h>

/* A transaction's budget; a feed's row costs BUDGET / max_batch of its namespace, so that
 * namespaces with different limits share one transaction fairly. */
#define BUDGET 1000000u
/* One slow node must not hold the batches of the others longer than this. */
#define COLLECT_WAIT 50u

static uint64_t row_cost(const struct feed *f)
{
    uint64_t cost = BUDGET / (f->ns->cfg->max_batch > 0 ? f->ns->cfg->max_batch : 1);
    return cost > 0 ? cost : 1;
}

static struct sync_op *new_op(struct sync_core *s, uint32_t lane, enum sync_op_kind kind)
{
    struct sync_op *op = fb_xcalloc(1, sizeof(*op));

    fb_assert(!s->lanes[lane].busy && s->lanes[lane].op == NULL);
    op->kind = kind;
    op->lane = lane;
    op->number = ++s->op_number;
    op->batch.owner = s->config.name;
    s->lanes[lane].op = op;
    s->lanes[lane].busy = true;
    return op;
}

static void fill(struct feed *f, size_t n, struct pg_feed *out)
{
    bool whole = f->first + n == f->count;

    f->taken = n;
    f->next_ver = whole && f->last ? f->scan_end : f->objects[f->first + n - 1].ver;
    *out = (struct pg_feed){.part = f->part,
                            .ns = f->ns->cfg,
                            .schema = f->ns->schema,
                            .history = f->batch_history,
                            .prev = f->ckpt,
                            .next = f->next_ver,
                            .consistent = whole && f->last,
                            .objects = f->objects + f->first,
                            .count = n};
}

/* Bisecting takes the lower half of what is known to fail. */
static size_t rows_to_take(const struct feed *f)
{
    if (f->bad > 1)
        return f->bad / 2;
    return f->count - f->first;
}

static bool start_park(struct sync_core *s, uint32_t lane)
{
    for (struct feed *f = s->lanes[lane].head; f != NULL; f = f->next) {
        struct sync_op *op;
        if (f->state != FEED_HAVE || f->bad != 1 || !sync_feed_may_run(s, f))
            continue;
        op = new_op(s, lane, SYNC_OP_PARK);
        op->batch.feeds = fb_xcalloc(1, sizeof(struct pg_feed));
        op->batch.feed_count = 1;
        fill(f, 1, &op->batch.feeds[0]);
        op->park = f->park;
        sync_feed_state(s, f, FEED_PARKING);
        return true;
    }
    return false;
}

static bool may_apply(const struct sync_core *s, const struct feed *f)
{
    return f->state == FEED_HAVE && f->bad != 1 && sync_feed_may_run(s, f);
}

/* Perhaps somebody keeps the table locked, or a row of it: no other namespace is to wait along. */
static bool may_wait_for_lock(const struct feed *f)
{
    return f->held || f->ns->stopped;
}

static bool goes_alone(const struct feed *f)
{
    return f->solo || may_wait_for_lock(f);
}

static struct feed *first_that_goes(const struct sync_core *s, const struct sync_lane *l, bool solo)
{
    struct feed *f = l->head;

    while (f != NULL && (goes_alone(f) != solo || !may_apply(s, f)))
        f = f->next;
    return f;
}

/* Feeds that go alone and those that go together take turns: either might fail for ever until the
 * others have written their rows. */
static bool start_apply(struct sync_core *s, uint32_t lane)
{
    struct sync_lane *l = &s->lanes[lane];
    struct sync_op *op = NULL;
    size_t cap = 0;
    uint64_t used = 0;
    bool solo = !l->was_solo;
    struct feed *first = first_that_goes(s, l, solo);

    if (first == NULL) {
        solo = !solo;
        first = first_that_goes(s, l, solo);
    }
    for (struct feed *f = first; f != NULL; f = f->next) {
        size_t n;
        if (goes_alone(f) != solo || !may_apply(s, f))
            continue;
        n = rows_to_take(f);
        if (op != NULL && used + n * row_cost(f) > BUDGET)
            continue;
        if (op == NULL)
            op = new_op(s, lane, SYNC_OP_APPLY);
        if (op->batch.feed_count == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            op->batch.feeds = fb_xrealloc(op->batch.feeds, cap * sizeof(struct pg_feed));
        }
        fill(f, n, &op->batch.feeds[op->batch.feed_count++]);
        used += n * row_cost(f);
        sync_feed_state(s, f, FEED_APPLYING);
        op->batch.lock_wait_ms = may_wait_for_lock(f) ? STOPPED_LOCK_WAIT : 0;
        if (solo)
            break;
    }
    if (op != NULL)
        l->was_solo = solo;
    return op != NULL;
}

static bool start_resolved(struct sync_core *s, uint32_t lane)
{
    struct sync_op *op;

    if (s->lanes[lane].resolved == NULL)
        return false;
    op = new_op(s, lane, SYNC_OP_CONFLICT_DONE);
    op->resolved = s->lanes[lane].resolved;
    s->lanes[lane].resolved = NULL;
    s->lanes[lane].resolved_count = 0;
    return true;
}

/* Nobody else's transaction comes to confirm what is committed. */
static void start_barrier(struct sync_core *s, uint32_t lane)
{
    struct feed *f = sync_safe_barrier(s, lane);
    struct sync_op *op;

    if (f == NULL)
        return;
    op = new_op(s, lane, SYNC_OP_BARRIER);
    op->batch.feeds = fb_xcalloc(1, sizeof(struct pg_feed));
    op->batch.feed_count = 1;
    op->batch.feeds[0] = (struct pg_feed){.part = f->part,
                                          .ns = f->ns->cfg,
                                          .schema = f->ns->schema,
                                          .history = f->batch_history,
                                          .prev = f->ckpt,
                                          .next = f->ckpt};
}

/* Ask for everything that is due, within one transaction's budget. */
static void collect(struct sync_core *s, struct sync_lane *l)
{
    struct feed *next;
    uint64_t used = 0;

    for (struct feed *f = l->head; f != NULL; f = f->next)
        if (f->state == FEED_HAVE && f->ns->cfg != NULL)
            used += (f->count - f->first) * row_cost(f);
    for (struct feed *f = l->head; f != NULL && used < BUDGET; f = next) {
        uint64_t room, want;
        next = f->next;
        if (f->state != FEED_WAITING || s->now < f->until || !sync_feed_may_run(s, f))
            continue;
        if (!f->ckpt_known) {
            l->want_attach = true;
            continue;
        }
        room = (BUDGET - used) / row_cost(f);
        want = f->dirty + f->dirty / 4 + 16; /* some more may have come since the note */
        if (want > room)
            want = room > 0 ? room : 1;
        used += (f->dirty < want ? f->dirty : want) * row_cost(f);
        l->collect_since = s->now;
        sync_feed_ask(s, f, (uint32_t)want);
    }
}

static bool collected(const struct sync_core *s, const struct sync_lane *l)
{
    return l->asked == 0 || s->now >= l->collect_since + COLLECT_WAIT;
}

static void turn(struct sync_core *s, uint32_t lane)
{
    struct sync_lane *l = &s->lanes[lane];

    sync_feed_timeouts(s, l);
    if (s->draining)
        return;
    if (l->state == LANE_READY && !l->want_attach && collected(s, l))
        collect(s, l);
    if (l->busy || s->now < l->not_before)
        return;
    if (l->state == LANE_DOWN || l->want_attach) {
        (void)new_op(s, lane, SYNC_OP_ATTACH);
        l->want_attach = false;
        return;
    }
    if (start_park(s, lane) || (collected(s, l) && start_apply(s, lane)))
        return;
    if (!start_resolved(s, lane))
        start_barrier(s, lane);
}

void sync_core_step(struct sync_core *s)
{
    /* What was stopped here may have been written by another process meanwhile. */
    for (size_t i = 0; i < s->ns_count; i++)
        if (s->ns[i]->stopped && s->ns[i]->active == 0)
            sync_ns_works(s, s->ns[i]);
    for (uint32_t i = 0; i < s->config.lanes; i++)
        turn(s, i);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t sync_core_deadline_ms(const struct sync_core *s)
{
    uint64_t at = UINT64_MAX;

    if (s->draining)
        return at;
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        const struct sync_lane *l = &s->lanes[i];
        if (!l->busy)
            at = earlier(at, sync_safe_deadline(s));
        if (!l->busy && (l->state == LANE_DOWN || l->want_attach || l->not_before > s->now))
            at = earlier(at, l->not_before);
        if (!collected(s, l))
            at = earlier(at, l->collect_since + COLLECT_WAIT);
        for (const struct feed *f = l->head; f != NULL; f = f->next) {
            uint64_t due = f->until;
            if (f->state == FEED_HAVE)
                due = f->ns->not_before; /* a feed that may run at once is on its way already */
            if (f->state == FEED_WAITING && f->ns->not_before > due)
                due = f->ns->not_before;
            if (f->state != FEED_APPLYING && f->state != FEED_PARKING && due > s->now)
                at = earlier(at, due);
        }
    }
    return at;
}

struct sync_op *sync_core_take_op(struct sync_core *s, uint32_t lane)
{
    struct sync_op *op = s->lanes[lane].op;

    fb_assert(lane < s->config.lanes);
    s->lanes[lane].op = NULL;
    return op;
}

void sync_core_result(struct sync_core *s, struct sync_op *op)
{
    struct sync_lane *l = &s->lanes[op->lane];

    fb_assert(l->busy && l->op == NULL);
    l->busy = false;
    if (op->class != PG_OK && op->class <= PG_UNKNOWN)
        s->stats.retries[op->class]++;
    switch (op->kind) {
    case SYNC_OP_ATTACH:
        sync_attach_outcome(s, op);
        break;
    case SYNC_OP_APPLY:
        sync_apply_outcome(s, op);
        break;
    case SYNC_OP_PARK:
        sync_park_outcome(s, op);
        break;
    case SYNC_OP_CONFLICT_DONE:
        sync_conflict_done(s, op);
        break;
    case SYNC_OP_COUNT:
        break;
    case SYNC_OP_BARRIER:
        sync_barrier_outcome(s, op);
        break;
    }
}

void sync_op_free(struct sync_op *op)
{
    free(op->batch.feeds);
    free(op->ckpts);
    free(op);
}

void sync_op_add_checkpoint(void *arg, uint16_t part, const char *ns, uint64_t history,
                            uint64_t ver)
{
    struct sync_op *op = arg;
    struct sync_ckpt *c;

    if (op->ckpt_count == op->ckpt_cap) {
        op->ckpt_cap = op->ckpt_cap == 0 ? 256 : op->ckpt_cap * 2;
        op->ckpts = fb_xrealloc(op->ckpts, op->ckpt_cap * sizeof(*op->ckpts));
    }
    c = &op->ckpts[op->ckpt_count++];
    *c = (struct sync_ckpt){.part = part, .history = history, .ver = ver};
    (void)snprintf(c->ns, sizeof(c->ns), "%s", ns);
}
