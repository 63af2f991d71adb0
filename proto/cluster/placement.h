/* Partition -> nodes: weighted rendezvous hashing with bounded load and zones. Pure, integer
 * arithmetic only, so that every process computes the same from the same members.
 *
 * Sources: rendezvous (highest random weight) hashing, Thaler and Ravishankar 1998; bounded loads,
 * Mirrokni, Thorup and Zadimoghaddam 2016. The .c says how weights are done without floating point.
 */
#ifndef FB_PROTO_CLUSTER_PLACEMENT_H_
#define FB_PROTO_CLUSTER_PLACEMENT_H_

#include "proto/base/bounds.h"
#include "proto/base/status.h"

#include <stdint.h>

struct fb_place_node {
    char name[FB_NAME_BYTES_MAX + 1];
    char zone[FB_NAME_BYTES_MAX + 1]; /* "" = no zone */
    uint32_t weight;                  /* 100 = normal; 0 = holds nothing */
};

struct fb_placement {
    uint32_t copies; /* per partition, 1 + backups; fewer when there are fewer nodes */
    uint16_t node[FB_PARTITIONS_MAX]
                 [FB_REPLICAS_MAX + 1]; /* index into the nodes given; [p][0] = primary */
    uint8_t count[FB_PARTITIONS_MAX];
};

/* Place `partitions` on `nodes` (any order; the result does not depend on it). Errors: FB_EINVAL no
 * node has weight. */
FB_MUST_USE enum fb_status fb_place(const struct fb_place_node *nodes, uint32_t node_count,
                                    uint32_t partitions, uint32_t copies, uint64_t seed,
                                    struct fb_placement *out, struct fb_err *err);

#endif
