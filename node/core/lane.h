/* The partition core: all partitions of one writer thread, sans-IO (events in, effects out).
 *
 * One tick of the writer thread:
 *   1. lane_request, lane_load_reply, lane_feed_*, lane_verdict, lane_tick
 *      evaluate; effects pile up in lane_effects
 *   2. write effects->log to the lane's log with one write(2)
 *      nothing is visible or answered before
 *   3. lane_written
 *      publishes every pending version (I11)
 *   4. send replies, loads, notes, feed data
 * fsync runs on another thread; when it returned for everything up to log sequence s:
 * lane_synced(s).
 *
 * Thread: one writer per lane, asserted by every call but lane_stats once it has said lane_bind.
 * Time comes in as arguments. Readers on any thread use node/core/read.h and see only what
 * lane_written published.
 */
#ifndef FB_NODE_CORE_LANE_H_
#define FB_NODE_CORE_LANE_H_

#include "proto/cluster/namespace.h"
#include "proto/cluster/schema.h"
#include "proto/wire/feed.h"
#include "proto/wire/record.h"
#include "proto/wire/request.h"

struct store; /* node/store/store.h: the object table shared by all lanes of the node */
struct lane;

/* Where replies go: one per (connection, lane). The lane appends encoded fb_rep items to `out`; the
 * caller wraps them in one REP frame and sends it after step 3. `held` counts replies still owed
 * (loads, levels): the caller must keep the struct alive until held is 0; when `closed` is set the
 * lane drops what it would have appended. */
struct reply_dest {
    struct fb_buf out;
    uint32_t items;
    uint32_t held;
    bool closed;
    bool touched; /* on lane_effects.touched */
    struct reply_dest *next_touched;
    void *owner; /* the caller's */
};

/* Same for feed answers to a sync process: encoded fb_feed_batch items (objects nested) and verdict
 * acks. */
struct feed_dest {
    struct fb_buf batches;
    uint32_t batch_count;
    struct fb_buf acks; /* fb_verdict_ack items */
    uint32_t ack_count;
    bool closed;
    uint32_t held; /* acks and batches still owed */
    bool touched;
    struct feed_dest *next_touched;
    void *owner;
    uint64_t asker; /* the lane's number for it, 0 = it has asked for nothing yet */
};

struct lane_load { /* one load wanted from a sync process */
    uint16_t part;
    uint32_t ns; /* index into nsset */
    uint64_t token;
    struct fb_bytes id; /* view into lane_effects.load_bytes; valid until lane_effects_clear */
};

/* A tick should end when its log has this size: one more request of any kind stays far below what a
 * batch may have. */
#define LANE_TICK_LOG_BYTES (8u << 20)
/* A transaction that might write more is refused: a feed gives it out whole, in one frame. */
#define LANE_TXN_LOG_BYTES (32u << 20)

struct lane_effects {
    struct fb_buf log; /* encoded records, in order */
    uint64_t log_seq;  /* sequence of this tick's log write; passed to lane_synced once fsynced.
                          Grows by 1 per  tick with a non-empty log */
    struct reply_dest *touched;
    struct feed_dest *feeds_touched;
    struct lane_load *loads;
    size_t load_count, load_cap;
    struct fb_buf load_bytes;
    struct fb_buf notes; /* encoded fb_feed_note items for every connected sync process */
    uint32_t note_count;
    struct fb_buf regressed; /* {u16 part, u16 n, namespace, u64 checkpoint, u64 PostgreSQL's, u64
                                purge_ver}: feeds of which PostgreSQL lost commits */
    struct fb_buf refused;   /* {u16 part, u64 checkpoint, u64 end of our log}: partitions the lane
                                closed because PostgreSQL is ahead of their log (PROTOCOL 8) */
    bool sync_wanted; /* somebody waits for `durable`: fsync now rather than at the next interval */
};

struct lane_config {
    uint32_t lane; /* index, for metrics and assertions */
    uint32_t lanes;
    uint32_t partitions;   /* of the cluster */
    uint64_t memory_limit; /* bytes of objects on this node (all lanes); eviction keeps below */
    uint64_t dirty_limit;  /* hard limit of dirty bytes on this node */
    bool accept_database_ahead; /* what the log lost was given up: PostgreSQL's checkpoint is
                                   believed */
};

/* Counters the writer keeps; the caller may read them from any thread (relaxed atomics), per lane.
 */
