/* Inside of the partition core: state of a lane and the calls between its files. Nobody outside
 * node/core/ includes this.
 *
 * Thread: the lane's writer, always. What readers see is in the store (node/store/object.h).
 */
#ifndef FB_NODE_CORE_LANE_IMPL_H_
#define FB_NODE_CORE_LANE_IMPL_H_

#include "node/core/lane.h"
#include "node/store/object.h"
#include "proto/base/bounds.h"
#include "proto/base/mutant.h"
#include "proto/base/owner.h"
#include "proto/wire/version.h"

#define NOTE_PERIOD_NS (UINT64_C(1000) * 1000 * 1000)
#define TICK_PERIOD_NS (UINT64_C(20) * 1000 * 1000)
#define LOAD_TIMEOUT_NS (UINT64_C(10) * 1000 * 1000 * 1000)
#define LOAD_STALE_RETRIES_MAX 5u
#define LOAD_STALE_BACKOFF_NS (UINT64_C(50) * 1000 * 1000)
/* less than a router waits for a node (request_timeout), so that the level reached is told, not
 * guessed */
#define DATABASE_WAIT_NS (UINT64_C(20) * 1000 * 1000 * 1000)
#define FEED_BATCH_BYTES_MAX (4u << 20)
#define LOAD_WAITERS_MAX 65536u /* requests that may queue behind loads in one lane */
#define LOAD_WAITER_BYTES_MAX                                                                      \
    ((size_t)64 << 20) /* ... and their keys and arguments: a request may carry megabytes */
#define NSID_NONE UINT16_MAX

/* One namespace as the lane numbers it: the number stays when the configuration changes. */
struct ns_state {
    char name[FB_NAME_BYTES_MAX + 1];
    uint32_t conf_index;             /* into the present nsset */
    const struct fb_namespace *conf; /* NULL = not declared now */
    const struct fb_schema *schema;  /* mapped only; NULL = not known */
    uint64_t mapping;                /* fb_schema_mapping of conf, 0 = not declared */
    uint64_t columns; /* hash of names and numbers of the schema's columns, 0 = none known yet */
    bool moved;       /* it was another table's until now, or one of other columns */
    uint64_t dirty_bytes;
    uint64_t oldest_ms; /* ptime of its oldest unsynced change, 0 = none; as of the last look */
};

struct park_info {
    char sqlstate[6];
    bool shared; /* another sync process had it too, and may write it: see feed.shared_ver */
    uint64_t by; /* feed_dest.asker of the one it was refused to, 0 = not known any more */
    uint32_t n;
    char message[];
};

enum feed_list { LIST_DIRTY, LIST_PARKED, LIST_GRAVES };

/* Kept beside an object while it is dirty, parked, or a tombstone that may not be dropped yet. */
struct object_extra {
    uint64_t changed;            /* columns changed since the base */
    uint64_t changed_since_feed; /* the part of it that no emitted version has */
    uint64_t emitted_ver;        /* last version given to a feed since the last sync, 0 = none */
    uint64_t maybe_first; /* older versions that a feed had, or may have had before a restart: */
    uint64_t
        maybe_last; /* a checkpoint between them and emitted_ver leaves the row unknown. 0 = none */
    uint64_t group_last; /* last ver of the GROUP that wrote it, 0 = none */
    uint64_t changed_at_ms;
    uint8_t emitted_kind;
    bool maybe_gone; /* one of them was a tombstone */
    uint8_t list;    /* enum feed_list it stands in */
    bool rewritten;  /* in feed.rewritten */
    uint32_t bytes;  /* counted as dirty */
    struct park_info *park;
};

struct rep_wait; /* waits.c */
struct wait_list {
    struct rep_wait *head, *tail;
};

