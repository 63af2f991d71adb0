/* What a node recovered, as text: the value of report/NODE in the coordinator. One line says its
 * incarnation, one for each partition number, history, epoch, last version and 1 when damaged.
 * Pure.
 *
 * A report decides who leads when a whole set has died, so one that is not exactly as a node writes
 * it is none.
 */
#ifndef FB_NODE_CONTROL_REPORT_H_
#define FB_NODE_CONTROL_REPORT_H_

#include "node/control/controller.h"

/* Appends the text of what process `inc` tells: reports by partition, in order; their member and
 * synced_ver are not looked at. */
void control_report_encode(struct fb_buf *out, uint64_t inc, const struct control_report *reports,
                           uint32_t count);
/* The report of `node` into out (room for `partitions`), *count of them; synced_ver is last_ver, as
 * recovery syncs what it read. Errors: FB_EPROTO with the line and what is wrong with it; *count is
 * 0 then. */
FB_MUST_USE enum fb_status control_report_decode(struct fb_bytes text, const char *node,
                                                 uint32_t partitions, struct control_report *out,
                                                 uint32_t *count, struct fb_err *err);

#endif