struct lane_stats {
    _Atomic uint64_t objects_clean, objects_dirty, objects_tombstone, objects_negative,
        objects_parked;
    _Atomic uint64_t dirty_bytes, memory_bytes;
    /* misses: loads that a request started; of them _aged because the copy of a row was too old,
     * _negative because "not there" was; _joined: requests that waited for one under way */
    _Atomic uint64_t misses_aged, misses_negative, misses_joined;
    _Atomic uint64_t hits, misses, loads_found, loads_absent, loads_failed, loads_stale;
    _Atomic uint64_t evictions, expired, records, sync_enqueued, sync_coalesced, rejected_overload,
        rejected_invalid, throttled;
    _Atomic uint64_t feed_rows, conflicts, parks;
    _Atomic uint64_t regressions;          /* feeds of which PostgreSQL lost commits */
    _Atomic uint64_t regressions_lossy;    /* those below what was dropped here */
    _Atomic uint64_t clock_held_ms;        /* of the wall clock that is not believed now */
    _Atomic uint64_t feeds_frozen;         /* now: nothing of them is dropped */
    _Atomic uint64_t oldest_dirty_wall_ms; /* 0 = nothing dirty */
};

/* Memory of a lane beside the objects, in bytes. */
struct lane_memory {
    uint64_t dirty;   /* what is kept beside each object that is not clean */
    uint64_t feeds;   /* partitions, their feeds, batches held for fsync */
    uint64_t loads;   /* loads and who waits for them */
    uint64_t log;     /* records and versions of the tick */
    uint64_t replies; /* answers that wait for fsync or PostgreSQL */
};
/* Walks partitions and waiting answers: about once a second. Lane's thread. */
void lane_memory(const struct lane *l, struct lane_memory *m);

struct lane *lane_new(const struct lane_config *config, struct store *store);
void lane_free(struct lane *l);
/* The calling thread is the writer of the lane and of its partitions from now on (I1). unbind: at
 * the end of that thread; whoever joined it may go on, alone. */
void lane_bind(struct lane *l);
void lane_unbind(struct lane *l);
struct lane_effects *lane_effects(struct lane *l);
/* After everything of the tick was carried out. Keeps memory for reuse. */
void lane_effects_clear(struct lane *l);
const struct lane_stats *lane_stats(const struct lane *l);

/* Configuration: immutable sets that outlive their use here; the lane compares by pointer and
 * re-resolves namespaces. schemas[i] belongs to namespaces->ns[i] (NULL = not known yet: requests
 * to that mapped namespace answer -DBDOWN). */
void lane_configure(struct lane *l, const struct fb_nsset *namespaces,
                    const struct fb_schema *const *schemas);

/* Become primary of a partition at `epoch` (> every epoch in its log: asserted): appends
 * EPOCH_START. Requests for partitions not opened answer NOT_PRIMARY. */
void lane_open_partition(struct lane *l, uint16_t part, uint32_t epoch, uint64_t history,
                         uint64_t wall_ms);
/* Stop serving it (the map says somebody else leads). */
void lane_close_partition(struct lane *l, uint16_t part);
bool lane_partition_open(const struct lane *l, uint16_t part);

/* Before a tick: now in both clocks. wall_ms drives ptime (never decreases); mono_ns drives timers
 * and single flights. */
void lane_now(struct lane *l, uint64_t mono_ns, uint64_t wall_ms);
/* PostgreSQL's clock as a sync process reported it: milliseconds since 1970 less the monotonic
 * clock. The partitions' time stays within 5 minutes of it (guard against mass expiry). */
void lane_database_clock(struct lane *l, int64_t ahead_of_mono_ms);
/* False after a start whose wall clock is more than 5 minutes ahead of the last record, until
 * PostgreSQL's clock is known or 10 s have passed: partitions should not be opened before. As of
 * the last lane_now. */
bool lane_clock_ready(const struct lane *l);
/* A write, an ORDERED read, or a read that missed in read.h. Views in `req` need to live only
 * during the call. */
void lane_request(struct lane *l, struct reply_dest *dest, const struct fb_req *req);
/* How long the requests that follow have lain since their frame was received, for the slow-request
 * log. */
void lane_queued(struct lane *l, uint32_t queue_us);
void lane_load_reply(struct lane *l, const struct fb_load_rep *rep);
/* No sync process is connected any more (or PostgreSQL is unreachable): fail every waiting load
 * with -DBDOWN. */