struct feed { /* one (partition, namespace) */
    uint16_t nsid;
    struct slot_list dirty;  /* ver order: what the checkpoint has not passed */
    struct slot_list parked; /* parked objects the checkpoint has passed */
    struct slot_list graves; /* tombstones it has passed, above dsafe; ver order */
    uint64_t ckpt, dsafe, purge_ver;
    uint64_t left_out_ver; /* greatest version that a snapshot has left out: dropped by a restart */
    uint32_t ckpt_moves;   /* see feed_move_ckpt */
    uint64_t gone_ver;     /* greatest version of an object that is not here any more and is, or may
                              become, absent in PostgreSQL: see absent_ver */
    uint64_t replaced_ver; /* last version that took the place of one PostgreSQL may not have */
    uint64_t oldest_ms;    /* ptime of the oldest unsynced change, 0 = none */
    uint32_t *rewritten;   /* slots emitted and written again since */
    uint32_t rewritten_n, rewritten_cap;
    uint32_t verified_epoch; /* in which the checkpoint was seen to be one of this log */
    bool announced;          /* a note went out since it became non-empty */
    bool due;                /* somebody waits for PostgreSQL */
    bool reopened;           /* the checkpoint has not moved since the partition was opened */
    struct wait_list waits;  /* level database, in ver order */
    uint64_t asker;          /* feed_dest.asker of the last one */
    uint64_t given_ver;      /* greatest version given out to anybody */
    uint64_t shared_ver;     /* up to here it may have been given to others than the asker */
};

/* The checkpoint is another one from now on, under a name of its own: feed_proof in feed.c. */
static inline void feed_move_ckpt(struct feed *f, uint64_t ver)
{
    f->ckpt_moves += ver != f->ckpt;
    f->ckpt = ver;
}

/* Versions that no record of this log can have: between the end of one epoch and the start of the
 * next. A checkpoint in there was committed by a log that went on where this one did not. */
struct ver_gap {
    uint64_t after, before;
};
#define VER_GAPS_MAX 8u

/* Records of a partition with several copies that are in its log, and not known to be committed:
 * they may be cut off again, and are not seen. */
struct log_tail {
    bool kept;         /* the log is one of several copies */
    uint64_t ver;      /* everything up to here is published */
    uint64_t ptime;    /* of that record */
    uint64_t filling;  /* it is being replaced by a copy: slices taken so far, 0 = it is not */
    uint64_t dead_ver; /* recovery: end of a branch that was cut off before the snapshot */
    struct fb_buf bytes;
    size_t head;      /* in bytes */
    uint64_t log_seq; /* the write with what was recovered of it, see lane_recovered */
    bool voided;      /* this process noted in the log that what is before it is void */
};

struct part {
    struct ver_gap gaps[VER_GAPS_MAX]; /* the newest ones */
    uint32_t gap_n;
    uint16_t id;
    bool open;
    bool led_alone; /* by lane_open_partition, in this process */
    uint32_t epoch;
    uint64_t history;
    uint64_t last_ver, synced_ver, ptime;
    uint64_t tick_seq;     /* log sequence at which it was last put on lane.ticked */
    uint64_t ttl_count;    /* objects that expire */
    uint64_t group_end;    /* recovery: last ver of the GROUP being replayed */
    uint64_t snapshot_ver; /* recovery: records at or below are skipped */
    bool recovered;
    bool unsorted;    /* recovery: lists hold objects of a snapshot in the order of their slots */
    bool reconcile;   /* its objects are to be compared with the configuration */
    bool drop_mapped; /* clean copies of rows may be outdated: after a restart */
    struct feed **feeds; /* by nsid */
    uint32_t feed_cap;
    struct store_part *sp;
    struct copy *copy;  /* copies.c; NULL: this is the only one */
    uint32_t pending_n; /* with several copies: its entries of lane.pending */
    struct log_tail tail;
};

struct pending { /* unpublished version of a key */
    uint64_t hash;
    struct object *next;
    struct object_extra *extra;         /* the slot's, or new when the slot has none */
    uint64_t log_seq;                   /* of its tick */
    uint64_t group_last, changed_at_ms; /* become the extra's when it is published */
    uint32_t older, newer;              /* list in the order of writing */
    uint32_t below, above;              /* older, newer version of the same key */
};

struct pending_set {
    struct pending *e;
    uint32_t n, cap;
    uint32_t top, free, free_n; /* entries ever used since it was empty; those given back */
    uint32_t copies_n;          /* of partitions with several copies */
    uint32_t *table;            /* index + 1 of a key's newest version, open addressing */
    uint32_t table_cap;
    uint32_t oldest, newest;
};

struct synced_mark { /* fsync of log_seq makes everything up to ver of the partition synced */
    uint64_t log_seq, ver;
    uint16_t part;
};

