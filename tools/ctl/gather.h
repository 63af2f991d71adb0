/* Questions to every process of a kind, as arrays of JSON objects (new references). */
#ifndef FB_TOOLS_CTL_GATHER_H_
#define FB_TOOLS_CTL_GATHER_H_

#include "tools/ctl/ctl.h"

/* name zone listen admin state partitions open objects dirty memory_bytes status namespaces; only
 * --node when given */
json_t *gather_nodes(struct ctl *c);
/* name listen admin state db_up transactions problem namespaces */
json_t *gather_syncs(struct ctl *c);
/* namespace table dirty parked oldest_age_ms rows paused problem; only --namespace when given */
json_t *gather_namespaces(struct ctl *c, json_t *nodes, json_t *syncs);

#endif
