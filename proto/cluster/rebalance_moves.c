/* From where copies are to where they are to be: single moves, in an order that is safe at each
 * step; and whether they still can be made. */
#include "proto/cluster/rebalance_impl.h"

#include <stdlib.h>

static const char *const reason_names[] = {"missing", "gone",    "zone",      "drain",
                                           "replace", "balance", "primaries", "spare"};
_Static_assert(FB_COUNT_OF(reason_names) == FB_MOVE_REASONS, "one name a reason");

const char *fb_move_reason_name(enum fb_move_reason r)
{
    return reason_names[r];
}

/* One partition's moves while they are made. */
struct group {
    struct fb_move move[2 * (FB_REPLICAS_MAX + 1) + 1 + FB_REPLICAS_MAX];
    uint32_t count;
    uint64_t held; /* in the set after the moves so far */
    bool led;      /* the one who is to lead does */
};

static uint32_t first_of(uint64_t set)
{
    return (uint32_t)__builtin_ctzll(set);
}

static enum fb_move_reason reason_of(const struct planner *pl, const struct plan_part *p,
                                     uint8_t from, uint8_t to)
{
    if (from == FB_PLAN_NO_NODE)
        return FB_MOVE_MISSING;
    if (to == FB_PLAN_NO_NODE)
        return FB_MOVE_SPARE;
    if (pl->gone & plan_bit(from))
        return FB_MOVE_GONE;
    if (pl->in->goal == FB_PLAN_REPLACE && !(pl->usable & plan_bit(from)))
        return FB_MOVE_REPLACE;
    if (!(pl->usable & plan_bit(from)))
        return FB_MOVE_DRAIN;
    return plan_zones(pl, p->held) < pl->zones && !(pl->zone[from] & plan_bit(to))
               ? FB_MOVE_ZONE
               : FB_MOVE_BALANCE;
}

static struct fb_move *add(const struct planner *pl, struct group *g, uint32_t part, uint8_t from,
                           uint8_t to)
{
    const struct plan_part *p = &pl->part[part];
    struct fb_move *m = &g->move[g->count++];

    fb_assert(g->count <= FB_COUNT_OF(g->move));
    *m = (struct fb_move){.part = (uint16_t)part,
                          .from = from,
                          .to = to,
                          .lead = FB_PLAN_NO_NODE,
                          .reason = reason_of(pl, p, from, to),
                          .epoch = pl->in->map->parts[part].epoch,
                          .size = p->size};
    if (to != FB_PLAN_NO_NODE) {
        g->held |= plan_bit(to);
        if (to == p->lead && !g->led) {
            m->lead = p->lead;
            g->led = true;
        }
    }
    if (from != FB_PLAN_NO_NODE)
        g->held &= ~plan_bit(from);
    return m;
}

/* Which copy goes when `to` comes: a lost one as long as there are too few; else one of the same
 * zone, for then no zone is given up; else one that is not the only one of its zone, and the
 * primary last. */
static uint8_t partner(const struct planner *pl, const struct plan_part *p, const struct group *g,
                       uint32_t to, uint64_t drops)
{
    uint64_t same = drops & pl->zone[to], gone = drops & pl->gone;
    uint64_t doubled = 0, backups = drops & ~plan_bit(p->primary);

    if (same & gone)
        return (uint8_t)first_of(same & gone);
    if (gone != 0 && (uint32_t)__builtin_popcountll(g->held) < pl->copies)
        return (uint8_t)first_of(gone);
    if (same != 0)
        return (uint8_t)first_of(same);
    if (gone != 0)
        return (uint8_t)first_of(gone);
    for (uint64_t d = drops; d != 0; d &= d - 1)
        if (__builtin_popcountll(g->held & pl->zone[first_of(d)]) >= 2)
            doubled |= d & -d;
    if (doubled & backups)
        return (uint8_t)first_of(doubled & backups);
    if (doubled != 0)
        return (uint8_t)first_of(doubled);
    return (uint8_t)first_of(backups != 0 ? backups : drops);
}

