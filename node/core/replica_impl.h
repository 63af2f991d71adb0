/* Inside of the replica stream: state of a replica and the calls between its files.
 *
 * Thread: the lane's writer, always.
 */
#ifndef FB_NODE_CORE_REPLICA_IMPL_H_
#define FB_NODE_CORE_REPLICA_IMPL_H_

#include "node/core/replica.h"
#include "proto/wire/record.h"

#define SLOTS_MAX 16u
_Static_assert(FB_REPLICAS_MAX * 2 + 1 <= SLOTS_MAX, "a set and its learners, this node left out");

/* The shape of a log: two logs that both have a version are the same up to it, and an epoch has no
 * gaps. Older runs than there is room for are forgotten. */
struct runs {
    uint64_t last; /* end of the log, 0 = empty */
    uint32_t n;
    struct fb_tail_run r[FB_TAIL_RUNS_MAX];
};
bool runs_has(const struct runs *s, uint64_t ver);
bool runs_may_have(const struct runs *s, uint64_t ver); /* or it is too long ago to say */
void runs_append(struct runs *s, uint64_t ver, uint64_t prev);
void runs_cut(struct runs *s, uint64_t ver);
/* Greatest version that is in both; 0 = none known. */
uint64_t runs_match(const struct runs *s, struct fb_bytes theirs);

/* The newest records of all partitions of the lane, in one ring; the oldest ones make room. */
struct tail_part {
    uint64_t first, last; /* places in the ring, 0 = none */
};
struct tail {
    uint8_t *p;         /* NULL: nothing was ever kept */
    size_t cap, max;    /* it grows up to max before anything is dropped */
    uint64_t head, end; /* places only grow; modulo cap is where they are */
    struct tail_part *parts;
};
struct tail_entry { /* before the record's bytes */
    uint64_t next;  /* of the same partition, 0 = none yet */
    uint64_t ver, prev;
    uint32_t n;    /* bytes of the record; UINT32_MAX: filler, of `ver` bytes in all */
    uint16_t part; /* FB_PART_NONE: cut off */
    uint16_t unused;
};
void tail_init(struct tail *t, size_t max, uint32_t partitions);
void tail_fini(struct tail *t);
void tail_put(struct tail *t, uint16_t part, uint64_t ver, uint64_t prev, struct fb_bytes record);
void tail_cut(struct tail *t, uint16_t part, uint64_t ver);
/* The record that follows `ver`, or NULL. *at: place of `ver` itself or 0, a hint; on return that
 * of what is returned. */
const struct tail_entry *tail_after(const struct tail *t, uint16_t part, uint64_t ver,
                                    uint64_t *at);

/* A member of the set or a learner, as its primary sees it: one process, not a node (I16). */
struct slot {
    bool used, learner;
    bool matched; /* it is known what it has: records follow */
    bool lost;    /* what it needs is not in the tail any more */
    bool copying; /* it gets all there is */
    uint16_t node;
    uint64_t inc; /* 0: a learner that is not connected */
    uint64_t sent_ver, sent_at;
    uint64_t acked_ver, synced_ver; /* in this epoch */
    uint64_t token;
    uint64_t lease_from_ns; /* own clock, when the newest append it acknowledged was sent */
    uint64_t heard_ns, beat_ns;
    uint64_t told_com_ver;
};

struct cas {
    bool open; /* from before it is asked for until another revision was seen */
    bool asked;
    struct fb_record_event event;
    uint16_t pending;  /* the set it would make */
    uint64_t rev;      /* it compares */
    uint64_t goal_ver; /* synced first, 0 = nothing */
    uint64_t next_ns;
};

struct replica {
    struct replica_lane *rl;
    uint16_t part;
    enum replica_role role;
    uint32_t epoch; /* accepted: never goes back (I2) */
    uint64_t history;
    uint64_t rev; /* of `rec` */
    struct fb_part_record rec;
    struct runs runs;
    uint64_t com_ver, written_ver, synced_ver;
    uint32_t fx;
    uint64_t cut_to;
    struct replica *next_touched, *next_hot, *next_unwritten;
    bool touched, hot, unwritten;
    bool dropped; /* replica_dropped, and not filled since */

    /* backup, learner */
    uint16_t lead; /* node that leads `epoch`, REPLICA_NODE_NONE = not heard yet */
    uint64_t lead_inc;
    uint64_t match_ver;    /* the same as its log up to here */
    uint64_t lead_com_ver; /* committed there */
    uint64_t token, sent_ns;
    uint64_t heard_ns;
    bool ack_due;
    /* promised not to open before: to the newest primary, and to those before it */
    uint64_t promise_ns, promise_before_ns;
    uint32_t promise_epoch;
    uint32_t goodbye_epoch; /* whose primary reads no more under its lease */

    /* primary */
    uint64_t start_ver; /* of its EPOCH_START */
    uint16_t known;     /* slots of the recorded set */
    bool probe;         /* a read waits for a token that is not sent yet */
    struct cas cas;
    struct slot slots[SLOTS_MAX];
};

struct replica_lane {
    struct replica_config config;
    struct replica **parts;
    struct tail tail;
    struct replica_node nodes[FB_NODES_MAX];
    uint32_t node_n;
    uint64_t token; /* of the last flush */
    uint64_t tick_ns;
    uint64_t bad;
    struct replica *touched, *hot, *unwritten;
};

static inline bool replica_leads(const struct replica *r)
{
    return r->role >= REPLICA_CLOSED;
}

/* replica.c */
void replica_touch(struct replica *r, uint32_t fx);
void replica_heat(struct replica *r);
/* Records were appended, or an acknowledgement is due: look at it in replica_written. */
void replica_unwritten(struct replica *r);
/* Called at the end of every event. */
void replica_check(const struct replica *r);
/* A higher epoch was heard of: nothing lower is accepted from now on. */
void replica_adopt(struct replica *r, uint32_t epoch);
enum fb_status replica_bad(struct replica_lane *rl);

/* replica_set.c */
void set_fill(struct replica *r, uint64_t now_ns);
uint16_t set_effective(const struct replica *r);
uint32_t set_sure(const struct replica *r);
struct slot *set_slot(struct replica *r, uint16_t node, uint64_t inc);
bool set_is_self(const struct replica *r, const struct fb_member *m);
void set_tick(struct replica *r, uint64_t now_ns);

/* replica_primary.c */
void primary_begin(struct replica *r, uint64_t now_ns);
/* The members hear that nothing is read under its lease any more. */
void primary_end(struct replica *r);
void primary_commit(struct replica *r, uint64_t now_ns);
void primary_flush(struct replica *r, uint64_t now_ns);

/* Is the message from a process that this primary knows, about its epoch? A higher epoch ends it.
 */
struct slot *primary_sender(struct replica_lane *rl, uint16_t node, uint64_t src_inc, uint16_t part,
                            uint32_t epoch, uint64_t history);

/* replica_backup.c */
/* False: the message is not from the primary of the epoch that counts here; *st says what it is. */
bool backup_accept(struct replica *r, uint16_t node, uint64_t src_inc, const struct fb_append *m,
                   enum fb_status *st);
void backup_commit(struct replica *r);
void backup_ack(struct replica *r, uint64_t now_ns);

#endif
