/* Even load by the fewest moves: partitions lie on nodes, some more here than there should be, and
 * moving one costs. The result is exact, not a good guess: no other way of keeping the rules brings
 * the loads nearer to their bounds, and none that brings them as near costs less. Pure. */
#ifndef FB_PROTO_CLUSTER_SPREAD_H_
#define FB_PROTO_CLUSTER_SPREAD_H_

#include "proto/base/bounds.h"
#include "proto/base/status.h"

#include <stdint.h>

/* Sets of nodes are bits. What it costs that a partition is on a node: `home` of those nodes in
 * `home`, else `near`, else `half`, else `far`. */
struct fb_spread_part {
    uint64_t in;  /* where it is: in and out. At start already in the greatest number of zones */
    uint64_t may; /* where it may be */
    uint64_t home, near, half;
    uint64_t bytes; /* of two that would do, the one nearer to its node's mean is moved */
};

struct fb_spread {
    uint32_t node_count, part_count;
    const uint64_t *zone; /* of each node: the nodes of its zone, itself included */
    uint32_t lo[FB_NODES_MAX], hi[FB_NODES_MAX]; /* even load of a node, if it can be had */
    int32_t home, near, half, far; /* rising, and no more than FB_SPREAD_COST_MAX apart */
    struct fb_spread_part *part;
};

#define FB_SPREAD_COST_MAX 9

/* Changes `in` of the partitions. The number of partitions on the same node, the number of zones of
 * each partition and the number of nodes it is on stay or get better. Errors: FB_ENOMEM. */
FB_MUST_USE enum fb_status fb_spread_run(struct fb_spread *s, struct fb_err *err);

#endif
