/* Water filling: every node gets weight times one level, but no more and no less than the rules
 * allow, and the level is where the sum is right.
 *
 * The sets of zones and nodes that a rule binds change only where the level times some weight b
 * reaches one copy of each partition. So the level is looked for among those weights, and between
 * two of them all shares are fractions with one denominator.
 *
 * That floor and ceil of all shares can be reached at once: put share / partitions of a copy of
 * every partition on each node. This keeps all rules in fractions; it is a flow from partitions
 * over their zones to nodes with whole numbers as bounds, so there is one in whole numbers too
 * (Ford and Fulkerson 1962).
 */
#include "proto/cluster/fair_share.h"

#include "proto/base/assert.h"

#include <stdbool.h>

static uint64_t bit(uint32_t n)
{
    return UINT64_C(1) << n;
}

struct shares {
    const uint32_t *weight;
    uint64_t zone[FB_NODES_MAX]; /* nodes with weight only */
    uint64_t sum[FB_NODES_MAX];  /* weight of the node's zone */
    uint32_t count, zones, copies;
};

/* One node stands for its zone. */
static bool first_of_zone(const struct shares *s, uint32_t n)
{
    return s->weight[n] > 0 && (s->zone[n] & (bit(n) - 1)) == 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* All that would be held when the level is partitions / b, in units of partitions / b. */
static uint64_t held_at(const struct shares *s, uint64_t b)
{
    uint64_t held = 0;
    for (uint32_t n = 0; n < s->count; n++) {
        if (s->weight[n] == 0)
            continue;
        if (s->zones >= s->copies || s->sum[n] <= b)
            held += first_of_zone(s, n) ? (s->zones >= s->copies ? least(b, s->sum[n]) : b) : 0;
        else
            held += least(b, s->weight[n]);
    }
    return held;
}

/* The highest level, as its b, at which no more is held than there is; 0: all are below their
 * bounds. */
static uint64_t level_of(const struct shares *s)
{
    uint64_t best = 0;
    for (uint32_t n = 0; n < s->count; n++) {
        uint64_t at[2] = {s->sum[n], s->zones < s->copies ? s->weight[n] : 0};
        for (int i = 0; s->weight[n] > 0 && i < 2; i++)
            if (at[i] > 0 && (best == 0 || at[i] < best) && held_at(s, at[i]) <= s->copies * at[i])
                best = at[i];
    }
    return best;
}

void fb_fair_copies(const uint32_t *weight, const uint64_t *zone, uint32_t node_count,
                    uint32_t partitions, uint32_t copies, struct fb_share *out)
{
    struct shares s = {.weight = weight, .count = node_count, .copies = copies};
    uint64_t live = 0, level, free_weight = 0, rest;
    uint32_t bound = 0;

    fb_assert(node_count <= FB_NODES_MAX);
    for (uint32_t n = 0; n < node_count; n++)
        live |= weight[n] > 0 ? bit(n) : 0;
    fb_assert(copies <= (uint32_t)__builtin_popcountll(live));
    for (uint32_t n = 0; n < node_count; n++) {
        s.zone[n] = zone[n] & live;
        for (uint64_t z = s.zone[n]; z != 0; z &= z - 1)
            s.sum[n] += weight[__builtin_ctzll(z)];
        s.zones += first_of_zone(&s, n);
    }
    level = level_of(&s);
    for (uint32_t n = 0; n < node_count; n++) {
        bool low = s.sum[n] < level; /* its zone is below the level's bound */
        out[n] = (struct fb_share){0, 1};
        if (weight[n] == 0)
            continue;
        if (s.zones >= copies ? level > 0 && !low : low) { /* the zone has one of each partition */
            out[n] = (struct fb_share){(uint64_t)partitions * weight[n], s.sum[n]};
            bound += first_of_zone(&s, n);
        } else if (s.zones < copies && weight[n] >= level) { /* and so has the node */
            out[n] = (struct fb_share){partitions, 1};
            bound++;
        } else {
            out[n].den = 0;
            free_weight += weight[n];
        }
    }
    fb_assert(bound <= copies && (free_weight > 0 || bound == copies));
    rest = (uint64_t)partitions * (copies - bound);
    for (uint32_t n = 0; n < node_count; n++)
        if (out[n].den == 0)
            out[n] = (struct fb_share){rest * weight[n], free_weight};
}

void fb_fair_bounded(const uint32_t *weight, const uint32_t *most, uint32_t node_count,
                     uint32_t total, struct fb_share *out)
{
    uint64_t rest = total, free_weight = 0;
    bool full[FB_NODES_MAX] = {false}, again = true;

    fb_assert(node_count <= FB_NODES_MAX);
    for (uint32_t n = 0; n < node_count; n++)
        free_weight += weight[n];
    while (again) { /* who would get more than it takes gets that; the others share the rest */
        uint64_t left = rest, left_weight = free_weight;
        again = false;
        for (uint32_t n = 0; n < node_count; n++) {
            if (weight[n] == 0 || full[n] || rest * weight[n] <= (uint64_t)most[n] * free_weight)
                continue;
            full[n] = again = true;
            left -= most[n];
            left_weight -= weight[n];
        }
        rest = left;
        free_weight = left_weight;
    }
    fb_assert(free_weight > 0 || rest == 0);
    for (uint32_t n = 0; n < node_count; n++) {
        if (weight[n] == 0)
            out[n] = (struct fb_share){0, 1};
        else if (full[n])
            out[n] = (struct fb_share){most[n], 1};
        else
            out[n] = (struct fb_share){rest * weight[n], free_weight};
    }
}