struct load_entry; /* load.c */
struct loads {
    struct load_entry *entries; /* circular list of all, NULL = none */
    struct load_entry **table;
    uint32_t table_cap, count, waiters;
    size_t waiter_bytes;
    struct load_entry *drain_head, *drain_tail; /* to go on with; empty between ticks, most times */
    struct load_entry **by_index;
    uint32_t index_cap, index_n;
    uint32_t index_hint; /* where to look for a free index */
    uint32_t generation;
    uint64_t next_check_ns;
};

struct lane {
    struct fb_owner owner; /* the writer thread (I1) */
    struct lane_config config;
    struct store *store;
    struct store_writer *writer;
    struct lane_effects fx;
    struct lane_stats stats;
    const struct fb_nsset *nsset;
    struct ns_state *ns;
    uint16_t ns_n;
    uint16_t *nsid_of_conf;
    struct part **parts;       /* by partition, NULL = never ours */
    uint64_t askers;           /* numbers of feed_dest given so far */
    uint64_t mono_ns, wall_ms; /* wall_ms as clock.c lets it pass */
    uint64_t clock_since_ns;
    int64_t db_clock_ms; /* PostgreSQL's clock is the monotonic one and this */
    bool db_clock_known, clock_ready;
    uint32_t queue_us, load_us; /* of the request at hand: in the queue, waiting for a load */
    struct pending_set pending;
    struct fb_buf *log_to; /* where records go: fx.log or txn_log */
    struct fb_buf txn_log;
    struct fb_buf payload; /* reply being built */
    struct fb_buf value;   /* value being built */
    struct fb_buf txn_reps;
    struct synced_mark *marks;
    size_t mark_n, mark_cap, mark_first;
    struct wait_list durable, throttled;
    struct count_wait *counts; /* copy_count.c */
    struct held_answer *held;  /* feed_hold.c */
    uint32_t held_n;
    size_t held_bytes;
    uint64_t throttled_until_ns;
    struct loads loads;
    uint64_t next_tick_ns, next_note_ns, next_age_ns;
    uint32_t note_round;
    uint32_t expire_part, expire_slot, evict_part;
    bool disk_low;
    bool reconcile_due;    /* at the end of the tick */
    struct copies *copies; /* copies_impl.h; NULL: no partition has several */
};

/* One operation being evaluated. */
struct op {
    struct lane *l;
    struct part *p;
    struct ns_state *ns;
    const struct fb_req *req;
    struct fb_bytes key;
    uint64_t hash;
    uint64_t now;
    /* newest version, pending or published; may be a tombstone or negative; NULL = not resident */
    const struct object *cur;
    bool live;     /* cur has a value */
    bool admitted; /* admission was checked for the whole transaction */
    bool loaded;   /* a load was waited for */
    uint16_t nsid;
    uint8_t ns_len;
    bool wrote;
    uint64_t wrote_ver;
    struct fb_rep rep;
};

#define STAT_ADD(l, name, n)                                                                       \
    atomic_fetch_add_explicit(&(l)->stats.name, (uint64_t)(n), memory_order_relaxed)
#define STAT_SUB(l, name, n)                                                                       \
    atomic_fetch_sub_explicit(&(l)->stats.name, (uint64_t)(n), memory_order_relaxed)

/* Every entry into the core: by the writer thread alone. */
static inline void lane_check_writer(const struct lane *l)
{
    fb_owner_assert(&l->owner);
}

/* partition.c */
/* What of it is committed and on this disk. */
static inline uint64_t part_safe_ver(const struct part *p)
{
    return p->copy == NULL || p->synced_ver < p->tail.ver || FB_MUTANT(copy_feed_uncommitted)
               ? p->synced_ver
               : p->tail.ver;
}
/* The end of what may be seen of it. */
static inline uint64_t part_seen_ver(const struct part *p)
{
    return p->copy == NULL ? p->last_ver : p->tail.ver;
}
/* The rest of becoming a primary, when it may serve. Its EPOCH_START is in the log. */
void part_epoch_start(struct lane *l, struct part *p, uint32_t epoch, uint64_t history);
void part_open(struct lane *l, struct part *p);
/* Clean copies of rows may be older than the rows: after a time in which another node served it. */
void part_outdated(struct lane *l, struct part *p);
void part_close(struct lane *l, struct part *p);
struct part *part_get(struct lane *l, uint16_t id);
struct feed *feed_find(struct part *p, uint16_t nsid);
struct feed *feed_get(struct part *p, uint16_t nsid);
void part_gap(struct part *p, uint64_t after, uint64_t before);
bool part_in_gap(const struct part *p, uint64_t ver);
uint64_t part_now(const struct lane *l, const struct part *p);
uint16_t nsid_by_name(struct lane *l, struct fb_bytes name, bool add);
/* Namespace of a key under the present configuration. */
uint16_t nsid_of_key(struct lane *l, struct fb_bytes key, uint8_t *ns_len);
/* Key of (namespace, id) as typed, appended to out. */
void key_of_id(struct fb_buf *out, const struct ns_state *ns, struct fb_bytes id, uint8_t *ns_len);
/* install.c: the only places that change what is published. Takes next and extra (NULL = clean). */
void part_install(struct lane *l, struct part *p, struct object *next, struct object_extra *extra,
                  uint64_t hash);
