/* The node's arguments (node_args.h). */
#include "tests/sim/node_args.h"

#include "node/core/lane_impl.h"
#include "node/disk/log_internal.h"
#include "node/io/worker.h"
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>

static void draw_reloadable(struct node_args *a)
{
    struct sim *s = a->sim;
    struct node_options *o = &a->said;
    o->sync_ms = sim_spread(s, SIM_NODE, 2, 400);
    o->snapshot_ms =
        sim_spread(s, SIM_NODE, 250, sim_dangerous(s, SIM_DANGER_SNAPSHOT) ? 2000 : 30000);
    o->snapshot_kib = sim_spread(s, SIM_NODE, 64, 4096);
    o->slice = sim_spread(s, SIM_NODE, 1024, 1048576);
    o->memory_kib = a->small ? sim_spread(s, SIM_NODE, 12, 64) : 65536;
}

void node_args_init(struct node_args *a, struct sim *s, const char *name)
{
    a->sim = s;
    a->name = name;
    a->small = sim_strikes(s, SIM_NODE, SIM_FAULT_OOM_EVICT, 1000000);
    a->said.threads = sim_range(s, SIM_NODE, 1, 3);
    a->said.segment_kib = sim_spread(s, SIM_NODE, 4, 256);
    draw_reloadable(a);
}

static void arg(struct node_args *a, const char *fmt, ...) FB_PRINTF(2, 3);
static void arg(struct node_args *a, const char *fmt, ...)
{
    va_list ap;
    fb_assert(a->argc < (int)NODE_ARGS_MAX);
    va_start(ap, fmt);
    vsnprintf(a->text[a->argc], sizeof a->text[0], fmt, ap);
    va_end(ap);
    a->argv[a->argc] = a->text[a->argc];
    a->argv[++a->argc] = NULL;
}

static void write_args(struct node_args *a)
{
    const struct node_options *o = &a->said;
    a->argc = 0;
    arg(a, "forebay-node");
    arg(a, "--process.name=%s", a->name);
    arg(a, "--process.coordinator=file:///coord");
    arg(a, "--node.listen=%s:7000", a->name);
    arg(a, "--node.data_dir=/data/%s", a->name);
    arg(a, "--node.threads=%llu", (unsigned long long)o->threads);
    arg(a, "--node.segment_bytes=%lluKiB", (unsigned long long)o->segment_kib);
    arg(a, "--node.log_sync_interval=%llums", (unsigned long long)o->sync_ms);
    arg(a, "--node.snapshot_interval=%llums", (unsigned long long)o->snapshot_ms);
    arg(a, "--node.snapshot_log_bytes=%lluKiB", (unsigned long long)o->snapshot_kib);
    arg(a, "--node.snapshot_slice=%llu", (unsigned long long)o->slice);
    arg(a, "--node.memory=%lluKiB", (unsigned long long)o->memory_kib);
    arg(a, "--admin.listen=127.0.0.1:0");
    if (a->accept_empty)
        arg(a, "--node.accept_empty_data_dir=yes");
}

void node_args_start(struct node_args *a, bool accept_empty)
{
    a->accept_empty = accept_empty;
    a->runs = a->said;
    write_args(a);
}

void node_args_change(struct node_args *a)
{
    if (sim_chance(a->sim, SIM_NODE, 150000))
        a->said.segment_kib = sim_spread(a->sim, SIM_NODE, 4, 256);
    draw_reloadable(a);
    if (a->said.segment_kib == a->runs.segment_kib)
        a->runs = a->said;
    write_args(a);
}

static void differs(const struct node_args *a, const char *what, uint64_t is, uint64_t wanted)
{
    sim_violation(a->sim, "reload", "the node works with %s = %llu instead of %llu", what,
                  (unsigned long long)is, (unsigned long long)wanted);
}

void node_args_check(const struct node_args *a, struct node *n)
{
    uint64_t memory = a->runs.memory_kib * 1024;
    if (atomic_load(&n->memory_limit) != memory)
        differs(a, "node.memory", atomic_load(&n->memory_limit), memory);
    if (n->log->config.sync_interval_ms != a->runs.sync_ms)
        differs(a, "node.log_sync_interval", n->log->config.sync_interval_ms, a->runs.sync_ms);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        const struct lane *l = n->workers[i]->lane;
        uint64_t dirty = node_dirty_limit(n, n->workers[i]->config->state->namespaces);
        if (l->config.memory_limit > memory || l->config.memory_limit < memory / 2)
            differs(a, "the memory of a worker", l->config.memory_limit, memory);
        if (l->config.dirty_limit != dirty)
            differs(a, "the dirty bytes of a worker", l->config.dirty_limit, dirty);
    }
}
