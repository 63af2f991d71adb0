/* What this node should do about the map: take over its own partitions after a restart, and share
 * an empty cluster's partitions among the nodes that are alive. Pure: map in, compare-and-swaps out
 * (PROTOCOL 5, 8).
 */
#ifndef FB_NODE_CONTROL_ASSIGN_H_
#define FB_NODE_CONTROL_ASSIGN_H_

#include "proto/cluster/map.h"

struct assign_self {
    char node[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;
    uint32_t replicas; /* backups wanted; one copy is what this release keeps */
    bool
        settled; /* the set of live nodes has not changed for a while: first placement may happen */
};

enum assign_action { ASSIGN_NOTHING, ASSIGN_SERVE, ASSIGN_CLOSE, ASSIGN_CAS };

struct assign_step {
    uint16_t part;
    enum assign_action action;
    uint64_t rev;               /* CAS: compare */
    struct fb_part_record next; /* CAS: put. SERVE: the record as it is */
};

/* last_epoch[p]: highest epoch in this node's own log of p, 0 = none. Fills steps (room for
 * map->partitions), *count. Errors: FB_ESTALE the coordinator's record of a partition is older than
 * this node's log (I34): nothing may be done, err says which and what to do. */
FB_MUST_USE enum fb_status assign_plan(const struct fb_map *map, const struct assign_self *self,
                                       const uint32_t *last_epoch, struct assign_step *steps,
                                       uint32_t *count, struct fb_err *err);

#endif
