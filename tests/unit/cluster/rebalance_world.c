/* The random clusters, and the checks. */
#include "tests/unit/cluster/rebalance_world.h"

#include "proto/base/assert.h"

#include <math.h>

static uint64_t seed_now;

void world_seed(uint64_t seed)
{
    seed_now = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

uint32_t world_random(uint32_t n)
{
    seed_now ^= seed_now << 13;
    seed_now ^= seed_now >> 7;
    seed_now ^= seed_now << 17;
    fb_assert(n > 0);
    return (uint32_t)((seed_now >> 20) % n);
}

static uint64_t bit(uint32_t n)
{
    fb_assert(n < 64);
    return UINT64_C(1) << n;
}

int world_index(const struct world *w, const char *name)
{
    for (uint32_t i = 0; i < w->nodes; i++)
        if (strcmp(w->node[i].place.name, name) == 0)
            return (int)i;
    return -1;
}

bool world_usable(const struct world *w, uint32_t n)
{
    return w->node[n].state == FB_PLAN_UP && w->node[n].place.weight > 0 &&
           !(w->in.goal == FB_PLAN_REPLACE && strcmp(w->node[n].place.name, w->in.from) == 0);
}

static struct fb_member member(const struct world *w, uint32_t n)
{
    struct fb_member m = {.inc = 1000 + n};
    memcpy(m.node, w->node[n].place.name, sizeof(m.node));
    return m;
}

uint64_t world_in_sync(const struct world *w, uint32_t part, bool live)
{
    uint64_t set = 0;
    for (uint32_t i = 0; i < w->rec[part].isr_count; i++) {
        int n = world_index(w, w->rec[part].isr[i].node);
        if (!live || w->node[n].state != FB_PLAN_GONE)
            set |= bit((uint32_t)n);
    }
    return set;
}

uint64_t world_begun(const struct world *w, uint32_t part)
{
    uint64_t set = 0;
    for (uint32_t i = 0; i < w->rec[part].learner_count; i++)
        set |= bit((uint32_t)world_index(w, w->rec[part].learners[i]));
    return set;
}

static bool same_zone(const struct world *w, uint32_t a, uint32_t b)
{
    return a == b || (w->node[a].place.zone[0] != '\0' &&
                      strcmp(w->node[a].place.zone, w->node[b].place.zone) == 0);
}

uint32_t world_zones(const struct world *w, uint64_t set)
{
    uint32_t zones = 0;
    for (uint32_t i = 0; i < w->nodes; i++) {
        bool first = set & bit(i);
        for (uint32_t j = 0; j < i && first; j++)
            first = !((set & bit(j)) && same_zone(w, i, j));
        zones += first;
    }
    return zones;
}

void world_add_node(struct world *w, const char *zone, uint32_t weight)
{
    struct fb_plan_node *n = &w->node[w->nodes];
    *n = (struct fb_plan_node){.place.weight = weight};
    snprintf(n->place.name, sizeof(n->place.name), "node-%u", w->nodes);
    snprintf(n->place.zone, sizeof(n->place.zone), "%s", zone);
    w->in.node_count = ++w->nodes;
}

static void event(struct world *w, uint32_t part, enum fb_record_event_kind kind, uint32_t node)
{
    struct fb_record_event ev = {.kind = kind, .member = member(w, node), .min_isr = 1};
    struct fb_err err = {0};
    if (fb_record_next(&w->rec[part], &ev, &w->rec[part], &err) != FB_OK)
        fail_msg("partition %u: event %d with node %u: %s", part, (int)kind, node, err.msg);
}

static void make_record(struct world *w, uint32_t part, uint32_t copies, bool junk)
{
    uint32_t have = junk ? 1 + world_random(copies + 1) : copies,
             begun = junk ? world_random(3) : 0;
    have = have > w->nodes ? w->nodes : have;
    for (uint32_t i = 0; i < have;) {
        uint32_t n = world_random(w->nodes);
        if (world_in_sync(w, part, false) & bit(n))
            continue;
        if (i > 0)
            event(w, part, FB_REC_LEARNER_ADD, n);
        event(w, part, i > 0 ? FB_REC_EXPAND : FB_REC_ASSIGN, n);
        i++;
    }
    for (uint32_t i = 0; i < begun; i++) {
        uint32_t n = world_random(w->nodes);
        if (!((world_in_sync(w, part, false) | world_begun(w, part)) & bit(n)))
            event(w, part, FB_REC_LEARNER_ADD, n);
    }
}

void world_make(struct world *w, struct shape s)
{
    static const uint32_t weights[] = {50, 100, 100, 150, 200, 1, 1000};
    memset(w->rec, 0, s.partitions * sizeof(*w->rec));
    w->nodes = 0;
    w->map =
        (struct fb_map){.rev = 7, .partitions = s.partitions, .parts = w->rec, .part_revs = w->rev};
    memset(w->map.cluster, 5, sizeof(w->map.cluster));
    w->in = (struct fb_rebalance_in){
        .map = &w->map, .nodes = w->node, .sizes = w->size, .copies = s.copies};
    for (uint32_t i = 0; i < s.nodes; i++) {
        char zone[8] = "";
        if (s.zones > 0)
            snprintf(zone, sizeof(zone), "z%u", world_random(s.zones));
        world_add_node(w, zone, s.weights ? weights[world_random(FB_COUNT_OF(weights))] : 100);
        if (s.states && i > 0 && world_random(4) == 0)
            w->node[i].state = world_random(2) ? FB_PLAN_GONE : FB_PLAN_DRAIN;
        if (s.weights && i > 0 && world_random(9) == 0)
            w->node[i].place.weight = 0;
    }
    for (uint32_t i = 0; i < s.partitions; i++) {
        uint64_t bytes = world_random(5) == 0 ? world_random(100000) : 1000 + world_random(100);
        w->size[i] = (struct fb_plan_size){bytes / 100, bytes, bytes / 7};
        make_record(w, i, s.copies, s.junk);
    }
}

void world_copy(struct world *to, const struct world *from)
{
    to->map = from->map;
    to->map.parts = to->rec;
    to->map.part_revs = to->rev;
    memcpy(to->rec, from->rec, from->map.partitions * sizeof(*from->rec));
    memcpy(to->size, from->size, from->map.partitions * sizeof(*from->size));
    memcpy(to->node, from->node, sizeof(from->node));
    to->nodes = from->nodes;
    to->in = from->in;
    to->in.map = &to->map;
    to->in.nodes = to->node;
    to->in.sizes = to->size;
}

struct fb_plan *world_plan(struct world *w)
{
    struct fb_plan *p = NULL;
    struct fb_err err = {0};
    if (fb_rebalance(&w->in, &p, &err) != FB_OK)
        fail_msg("no plan: %s", err.msg);
    return p;
}

void world_balance(struct world *w)
{
    struct fb_plan *p = world_plan(w);
    (void)world_apply(w, p);
    fb_plan_free(p);
}

struct watch {
    uint32_t copies, zones; /* live, at least */
};

/* What may never be less while a partition is moved. */
static void check_step(const struct world *w, uint32_t part, const struct watch *at_least)
{
    uint64_t live = world_in_sync(w, part, true);
    assert_true((uint32_t)__builtin_popcountll(live) >= at_least->copies);
    assert_true(world_zones(w, live) >= at_least->zones);
    assert_null(fb_part_record_broken(&w->rec[part]));
}

static uint32_t apply_move(struct world *w, const struct fb_plan *p, const struct fb_move *m,
                           const struct watch *at_least)
{
    struct fb_part_record *r = &w->rec[m->part];
    uint32_t made = 0;
    if (m->to != FB_PLAN_NO_NODE) {
        int to = world_index(w, p->node[m->to].place.name);
        int lead = world_index(w, r->primary.node);
        assert_true(world_usable(w, (uint32_t)to));
        assert_true(w->node[lead].state != FB_PLAN_GONE); /* who else would fill it */
        if (!(world_begun(w, m->part) & bit((uint32_t)to))) {
            while (r->learner_count == FB_REPLICAS_MAX) /* as the controller does: none waits */
                event(w, m->part, FB_REC_LEARNER_DROP, (uint32_t)world_index(w, r->learners[0]));
            event(w, m->part, FB_REC_LEARNER_ADD, (uint32_t)to);
        }
        event(w, m->part, FB_REC_EXPAND, (uint32_t)to);
        check_step(w, m->part, at_least);
        made = 1;
    }
    if (m->lead != FB_PLAN_NO_NODE) {
        int lead = world_index(w, p->node[m->lead].place.name);
        assert_true(w->node[lead].state != FB_PLAN_GONE);
        assert_string_not_equal(r->primary.node, w->node[lead].place.name);
        event(w, m->part, FB_REC_PROMOTE, (uint32_t)lead);
    }
    if (m->from != FB_PLAN_NO_NODE) {
        uint32_t from = (uint32_t)world_index(w, p->node[m->from].place.name);
        assert_string_not_equal(r->primary.node, w->node[from].place.name);
        event(w, m->part, world_begun(w, m->part) & bit(from) ? FB_REC_LEARNER_DROP : FB_REC_SHRINK,
              from);
        check_step(w, m->part, at_least);
    }
    return made;
}

/* Live copies and zones of each partition: at the start, and where the plan leads. */
static void lows(const struct world *w, const struct fb_plan *p, struct watch *low)
{
    static struct world copy;
    struct world *const end = &copy;
    world_copy(end, w);
    for (uint32_t i = 0; i < w->map.partitions; i++) {
        uint64_t live = world_in_sync(w, i, true);
        low[i] = (struct watch){(uint32_t)__builtin_popcountll(live), world_zones(w, live)};
    }
    if (p != NULL) {
        static const struct watch nothing = {0};
        for (uint32_t i = 0; i < p->move_count; i++)
            (void)apply_move(end, p, &p->move[i], &nothing);
        for (uint32_t i = 0; i < w->map.partitions; i++) {
            uint64_t live = world_in_sync(end, i, true);
            uint32_t copies = (uint32_t)__builtin_popcountll(live), zones = world_zones(end, live);
            low[i].copies = copies < low[i].copies ? copies : low[i].copies;
            low[i].zones = zones < low[i].zones ? zones : low[i].zones;
        }
    }
}

uint32_t world_apply(struct world *w, const struct fb_plan *p)
{
    static struct watch low[FB_PARTITIONS_MAX];
    uint32_t made = 0, copies[FB_NODES_MAX] = {0}, primaries[FB_NODES_MAX] = {0};
    uint64_t bytes[FB_NODES_MAX] = {0};
    bool seen[FB_PARTITIONS_MAX] = {false};

    lows(w, p, low);
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        assert_true(m->to != FB_PLAN_NO_NODE || m->from != FB_PLAN_NO_NODE ||
                    m->lead != FB_PLAN_NO_NODE);
        assert_true(i == 0 || m->part == p->move[i - 1].part || !seen[m->part]);
        seen[m->part] = true;
        made += apply_move(w, p, m, &low[m->part]);
    }
    /* what the plan says that nodes hold in the end is so */
    for (uint32_t i = 0; i < w->map.partitions; i++) {
        primaries[world_index(w, w->rec[i].primary.node)]++;
        for (uint64_t s = world_in_sync(w, i, false); s != 0; s &= s - 1) {
            copies[__builtin_ctzll(s)]++;
            bytes[__builtin_ctzll(s)] += w->size[i].bytes;
        }
    }
    for (uint32_t i = 0; i < p->node_count; i++) {
        int n = world_index(w, p->node[i].place.name);
        assert_int_equal(p->node[i].after.copies, copies[n]);
        assert_int_equal(p->node[i].after.primaries, primaries[n]);
        assert_int_equal(p->node[i].after.bytes, bytes[n]);
    }
    return made;
}

