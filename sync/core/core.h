/* The write-behind core of a sync process: which feeds to ask, what to put into one transaction,
 * what to do with its outcome (PROTOCOL 10, 11, 12). Sans-IO: time, notes, batches and results come
 * in; frames for nodes, operations for PostgreSQL and events for the log come out.
 *
 * A feed is one (partition, namespace). Feeds are spread over `lanes` (one PostgreSQL connection
 * each); a lane has at most one operation under way and meanwhile collects the next transaction.
 * The life of a feed:
 *
 *   IDLE -> WAITING (until sync_interval after its oldest change) -> ASKED -> HAVE -> APPLYING ->
 * IDLE or WAITING
 *                                                                     \-> PARKING, VERDICT (acks of
 * the node) -> HAVE or WAITING
 *
 * After every call: send what sync_core_peer_frames gives, then run what sync_core_take_op gives,
 * then log the events.
 *
 * Thread: one, the event thread. Operations are read by their worker while they are under way; the
 * core leaves them alone until sync_core_result.
 */
#ifndef FB_SYNC_CORE_CORE_H_
#define FB_SYNC_CORE_CORE_H_

#include "sync/pg/pg.h"

struct sync_core;

#define SYNC_LANES_MAX 16u
#define SYNC_MEMBERS_MAX 64u
#define SYNC_PEER_NONE UINT32_MAX