/* Another copy of the set leads. */
static void promote(const struct planner *pl, struct group *g, uint32_t part, uint8_t lead)
{
    const struct plan_part *p = &pl->part[part];
    struct fb_move *m = add(pl, g, part, FB_PLAN_NO_NODE, FB_PLAN_NO_NODE);

    m->lead = lead;
    m->reason =
        pl->usable & plan_bit(p->primary) ? FB_MOVE_PRIMARIES : reason_of(pl, p, p->primary, lead);
    m->size = (struct fb_plan_size){0};
    g->led = lead == p->lead;
}

static void group_of(const struct planner *pl, uint32_t part, struct group *g)
{
    const struct plan_part *p = &pl->part[part];
    uint64_t adds = p->want & ~p->held, drops = (p->held | p->gone) & ~p->want;
    bool later = (adds & plan_bit(p->lead)) != 0; /* whoever leads is copied first */

    *g = (struct group){.held = p->held, .led = p->lead == p->primary};
    if (!g->led && !later)
        promote(pl, g, part, p->lead);
    else if (pl->gone & plan_bit(p->primary)) /* nobody could be filled */
        promote(pl, g, part, (uint8_t)first_of(p->held));
    while (adds != 0) {
        uint32_t to = later ? p->lead : first_of(adds);
        uint32_t with_lost = (uint32_t)__builtin_popcountll(p->held | p->gone);
        uint8_t from = FB_PLAN_NO_NODE;
        if (drops != 0 && (with_lost >= pl->copies || (drops & pl->gone) ||
                           (uint32_t)__builtin_popcountll(g->held) >= pl->copies))
            from = partner(pl, p, g, to, drops);
        later = false;
        adds &= ~plan_bit(to);
        if (from != FB_PLAN_NO_NODE)
            drops &= ~plan_bit(from);
        (void)add(pl, g, part, from, (uint8_t)to);
    }
    fb_assert(g->led);
    drops |= p->begun & ~p->want;
    for (; drops != 0; drops &= drops - 1) {
        uint8_t from = (uint8_t)first_of(drops);
        struct fb_move *m = add(pl, g, part, from, FB_PLAN_NO_NODE);
        m->size = (struct fb_plan_size){0};
    }
}

static int by_urgency(const void *a, const void *b)
{
    const struct fb_move *x = a, *y = b; /* the first moves of two groups */
    if (x->reason != y->reason)
        return x->reason < y->reason ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

/* Groups of urgent moves first; a group is as urgent as its most urgent move. */
static void order(struct planner *pl, struct fb_move *all, const uint32_t *start,
                  struct fb_move *heads, uint32_t groups)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < groups; i++) {
        heads[i] = all[start[i]];
        for (uint32_t k = start[i]; k < start[i + 1]; k++)
            if (all[k].reason < heads[i].reason)
                heads[i].reason = all[k].reason;
        heads[i].epoch = i;
    }
    qsort(heads, groups, sizeof(*heads), by_urgency);
    for (uint32_t i = 0; i < groups; i++)
        for (uint32_t k = start[heads[i].epoch]; k < start[heads[i].epoch + 1]; k++)
            pl->plan->move[n++] = all[k];
}

static void put_load(struct fb_plan_load *l, const struct plan_part *p, bool primary)
{
    l->copies++;
    l->primaries += primary;
    l->bytes += p->size.bytes;
}

/* What nodes hold before the plan and after the moves in it. */
static void tally(struct planner *pl)
{
    struct fb_plan *plan = pl->plan;
    for (uint32_t i = 0; i < plan->partitions; i++) {
        struct plan_part *p = &pl->part[i];
        for (uint64_t s = p->held | p->gone; s != 0; s &= s - 1)
            put_load(&plan->node[first_of(s)].before, p, first_of(s) == p->primary);
        p->want = p->held | p->gone; /* from here on: what the moves make of it */
        p->lead = p->primary;
    }
    for (uint32_t i = 0; i < plan->move_count; i++) {
        const struct fb_move *m = &plan->move[i];
        struct plan_part *p = &pl->part[m->part];
        if (m->to != FB_PLAN_NO_NODE)
            p->want |= plan_bit(m->to);
        if (m->lead != FB_PLAN_NO_NODE)
            p->lead = m->lead;
        if (m->from != FB_PLAN_NO_NODE)
            p->want &= ~plan_bit(m->from);
    }
    for (uint32_t i = 0; i < plan->partitions; i++) {
        const struct plan_part *p = &pl->part[i];
        for (uint64_t s = p->want; s != 0; s &= s - 1)
            put_load(&plan->node[first_of(s)].after, p, first_of(s) == p->lead);
    }
}