/* Level of water times weight, held between what the rules allow. */
static double filled(const struct world *w, uint32_t copies, uint64_t usable, double level,
                     double *share)
{
    uint32_t zones = world_zones(w, usable), parts = w->map.partitions;
    double sum = 0, all = 0;
    for (uint32_t i = 0; i < w->nodes; i++) {
        double zone_weight = 0, zone_sum = 0, most = zones >= copies ? INFINITY : parts;
        share[i] = 0;
        if (!(usable & bit(i)))
            continue;
        for (uint32_t j = 0; j < w->nodes; j++) {
            if (!(usable & bit(j)) || !same_zone(w, i, j))
                continue;
            zone_weight += w->node[j].place.weight;
            zone_sum += fmin(level * w->node[j].place.weight, most);
        }
        share[i] = fmin(level * w->node[i].place.weight, most);
        if (zones >= copies ? zone_sum > parts : zone_sum < parts)
            share[i] = parts * w->node[i].place.weight / zone_weight;
        sum += share[i];
    }
    all = (double)parts * copies;
    return sum - all;
}

void world_shares(const struct world *w, uint32_t copies, double *share)
{
    double low = 0, high = 1e6;
    uint64_t usable = 0;
    for (uint32_t i = 0; i < w->nodes; i++)
        usable |= world_usable(w, i) ? bit(i) : 0;
    for (int i = 0; i < 200; i++) {
        double level = (low + high) / 2;
        if (filled(w, copies, usable, level, share) < 0)
            low = level;
        else
            high = level;
    }
    (void)filled(w, copies, usable, high, share);
}

