/* forebay-node: wiring only. */
#include "node/core/copies.h"
#include "node/disk/data_dir.h"
#include "node/io/control.h"
#include "node/io/leave.h"
#include "node/io/links.h"
#include "node/io/snapshotter.h"
#include "node/io/worker.h"
#include "node/store/store.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/base/random.h"
#include "proto/coord/entry.h"
#include "proto/rt/cpus.h"
#include "proto/rt/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of newest records, kept to be sent to copies that were away: by all threads, by one at least. */
#define TAIL_BYTES ((size_t)64 << 20)
#define TAIL_BYTES_MIN ((size_t)8 << 20)

static const struct fb_option option_table[] = {
    {"process", "name", FB_OPT_TEXT, "node-1",
     "Name of this process, unique among the nodes of the cluster.", NULL, 0, 0, false, false},
    {"process", "zone", FB_OPT_TEXT, "", "Failure zone, for placement.", NULL, 0, 0, false, false},
    {"process", "coordinator", FB_OPT_TEXT, NULL,
     "Coordinator URL: file:///directory, or etcd://host:port,host:port/cluster.", NULL, 0, 0,
     false, false},
    FB_PROCESS_OPTIONS,
    {"node", "listen", FB_OPT_TEXT, "tcp://127.0.0.1:7400",
     "Where routers and sync processes connect; port 0 picks a free one.", NULL, 0, 0, false,
     false},
    {"node", "data_dir", FB_OPT_TEXT, NULL, "Directory of log and snapshots; created if missing.",
     NULL, 0, 0, false, false},
    {"node", "memory", FB_OPT_SIZE, "1GiB",
     "Memory for objects and what is held beside them; clean ones are evicted beyond it.", NULL, 0,
     0, true, false},
    {"node", "threads", FB_OPT_UINT, "0", "Writer threads; 0 = one per two cores.", NULL, 0,
     NODE_WORKERS_MAX, false, false},
    {"node", "weight", FB_OPT_UINT, "100", "Share of the partitions relative to other nodes.", NULL,
     0, 100000, false, false},
    {"node", "segment_bytes", FB_OPT_SIZE, "64MiB", "Size of a log segment.", NULL, 0, 0, false,
     false},
    {"node", "log_sync_interval", FB_OPT_DURATION, "50ms",
     "Longest time between two fsyncs of the log while nobody waits for one.", NULL, 1, 60000, true,
     false},
    {"node", "snapshot_interval", FB_OPT_DURATION, "10m", "Time between rounds of snapshots.", NULL,
     1, 0, true, false},
    {"node", "snapshot_log_bytes", FB_OPT_SIZE, "512MiB",
     "A round of snapshots starts when the log has grown by this.", NULL, 1, 0, true, false},
    {"node", "snapshot_slice", FB_OPT_SIZE, "1MiB",
     "About what a writer thread writes down of a snapshot between requests.", NULL, 1024,
     UINT64_C(64) << 20, true, false},
    {"node", "accept_empty_data_dir", FB_OPT_BOOL, "no",
     "Start although the map says this node leads partitions and the data directory is new: what "
     "was not in "
     "PostgreSQL yet is given up.",
     NULL, 0, 0, false, false},
    {"node", "leave_timeout", FB_OPT_DURATION, "30s",
     "Longest time between a signal to stop and the stop: other copies lead meanwhile, and those "
     "that are being filled for that are waited for; 0 = stop at once.",
     NULL, 0, 3600000, true, false},
    {"admin", "listen", FB_OPT_TEXT, "127.0.0.1:9400",
     "Admin port: /livez /readyz /metrics /statusz.", NULL, 0, 0, false, false},
};
static const char *const all_sections[] = {"process", "node", "router", "sync", "admin", NULL};

/* Has a node of some cluster used this directory? */
static bool dir_is_used(const char *path)
{
    char identity[4200];
    snprintf(identity, sizeof(identity), "%s/IDENTITY", path);
    return access(identity, F_OK) == 0;
}

