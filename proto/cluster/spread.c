/* Minimum-cost flow by cancelling negative cycles (Klein 1967), on a graph of the nodes alone.
 *
 * The flow runs from partitions over (partition, zone) to nodes and from there to a drain. Its
 * residual graph is folded: an edge u -> v says that some partition can leave u for v, and costs
 * what the cheapest of those costs; counts of them by cost are kept, so that a move changes few.
 * The drain is the last vertex: from it to u for taking one off u's load, from v to it for adding
 * one to v's. Loads outside [lo, hi] cost the square of the distance, so much that no saving of
 * moves makes up for one. A cycle that costs less than nothing is a set of moves that improve; when
 * there is none, the flow is the cheapest there is.
 *
 * Folding hides that one partition may serve two edges of a cycle that exclude each other. As in
 * the unfolded graph, such a cycle falls into two where both edges meet, and one of them improves.
 * No test has met one yet (400,000 random spreads had none): cut() rests on reasoning alone.
 */
#include "proto/cluster/spread.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"

#include <stdbool.h>
#include <stdlib.h>

#define CLASSES (2 * FB_SPREAD_COST_MAX + 1)
#define VERTICES (FB_NODES_MAX + 1)
#define UNEVEN 4096 /* of load; more than the moves of a whole cycle cost */
#define NO_PART UINT32_MAX

_Static_assert(UNEVEN > VERTICES * FB_SPREAD_COST_MAX, "even load is worth any moves");
_Static_assert(FB_NODES_MAX <= 64, "a set of nodes is the bits of one number");

struct edge {
    uint32_t from, to, part;
};

struct cycle {
    struct edge edge[VERTICES];
    uint32_t count;
};

struct graph {
    struct fb_spread *s;
    uint32_t drain;
    uint32_t load[FB_NODES_MAX];
    uint64_t bytes[FB_NODES_MAX];
    uint16_t movable[FB_NODES_MAX][FB_NODES_MAX][CLASSES]; /* partitions, by cost of the move */
};

static uint64_t bit(uint32_t n)
{
    return UINT64_C(1) << n;
}

static int32_t cost_on(const struct graph *g, const struct fb_spread_part *p, uint32_t node)
{
    if (p->home & bit(node))
        return g->s->home;
    if (p->near & bit(node))
        return g->s->near;
    return p->half & bit(node) ? g->s->half : g->s->far;
}

static int32_t cost_of_move(const struct graph *g, const struct fb_spread_part *p, uint32_t from,
                            uint32_t to)
{
    return cost_on(g, p, to) - cost_on(g, p, from);
}

/* Not into fewer zones. */
static bool can_move(const struct graph *g, const struct fb_spread_part *p, uint64_t in,
                     uint32_t from, uint32_t to)
{
    uint64_t zone_from = g->s->zone[from], zone_to = g->s->zone[to];
    if (!(in & bit(from)) || (in & bit(to)) || !(p->may & bit(to)))
        return false;
    return (zone_from & bit(to)) || (in & zone_to) == 0 ||
           __builtin_popcountll(in & zone_from) >= 2;
}

/* Enters the moves of a partition into the counts, or takes them out. */
static void count_moves(struct graph *g, const struct fb_spread_part *p, bool enter)
{
    for (uint64_t f = p->in; f != 0; f &= f - 1) {
        uint32_t from = (uint32_t)__builtin_ctzll(f);
        for (uint64_t t = p->may & ~p->in; t != 0; t &= t - 1) {
            uint32_t to = (uint32_t)__builtin_ctzll(t);
            uint16_t *n;
            if (!can_move(g, p, p->in, from, to))
                continue;
            n = &g->movable[from][to][cost_of_move(g, p, from, to) + FB_SPREAD_COST_MAX];
            *n = (uint16_t)(enter ? *n + 1 : *n - 1);
        }
    }
}

/* What one more on a node that has `load` costs. */
static int64_t cost_of_load(const struct graph *g, uint32_t node, int64_t load)
{
    int64_t lo = g->s->lo[node], hi = g->s->hi[node];
    if (load < lo)
        return (load - lo) * UNEVEN;
    return load >= hi ? (load + 1 - hi) * UNEVEN : 0;
}

