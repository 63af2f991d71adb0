/* The planner: where the copies are, where they are to be, who is to lead. rebalance_moves.c makes
 * moves of the difference. */
#include "proto/cluster/rebalance_impl.h"

#include "proto/cluster/fair_share.h"
#include "proto/cluster/spread.h"

#include <stdlib.h>

/* Even numbers of copies are worth any moves (spread.c). Then copies that have to be made count,
 * those begun a little less, and last whether a primary loses its place. */
#define COST_PRIMARY (-1)
#define COST_KEPT 0
#define COST_BEGUN 6
#define COST_COPY 8

void fb_plan_free(struct fb_plan *p)
{
    if (p == NULL)
        return;
    free(p->node);
    free(p->move);
    free(p);
}

static int by_name(const void *a, const void *b)
{
    const struct fb_plan_node *x = a, *y = b;
    return strcmp(x->place.name, y->place.name);
}

uint8_t fb_plan_find(const struct fb_plan *p, const char *name)
{
    uint32_t low = 0, high = p->node_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int c = strcmp(name, p->node[mid].place.name);
        if (c == 0)
            return (uint8_t)mid;
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return FB_PLAN_NO_NODE;
}

static enum fb_status check_in(const struct fb_rebalance_in *in, struct fb_err *err)
{
    if (in->node_count > FB_NODES_MAX)
        return fb_err_set(err, FB_EINVAL, "%u nodes are more than %u", in->node_count,
                          FB_NODES_MAX);
    if (in->map->partitions < 1 || in->map->partitions > FB_PARTITIONS_MAX)
        return fb_err_set(err, FB_EINVAL, "%u partitions, 1 to %u are allowed", in->map->partitions,
                          FB_PARTITIONS_MAX);
    if (in->copies < 1 || in->copies > FB_REPLICAS_MAX + 1)
        return fb_err_set(err, FB_EINVAL, "%u copies, 1 to %u are allowed", in->copies,
                          FB_REPLICAS_MAX + 1);
    for (uint32_t i = 0; i < in->node_count; i++)
        if (in->nodes[i].place.weight > FB_PLAN_WEIGHT_MAX)
            return fb_err_set(err, FB_EINVAL, "weight of node %.63s is more than %u",
                              in->nodes[i].place.name, FB_PLAN_WEIGHT_MAX);
    return FB_OK;
}

static enum fb_status take_nodes(struct planner *pl, struct fb_err *err)
{
    struct fb_plan *p = pl->plan;
    const struct fb_rebalance_in *in = pl->in;
    uint8_t from = FB_PLAN_NO_NODE, to = FB_PLAN_NO_NODE;

    memcpy(p->node, in->nodes, in->node_count * sizeof(*p->node));
    p->node_count = in->node_count;
    qsort(p->node, p->node_count, sizeof(*p->node), by_name);
    for (uint32_t i = 1; i < p->node_count; i++)
        if (strcmp(p->node[i - 1].place.name, p->node[i].place.name) == 0)
            return fb_err_set(err, FB_EINVAL, "node %.63s is there twice", p->node[i].place.name);
    if (in->goal == FB_PLAN_REPLACE) {
        from = fb_plan_find(p, in->from);
        to = fb_plan_find(p, in->to);
        if (from == FB_PLAN_NO_NODE || to == FB_PLAN_NO_NODE || from == to)
            return fb_err_set(err, FB_EINVAL, "node %.63s cannot be replaced by %.63s: %s",
                              in->from, in->to,
                              from == to && from != FB_PLAN_NO_NODE ? "they are the same"
                                                                    : "there is no such node");
        if (p->node[from].state == FB_PLAN_UP)
            p->node[from].state = FB_PLAN_DRAIN;
    }
    for (uint32_t i = 0; i < p->node_count; i++) {
        struct fb_plan_node *n = &p->node[i];
        n->before = n->after = (struct fb_plan_load){0};
        if (n->state == FB_PLAN_UP && n->place.weight == 0)
            n->state = FB_PLAN_DRAIN;
        if (n->state == FB_PLAN_UP) {
            pl->usable |= plan_bit(i);
            pl->weight[i] = n->place.weight;
        }
        if (n->state == FB_PLAN_GONE)
            pl->gone |= plan_bit(i);
        for (uint32_t j = 0; j < p->node_count; j++)
            if (i == j ||
                (n->place.zone[0] != '\0' && strcmp(n->place.zone, p->node[j].place.zone) == 0))
                pl->zone[i] |= plan_bit(j);
    }
    pl->to = to;
    if (pl->usable == 0)
        return fb_err_set(err, FB_EREFUSED, "no node would be left to hold anything");
    if (to != FB_PLAN_NO_NODE && !(pl->usable & plan_bit(to)))
        return fb_err_set(err, FB_EREFUSED, "node %.63s drains or is gone; it can replace none",
                          in->to);
    return FB_OK;
}