/* A node that lost its disk must not quietly serve as if nothing had been there. */
static enum fb_status check_fresh_dir(struct node *n, const struct fb_map *map, const char *path,
                                      struct fb_err *err)
{
    uint32_t led = 0;
    if (dir_is_used(path) || fb_options_bool(n->options, "node", "accept_empty_data_dir"))
        return FB_OK;
    for (uint32_t p = 0; p < map->partitions; p++)
        /* others of a set of several have what it had, or the set waits for it (reports.h) */
        led += map->parts[p].isr_count == 1 && strcmp(map->parts[p].primary.node, n->name) == 0;
    n->lost_data = true;
    if (led == 0)
        return FB_OK;
    return fb_err_set(
        err, FB_EREFUSED,
        "the map says %s leads %u partitions but data directory %s is new; put the old directory "
        "back, or start "
        "once with --node.accept_empty_data_dir=yes to give up what had not reached PostgreSQL",
        n->name, led, path);
}

/* A node with data joins its cluster or none: it makes no other where that one is missing. */
static enum fb_status open_coordinator(struct node *n, const char *dir,
                                       struct fb_cluster_state **state, struct fb_err *err)
{
    bool used = dir_is_used(dir);
    enum fb_status s =
        fb_coord_open(fb_options_text(n->options, "process", "coordinator"), true, &n->coord, err);
    if (s == FB_OK && !used)
        s = fb_cluster_init(n->coord, FB_PARTITIONS_DEFAULT, err);
    if (s == FB_OK)
        s = fb_cluster_state_read(n->coord, state, err);
    if (s == FB_ENOENT && used)
        s = fb_err_set(
            err, FB_EFOREIGN,
            "data directory %s belongs to a cluster, but the coordinator holds none: "
            "correct the coordinator URL, restore the coordinator, or start with an empty "
            "directory",
            dir);
    return s;
}

static enum fb_status take_session(struct node *n, struct fb_err *err)
{
    char session[FB_NAME_BYTES_MAX + 8];
    snprintf(session, sizeof(session), "node/%s", n->name);
    return fb_coord_session(n->coord, session, err);
}

static void configure_lane(struct worker *w, struct fb_cluster_state *state)
{
    w->config = node_config_new(state, 1);
    lane_configure(w->lane, state->namespaces, w->config->schemas);
    fb_applied_took(w->node->applied, w->index, state->config_rev);
}

static void synced_cb(void *arg, uint32_t lane, uint64_t seq)
{
    struct node *n = arg;
    (void)seq;
    fb_mailbox_wake(n->workers[lane]->frames);
}

/* The times are those of PROTOCOL 4 and 7. */
static struct replica_config replica_config(const struct node *n)
{
    struct replica_config c = {.inc = n->inc,
                               .partitions = n->partitions,
                               .tail_bytes = TAIL_BYTES,
                               .lease_ns = UINT64_C(1000000000),
                               .beat_ns = UINT64_C(200000000),
                               .silence_ns = UINT64_C(1500000000),
                               .cas_retry_ns = UINT64_C(500000000)};

    memcpy(c.node, n->name, sizeof(c.node));
    while (c.tail_bytes * n->worker_count > TAIL_BYTES && c.tail_bytes > TAIL_BYTES_MIN)
        c.tail_bytes /= 2;
    return c;
}

static enum fb_status build_engine(struct node *n, struct fb_cluster_state *state,
                                   struct fb_err *err)
{
    struct lane *lanes[NODE_WORKERS_MAX];
    const struct replica_config rc = replica_config(n);
    struct log_config lc = {
        .dir = n->dir.log_path, .lanes = n->worker_count, .arg = n, .synced = synced_cb};
    uint64_t dirty = node_dirty_limit(n, state->namespaces);
    uint64_t generation = 0;
    enum fb_status s = store_new(n->partitions, n->memory_limit / 512, &n->store, err);

    if (s != FB_OK)
        return s;
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct lane_config c = {.lane = i,
                                .lanes = n->worker_count,
                                .partitions = n->partitions,
                                .memory_limit = n->memory_limit,
                                .dirty_limit = dirty,
                                .accept_database_ahead =
                                    fb_options_bool(n->options, "node", "accept_empty_data_dir")};
        lanes[i] = lane_new(&c, n->store);
        lane_copies_new(lanes[i], &rc);
        n->workers[i] = worker_new(n, i, lanes[i]);
        configure_lane(n->workers[i], state);
    }
    s = node_recover(n, lanes, &generation, err);
    if (s != FB_OK)
        return s;
    /* Not before the recovery: the clock is held against the log. */
    for (uint32_t i = 0; i < n->worker_count; i++)
        lane_now(lanes[i], fb_mono_ns(), fb_wall_ms());
    n->generation = generation + 1;
    lc.generation = n->generation;
    lc.segment_bytes = fb_options_uint(n->options, "node", "segment_bytes");
    lc.sync_interval_ms = (uint32_t)fb_options_uint(n->options, "node", "log_sync_interval");
    return log_open(&lc, &n->log, err);
}