void part_remove(struct lane *l, struct part *p, struct object *o);
/* A dirty object becomes clean: to the SIEVE list, extra freed. */
void part_clean(struct lane *l, struct part *p, struct object *o);
void extra_free(struct object_extra *x);
struct object_extra *slot_extra(struct part *p, const struct object *o);
/* Deadline of a clean copy of a mapped row. */
void mapped_deadline(struct lane *l, struct part *p, struct object *o);
/* From the dirty list to another one. */
void feed_list_move(struct part *p, struct feed *f, const struct object *o, enum feed_list to);
struct slot_list *feed_list_of(struct feed *f, const struct object_extra *x);
/* record.c */
void log_record(struct lane *l, struct part *p, struct fb_record *r);
/* The partition has records in this tick's log: it is synced with it. */
void log_mark(struct lane *l, struct part *p);
/* Its log was cut there. */
void log_mark_cut(struct lane *l, struct part *p, uint64_t ver);
/* log_tail.c */
void log_tail_push(struct part *p, struct fb_bytes record);
/* Is it applied, or in there? */
bool log_tail_has(const struct part *p, uint64_t ver);
void log_tail_cut(struct part *p, uint64_t ver);
/* Applies what is committed, GROUPs as a whole only. `end`: nothing follows the last record that
 * would make its GROUP whole. */
void log_tail_apply(struct lane *l, struct part *p, uint64_t com_ver, bool end);
/* What was published otherwise: `bytes` of it, up to the record `ver`. */
void log_tail_drop(struct part *p, size_t bytes, uint64_t ver, uint64_t ptime);
void log_tail_fini(struct part *p);
/* A note of this node's own in its log, no record of the partition. */
enum log_note {
    LOG_NOTE_COMMITTED, /* as far as tail.ver; and whether the log is one of several copies */
    LOG_NOTE_COPY,      /* all before is void; items of a snapshot follow, up to: */
    LOG_NOTE_COPY_END,
    LOG_NOTE_WIPED, /* all before is void */
};
void log_tail_note(struct lane *l, struct part *p, enum log_note note);
/* pending.c */
struct pending *pending_find(struct lane *l, struct fb_bytes key, uint64_t hash);
/* Newest version of a key, pending before published. */
const struct object *newest_object(struct lane *l, struct fb_bytes key, uint64_t hash);
/* Append a record for `next` (taken), give it its version and make it the newest pending one.
 * `changed`: columns this write changes. type: PUT, DEL or EXPIRE. Returns the version. */
uint64_t write_object(struct lane *l, struct part *p, struct object *next, uint64_t hash,
                      uint8_t type, const struct object *cur, uint64_t changed, bool fresh_base);
/* The version of the same key before it that is pending, too; NULL: none. */
struct pending *pending_below(struct lane *l, const struct pending *e);
/* What may be seen: everything of partitions with one copy, else what is committed. How many. */
uint32_t pending_publish(struct lane *l);
/* The partition is led by another node: what was not committed is forgotten here. */
void pending_drop(struct lane *l, struct part *p);
void pending_fini(struct lane *l);
/* request.c */
bool op_init(struct op *op, struct lane *l, struct part *p, const struct fb_req *req);
void op_refresh(struct op *op); /* look the object up again, expire it when due */
/* A reply for the request at hand, with the times that are known of it. */
struct fb_rep rep_new(const struct lane *l, uint32_t seq, uint8_t type);
void reply_now(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep);
void dest_touch(struct lane *l, struct reply_dest *dest);
void feed_dest_touch(struct lane *l, struct feed_dest *dest);

