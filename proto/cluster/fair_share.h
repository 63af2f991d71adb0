/* How many copies each node should hold: its share by weight, as far as the rules of placement let
 * it have that. Pure, exact (fractions of integers). */
#ifndef FB_PROTO_CLUSTER_FAIR_SHARE_H_
#define FB_PROTO_CLUSTER_FAIR_SHARE_H_

#include "proto/base/bounds.h"

#include <stdint.h>

/* num / den copies; even load is floor or ceil of it on every node at the same time. */
struct fb_share {
    uint64_t num, den;
};

static inline uint32_t fb_share_floor(struct fb_share s)
{
    return (uint32_t)(s.num / s.den);
}
static inline uint32_t fb_share_ceil(struct fb_share s)
{
    return (uint32_t)((s.num + s.den - 1) / s.den);
}

/* Shares of `copies` copies of each of `partitions` partitions. weight[n] 0: the node gets none;
 * zone[n]: the nodes of n's zone as bits, n included. No node holds two copies of a partition;
 * with as many zones as copies, or more, no zone does; with fewer, each zone holds one at least.
 * `copies` is at most the number of nodes with weight, asserted. */
void fb_fair_copies(const uint32_t *weight, const uint64_t *zone, uint32_t node_count,
                    uint32_t partitions, uint32_t copies, struct fb_share *out);

/* Shares of `total` things by weight where node n takes at most most[n]; the sum of all `most` is
 * at least `total`, asserted. */
void fb_fair_bounded(const uint32_t *weight, const uint32_t *most, uint32_t node_count,
                     uint32_t total, struct fb_share *out);

#endif