void world_check_end(const struct world *w, const struct fb_plan *p)
{
    double share[FB_NODES_MAX];
    uint32_t load[FB_NODES_MAX] = {0}, lead[FB_NODES_MAX] = {0};
    uint64_t usable = 0;
    uint32_t nodes, zones;

    for (uint32_t i = 0; i < w->nodes; i++)
        usable |= world_usable(w, i) ? bit(i) : 0;
    nodes = (uint32_t)__builtin_popcountll(usable);
    assert_int_equal(p->copies, nodes < w->in.copies ? nodes : w->in.copies);
    zones = world_zones(w, usable);
    for (uint32_t i = 0; i < w->map.partitions; i++) {
        uint64_t set = world_in_sync(w, i, false);
        assert_int_equal(set & ~usable, 0);
        assert_int_equal(world_begun(w, i), 0);
        assert_int_equal(__builtin_popcountll(set), p->copies);
        assert_int_equal(world_zones(w, set), zones < p->copies ? zones : p->copies);
        lead[world_index(w, w->rec[i].primary.node)]++;
        for (; set != 0; set &= set - 1)
            load[__builtin_ctzll(set)]++;
    }
    if (w->in.goal != FB_PLAN_BALANCE)
        return;
    world_shares(w, p->copies, share);
    for (uint32_t i = 0; i < w->nodes; i++) {
        assert_true(load[i] >= (uint32_t)floor(share[i] + 1e-6));
        assert_true(load[i] <= (uint32_t)ceil(share[i] - 1e-6));
    }
    if (zones < nodes) /* the places of copies bind the primaries then */
        return;
    for (uint32_t i = 0; i < w->nodes && zones == nodes; i++) {
        bool bound = false;
        for (uint32_t j = 0; j < w->nodes; j++)
            bound = bound || share[j] >= w->map.partitions - 1e-6;
        if (!bound) {
            assert_true(lead[i] >= (uint32_t)floor(share[i] / p->copies + 1e-6));
            assert_true(lead[i] <= (uint32_t)ceil(share[i] / p->copies - 1e-6));
        }
    }
}