static struct snapshotter_limits snapshot_limits(const struct fb_options *o)
{
    return (struct snapshotter_limits){
        .interval_ms = fb_options_uint(o, "node", "snapshot_interval"),
        .log_bytes = fb_options_uint(o, "node", "snapshot_log_bytes"),
        .slice_bytes = fb_options_uint(o, "node", "snapshot_slice")};
}

static enum fb_status start(struct node *n, struct fb_err *err)
{
    struct fb_cluster_state *state = NULL;
    struct fb_admin_hooks hooks = {.ready = node_ready, .status = node_status, .arg = n};
    const char *path = fb_options_text(n->options, "node", "data_dir");
    struct snapshotter_limits limits = snapshot_limits(n->options);
    enum fb_status s = open_coordinator(n, path, &state, err);

    if (s != FB_OK)
        return s;
    memcpy(n->cluster, state->map->cluster, sizeof(n->cluster));
    n->partitions = state->map->partitions;
    n->open_epoch = fb_xcalloc(n->partitions, sizeof(*n->open_epoch));
    n->last_epoch = fb_xcalloc(n->partitions, sizeof(*n->last_epoch));
    n->silent_ns = fb_xcalloc(n->partitions, sizeof(*n->silent_ns));
    n->anew_epoch = fb_xcalloc(n->partitions, sizeof(*n->anew_epoch));
    n->recovered_parts = fb_xcalloc(n->partitions, sizeof(*n->recovered_parts));
    n->links = node_links_new();
    n->control = node_control_new(n);
    n->applied = fb_applied_new(n->coord, FB_MEMBER_NODE, n->name, n->inc, n->worker_count);
    s = check_fresh_dir(n, state->map, path, err);
    if (s == FB_OK)
        s = data_dir_open(path, n->cluster, n->name, &n->dir, err);
    if (s == FB_OK) /* not before: nothing is written to a coordinator of another cluster */
        s = take_session(n, err);
    if (s == FB_OK)
        s = node_net_open(n, err);
    if (s == FB_OK)
        s = fb_admin_start(fb_options_text(n->options, "admin", "listen"), &hooks, n->admin_bound,
                           &n->admin, err);
    if (s == FB_OK)
        s = build_engine(n, state, err);
    fb_cluster_state_put(state);
    if (s != FB_OK)
        return s;
    node_histograms_register(n);
    for (uint32_t i = 0; i < n->worker_count && s == FB_OK; i++)
        s = worker_start(n->workers[i], err);
    if (s == FB_OK)
        s = snapshotter_start(n, &limits, &n->snapshotter, err);
    if (s == FB_OK)
        s = node_net_listen(n, err);
    if (s == FB_OK)
        s = node_register(n, err);
    if (s == FB_OK)
        s = fb_agent_start(n->coord, node_cluster_changed, n, &n->agent, err);
    if (s == FB_OK) {
        node_agent_use(n, true);
        fb_agent_enter(n->agent, n->entry);
        fb_agent_report(n->agent, n->applied);
        node_metrics_register(n);
        /* /statusz looks at all of it from now on, in a thread of its own */
        atomic_store(&n->recovered, true);
    }
    return s;
}

/* Order: no new requests, then the last ticks, a last snapshot is not needed, the log is sealed,
 * the marker says clean. */
