/* Inside of the sync core. Only sync/core includes this. */
#ifndef FB_SYNC_CORE_STATE_H_
#define FB_SYNC_CORE_STATE_H_

#include "proto/wire/frame.h"
#include "sync/core/core.h"

/* Times in ms. */
#define ASK_TIMEOUT 5000u
#define ACK_TIMEOUT 10000u
#define OUTAGE_BACKOFF_MIN 100u
#define OUTAGE_BACKOFF_MAX 5000u
#define NAMESPACE_BACKOFF_MIN 1000u
#define NAMESPACE_BACKOFF_MAX 30000u
/* Looking whether a namespace that stopped works again: the other namespaces of the lane wait for
 * so long, each time. */
#define STOPPED_LOCK_WAIT 250u
#define FEED_BACKOFF_MIN 250u
#define FEED_BACKOFF_MAX 5000u
/* A feed of somebody else that stays unsynced this much longer than its interval is taken over,
 * rank by rank: a paused process still looks alive to the coordinator. The checkpoint decides, so a
 * needless takeover costs one lost compare. */
#define TAKEOVER_GRACE 5000u
#define FRAME_SOFT_BYTES (8u << 20)
#define EVENTS_MAX 256u
#define RESOLVED_MAX 65536u
#define FRAME_KIND_NONE 0u

enum feed_state {
    FEED_IDLE,
    FEED_WAITING,
    FEED_ASKED,
    FEED_HAVE,
    FEED_APPLYING,
    FEED_PARKING,
    FEED_VERDICT
};

#define SAFE_BUCKETS_A_LAG 8u
#define SAFE_BUCKETS (SAFE_BUCKETS_A_LAG + 2)
/* Checkpoints committed from `since` on, for a part of the lag; the newest of them. */
struct safe_bucket {
    uint64_t ver, since;
};

struct sync_ns;

struct feed {
    struct feed *prev, *next; /* in lane->active while not IDLE */
    struct sync_ns *ns;
    uint16_t part;
    uint32_t lane;
    enum feed_state state;
    uint64_t until;      /* WAITING: due; ASKED, VERDICT: time-out */
    uint64_t backoff;    /* present back-off of this feed, 0 = none */
    uint64_t not_before; /* end of it */
    /* As the node said last. */
    uint32_t peer, epoch;
    uint64_t history, dirty, oldest_ms, last_ver;
    bool hurry; /* a note wanted more at once while a batch was under way */
    bool stray; /* the answer no longer matters: peer down, time-out */
    /* The checkpoint. */
    bool ckpt_known;
    bool resynced; /* RESYNC was answered to a fresh checkpoint before */
    uint64_t ckpt;
    uint32_t lost; /* compares lost in a row */
    /* The batch in hand: objects[first .. count). */
    struct fb_buf bytes;
    struct fb_feed_object *objects;
    size_t count, cap, first;
    uint64_t batch_history, scan_end;
    bool last;
    bool solo;  /* in a transaction of its own */
    bool held;  /* a statement with rows of it was refused as its namespace's, perhaps for a lock */
    size_t bad; /* the first `bad` objects from `first` on fail as a whole; 0 = not bisecting */
    uint64_t fk_since; /* 0 = no foreign key failure */
    /* The transaction under way. */
    size_t taken;
    uint64_t next_ver;
    uint64_t attach_ver;  /* while checkpoints are read: what PostgreSQL has, 0 = no row */
    uint64_t unsure;      /* ver of a commit whose outcome is unknown, 0 = none */
    uint64_t high;        /* greatest checkpoint PostgreSQL ever said */
    uint64_t behind;      /* checkpoint the node knows, above what PostgreSQL said; 0 = none */
    uint64_t proof;       /* its name for that one */
    uint64_t behind_mark; /* op_number then: only a later reading tells more */
    /* What is committed and may still be lost in a fail-over (safe.c). */
    uint64_t dsafe;
    struct feed *unsafe_prev, *unsafe_next;
    bool unsafe; /* on sync_core.unsafe */
    uint64_t unsafe_ver, unsafe_mark, unsafe_server;
    uint32_t bucket_n;
    struct safe_bucket bucket[SAFE_BUCKETS];
    /* Verdicts under way. */
    uint32_t acks;
    bool park_acked;
    uint64_t verdict_first, verdict_last; /* their numbers */
    uint32_t *verdict_object;             /* conflicts: object of each number */
    uint32_t verdict_cap;
    struct pg_error park;
};

struct sync_ns {
    char name[FB_NAME_BYTES_MAX + 1];
    const struct fb_namespace *cfg; /* NULL = no longer configured */
    const struct fb_schema *schema;
    uint64_t mapping; /* fb_schema_mapping of cfg; kept while it is gone */
    bool paused, stopped;
    uint32_t active; /* feeds that are not idle */
    uint64_t not_before, backoff;
    struct feed **feeds; /* FB_PARTITIONS_MAX, by partition */
    uint64_t rows, batches, parked, conflicts, lost;
    char last_error[400];
};

enum lane_state { LANE_DOWN, LANE_READY };

