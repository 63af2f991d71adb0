/* What nodes recovered, told in the coordinator when a whole set has died and its best member is to
 * be found (PROTOCOL 8). Agent's thread. */
#ifndef FB_NODE_IO_REPORTS_H_
#define FB_NODE_IO_REPORTS_H_

#include "node/control/controller.h"
#include "node/io/node.h"

/* While a set of several names a process of this node that is gone: sees to it that the report of
 * this one stands, also where an older one was carried out late. Errors are logged; called again
 * and again. */
void reports_tell(struct node *n, const struct fb_map *map);
/* All that were told, of any process; the caller frees *out. Malformed ones are left out. */
FB_MUST_USE enum fb_status reports_read(struct node *n, struct control_report **out,
                                        uint32_t *count, struct fb_err *err);

#endif