static enum fb_status node_bit(const struct planner *pl, uint32_t part, const char *name,
                               uint64_t *bits, struct fb_err *err)
{
    uint8_t at = fb_plan_find(pl->plan, name);
    if (at == FB_PLAN_NO_NODE)
        return fb_err_set(err, FB_EINVAL,
                          "partition %u is on node %.63s, which is not among the "
                          "nodes given",
                          part, name);
    *bits |= plan_bit(at);
    return FB_OK;
}

static enum fb_status take_records(struct planner *pl, struct fb_err *err)
{
    const struct fb_map *map = pl->in->map;
    enum fb_status s = FB_OK;

    for (uint32_t i = 0; i < map->partitions && s == FB_OK; i++) {
        const struct fb_part_record *r = &map->parts[i];
        struct plan_part *p = &pl->part[i];
        uint64_t set = 0;
        if (r->epoch == 0)
            return fb_err_set(err, FB_EREFUSED,
                              "partition %u was never assigned to a node; wait "
                              "until the cluster serves",
                              i);
        for (uint32_t m = 0; m < r->isr_count && s == FB_OK; m++)
            s = node_bit(pl, i, r->isr[m].node, &set, err);
        for (uint32_t m = 0; m < r->learner_count && s == FB_OK; m++)
            s = node_bit(pl, i, r->learners[m], &p->begun, err);
        p->primary = fb_plan_find(pl->plan, r->primary.node);
        p->held = set & ~pl->gone;
        p->gone = set & pl->gone;
        p->begun &= ~set;
        p->size = pl->in->sizes != NULL ? pl->in->sizes[i] : (struct fb_plan_size){0};
        p->lost = p->held == 0;
        pl->plan->lost += p->lost;
    }
    return s;
}

uint32_t plan_zones(const struct planner *pl, uint64_t set)
{
    uint32_t n = 0;
    for (uint64_t s = set; s != 0; s &= s - 1) {
        uint32_t at = (uint32_t)__builtin_ctzll(s);
        n += (set & pl->zone[at] & (plan_bit(at) - 1)) == 0;
    }
    return n;
}

static enum fb_status check_copies(struct planner *pl, struct fb_err *err)
{
    uint32_t nodes = (uint32_t)__builtin_popcountll(pl->usable), zones = plan_zones(pl, pl->usable);

    pl->copies = pl->in->copies < nodes ? pl->in->copies : nodes;
    pl->zones = zones < pl->copies ? zones : pl->copies;
    pl->plan->copies = pl->copies;
    for (uint32_t i = 0; i < pl->plan->partitions && !pl->in->fewer; i++) {
        uint32_t have = (uint32_t)__builtin_popcountll(pl->part[i].held);
        if (have > pl->copies && pl->copies < pl->in->copies)
            return fb_err_set(err, FB_EREFUSED,
                              "partition %u has %u copies and could keep %u: %u copies need as "
                              "many nodes; add a node first",
                              i, have, pl->copies, pl->in->copies);
    }
    return FB_OK;
}

/* A place for one more copy of p: in a new zone as long as there is one, then where load is low.
 * spread makes the best of it afterwards; this only has to keep the rules. */