struct sync_lane {
    enum lane_state state;
    bool want_attach; /* read the checkpoints again before anything else */
    uint64_t not_before, backoff;
    struct feed *head, *tail; /* active feeds, in order of arrival */
    uint32_t asked;
    uint64_t collect_since;         /* when nodes were asked last */
    bool was_solo;                  /* the last transaction was that of a feed alone */
    struct sync_op *op;             /* made, not taken yet */
    bool busy;                      /* an operation is made or under way */
    uint64_t server;                /* pg_standbys.server of its connection */
    struct sync_resolved *resolved; /* conflicts whose outcome is to be written */
    uint32_t resolved_count;
};

struct sync_peer {
    char name[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;
    bool up;
    struct fb_buf out;
    uint32_t open; /* kind of the unfinished frame, FRAME_KIND_NONE = none */
    size_t mark;
    uint32_t items;
};

struct sync_core {
    struct sync_core_config config;
    uint64_t now;
    uint64_t random;
    bool draining, db_up, db_said;
    struct sync_ns *ns[FB_NAMESPACES_MAX];
    size_t ns_count;
    struct sync_lane lanes[SYNC_LANES_MAX];
    struct sync_peer *peers[FB_NODES_MAX];
    uint32_t peer_count;
    char members[SYNC_MEMBERS_MAX][FB_NAME_BYTES_MAX + 1];
    size_t member_count;
    uint64_t verdicts;  /* last number given */
    uint64_t op_number; /* of the operation made last */
    enum fb_safety safety;
    uint64_t safety_lag_ms;
    struct pg_standbys standbys; /* as PostgreSQL said last */
    bool standbys_known, standby_seen, unconfirmed;
    struct feed *unsafe; /* feeds with something that is not safe yet */
    uint32_t unsafe_count;
    uint64_t barrier_at, barrier_backoff;
    struct sync_event events[EVENTS_MAX];
    size_t event_head, event_count;
    struct sync_core_stats stats;
};

/* core.c */
void sync_event_put(struct sync_core *s, enum sync_event_kind kind, const struct feed *f,
                    uint64_t ver, const char *text);
void sync_event_ns(struct sync_core *s, enum sync_event_kind kind, const struct sync_ns *ns,
                   const char *text);
uint64_t sync_backoff(struct sync_core *s, uint64_t *backoff, uint64_t min, uint64_t max);
struct sync_ns *sync_ns_find(struct sync_core *s, struct fb_bytes name);

/* peer.c: begin an item of a frame of `kind`; NULL when the peer is not connected */
struct fb_buf *sync_peer_item(struct sync_core *s, uint32_t peer, enum fb_frame_kind kind);

/* feed.c */
struct feed *sync_feed_get(struct sync_core *s, struct sync_ns *ns, uint16_t part);
struct feed *sync_feed_find(struct sync_core *s, struct fb_bytes ns, uint16_t part);
void sync_feed_state(struct sync_core *s, struct feed *f, enum feed_state state);
void sync_feed_drop_batch(struct feed *f);
/* Forget the batch; ask again after `delay` ms. */
void sync_feed_again(struct sync_core *s, struct feed *f, uint64_t delay);
void sync_feed_back_off(struct sync_core *s, struct feed *f);
bool sync_feed_may_run(const struct sync_core *s, const struct feed *f);
void sync_feed_ask(struct sync_core *s, struct feed *f, uint32_t max);
void sync_feed_timeouts(struct sync_core *s, struct sync_lane *l);
void sync_feeds_forget_checkpoints(struct sync_core *s);

/* outcome.c: what the result of a transaction means */
void sync_apply_outcome(struct sync_core *s, struct sync_op *op);
void sync_park_outcome(struct sync_core *s, struct sync_op *op);
void sync_attach_outcome(struct sync_core *s, struct sync_op *op);
/* Nothing stops the namespace any more. */
void sync_ns_works(struct sync_core *s, struct sync_ns *ns);
void sync_barrier_outcome(struct sync_core *s, struct sync_op *op);
void sync_lane_outage(struct sync_core *s, uint32_t lane, const char *why);

/* Tells the node checkpoint and dsafe of the feed. */
void sync_feed_tell(struct sync_core *s, struct feed *f, uint64_t xid);

/* safe.c */
enum sync_safety sync_safe_mode(const struct sync_core *s);
/* f->ckpt was committed by us, or read in PostgreSQL (other_server: on a new connection). */
void sync_safe_committed(struct sync_core *s, struct feed *f, bool replicated);
void sync_safe_read(struct sync_core *s, struct feed *f, bool other_server);
/* The result of a transaction or a barrier: what was committed before it may be safe now. */
void sync_safe_outcome(struct sync_core *s, const struct sync_op *op);
void sync_safe_standbys(struct sync_core *s, const struct pg_standbys *seen);
void sync_safe_forget(struct sync_core *s, struct feed *f);
/* A feed of this lane to make a barrier with, NULL = none is wanted now. */
struct feed *sync_safe_barrier(struct sync_core *s, uint32_t lane);
void sync_safe_barrier_later(struct sync_core *s);
uint64_t sync_safe_deadline(const struct sync_core *s);

/* resolved.c */
void sync_conflict_resolved(struct sync_core *s, struct feed *f, uint64_t number, uint8_t outcome);
void sync_conflict_done(struct sync_core *s, struct sync_op *op);
void sync_resolved_free(struct sync_resolved *r);

#endif