/* copy_fill.c: the partition has nothing any more; it is not open. */
void part_wipe(struct lane *l, struct part *p);
/* snapshot.c: one item of a snapshot. */
enum fb_status snapshot_item(struct lane *l, struct part *p, const struct fb_record *r,
                             struct fb_err *err);
/* copies.c: partitions with several copies */
void copy_void(struct lane *l, struct part *p); /* recovery: what was recovered so far */
/* The record was appended to the tick's log. */
void copy_logged(struct lane *l, struct part *p, uint64_t ver, uint64_t prev,
                 struct fb_bytes record);
void copy_logged_all(struct lane *l, struct part *p, struct fb_bytes records);
void copy_recovered(struct lane *l, struct part *p, const struct fb_record *r,
                    struct fb_bytes record);
void copy_synced(struct lane *l, struct part *p, uint64_t ver);
/* Log sequence from which on the log has everything that is not published. */
uint64_t copy_log_seq(const struct lane *l, const struct part *p);
/* Level a write has reached (I13). */
uint8_t copy_level(const struct part *p, uint64_t ver);
/* So much waits to be committed that nothing more is taken. */
bool copy_full(const struct lane *l, const struct part *p);
/* It is to hand over: nothing is let in. */
bool copy_held(const struct part *p);
/* No write at level `replicated` is possible and the namespace refuses less. */
#define COPIES_MISSING                                                                             \
    "NOREPLICAS Not enough good replicas to write: nothing happened, try again later"
/* asked: the request names the level itself, so nothing less will do. */
bool copy_refuses(const struct part *p, const struct ns_state *ns, uint8_t level, bool asked);
void copies_tick(struct lane *l);
void copies_events_clear(struct lane *l);
bool copies_busy(const struct lane *l);
uint64_t copies_log_bytes(const struct lane *l);
uint64_t copies_wait_bytes(const struct lane *l);
void copies_fini(struct lane *l);
/* copy_wait.c: replies that wait for commits and leases. What a reply rests on: */
struct copy_want {
    uint64_t wrote_ver; /* 0: it wrote nothing */
    uint64_t need;      /* version it has seen, 0 = only published ones */
    uint8_t level;      /* of a write: DURABLE at most */
    bool asked;         /* for that level: a lower one is no success */
    uint8_t reads;      /* enum fb_reads */
    uint64_t delay_ns;  /* to be held back so long */
};
void copy_reply(struct lane *l, struct part *p, struct reply_dest *dest, const struct fb_rep *rep,
                const struct copy_want *want);

/* feed_hold.c: batches and acks whose newest versions are not on disk yet */
#define FEED_HELD_MAX 4096u
#define FEED_HELD_BYTES_MAX (64u << 20)
bool feed_may_hold(const struct lane *l);
/* Answer `dest` with `b` (copied) once synced_ver of the partition has reached `need`. */
void feed_hold(struct lane *l, struct part *p, struct feed_dest *dest,
               const struct fb_feed_batch *b, uint64_t need);
/* The same for the ack of a verdict whose record is a->ver; and without waiting. */
void feed_hold_ack(struct lane *l, struct part *p, struct feed_dest *dest,
                   const struct fb_verdict_ack *a);
void feed_ack(struct lane *l, struct feed_dest *dest, const struct fb_verdict_ack *a);
void feed_held_synced(struct lane *l);
void feed_held_fini(struct lane *l);
void request_run(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req,
                 bool loaded);
void reply_error(struct lane *l, struct reply_dest *dest, uint32_t seq, uint8_t err,
                 const char *text);
/* Level a request waits for. */
uint8_t level_wanted(const struct op *op);
/* exec_*.c: evaluate into op->rep, write through put/del below. */
void exec_op(struct op *op);
void exec_string(struct op *op);
void exec_hash(struct op *op);
void exec_key(struct op *op);
void exec_read(struct op *op);
void op_err(struct op *op, const char *fmt, ...) FB_PRINTF(2, 3);
void op_int(struct op *op, int64_t n);
void op_ok(struct op *op);
void op_nil(struct op *op);
void op_bulk(struct op *op, struct fb_bytes v);
bool op_arg(const struct op *op, uint32_t index, struct fb_bytes *out);
bool op_wrong_type(struct op *op, uint8_t kind); /* true: the error is set */
/* False: refused, op->rep has the error. */
bool op_put(struct op *op, uint8_t kind, struct fb_bytes value, int64_t expires_ms,
            uint64_t changed);