static void stop(struct node *n)
{
    atomic_store(&n->stopping, true);
    node_agent_use(n, false);
    if (n->agent != NULL)
        fb_agent_stop(n->agent);
    if (n->snapshotter != NULL)
        snapshotter_stop(n->snapshotter);
    if (n->net != NULL)
        fb_net_shutdown(n->net); /* freed behind those who count its memory */
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (n->workers[i] != NULL)
            worker_stop(n->workers[i]);
    if (n->admin != NULL)
        fb_admin_stop(n->admin);
    fb_net_close(n->net);
    n->net = NULL;
    if (n->log != NULL)
        log_close(n->log);
    for (uint32_t i = 0; i < n->worker_count * 2; i++) /* twice: a FLUSHALL goes to all and back */
        if (n->workers[i % n->worker_count] != NULL)
            worker_drain(n->workers[i % n->worker_count]);
    for (uint32_t i = 0; i < n->worker_count; i++)
        if (n->workers[i] != NULL)
            worker_free(n->workers[i]);
    if (n->store != NULL)
        store_free(n->store);
    data_dir_close(&n->dir, n->log != NULL ? n->inc : 0);
    if (n->state != NULL)
        fb_cluster_state_put(n->state);
    fb_entry_free(n->entry);
    fb_applied_free(n->applied);
    if (n->coord != NULL)
        fb_coord_close(n->coord);
    free(n->open_epoch);
    free(n->last_epoch);
    free(n->silent_ns);
    free(n->anew_epoch);
    free(n->recovered_parts);
    node_links_free(n->links);
    node_control_free(n->control);
    node_leave_free(n);
}

/* What runs already cannot refuse these; their ranges were checked with the options. */
static void reload_commit(void *arg, const struct fb_options *next)
{
    struct node *n = arg;
    struct snapshotter_limits limits = snapshot_limits(next);

    n->options = next;
    node_set_memory_limit(n, fb_options_uint(next, "node", "memory"));
    log_set_sync_interval(n->log, (uint32_t)fb_options_uint(next, "node", "log_sync_interval"));
    snapshotter_set(n->snapshotter, &limits);
}

static void second(void *arg)
{
    node_cluster_poke(arg);
}

int main(int argc, char **argv)
{
    struct node *n = fb_xcalloc(1, sizeof(*n)); /* a process may hold more than one start: tests */
    const struct fb_reload_hooks hooks = {.commit = reload_commit, .arg = n};
    struct fb_options *o;
    struct fb_err err = {0};

    switch (fb_options_load(
        "forebay-node", "Holds partitions of objects in memory, logs and serves them.",
        option_table, FB_COUNT_OF(option_table), all_sections, argc, argv, &o)) {
    case FB_OPTIONS_EXIT_OK:
        free(n);
        return 0;
    case FB_OPTIONS_EXIT_USAGE:
        free(n);
        return 2;
    case FB_OPTIONS_EXIT_BAD:
        free(n);
        return 1;
    case FB_OPTIONS_RUN:
        break;
    }
    n->options = o;
    n->dir.fd = n->dir.lock_fd = -1;
    n->inc = FB_MUTANT(inc_reused) ? 1 : fb_random_u64();
    n->started_wall_ms = fb_wall_ms();
    atomic_store(&n->memory_limit, fb_options_uint(o, "node", "memory"));
    n->worker_count = (uint32_t)fb_options_uint(o, "node", "threads");
    if (n->worker_count == 0)
        /* the other half receives, sends, syncs the log and frees: measured faster than one per
         * core */
        n->worker_count = (fb_cpus() + 1) / 2;
    if (n->worker_count > NODE_WORKERS_MAX)
        n->worker_count = NODE_WORKERS_MAX;
    snprintf(n->name, sizeof(n->name), "%s", fb_options_text(o, "process", "name"));
    fb_process_setup(o, "node", n->name);
    fb_thread_main_begin(); /* it empties the store while liburcu's thread may resize the table */
    if (fb_process_start(o, &err) != FB_OK || start(n, &err) != FB_OK) {
        FB_LOG(ERROR, "node does not start", FB_KS("error", err.msg));
        stop(n);
        fb_thread_main_end();
        fb_options_free(o);
        free(n);
        return 1;
    }
    FB_LOG(INFO, "serving", FB_KS("listen", n->listen), FB_KS("admin", n->admin_bound),
           FB_KS("data_dir", n->dir.path), FB_KU("threads", n->worker_count),
           FB_KU("memory", n->memory_limit));
    fb_process_serve(&o, argc, argv, &hooks, second);
    FB_LOG(INFO, "stopping", FB_KS("name", n->name));
    node_leave(n, fb_options_uint(o, "node", "leave_timeout"));
    stop(n);
    fb_thread_main_end();
    FB_LOG(INFO, "stopped", FB_KS("name", n->name));
    fb_options_free(o);
    free(n);
    return 0;
}
