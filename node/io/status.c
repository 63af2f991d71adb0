/* /readyz, /statusz and metrics of a node. Admin thread. */
#include "node/io/worker.h"

#include "node/io/lag.h"
#include "node/io/snapshotter.h"
#include "node/store/store.h"
#include "proto/base/clock.h"
#include "proto/rt/admin.h"
#include "proto/rt/memory.h"
#include "proto/rt/metrics.h"

struct totals {
    uint64_t clean, dirty, tombstone, negative, parked, dirty_bytes, memory_bytes, hits, misses,
        misses_aged, misses_negative, misses_joined, loads_found, loads_absent, loads_failed,
        loads_stale, evictions, expired, records, enqueued, coalesced, overload, invalid, feed_rows,
        conflicts, parks, throttled, oldest_dirty_wall_ms, regressions, regressions_lossy,
        feeds_frozen, clock_held_ms;
};

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static struct totals sum(const struct node *n)
{
    struct totals t = {0};
    for (uint32_t i = 0; i < n->worker_count; i++) {
        const struct lane_stats *s = lane_stats(n->workers[i]->lane);
        uint64_t oldest = get(&s->oldest_dirty_wall_ms);
        t.clean += get(&s->objects_clean);
        t.dirty += get(&s->objects_dirty);
        t.tombstone += get(&s->objects_tombstone);
        t.negative += get(&s->objects_negative);
        t.parked += get(&s->objects_parked);
        t.dirty_bytes += get(&s->dirty_bytes);
        t.memory_bytes += get(&s->memory_bytes);
        t.hits += get(&s->hits) + get(&n->workers[i]->hits);
        t.misses += get(&s->misses);
        t.misses_aged += get(&s->misses_aged);
        t.misses_negative += get(&s->misses_negative);
        t.misses_joined += get(&s->misses_joined);
        t.loads_found += get(&s->loads_found);
        t.loads_absent += get(&s->loads_absent);
        t.loads_failed += get(&s->loads_failed);
        t.loads_stale += get(&s->loads_stale);
        t.evictions += get(&s->evictions);
        t.expired += get(&s->expired);
        t.records += get(&s->records);
        t.enqueued += get(&s->sync_enqueued);
        t.coalesced += get(&s->sync_coalesced);
        t.overload += get(&s->rejected_overload);
        t.invalid += get(&s->rejected_invalid);
        t.feed_rows += get(&s->feed_rows);
        t.conflicts += get(&s->conflicts);
        t.parks += get(&s->parks);
        t.throttled += get(&s->throttled);
        t.regressions += get(&s->regressions);
        t.regressions_lossy += get(&s->regressions_lossy);
        t.feeds_frozen += get(&s->feeds_frozen);
        if (get(&s->clock_held_ms) > t.clock_held_ms)
            t.clock_held_ms = get(&s->clock_held_ms);
        if (oldest != 0 && (t.oldest_dirty_wall_ms == 0 || oldest < t.oldest_dirty_wall_ms))
            t.oldest_dirty_wall_ms = oldest;
    }
    return t;
}

bool node_ready(void *arg, struct fb_buf *why)
{
    struct node *n = arg;
    if (atomic_load(&n->stopping) || atomic_load(&n->leaving)) {
        fb_buf_put_str(why, "stopping");
        return false;
    }
    if (!atomic_load(&n->recovered)) {
        fb_buf_printf(why, "recovering: %llu of %llu bytes of log",
                      (unsigned long long)atomic_load(&n->recovered_bytes),
                      (unsigned long long)atomic_load(&n->recovery_total_bytes));
        return false;
    }
    if (atomic_load(&n->refused_count) > 0) {
        fb_buf_printf(
            why,
            "%u partitions are not served: PostgreSQL is ahead of this data directory; put the "
            "right one back, "
            "or give up what it had that PostgreSQL has not: start once with an empty one and "
            "--node.accept_empty_data_dir=yes",
            atomic_load(&n->refused_count));
        return false;
    }
    if (atomic_load(&n->learner_count) > 0) {
        fb_buf_printf(why, "%u copies of partitions are being filled",
                      atomic_load(&n->learner_count));
        return false;
    }
    if (atomic_load(&n->placed_count) == 0) { /* a node may hold none: a new one, one that drains */
        fb_buf_put_str(why, "no partition is assigned to any node yet");
        return false;
    }
    if (atomic_load(&n->open_count) < atomic_load(&n->owned_count)) {
        fb_buf_printf(why, "%u of %u partitions are open", atomic_load(&n->open_count),
                      atomic_load(&n->owned_count));
        return false;
    }
    return true;
}