struct sync_core_config {
    char name[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;
    uint32_t lanes; /* 1..SYNC_LANES_MAX */
    uint64_t seed;  /* of the jitter in back-offs */
};

struct sync_core *sync_core_new(const struct sync_core_config *config);
/* No operation may be under way. */
void sync_core_free(struct sync_core *s);

/* Now, monotonic milliseconds; never decreases. Call before the inputs of a tick. */
void sync_core_now(struct sync_core *s, uint64_t now_ms);
/* Look at timers and start what is due. Call once after the inputs of a tick. */
void sync_core_step(struct sync_core *s);
/* When to call sync_core_step again at the latest; UINT64_MAX = nothing is waiting. */
uint64_t sync_core_deadline_ms(const struct sync_core *s);

/* Namespaces, schemas[i] of namespaces->ns[i] (NULL = not known yet or unmapped), paused[i]. Keeps
 * the pointers until the next call of sync_core_configure; operations handed out carry them until
 * their result. */
void sync_core_configure(struct sync_core *s, const struct fb_nsset *namespaces,
                         const struct fb_schema *const *schemas, const bool *paused);
/* Live sync processes; ourselves are added when missing. At most SYNC_MEMBERS_MAX are looked at. */
void sync_core_members(struct sync_core *s, const char (*names)[FB_NAME_BYTES_MAX + 1],
                       size_t count);
/* No new transactions from now on (shutdown). */
void sync_core_drain(struct sync_core *s);
/* True when no operation is under way. */
bool sync_core_quiet(const struct sync_core *s);

/* Nodes. Gives the peer's number, the same for the same name. down: what was asked there is
 * forgotten. */
uint32_t sync_core_peer_up(struct sync_core *s, const char *name, uint64_t inc);
void sync_core_peer_down(struct sync_core *s, uint32_t peer);
/* Encoded frames for that peer, empty if none. The caller takes the contents (fb_conn_send swaps).
 */
struct fb_buf *sync_core_peer_frames(struct sync_core *s, uint32_t peer);
uint32_t sync_core_peer_count(const struct sync_core *s);

/* Messages of a node, already decoded. Views are copied. */
void sync_core_note(struct sync_core *s, uint32_t peer, const struct fb_feed_note *note);
void sync_core_batch(struct sync_core *s, uint32_t peer, const struct fb_feed_batch *batch);
void sync_core_ack(struct sync_core *s, uint32_t peer, const struct fb_verdict_ack *ack);

/* PostgreSQL answers somebody again: lanes that wait after an outage try now. */
void sync_core_db_answers(struct sync_core *s);

/* PostgreSQL answered a question asked at asked_ms (of the core's clock). From time to time, and at
 * least as often as dsafe is to move on in mode lag. */
void sync_core_standbys(struct sync_core *s, const struct pg_standbys *seen, uint64_t asked_ms);

/* Everything of namespace `ns` (NULL = all) is due now. */
void sync_core_flush(struct sync_core *s, const char *ns);
/* Feeds of `ns` (NULL = all) that are not idle. */
size_t sync_core_busy(const struct sync_core *s, const char *ns);

enum sync_op_kind {
    SYNC_OP_ATTACH, /* pg_connect if needed, pg_read_checkpoints into `ckpts`, then
                       pg_read_standbys into `standbys` */
    SYNC_OP_APPLY,  /* pg_apply(batch); when it is PG_CONFLICT also pg_conflict_put(batch), whose
                       failure  is then the result */
    SYNC_OP_PARK,   /* pg_dead_letter_put(feed 0, object 0 of batch, park.sqlstate, park.message) */
    SYNC_OP_BARRIER,       /* pg_barrier(batch) */
    SYNC_OP_CONFLICT_DONE, /* pg_conflict_done for each of `resolved` */
    SYNC_OP_COUNT
};

struct sync_ckpt {
    uint16_t part;
    char ns[FB_NAME_BYTES_MAX + 1];
    uint64_t history, ver;
};

struct sync_resolved {
    struct sync_resolved *next;
    char ns[FB_NAME_BYTES_MAX + 1];
    uint64_t ver;
    uint8_t outcome; /* enum fb_outcome */
    uint16_t id_n;
    uint8_t id[FB_KEY_BYTES_MAX];
};

struct sync_op {
    enum sync_op_kind kind;
    uint32_t lane;
    struct pg_batch batch; /* feeds and their objects are the core's */
    struct pg_error park;
    struct sync_resolved *resolved; /* CONFLICT_DONE: chain, the core's */
    struct sync_ckpt *ckpts;        /* ATTACH: filled by the worker with sync_op_add_checkpoint */
    size_t ckpt_count, ckpt_cap;
    struct pg_standbys standbys; /* ATTACH: filled by the worker */
    uint64_t number;             /* in the order they were made */
    enum pg_class class;         /* result */
    struct pg_error err;
    uint64_t took_ns; /* filled by the worker, for metrics */
};

/* The next operation of a lane, NULL if none. It is the caller's; it goes to sync_core_result
 * exactly once, and then to pg_batch_fini(&op->batch) and sync_op_free. */
struct sync_memory {
    uint64_t feeds;   /* feeds, namespaces, peers */
    uint64_t batches; /* objects on their way to PostgreSQL */
};
/* Walks all feeds: about once a second. */
void sync_core_memory(const struct sync_core *s, struct sync_memory *m);
struct sync_op *sync_core_take_op(struct sync_core *s, uint32_t lane);
void sync_core_result(struct sync_core *s, struct sync_op *op);
void sync_op_free(struct sync_op *op);
/* pg_checkpoint_fn with the operation as arg. Worker thread. */
void sync_op_add_checkpoint(void *op, uint16_t part, const char *ns, uint64_t history,
                            uint64_t ver);

enum sync_event_kind {
    SYNC_EVENT_DB_UP,             /* a lane is attached */
    SYNC_EVENT_DB_DOWN,           /* text: why; once per change */
    SYNC_EVENT_NAMESPACE_STOPPED, /* ns, text; once until it works again. Read its schema again */
    SYNC_EVENT_NAMESPACE_BACK,    /* ns */
    SYNC_EVENT_PARKED,            /* ns, part, ver, text: SQLSTATE (the message may hold the row) */
    SYNC_EVENT_NO_LETTER,         /* ns, part, ver = how many parked objects are tried again */
    SYNC_EVENT_LOST,              /* ns, part: another process moved the checkpoint */
    SYNC_EVENT_CONFLICT,          /* ns, part, ver = how many */
    SYNC_EVENT_BAD_BATCH,         /* ns, part, text: what a node sent makes no sense */
    SYNC_EVENT_RESYNC,      /* ns, part, ver = checkpoint: the node cannot continue from there */
    SYNC_EVENT_AHEAD,       /* ns, part, ver = checkpoint: PostgreSQL is ahead of the node's log */
    SYNC_EVENT_REGRESSED,   /* ns, part, ver = checkpoint now, text: what it was */
    SYNC_EVENT_UNCONFIRMED, /* text: no synchronous standby confirmed; once until one does */
    SYNC_EVENT_SAFETY,      /* text: the mode of dsafe, ver = standbys; once per change */
    SYNC_EVENT_COUNT
};
struct sync_event {
    enum sync_event_kind kind;
    uint16_t part;
    uint64_t ver;
    char ns[FB_NAME_BYTES_MAX + 1];
    char text[400];
};
bool sync_core_take_event(struct sync_core *s, struct sync_event *out);

struct sync_ns_status {
    const char *name;
    uint64_t feeds; /* not idle, ours */
    uint64_t dirty; /* objects, as the nodes said last */
    uint64_t oldest_age_ms;
    uint64_t rows, batches, parked, conflicts, lost;
    bool paused, stopped;
    const char *last_error; /* "" = none */
};
size_t sync_core_ns_count(const struct sync_core *s);
/* Views valid until the next call that changes the core. */
void sync_core_ns_status(const struct sync_core *s, size_t i, struct sync_ns_status *out);

struct sync_core_stats {
    uint64_t rows_updated, rows_inserted, rows_deleted;
    uint64_t transactions;
    uint64_t retries[PG_UNKNOWN + 1];                                     /* by class */
    uint64_t resolved[FB_CONFLICT_LAST_WRITE_WINS + 1][FB_OUTCOME_COUNT]; /* by policy, outcome */
    uint64_t regressions; /* feeds of which PostgreSQL lost commits */
    uint64_t unconfirmed; /* commits that no synchronous standby confirmed */
};
const struct sync_core_stats *sync_core_stats(const struct sync_core *s);
bool sync_core_db_up(const struct sync_core *s);

/* How dsafe is found (PROTOCOL 11). */
enum sync_safety { SYNC_SAFETY_SINGLE, SYNC_SAFETY_SYNC, SYNC_SAFETY_LAG };
struct sync_safety_status {
    enum sync_safety mode;
    bool automatic; /* database_safety = auto */
    uint64_t lag_ms;
    bool sync_names;
    uint32_t standbys;
    uint32_t unsafe_feeds; /* with something committed that is not safe yet */
    bool unconfirmed;
};
void sync_core_safety(const struct sync_core *s, struct sync_safety_status *out);
const char *sync_safety_word(enum sync_safety mode);

/* Rank of `self` among members for a feed: 0 = it is ours. Pure (highest random weight). */
uint32_t sync_feed_rank(const char (*members)[FB_NAME_BYTES_MAX + 1], size_t count,
                        const char *self, uint16_t part, const char *ns);

#endif