static bool cost_of_edge(const struct graph *g, uint32_t from, uint32_t to, int64_t *cost)
{
    if (from == g->drain) {
        *cost =
            to == g->drain || g->load[to] == 0 ? 0 : -cost_of_load(g, to, (int64_t)g->load[to] - 1);
        return to != g->drain && g->load[to] > 0;
    }
    if (to == g->drain) {
        *cost = cost_of_load(g, from, g->load[from]);
        return true;
    }
    for (int c = 0; c < CLASSES; c++) {
        if (g->movable[from][to][c] > 0) {
            *cost = c - FB_SPREAD_COST_MAX;
            return true;
        }
    }
    return false;
}

/* A cycle among the best ways known so far; false: none. */
static bool parent_cycle(const struct graph *g, const uint32_t *parent, uint32_t *on)
{
    uint32_t seen[VERTICES] = {0};
    for (uint32_t start = 0; start <= g->drain; start++) {
        uint32_t at = start;
        while (at != UINT32_MAX && seen[at] == 0) {
            seen[at] = start + 1;
            at = parent[at];
        }
        if (at != UINT32_MAX && seen[at] == start + 1) {
            *on = at;
            return true;
        }
    }
    return false;
}

/* Bellman and Ford from everywhere at once: a cycle of negative cost, if there is one. */
static bool find_cycle(const struct graph *g, struct cycle *out)
{
    int64_t way[VERTICES] = {0}, cost[VERTICES][VERTICES];
    uint32_t parent[VERTICES], on, at;
    bool there[VERTICES][VERTICES], better = true;

    for (uint32_t u = 0; u <= g->drain; u++) {
        parent[u] = UINT32_MAX;
        for (uint32_t v = 0; v <= g->drain; v++)
            there[u][v] = u != v && cost_of_edge(g, u, v, &cost[u][v]);
    }
    while (better) {
        better = false;
        for (uint32_t u = 0; u <= g->drain; u++) {
            for (uint32_t v = 0; v <= g->drain; v++) {
                if (!there[u][v] || way[u] + cost[u][v] >= way[v])
                    continue;
                way[v] = way[u] + cost[u][v];
                parent[v] = u;
                better = true;
            }
        }
        if (better && parent_cycle(g, parent, &on)) {
            out->count = 0;
            at = on;
            do { /* backwards; turned round by the caller's use of from and to */
                out->edge[out->count++] = (struct edge){parent[at], at, NO_PART};
                at = parent[at];
            } while (at != on);
            for (uint32_t i = 0; i < out->count / 2; i++) {
                struct edge e = out->edge[i];
                out->edge[i] = out->edge[out->count - 1 - i];
                out->edge[out->count - 1 - i] = e;
            }
            return true;
        }
    }
    return false;
}

/* The cheapest partition for an edge; of several the one whose size is nearest to the mean. */
static uint32_t choose(const struct graph *g, uint32_t from, uint32_t to)
{
    uint64_t mean = g->load[from] > 0 ? g->bytes[from] / g->load[from] : 0, nearest = 0;
    uint32_t best = NO_PART;
    int64_t cost = 0;
    bool found = cost_of_edge(g, from, to, &cost);

    fb_assert(found);
    for (uint32_t i = 0; i < g->s->part_count; i++) {
        const struct fb_spread_part *p = &g->s->part[i];
        uint64_t off = p->bytes > mean ? p->bytes - mean : mean - p->bytes;
        if ((best != NO_PART && off >= nearest) || !can_move(g, p, p->in, from, to) ||
            cost_of_move(g, p, from, to) != cost)
            continue;
        best = i;
        nearest = off;
    }
    fb_assert(best != NO_PART);
    return best;
}

static int64_t cost_of_cycle(const struct graph *g, const struct cycle *c)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct edge *e = &c->edge[i];
        int64_t cost = 0;
        if (e->part != NO_PART)
            cost = cost_of_move(g, &g->s->part[e->part], e->from, e->to);
        else
            (void)cost_of_edge(g, e->from, e->to, &cost);
        sum += cost;
    }
    return sum;
}