void node_status(void *arg, struct fb_buf *json)
{
    struct node *n = arg;
    struct totals t = {0};
    struct snapshotter_status snap = {0};

    if (!atomic_load(&n->recovered)) {
        fb_buf_printf(json,
                      "{\"node\":\"%s\",\"state\":\"recovering\",\"recovered_bytes\":%llu,"
                      "\"recovery_bytes\":%llu}",
                      n->name, (unsigned long long)atomic_load(&n->recovered_bytes),
                      (unsigned long long)atomic_load(&n->recovery_total_bytes));
        return;
    }
    t = sum(n);
    if (n->snapshotter != NULL)
        snapshotter_status_get(n->snapshotter, &snap);
    fb_buf_printf(
        json,
        "{\"node\":\"%s\",\"state\":\"%s\",\"inc\":\"%016llx\",\"listen\":\"%s\",\"workers\":%u,"
        "\"partitions_owned\":%u,\"partitions_open\":%u,\"partitions_backup\":%u,"
        "\"partitions_learner\":%u,\"partitions_under_replicated\":%u,\"config_revision\":%llu,",
        n->name, atomic_load(&n->stopping) || atomic_load(&n->leaving) ? "stopping" : "serving",
        (unsigned long long)n->inc, n->listen, n->worker_count, atomic_load(&n->owned_count),
        atomic_load(&n->open_count), atomic_load(&n->backup_count), atomic_load(&n->learner_count),
        atomic_load(&n->under_replicated_count), (unsigned long long)fb_applied_rev(n->applied));
    fb_buf_printf(
        json,
        "\"objects\":{\"clean\":%llu,\"dirty\":%llu,\"tombstone\":%llu,\"negative\":%llu,"
        "\"parked\":%llu},"
        "\"memory_bytes\":%llu,\"memory_limit_bytes\":%llu,\"dirty_bytes\":%llu,\"oldest_dirty_age_"
        "ms\":%llu,",
        (unsigned long long)t.clean, (unsigned long long)t.dirty, (unsigned long long)t.tombstone,
        (unsigned long long)t.negative, (unsigned long long)t.parked,
        (unsigned long long)t.memory_bytes, (unsigned long long)n->memory_limit,
        (unsigned long long)t.dirty_bytes,
        (unsigned long long)(t.oldest_dirty_wall_ms ? fb_wall_ms() - t.oldest_dirty_wall_ms : 0));
    fb_buf_printf(
        json,
        "\"hits\":%llu,\"misses\":%llu,\"records\":%llu,\"log_bytes\":%llu,\"log_generation\":%llu,"
        "\"recovery_ms\":%llu,",
        (unsigned long long)t.hits, (unsigned long long)t.misses, (unsigned long long)t.records,
        (unsigned long long)log_bytes(n->log), (unsigned long long)n->generation,
        (unsigned long long)n->recovery_ms);
    fb_buf_printf(json,
                  "\"snapshot\":{\"rounds\":%llu,\"attempts\":%llu,\"last_success_ms\":%llu,"
                  "\"done\":%u,\"total\":%u,"
                  "\"failed\":%s,\"error\":",
                  (unsigned long long)snap.rounds, (unsigned long long)snap.attempts,
                  (unsigned long long)snap.last_success_wall_ms, snap.done, snap.total,
                  snap.last_error[0] ? "true" : "false");
    fb_json_string(json, snap.last_error);
    fb_buf_put_str(json, "}}");
}

static void objects_gauge(void *arg, struct fb_buf *out)
{
    struct totals t = sum(arg);
    fb_gauge_emit(out, "forebay_objects", "state=\"clean\"", (double)t.clean);
    fb_gauge_emit(out, "forebay_objects", "state=\"dirty\"", (double)t.dirty);
    fb_gauge_emit(out, "forebay_objects", "state=\"negative\"", (double)t.negative);
    fb_gauge_emit(out, "forebay_objects", "state=\"parked\"", (double)t.parked);
    fb_gauge_emit(out, "forebay_objects", "state=\"tombstone\"", (double)t.tombstone);
}

