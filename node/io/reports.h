/* What nodes recovered, told in the coordinator when a whole set has died and its best member is to
 * be found (PROTOCOL 8). Agent's thread. */
#ifndef FB_NODE_IO_REPORTS_H_
#define FB_NODE_IO_REPORTS_H_

#include "node/control/controller.h"
#include "node/io/node.h"

/* Writes this node's report when a set of several names a process of it that is gone. True: it
 * stands, or is not needed. Errors are logged; to be tried again then. */
FB_MUST_USE bool reports_tell(struct node *n, const struct fb_map *map);
/* All that were told, of any process; the caller frees *out. Malformed ones are left out. */
FB_MUST_USE enum fb_status reports_read(struct node *n, struct control_report **out,
                                        uint32_t *count, struct fb_err *err);

#endif
