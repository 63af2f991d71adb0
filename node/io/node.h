/* The parts of a node process and who owns them. Wiring only: the rules live in node/core.
 *
 * Threads: main; `worker-<i>` one writer per lane (also serves reads of the connections it was
 * given); `agent` (coordinator, control); `snapshot`; the log's fsync thread; the admin server;
 * nng's own. They talk through mailboxes.
 */
#ifndef FB_NODE_IO_NODE_H_
#define FB_NODE_IO_NODE_H_

#include "node/core/lane.h"
#include "node/disk/data_dir.h"
#include "node/disk/log.h"
#include "proto/base/options.h"
#include "proto/coord/applied.h"
#include "proto/net/net.h"
#include "proto/rt/admin.h"

#include <stdatomic.h>

#define NODE_WORKERS_MAX 64u

struct worker;
struct node_control;
struct node_links;
struct leave;
struct snapshotter;

/* One cluster configuration as lanes use it: schemas in the order of the namespaces.
 * Reference-counted. */
struct node_config {
    _Atomic uint32_t refs;
    struct fb_cluster_state *state;
    const struct fb_schema *schemas[FB_NAMESPACES_MAX];
};

struct node {
    /* const after start */
    const struct fb_options *options;
    char name[FB_NAME_BYTES_MAX + 1];
    char listen[FB_ADDRESS_BYTES_MAX + 1];
    char admin_bound[256];
    uint64_t inc;
    uint8_t cluster[FB_UUID_BYTES];
    uint32_t partitions;
    uint64_t started_wall_ms;
    struct data_dir dir;
    struct store *store;
    struct log *log;
    uint64_t generation;
    struct fb_net *net;
    struct fb_coord *coord;
    struct fb_agent *agent;     /* others than main: by node_agent_run */
    bool agent_on;              /* cluster.c: under its mutex */
    struct fb_entry *entry;     /* in the coordinator; the agent keeps it */
    struct fb_applied *applied; /* a part for each worker */
    struct node_links *links;   /* to other nodes */
    struct fb_admin *admin;
    struct fb_histogram *write_pause; /* of partitions that are handed over */
    struct fb_histogram *replication_ack;
    struct snapshotter *snapshotter;
    uint32_t worker_count;
    struct worker *workers[NODE_WORKERS_MAX];

    /* epoch at which a partition is open here, 0 = not served. Written by its writer (release),
     * read by every worker. */
    _Atomic uint32_t *open_epoch;

    /* By partition of which this node is a backup: how long its primary is silent, else 0. Written
     * by its writer. */
    _Atomic uint64_t *silent_ns;
    _Atomic bool promote_asked;
    /* By partition: it was led alone in this epoch and has closed to have copies; 0 = no. Written
     * by its writer, acted upon by the agent's thread. */
    _Atomic uint32_t *anew_epoch;

    /* const after recovery: what its log had, by partition */
    struct node_recovered {
        uint64_t last_ver, history;
    } * recovered_parts;
    bool lost_data; /* the data directory is new, and that was not said to be meant */

    /* agent thread */
    uint32_t *last_epoch; /* by partition: highest epoch in our log, or told to a worker */
    struct node_control *control;
    char last_problem[FB_ERR_MSG_BYTES_MAX]; /* why it does not act on the map, "" = it does */

    /* newest state, under `state_mutex`: agent writes, admin reads */
    struct fb_cluster_state *state;
    _Atomic uint32_t open_count, owned_count, refused_count;
    /* by the map: copies here in sync and not, partitions led here with fewer than wanted */
    _Atomic uint32_t backup_count, learner_count, under_replicated_count;
    _Atomic uint32_t placed_count;        /* partitions that are assigned, wherever */
    _Atomic uint32_t rebalance_remaining; /* moves that are not over, where this node controls */
    _Atomic int64_t db_clock_ms; /* PostgreSQL's clock less the monotonic one, 0 = not told yet */
    _Atomic bool stopping;
    _Atomic bool leaving;        /* it hands over: see leave.h */
    _Atomic uint64_t refused_ns; /* leaving: when a request came last that is another's to answer */
    struct leave *leave;         /* main thread */
    _Atomic uint32_t next_worker;
    _Atomic uint64_t recovered_bytes, recovery_total_bytes;
    _Atomic bool recovered;
    _Atomic uint64_t memory_limit; /* main writes, on a reload too */
    uint64_t recovery_ms;
};

static inline uint32_t node_lane_of(const struct node *n, uint16_t part)
{
    return part % n->worker_count;
}

/* Hard limit of dirty bytes: the cluster file's, else a quarter of memory. */
static inline uint64_t node_dirty_limit(struct node *n, const struct fb_nsset *set)
{
    return set->max_dirty_bytes != 0 ? set->max_dirty_bytes : n->memory_limit / 4;
}

/* memory.c: what is held beside the objects, by all workers and connections. Any thread. */
uint64_t node_memory_beside(struct node *n);
/* Samples of memory_bytes. Admin thread, once the node serves. */
void node_memory_emit(struct node *n, struct fb_buf *out);

/* Takes effect in each lane before its next tick. Main thread. */
void node_set_memory_limit(struct node *n, uint64_t bytes);

/* Newest cluster state, referenced for the caller; NULL before the first. Any thread. */
struct fb_cluster_state *node_state_get(struct node *n);

/* recovery.c: snapshots and log into the lanes. main thread, before anything else runs. */
FB_MUST_USE enum fb_status node_recover(struct node *n, struct lane **lanes,
                                        uint64_t *last_generation, struct fb_err *err);

/* cluster.c: one configuration for `refs` holders; takes a reference of the state. */
struct node_config *node_config_new(struct fb_cluster_state *s, uint32_t refs);

/* This process, as records name it. */
struct fb_member node_self(const struct node *n);
/* cluster.c: this process's entry among the members. Main thread at the start, then the agent's. */
FB_MUST_USE enum fb_status node_register(struct node *n, struct fb_err *err);
/* cluster.c: the entry is to say that this process is about to stop. Agent's thread. */
void node_entry_leaving(struct node *n);

/* cluster.c: agent callback; see control.h. */
void node_cluster_changed(void *arg, struct fb_cluster_state *s);
/* cluster.c: has the agent run fn, while there is one: workers run before and after it. Any thread.
 * FB_ECLOSED, FB_EFULL: it is not run. */
FB_MUST_USE enum fb_status node_agent_run(struct node *n, fb_agent_job_fn fn, void *arg);
/* Does the coordinator answer? False while there is no agent. Any thread. */
bool node_agent_up(struct node *n);
/* The agent is there from now on; about to be stopped. Main thread. */
void node_agent_use(struct node *n, bool on);
/* Again after a while: first placement waits until the set of live nodes has settled. Any thread.
 */
void node_cluster_poke(struct node *n);

/* server.c */
/* n->net, before any thread looks at its memory; nobody can connect before node_net_listen. */
FB_MUST_USE enum fb_status node_net_open(struct node *n, struct fb_err *err);
FB_MUST_USE enum fb_status node_net_listen(struct node *n, struct fb_err *err);

/* admin_verbs.c: one ADMIN_REQ frame; answers on its connection. Takes the frame. Worker thread of
 * the connection. */
void node_admin_request(struct node *n, struct fb_net_frame *frame);

/* status.c */
void node_metrics_register(struct node *n);
/* Those that workers write to: before the first of them runs. */
void node_histograms_register(struct node *n);
bool node_ready(void *arg, struct fb_buf *why);
void node_status(void *arg, struct fb_buf *json);

#endif