static uint32_t place_for(const struct planner *pl, const struct plan_part *p, const uint32_t *load)
{
    uint32_t best = UINT32_MAX;
    bool new_zone = plan_zones(pl, p->want) < pl->zones;

    for (uint64_t s = pl->usable & ~p->want; s != 0; s &= s - 1) {
        uint32_t n = (uint32_t)__builtin_ctzll(s);
        if (new_zone && (p->want & pl->zone[n]))
            continue;
        if (best == UINT32_MAX ||
            (uint64_t)load[n] * pl->weight[best] < (uint64_t)load[best] * pl->weight[n])
            best = n;
    }
    fb_assert(best != UINT32_MAX);
    return best;
}

/* First what a partition has and may keep: the primary, one of each zone, then doubles as long as
 * there will be enough left for the other zones. */
static void keep(struct planner *pl, struct plan_part *p)
{
    uint64_t first = p->held & pl->usable & plan_bit(p->primary), others = p->held & pl->usable;
    uint32_t doubles = pl->copies - pl->zones;

    p->want = first;
    for (uint64_t s = others & ~first; s != 0; s &= s - 1) {
        uint32_t n = (uint32_t)__builtin_ctzll(s);
        if (!(p->want & pl->zone[n]) && plan_zones(pl, p->want) < pl->zones)
            p->want |= plan_bit(n);
    }
    for (uint64_t s = others & ~p->want; s != 0 && doubles > 0; s &= s - 1) {
        uint32_t n = (uint32_t)__builtin_ctzll(s);
        if (p->want & pl->zone[n]) {
            p->want |= plan_bit(n);
            doubles--;
        }
    }
}

static void set_bounds(const struct planner *pl, const uint32_t *now, const struct fb_share *share,
                       uint32_t *lo, uint32_t *hi)
{
    for (uint32_t n = 0; n < pl->plan->node_count; n++) {
        uint32_t least = fb_share_floor(share[n]), most = fb_share_ceil(share[n]);
        lo[n] = least;
        hi[n] = most;
        if (pl->in->goal == FB_PLAN_BALANCE)
            continue;
        lo[n] = now[n] < least ? now[n] : least;
        hi[n] = now[n] > most ? now[n] : most;
        if (pl->in->goal == FB_PLAN_REPLACE) {
            lo[n] = n == pl->to ? now[n] : 0;
            hi[n] = n == pl->to ? pl->plan->partitions : now[n];
        }
    }
}

static enum fb_status place_copies(struct planner *pl, struct fb_spread *s, struct fb_err *err)
{
    struct fb_share share[FB_NODES_MAX];
    uint32_t now[FB_NODES_MAX] = {0}, load[FB_NODES_MAX] = {0};
    uint32_t served = pl->plan->partitions - pl->plan->lost;
    enum fb_status st;

    *s = (struct fb_spread){.node_count = pl->plan->node_count,
                            .part_count = pl->plan->partitions,
                            .zone = pl->zone,
                            .home = COST_PRIMARY,
                            .near = COST_KEPT,
                            .half = COST_BEGUN,
                            .far = COST_COPY,
                            .part = s->part};
    for (uint32_t i = 0; i < pl->plan->partitions; i++) {
        struct plan_part *p = &pl->part[i];
        if (p->lost)
            continue;
        keep(pl, p);
        for (uint64_t h = p->held & pl->usable; h != 0; h &= h - 1)
            now[__builtin_ctzll(h)]++;
        for (uint64_t w = p->want; w != 0; w &= w - 1)
            load[__builtin_ctzll(w)]++;
    }
    for (uint32_t i = 0; i < pl->plan->partitions; i++) {
        struct plan_part *p = &pl->part[i];
        struct fb_spread_part *at = &s->part[i];
        *at = (struct fb_spread_part){0};
        if (p->lost)
            continue;
        while ((uint32_t)__builtin_popcountll(p->want) < pl->copies) {
            uint32_t n = place_for(pl, p, load);
            p->want |= plan_bit(n);
            load[n]++;
        }
        *at = (struct fb_spread_part){.in = p->want,
                                      .may = pl->usable,
                                      .home = p->held & plan_bit(p->primary),
                                      .near = p->held,
                                      .half = p->begun,
                                      .bytes = p->size.bytes};
    }
    fb_fair_copies(pl->weight, pl->zone, pl->plan->node_count, served, pl->copies, share);
    set_bounds(pl, now, share, s->lo, s->hi);
    st = fb_spread_run(s, err);
    for (uint32_t i = 0; st == FB_OK && i < pl->plan->partitions; i++)
        pl->part[i].want = s->part[i].in;
    return st;
}