bool op_del(struct op *op);
/* row.c: rules of namespaces. True: refused, error set. */
bool row_refuses_op(struct op *op);
/* Of an operation that would delete by what it leaves: HDEL of the last field. */
bool kept_refuses_del(struct op *op);
bool row_refuses_string(struct op *op, struct fb_bytes value, uint64_t *changed);
bool row_refuses_fields(struct op *op, struct fb_bytes hash_value, uint64_t changed_in,
                        uint64_t *changed);
uint64_t row_writable_mask(const struct ns_state *ns);
/* admission.c */
bool admission_refuses(struct lane *l, const struct ns_state *ns, struct fb_buf *why);
/* How long the answer of a write that grows is to be held back, 0 = not at all; ns NULL: for what
 * the node as a whole holds. */
uint64_t admission_delay_ns(const struct lane *l, const struct ns_state *ns);
bool op_grows(uint16_t op);
/* txn.c */
void txn_run(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req,
             bool loaded);
/* load.c */
bool load_needed(const struct op *op);
/* Queue behind running loads, or start the loads that are needed. True: the request was queued (or
 * refused). */
bool load_defer(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req);
void loads_tick(struct lane *l);
/* Waiters that were left when the tick's log was full. */
void loads_drain_rest(struct lane *l);
/* After a change of the configuration: all loads are asked again; earlier answers are ignored. */
void loads_configure(struct lane *l);
bool key_is_loading(struct lane *l, struct fb_bytes key, uint64_t hash);
void loads_close_partition(struct lane *l, uint16_t part);
/* Does anybody wait for a load of the partition? */
bool loads_awaited(const struct lane *l, uint16_t part);
void loads_fini(struct lane *l);
/* copy_count.c: FB_OP_COPIES, of partitions with one copy too. run: answers whom it can, at the end
 * of what may change the number of copies or the time. */
void count_request(struct lane *l, struct reply_dest *dest, struct part *p,
                   const struct fb_req *req);
void count_run(struct lane *l);
void count_fini(struct lane *l);
/* verdict.c: the newest version of a parked object once more, under a new version, which is
 * returned.
 */
uint64_t part_retry(struct lane *l, struct part *p, const struct object *o);
/* waits.c: replies owed */
void wait_durable(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep);
/* late_is_nil: time up answers nil (FB.SYNC, which wrote nothing), else the level reached by then.
 */
void wait_database(struct lane *l, struct part *p, struct feed *f, struct reply_dest *dest,
                   const struct fb_rep *rep, uint64_t ver, uint64_t hash, uint64_t timeout_ns,
                   bool late_is_nil);
/* One reply for all objects of the partition that were written in this tick from version `first`
 * on; at least one. */
void wait_database_group(struct lane *l, struct part *p, struct reply_dest *dest,
                         const struct fb_rep *rep, uint64_t first, uint64_t timeout_ns);
/* The answer of a write is held back while dirty bytes are above the soft limit (PROTOCOL 17). */
void wait_throttled(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep,
                    uint64_t delay_ns);
void waits_throttled(struct lane *l);
uint64_t waits_throttled_ns(const struct lane *l);
void waits_synced(struct lane *l, uint64_t log_seq);
void waits_dsafe(struct lane *l, struct feed *f);
/* A version of the object with this hash was replaced by `ver`, and no feed has had more of it than
 * `emitted_ver` (0 = nothing): the checkpoint may pass what was replaced without PostgreSQL having
 * it. Who waits for that waits for `ver` (I13). */
void waits_rewritten(struct feed *f, uint64_t hash, uint64_t ver, uint64_t emitted_ver);
void waits_parked(struct lane *l, struct feed *f, uint64_t hash, uint64_t ver,
                  const struct park_info *park);