static void memory_gauge(void *arg, struct fb_buf *out)
{
    node_memory_emit(arg, out);
}

/* Gauges and counters that the lanes keep in lane_stats. */
/* clang-format off */
#define PLAIN_LIST(X)                                                                              \
    X(dirty_objects, "forebay_dirty_objects", "Objects not yet in PostgreSQL.", t.dirty + t.tombstone) \
    X(dirty_bytes, "forebay_dirty_bytes", "Bytes of objects not yet in PostgreSQL.", t.dirty_bytes) \
    X(oldest_dirty, "forebay_oldest_dirty_timestamp_seconds",                                      \
      "When the oldest change not yet in PostgreSQL was made, 0 = none.", t.oldest_dirty_wall_ms / 1e3) \
    X(hits, "forebay_cache_hits_total", "Requests answered from memory.", t.hits)                   \
    X(evictions, "forebay_evictions_total", "Clean objects dropped for room.", t.evictions)         \
    X(expired, "forebay_expired_total", "Objects that reached their expiry.", t.expired)            \
    X(throttled, "forebay_throttled_total", "Writes delayed by the soft limit on dirty bytes.", t.throttled) \
    X(records, "forebay_log_records_total", "Records written to the log.", t.records)               \
    X(enqueued, "forebay_sync_enqueued_total", "Objects that became dirty.", t.enqueued)            \
    X(coalesced, "forebay_sync_coalesced_total", "Changes of objects that were dirty already.", t.coalesced) \
    X(dead_letters, "forebay_dead_letters", "Objects parked because PostgreSQL refused them.", t.parked) \
    X(clock_held, "forebay_clock_held_seconds",                                                    \
      "How far the clock of this machine is ahead of what is believed of it.", t.clock_held_ms / 1e3) \
    X(frozen, "forebay_frozen_feeds",                                                              \
      "Feeds of which nothing is evicted because PostgreSQL lost what was.", t.feeds_frozen)       \
    X(retired, "forebay_retired_objects", "Replaced objects waiting for readers to leave.",         \
      store_retired_count(((struct node *)arg)->store))                                            \
    X(log_bytes, "forebay_log_bytes", "Bytes of log on disk.", log_bytes(((struct node *)arg)->log)) \
    X(recovery, "forebay_recovery_duration_seconds", "How long the last start's recovery took.",   \
      ((struct node *)arg)->recovery_ms / 1e3)                                                     \
    X(under_replicated, "forebay_partitions_under_replicated",                                     \
      "Partitions led here with fewer copies in sync than wanted.",                                \
      atomic_load(&((struct node *)arg)->under_replicated_count))                                  \
    X(rebalance, "forebay_rebalance_remaining_partitions",                                         \
      "Moves of the rebalance under way that are not over; told by the node that controls it.",    \
      atomic_load(&((struct node *)arg)->rebalance_remaining))                                     \
    X(coord_up, "forebay_coordinator_up", "1 while the coordinator answers.",                      \
      node_agent_up((struct node *)arg))
/* clang-format on */

#define X(id, metric, help, value)                                                                 \
    static void id##_gauge(void *arg, struct fb_buf *out)                                          \
    {                                                                                              \
        struct totals t = sum(arg);                                                                \
        (void)t;                                                                                   \
        fb_gauge_emit(out, metric, NULL, (double)(value));                                         \
    }
PLAIN_LIST(X)
#undef X

static void misses_gauge(void *arg, struct fb_buf *out)
{
    struct totals t = sum(arg);
    fb_gauge_emit(out, "forebay_cache_misses_total", "reason=\"absent\"",
                  (double)(t.misses - t.misses_aged - t.misses_negative));
    fb_gauge_emit(out, "forebay_cache_misses_total", "reason=\"aged\"", (double)t.misses_aged);
    fb_gauge_emit(out, "forebay_cache_misses_total", "reason=\"joined\"", (double)t.misses_joined);
    fb_gauge_emit(out, "forebay_cache_misses_total", "reason=\"negative\"",
                  (double)t.misses_negative);
}

static void rejected_gauge(void *arg, struct fb_buf *out)
{
    struct totals t = sum(arg);
    fb_gauge_emit(out, "forebay_rejected_total", "reason=\"invalid\"", (double)t.invalid);
    fb_gauge_emit(out, "forebay_rejected_total", "reason=\"overload\"", (double)t.overload);
}

