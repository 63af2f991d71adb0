/* Which configuration this process runs: told by its threads, published in the coordinator.
 *
 * The key "applied/<kind>/<name>" holds {"config": revision, "inc": "<hex of the incarnation>"}. A
 * revision stands there once every thread that goes by the configuration has taken it over, so
 * `forebayctl config apply` can prove that all live processes run it.
 */
#ifndef FB_PROTO_COORD_APPLIED_H_
#define FB_PROTO_COORD_APPLIED_H_

#include "proto/coord/cluster_state.h"

#define FB_APPLIED_PARTS_MAX 64u

struct fb_applied; /* one per process, lives until it ends */

/* `parts`: threads that will tell, numbered from 0. Registers the metric config_revision. Before
 * any of them tells. */
struct fb_applied *fb_applied_new(struct fb_coord *c, enum fb_member_kind kind, const char *name,
                                  uint64_t inc, uint32_t parts);
void fb_applied_free(struct fb_applied *a); /* no thread tells any more, the agent has ended */
/* Thread `part` goes by revision `rev` from now on. Any thread, never blocks. */
void fb_applied_took(struct fb_applied *a, uint32_t part, uint64_t rev);
/* The lowest revision of all parts; 0 = one has none yet. Any thread. */
uint64_t fb_applied_rev(const struct fb_applied *a);

/* The agent publishes from now on. Any thread. */
void fb_agent_report(struct fb_agent *agent, struct fb_applied *a);
/* Agent thread: writes what changed since the last time, and what does not stand there any more; a
 * failure is tried again by the next call. */
void fb_applied_publish(struct fb_applied *a);
/* Agent thread: a list of all keys, read after the last publish. */
void fb_applied_seen(struct fb_applied *a, const struct fb_coord_list *l);

/* Live members that do not run `rev` yet, by their names (at most `max`), from a list of all keys.
 * *live: how many are alive. */
size_t fb_applied_missing(const struct fb_coord_list *l, const struct fb_map *map, uint64_t rev,
                          const struct fb_member_info **missing, size_t max, size_t *live);

#endif