void waits_tick(struct lane *l, struct part *p, struct feed *f);
void waits_close(struct lane *l, struct part *p);
void waits_fini(struct wait_list *w);
uint64_t waits_bytes(const struct wait_list *w);
/* feed.c, sync_pos.c */
void feed_note(struct lane *l, struct part *p, struct feed *f);
/* Asks the sync processes to look at a feed that has nothing to give. */
void feed_note_empty(struct lane *l, struct part *p, struct feed *f);
/* feed_verify.c: asks the sync processes for the checkpoints of a partition that was opened. */
void feeds_verify(struct lane *l, struct part *p);
void feed_due(struct lane *l, struct part *p, struct feed *f);
/* The lane's number for a sync process's connection. */
uint64_t feed_asker(struct lane *l, struct feed_dest *dest);
void feeds_tick(struct lane *l);
/* How old the oldest unsynced change of each namespace with max_dirty_age is. */
void ages_tick(struct lane *l);
/* by: feed_dest.asker of the one whose transaction it was, 0 = not known */
void sync_pos(struct lane *l, struct part *p, struct feed *f, uint64_t ver, uint64_t dsafe,
              uint64_t xid, uint64_t by);
/* feed_regress.c: PostgreSQL is back at `ver`, below the feed's checkpoint. regressed logs and
 * counts it; regress is what it means for the objects, also in a replay (live = false). */
void feed_regressed(struct lane *l, struct part *p, struct feed *f, uint64_t ver);
void feed_regress(struct lane *l, struct part *p, struct feed *f, uint64_t ver, bool live);
void part_unpark(struct lane *l, struct object *o, struct object_extra *x);
/* PostgreSQL is behind what was dropped here: nothing more is dropped until it has caught up. */
bool feed_frozen(const struct feed *f);
/* An object at `ver` is not here any more, and only PostgreSQL has it: loads are held against that
 * (I27, I28). Of epoch 0 it was a row that no record of ours wrote. */
static inline void feed_purged(struct feed *f, uint64_t ver)
{
    if (fb_ver_epoch(ver) != 0 && ver > f->purge_ver)
        f->purge_ver = ver;
}
/* Effects of a checkpoint that was at `was` on objects; `live` also appends records for re-based
 * objects. */
void synced_apply(struct lane *l, struct part *p, struct feed *f, uint64_t was, uint64_t xid,
                  bool live);
/* A version of the object went, or may have gone, to PostgreSQL, and nobody is sure to hear of it.
 */
void maybe_applied(struct object_extra *x, uint64_t ver, uint8_t kind);
/* The row of a dirty object is not known any more: found out, or put, at its next apply. */
void base_forget(struct lane *l, struct part *p, struct object *o, struct object_extra *x);
/* The slot's object was emitted and is written again. */
void rewritten_note(struct feed *f, struct object_extra *x, uint32_t slot);
/* reconcile.c: the partitions marked for it, at once, or at the end of the tick when versions are
 * pending. */
void reconcile_soon(struct lane *l);
/* recover.c */
/* After the last item of a snapshot, before anything else of the partition. */
void snapshot_sort(struct part *p);
/* Does the key of a record about an object belong to the record's partition? */
bool recover_key_ok(const struct lane *l, const struct fb_record *r);
void recover_park(struct lane *l, struct part *p, const struct fb_record *r);
/* What makes a record impossible in any log of the partition, NULL: nothing. */
const char *record_wrong(struct lane *l, const struct fb_record *r);
/* What the record says becomes so; record_wrong found nothing. */
void record_apply(struct lane *l, struct part *p, const struct fb_record *r);
/* clock.c: what of the wall clock may become the partitions' time. */
uint64_t clock_held(struct lane *l, uint64_t mono_ns, uint64_t wall_ms);
/* expire.c, evict.c */
void expire_object(struct lane *l, struct part *p, const struct object *o, uint64_t hash);
bool object_expired(const struct object *o, uint64_t now);
void expire_tick(struct lane *l);
void evict_tick(struct lane *l, uint32_t steps);
bool evictable(struct lane *l, const struct object *o);
/* What stands for a version while the key `op` names is absent, for WATCH. It grows whenever the
 * key may have been there in between: the version of its tombstone, once that is dropped the
 * greatest one of its feed that went, and never less than the start of the epoch. It may also grow
 * without the key having been there. */
uint64_t absent_ver(const struct op *op);
/* Evictable objects only: purge_ver follows. */
void evict_object(struct lane *l, struct part *p, struct object *o);

#endif