static void regressions_gauge(void *arg, struct fb_buf *out)
{
    struct totals t = sum(arg);
    fb_gauge_emit(out, "forebay_database_regressions_total", "result=\"lost\"",
                  (double)t.regressions_lossy);
    fb_gauge_emit(out, "forebay_database_regressions_total", "result=\"refed\"",
                  (double)(t.regressions - t.regressions_lossy));
}

static void partitions_gauge(void *arg, struct fb_buf *out)
{
    struct node *n = arg;
    uint32_t open = atomic_load(&n->open_count), owned = atomic_load(&n->owned_count);
    fb_gauge_emit(out, "forebay_partitions", "role=\"backup\",state=\"in_sync\"",
                  atomic_load(&n->backup_count));
    fb_gauge_emit(out, "forebay_partitions", "role=\"learner\",state=\"filling\"",
                  atomic_load(&n->learner_count));
    fb_gauge_emit(out, "forebay_partitions", "role=\"primary\",state=\"closed\"",
                  owned > open ? owned - open : 0);
    fb_gauge_emit(out, "forebay_partitions", "role=\"primary\",state=\"open\"", open);
}

static void lag_gauge(void *arg, struct fb_buf *out)
{
    node_lag_emit(arg, out);
}

static void snapshot_gauge(void *arg, struct fb_buf *out)
{
    struct node *n = arg;
    struct snapshotter_status s = {0};
    if (n->snapshotter != NULL)
        snapshotter_status_get(n->snapshotter, &s);
    fb_gauge_emit(out, "forebay_snapshot_last_success_timestamp_seconds", NULL,
                  (double)s.last_success_wall_ms / 1e3);
}

static void map_gauge(void *arg, struct fb_buf *out)
{
    struct fb_cluster_state *s = node_state_get(arg);
    fb_gauge_emit(out, "forebay_map_epoch", NULL, s ? (double)s->map->rev : 0);
    if (s != NULL)
        fb_cluster_state_put(s);
}

void node_histograms_register(struct node *n)
{
    n->write_pause = fb_histogram_register(
        "forebay_rebalance_write_pause_seconds", NULL,
        "How long a partition led here let nothing in so that another node could lead it: the part "
        "of the pause before that one knows.",
        false);
    n->replication_ack = fb_histogram_register(
        "forebay_replication_ack_duration_seconds", NULL,
        "From a tick's first write to a partition led here until every copy in sync has all of the "
        "tick: how long a write at level replicated waits.",
        false);
}

void node_metrics_register(struct node *n)
{
    fb_gauge_register("forebay_objects", "Objects in memory by state.", objects_gauge, n);
    fb_gauge_register("forebay_memory_bytes", FB_MEMORY_HELP, memory_gauge, n);
    fb_gauge_register("forebay_resident_memory_bytes", FB_MEMORY_RESIDENT_HELP, memory_gauge, n);
    fb_gauge_register("forebay_cache_misses_total",
                      "Requests that needed PostgreSQL: absent, nothing was in memory; aged, a "
                      "copy of a row was too "
                      "old; negative, \"not there\" was; joined, a load was under way.",
                      misses_gauge, n);
    fb_gauge_register("forebay_database_regressions_total",
                      "Feeds of which PostgreSQL lost commits; result lost: more than it was "
                      "allowed to.",
                      regressions_gauge, n);
    fb_gauge_register("forebay_rejected_total", "Writes refused before anything happened.",
                      rejected_gauge, n);
    fb_gauge_register("forebay_replication_lag_bytes",
                      "Bytes of log of partitions led here that the copies in sync on that node "
                      "have not written yet.",
                      lag_gauge, n);
    fb_gauge_register("forebay_partitions", "Partitions of this node.", partitions_gauge, n);
    fb_gauge_register("forebay_snapshot_last_success_timestamp_seconds",
                      "When the last round of snapshots ended, 0 = none.", snapshot_gauge, n);
    fb_gauge_register("forebay_map_epoch", "Revision of the cluster map in use.", map_gauge, n);
#define X(id, metric, help, value) fb_gauge_register(metric, help, id##_gauge, n);
    PLAIN_LIST(X)
#undef X
}