void lane_loads_fail(struct lane *l, const char *why);
/* A sync process went away or came: emit every waiting load again (same tokens). */
void lane_loads_resend(struct lane *l);
bool lane_loads_waiting(const struct lane *l);
/* Of the node: from a new cluster file, from a reload. More than a lower limit allows is evicted
 * step by step. */
void lane_set_dirty_limit(struct lane *l, uint64_t bytes);
void lane_set_memory_limit(struct lane *l, uint64_t bytes);
/* The disk is nearly full: refuse PUT with a definite error, keep DEL and EXPIRE (PROTOCOL 16). */
void lane_set_disk_low(struct lane *l, bool low);
void lane_feed_req(struct lane *l, struct feed_dest *dest, const struct fb_feed_req *req);
void lane_feed_pos(struct lane *l, struct feed_dest *dest, const struct fb_feed_pos *pos);
void lane_verdict(struct lane *l, struct feed_dest *dest, const struct fb_verdict *v);
/* A sync process connected: emit a note for every non-empty feed. */
void lane_notes_all(struct lane *l);
/* Operator: every feed of namespace (UINT32_MAX = all) is due at once: notes with due set. */
void lane_flush(struct lane *l, uint32_t ns);
/* FLUSHALL: drop every clean copy; gives how many. Dirty objects and rows are never touched. */
uint64_t lane_flush_clean(struct lane *l);
/* Timers: expiry, eviction, notes of non-empty feeds, load time-outs. Call at lane_deadline_ns at
 * the latest. */
void lane_tick(struct lane *l);
uint64_t lane_deadline_ns(const struct lane *l); /* monotonic */
/* Steps 3 of a tick, and after fsync. */
void lane_written(struct lane *l);
void lane_synced(struct lane *l, uint64_t log_seq);

/* Recovery, before any partition is opened: snapshot objects first, then records in order per
 * partition. */
/* FB_ECORRUPT: a gap (rec.prev is not the last ver) or impossible content, err says which. Records
 * at or below the partition's snapshot ver are skipped. */
FB_MUST_USE enum fb_status lane_recover_record(struct lane *l, const struct fb_record *rec,
                                               struct fb_err *err);
/* Behind the last lane_recover_*: what a log of several copies keeps back (nobody knows yet whether
 * it is committed) goes into the next tick's write once more. So the logs before this start are not
 * needed any longer than their snapshots say. */
void lane_recovered(struct lane *l);
/* Last ver of the partition recovered so far (0 = nothing), and its highest epoch/history. */
uint64_t lane_last_ver(const struct lane *l, uint16_t part);
uint64_t lane_history(const struct lane *l, uint16_t part);

/* Snapshots (PROTOCOL 16): the writer serialises a partition in slices between ticks, so that no
 * other thread looks at writer-private state. The result is fuzzy: replaying the log from
 * `start_ver` on makes it exact (records are full after-images and are skipped when older than the
 * object). */
struct lane_snapshot {
    uint16_t part;
    uint64_t start_ver; /* replay records with ver > this */
    uint64_t ptime;     /* of the partition then */
    /* log sequence that was current when it began: log before it is not needed by this partition */
    uint64_t start_log_seq;
    uint64_t cursor;
    bool done;
    /* not begun, but the log has records of it that are void: it is not trimmed for it */
    bool keep;
};
/* False when the partition has nothing. */
bool lane_snapshot_begin(struct lane *l, uint16_t part, struct lane_snapshot *s);
/* Append at most about max_bytes of encoded snapshot items to `out`. The first slice carries the
 * partition's header item (versions, purge_ver per namespace, checkpoints, ptime). */
void lane_snapshot_slice(struct lane *l, struct lane_snapshot *s, struct fb_buf *out,
                         size_t max_bytes);
/* Recovery: items as produced by slices, in order. FB_ECORRUPT on anything impossible. */
FB_MUST_USE enum fb_status lane_recover_snapshot(struct lane *l, uint16_t part,
                                                 struct fb_bytes items, struct fb_err *err);

/* Per namespace, summed over the lane's partitions, walking feeds only (cheap). */
struct lane_namespace_stats {
    uint64_t dirty, parked;
    uint64_t oldest_dirty_age_ms;
};
void lane_namespace_stats(const struct lane *l, uint32_t ns, struct lane_namespace_stats *out);
/* For the CLI: one key as JSON text (state, versions, dirty, parked with reason, value size), and
 * partition summary. */
void lane_inspect_key(struct lane *l, struct fb_bytes key, struct fb_buf *json);
void lane_inspect_partition(struct lane *l, uint16_t part, struct fb_buf *json);

#endif
