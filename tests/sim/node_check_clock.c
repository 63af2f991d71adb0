/* Time of the objects against PostgreSQL's clock (node_check.h; PROTOCOL 14): no machine whose
 * clock jumps ahead lets everything expire. What a node may believe is reckoned here from the
 * reports that have reached it and from what its log had; what it has believed is in the time of
 * its records. */
#include "tests/sim/node_check_impl.h"

#include "tests/sim/clock.h"

/* How far ahead time may run, and how long a start waits for the first report when it would. */
#define AHEAD_MS UINT64_C(300000)
#define UNASKED_NS (10 * SIM_S)
/* Clocks are compared in whole milliseconds. */
#define ROUNDED_MS 2u

static uint64_t mono_ms(const struct node_check *c)
{
    return sim_clock_mono_ns(c->proc->clock) / SIM_MS;
}

void node_check_clock_start(struct node_check *c)
{
    memset(&c->clock, 0, sizeof c->clock);
    c->clock.started_ns = sim_now_ns(c->sim);
    c->clock.started_mono_ns = sim_clock_mono_ns(c->proc->clock);
}

void node_check_clock_recovered(struct node_check *c, const struct node *n)
{
    for (uint32_t p = 0; p < c->partitions; p++) {
        const struct part_view *v = &c->parts[p];
        uint64_t *newest = &c->clock.lane[node_check_lane_of(n, p)].newest_ms;
        if (v->n > 0 && v->r[v->n - 1].ptime > *newest)
            *newest = v->r[v->n - 1].ptime;
    }
    for (uint32_t i = 0; i < NODE_WORKERS_MAX; i++)
        c->clock.lane[i].empty = c->clock.lane[i].newest_ms == 0;
}

void node_check_clock_told(struct node_check *c, const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);
    int64_t ahead = (int64_t)fb_take_u64(&r) - (int64_t)mono_ms(c);
    if (r.bad)
        return;
    if (!c->clock.told || ahead > c->clock.ahead_ms)
        c->clock.ahead_ms = ahead;
    c->clock.told = true;
}

/* Nobody has told it PostgreSQL's clock, and it may take its own: there is nothing in its log, it
 * has waited, or its own was set since it started. */
static bool unbound(const struct node_check *c, uint32_t lane)
{
    return c->clock.lane[lane].empty || c->proc->clock->set_ns >= c->clock.started_ns ||
           sim_clock_mono_ns(c->proc->clock) >= c->clock.started_mono_ns + UNASKED_NS;
}

/* What a start may believe of its own clock before it is told PostgreSQL's: not much more than the
 * last record and the time since. */
static uint64_t unasked_ms(const struct node_check *c, uint32_t lane)
{
    return c->clock.lane[lane].newest_ms + AHEAD_MS + ROUNDED_MS +
           (sim_clock_mono_ns(c->proc->clock) - c->clock.started_mono_ns) / SIM_MS;
}

/* A worker takes over what it was told. What it believed before that it need not take back. */
void __wrap_lane_database_clock(struct lane *l, int64_t ahead_of_mono_ms);
void __real_lane_database_clock(struct lane *l, int64_t ahead_of_mono_ms);
void __wrap_lane_database_clock(struct lane *l, int64_t ahead_of_mono_ms)
{
    struct node_check *c = node_check_mine();
    uint32_t lane = l->config.lane;
    struct clock_lane *k = &c->clock.lane[lane];
    if (!c->clock.told)
        sim_violation(c->sim, "PROTOCOL 14", "lane %u has a time of PostgreSQL that nobody told",
                      lane);
    if (!k->told) {
        k->believed_ms = c->proc->clock->wall_seen_ms;
        if (!unbound(c, lane) && k->believed_ms > unasked_ms(c, lane))
            k->believed_ms = unasked_ms(c, lane);
    }
    k->told = true;
    __real_lane_database_clock(l, ahead_of_mono_ms);
}

static bool leads(const struct node_check *c, const struct fb_record *r)
{
    return !ledger_copies(c->ledger) ||
           (c->node->open_epoch != NULL &&
            atomic_load(&c->node->open_epoch[r->part]) == fb_ver_epoch(r->ver));
}

void node_check_clock_record(struct node_check *c, const struct fb_record *r, uint64_t last_ms)
{
    uint32_t lane = node_check_lane_of(c->node, r->part);
    struct clock_lane *k = &c->clock.lane[lane];
    uint64_t told = (uint64_t)((int64_t)mono_ms(c) + c->clock.ahead_ms),
             limit = told + AHEAD_MS + ROUNDED_MS;

    if (limit < k->believed_ms)
        limit = k->believed_ms;
    if (r->ptime_ms > last_ms && leads(c, r)) {
        if (!k->told && !unbound(c, lane) && r->ptime_ms > unasked_ms(c, lane))
            sim_violation(
                c->sim, "PROTOCOL 14",
                "partition %u: record %u/%llu has the time %llu, the last one before %llu, "
                "and this start was not told PostgreSQL's clock",
                r->part, fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
                (unsigned long long)r->ptime_ms, (unsigned long long)k->newest_ms);
        if (k->told && r->ptime_ms > limit)
            sim_violation(
                c->sim, "PROTOCOL 14",
                "partition %u: record %u/%llu has the time %llu, more than 5 minutes ahead "
                "of PostgreSQL's clock, which was told and is at %llu",
                r->part, fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver),
                (unsigned long long)r->ptime_ms, (unsigned long long)told);
    }
    if (r->ptime_ms > k->newest_ms)
        k->newest_ms = r->ptime_ms;
}
