/* Everything a process wants to know from the coordinator in one consistent view, and the agent
 * that keeps it fresh.
 *
 * The agent is one thread: it waits for changes, reads, builds an immutable fb_cluster_state and
 * hands it to a callback. It also carries out the compare-and-swaps that others ask for, so that no
 * loop or writer thread ever blocks on it.
 */
#ifndef FB_PROTO_COORD_CLUSTER_STATE_H_
#define FB_PROTO_COORD_CLUSTER_STATE_H_

#include "proto/cluster/map.h"
#include "proto/cluster/namespace.h"
#include "proto/cluster/schema.h"
#include "proto/coord/coord.h"

struct fb_cluster_state {
    _Atomic uint32_t refs;
    struct fb_map *map;
    struct fb_nsset *namespaces; /* from "config" */
    uint64_t config_rev;
    size_t schema_count;
    struct fb_schema **schemas; /* "schema/<ns>", sorted by namespace */
    /* "control/sync": {"all": false, "namespaces": ["user"]}; key missing = nothing paused */
    bool sync_paused_all;
    size_t paused_count;
    char (*paused)[FB_NAME_BYTES_MAX + 1];
    /* "rebalance/...", as they stand (cluster/run.h); rev 0: there is no such key */
    struct fb_cluster_text {
        struct fb_buf text;
        uint64_t rev;
    } run, run_wish, run_cursor;
    /* "control/drain": names of nodes that are to hold nothing in the end, one a line, sorted */
    size_t drain_count;
    char (*drain)[FB_NAME_BYTES_MAX + 1];
    uint64_t drain_rev;
};

/* References: the callback gets one that it must put; get adds one. Any thread. */
struct fb_cluster_state *fb_cluster_state_get(struct fb_cluster_state *s);
void fb_cluster_state_put(struct fb_cluster_state *s);
const struct fb_schema *fb_cluster_state_schema(const struct fb_cluster_state *s, const char *ns);
bool fb_cluster_state_paused(const struct fb_cluster_state *s, const char *ns);
bool fb_cluster_state_drains(const struct fb_cluster_state *s, const char *node);
/* Read once (CLI, start-up). FB_ENOENT: there is no cluster there (no "meta"). */
FB_MUST_USE enum fb_status fb_cluster_state_read(struct fb_coord *c, struct fb_cluster_state **out,
                                                 struct fb_err *err);
/* The same from a list of all keys that was read already. */
FB_MUST_USE enum fb_status fb_cluster_state_of_list(const struct fb_coord_list *l,
                                                    struct fb_cluster_state **out,
                                                    struct fb_err *err);
/* Make "meta" (uuid, partitions, seed) if the store is empty; otherwise read it. */
FB_MUST_USE enum fb_status fb_cluster_init(struct fb_coord *c, uint32_t partitions,
                                           struct fb_err *err);

struct fb_agent;
typedef void (*fb_agent_changed_fn)(
    void *arg, struct fb_cluster_state *s); /* agent thread; s is the callee's to put */

/* Starts the thread; the first state is delivered before this returns. */
FB_MUST_USE enum fb_status fb_agent_start(struct fb_coord *c, fb_agent_changed_fn changed,
                                          void *arg, struct fb_agent **out, struct fb_err *err);
/* Run fn on the agent's thread (it may call fb_coord_*). Any thread; bounded queue: FB_EFULL. */
typedef void (*fb_agent_job_fn)(void *arg, struct fb_coord *c);
FB_MUST_USE enum fb_status fb_agent_run(struct fb_agent *a, fb_agent_job_fn fn, void *arg);
/* Carries out the jobs that were accepted, then ends the thread. */
void fb_agent_stop(struct fb_agent *a);
/* False while the coordinator does not answer (metric coordinator_up). */
bool fb_agent_up(const struct fb_agent *a);

#endif