/* Who leads: another spread, of one leader among the copies of each partition. */
static enum fb_status place_primaries(struct planner *pl, struct fb_spread *s, struct fb_err *err)
{
    struct fb_share share[FB_NODES_MAX];
    uint32_t now[FB_NODES_MAX] = {0}, most[FB_NODES_MAX] = {0};
    uint64_t alone[FB_NODES_MAX];
    enum fb_status st;

    *s = (struct fb_spread){.node_count = pl->plan->node_count,
                            .part_count = pl->plan->partitions,
                            .zone = alone,
                            .home = 0,
                            .near = COST_COPY,
                            .half = COST_COPY + 1,
                            .far = COST_COPY + 1,
                            .part = s->part};
    for (uint32_t n = 0; n < pl->plan->node_count; n++)
        alone[n] = plan_bit(n);
    for (uint32_t i = 0; i < pl->plan->partitions; i++) {
        struct plan_part *p = &pl->part[i];
        uint64_t first = plan_bit(p->primary);
        s->part[i] = (struct fb_spread_part){0};
        if (p->lost)
            continue;
        now[p->primary]++;
        for (uint64_t w = p->want; w != 0; w &= w - 1)
            most[__builtin_ctzll(w)]++;
        if (!(p->want & first)) /* one that has the data, if there is one */
            first = p->want & p->held ? p->want & p->held : p->want;
        s->part[i] = (struct fb_spread_part){.in = first & -first,
                                             .may = p->want,
                                             .home = plan_bit(p->primary),
                                             .near = p->held,
                                             .bytes = p->size.bytes};
    }
    fb_fair_bounded(pl->weight, most, pl->plan->node_count, pl->plan->partitions - pl->plan->lost,
                    share);
    set_bounds(pl, now, share, s->lo, s->hi);
    st = fb_spread_run(s, err);
    for (uint32_t i = 0; st == FB_OK && i < pl->plan->partitions; i++)
        if (!pl->part[i].lost)
            pl->part[i].lead = (uint8_t)__builtin_ctzll(s->part[i].in);
    return st;
}

static enum fb_status make(struct planner *pl, struct fb_err *err)
{
    struct fb_spread s = {.part = fb_try_malloc(pl->plan->partitions * sizeof(*s.part))};
    enum fb_status st = FB_OK;

    if (s.part == NULL)
        return fb_err_set(err, FB_ENOMEM, "no memory to plan moves");
    st = take_nodes(pl, err);
    if (st == FB_OK)
        st = take_records(pl, err);
    if (st == FB_OK)
        st = check_copies(pl, err);
    if (st == FB_OK)
        st = place_copies(pl, &s, err);
    if (st == FB_OK)
        st = place_primaries(pl, &s, err);
    if (st == FB_OK)
        st = plan_make_moves(pl, err);
    free(s.part);
    return st;
}

enum fb_status fb_rebalance(const struct fb_rebalance_in *in, struct fb_plan **out,
                            struct fb_err *err)
{
    struct planner pl = {.in = in};
    enum fb_status st = check_in(in, err);

    *out = NULL;
    if (st != FB_OK)
        return st;
    pl.plan = fb_xcalloc(1, sizeof(*pl.plan));
    pl.plan->node = fb_xcalloc(FB_NODES_MAX, sizeof(*pl.plan->node));
    memcpy(pl.plan->cluster, in->map->cluster, sizeof(pl.plan->cluster));
    pl.plan->rev = in->map->rev;
    pl.plan->goal = in->goal;
    pl.plan->partitions = in->map->partitions;
    pl.part = fb_xcalloc(in->map->partitions, sizeof(*pl.part));
    st = make(&pl, err);
    free(pl.part);
    if (st != FB_OK)
        fb_plan_free(pl.plan);
    else
        *out = pl.plan;
    return st;
}
