/* A node that comes back takes over what nobody else can: partitions of which it was the whole set.
 * Pure: map in, compare-and-swaps out (PROTOCOL 8).
 */
#ifndef FB_NODE_CONTROL_RESTART_H_
#define FB_NODE_CONTROL_RESTART_H_

#include "node/control/controller.h"

/* last_epoch[p]: highest epoch that this node has of p in its log or has been told, 0 = none. Fills
 * steps (room for map->partitions), *count. Errors: FB_ESTALE the coordinator's record of a
 * partition that this node leads is older than its log (I34): nothing may be done, err says which
 * and what to do. */
FB_MUST_USE enum fb_status control_restart(const struct fb_map *map, const struct fb_member *me,
                                           const uint32_t *last_epoch, struct control_step *steps,
                                           uint32_t *count, struct fb_err *err);

#endif
