/* What a node that is to stop does about the partitions it leads: another copy in sync leads each
 * before it goes, so that nobody waits until its silence is noticed, and nothing under way has an
 * unknown outcome. Pure: the map in, compare-and-swaps out (PROTOCOL 9).
 */
#ifndef FB_NODE_CONTROL_LEAVE_H_
#define FB_NODE_CONTROL_LEAVE_H_

#include "node/control/controller.h"

struct control_leave {
    struct control_step *steps; /* caller's, room for map->partitions: HAND_OVER to another */
    uint32_t count;
    uint32_t handing; /* led here, and the record says already who is to lead instead */
    uint32_t filling; /* led here, and a copy that could take over is being filled */
    uint32_t alone;   /* led here, and nobody else has or gets a copy now */
    uint32_t member;  /* led by others who run: this node's process is in their set still */
};

/* A copy takes over whose process runs and stays, as far as the map knows: where there are several
 * the one whose node leads the fewest. Fills *out but for steps. */
void control_leave(const struct fb_map *map, const struct fb_member *me, struct control_leave *out);

#endif