/* Two edges of one partition that cannot both be taken; false: none. */
static bool conflict(const struct graph *g, const struct cycle *c, uint32_t *first, uint32_t *last)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct fb_spread_part *p;
        uint64_t in;
        if (c->edge[i].part == NO_PART)
            continue;
        p = &g->s->part[c->edge[i].part];
        in = (p->in & ~bit(c->edge[i].from)) | bit(c->edge[i].to);
        for (uint32_t j = i + 1; j < c->count; j++) {
            const struct edge *e = &c->edge[j];
            if (e->part != c->edge[i].part)
                continue;
            if (!can_move(g, p, in, e->from, e->to)) {
                *first = i;
                *last = j;
                return true;
            }
            in = (in & ~bit(e->from)) | bit(e->to);
        }
    }
    return false;
}

/* The half of the cycle that improves, cut where the two edges meet in their partition. */
static void cut(const struct graph *g, struct cycle *c, uint32_t i, uint32_t j)
{
    struct cycle inner = {.count = 0}, outer = {.count = 0};
    const struct edge a = c->edge[i], b = c->edge[j];
    const struct fb_spread_part *p = &g->s->part[a.part];

    fb_assert(can_move(g, p, p->in, b.from, a.to) && can_move(g, p, p->in, a.from, b.to));
    for (uint32_t k = i + 1; k < j; k++)
        inner.edge[inner.count++] = c->edge[k];
    inner.edge[inner.count++] = (struct edge){b.from, a.to, a.part};
    for (uint32_t k = j + 1; k < c->count + i; k++)
        outer.edge[outer.count++] = c->edge[k % c->count];
    outer.edge[outer.count++] = (struct edge){a.from, b.to, a.part};
    *c = cost_of_cycle(g, &inner) < 0 ? inner : outer;
    fb_assert(cost_of_cycle(g, c) < 0);
}

static void take(struct graph *g, const struct cycle *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct edge *e = &c->edge[i];
        struct fb_spread_part *p;
        if (e->part == NO_PART)
            continue;
        p = &g->s->part[e->part];
        fb_assert(can_move(g, p, p->in, e->from, e->to));
        count_moves(g, p, false);
        p->in = (p->in & ~bit(e->from)) | bit(e->to);
        count_moves(g, p, true);
        g->load[e->from]--;
        g->load[e->to]++;
        g->bytes[e->from] -= p->bytes;
        g->bytes[e->to] += p->bytes;
    }
}

enum fb_status fb_spread_run(struct fb_spread *s, struct fb_err *err)
{
    struct graph *g = fb_try_malloc(sizeof(*g));
    struct cycle c;

    if (g == NULL)
        return fb_err_set(err, FB_ENOMEM, "no memory to spread the partitions");
    memset(g, 0, sizeof(*g));
    g->s = s;
    g->drain = s->node_count;
    fb_assert(s->node_count <= FB_NODES_MAX && s->part_count <= FB_PARTITIONS_MAX);
    fb_assert(s->home <= s->near && s->near <= s->half && s->half <= s->far);
    fb_assert(s->far - s->home <= FB_SPREAD_COST_MAX);
    for (uint32_t i = 0; i < s->part_count; i++) {
        for (uint64_t in = s->part[i].in; in != 0; in &= in - 1) {
            g->load[__builtin_ctzll(in)]++;
            g->bytes[__builtin_ctzll(in)] += s->part[i].bytes;
        }
        count_moves(g, &s->part[i], true);
    }
    while (find_cycle(g, &c)) {
        uint32_t i, j;
        for (uint32_t e = 0; e < c.count; e++)
            if (c.edge[e].from != g->drain && c.edge[e].to != g->drain)
                c.edge[e].part = choose(g, c.edge[e].from, c.edge[e].to);
        while (conflict(g, &c, &i, &j))
            cut(g, &c, i, j);
        take(g, &c);
    }
    free(g);
    return FB_OK;
}