enum fb_status plan_make_moves(struct planner *pl, struct fb_err *err)
{
    struct fb_plan *plan = pl->plan;
    uint32_t *start = fb_xcalloc(plan->partitions + 1, sizeof(*start));
    struct fb_move *heads = fb_xcalloc(plan->partitions, sizeof(*heads)), *all = NULL;
    uint32_t groups = 0, count = 0, cap = 0;
    enum fb_status st = FB_OK;

    for (uint32_t i = 0; i < plan->partitions && st == FB_OK; i++) {
        struct group g;
        if (pl->part[i].lost)
            continue;
        group_of(pl, i, &g);
        if (g.count == 0)
            continue;
        if (__builtin_popcountll(pl->part[i].held) > (int)FB_REPLICAS_MAX)
            for (uint32_t k = 0; k < g.count; k++)
                if (g.move[k].to != FB_PLAN_NO_NODE)
                    st = fb_err_set(err, FB_EREFUSED,
                                    "partition %u has %u copies, as many as there can be: none "
                                    "can be moved without dropping one first",
                                    i, FB_REPLICAS_MAX + 1);
        if (all == NULL || count + g.count > cap) {
            cap = (count + g.count) * 2;
            all = fb_xrealloc(all, cap * sizeof(*all));
        }
        memcpy(all + count, g.move, g.count * sizeof(*all));
        start[groups++] = count;
        count += g.count;
    }
    start[groups] = count;
    plan->move = fb_xcalloc(count > 0 ? count : 1, sizeof(*plan->move));
    order(pl, all, start, heads, groups);
    plan->move_count =
        pl->in->max_moves > 0 && pl->in->max_moves < count ? pl->in->max_moves : count;
    plan->left = count - plan->move_count;
    tally(pl);
    free(start);
    free(heads);
    free(all);
    return st;
}

static bool in_set(const struct fb_part_record *r, const char *node)
{
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (strcmp(r->isr[i].node, node) == 0)
            return true;
    return false;
}

static bool begun_on(const struct fb_part_record *r, const char *node)
{
    for (uint32_t i = 0; i < r->learner_count; i++)
        if (strcmp(r->learners[i], node) == 0)
            return true;
    return false;
}

/* Does an earlier move of the plan bring a copy of this one's partition to `node`? They stand
 * together. */
static bool comes_before(const struct fb_plan *p, uint32_t move, uint8_t node)
{
    for (uint32_t i = move + 1; i-- > 0 && p->move[i].part == p->move[move].part;)
        if (p->move[i].to == node)
            return true;
    return false;
}

static const char *changed(const struct fb_plan *p, uint32_t i, const struct fb_part_record *r)
{
    const struct fb_move *m = &p->move[i];
    const char *const from = m->from == FB_PLAN_NO_NODE ? NULL : p->node[m->from].place.name;

    fb_assert(p->node != NULL);
    if (r->epoch != m->epoch)
        return "its primary changed or restarted";
    if (from != NULL && !in_set(r, from) && !begun_on(r, from))
        return "the copy to be dropped is gone";
    if (m->to != FB_PLAN_NO_NODE && in_set(r, p->node[m->to].place.name))
        return "the new copy is there already";
    if (m->lead != FB_PLAN_NO_NODE && !in_set(r, p->node[m->lead].place.name) &&
        !comes_before(p, i, m->lead))
        return "the copy to lead is not in the set any more";
    return NULL;
}

enum fb_status fb_plan_check(const struct fb_plan *p, const struct fb_map *map, struct fb_err *err)
{
    if (memcmp(p->cluster, map->cluster, sizeof(p->cluster)) != 0 ||
        p->partitions != map->partitions)
        return fb_err_set(err, FB_EFOREIGN, "the plan was made for another cluster");
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        const char *what = changed(p, i, &map->parts[m->part]);
        if (what != NULL)
            return fb_err_set(err, FB_ESTALE,
                              "partition %u changed since the plan was made (revision %llu, now "
                              "%llu): %s; make a new plan",
                              m->part, (unsigned long long)p->rev, (unsigned long long)map->rev,
                              what);
    }
    return FB_OK;
}
