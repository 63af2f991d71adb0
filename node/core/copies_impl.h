/* Inside of partitions with several copies: their state and the calls between its files.
 *
 * Thread: the lane's writer, always, but for copies.read_until.
 */
#ifndef FB_NODE_CORE_COPIES_IMPL_H_
#define FB_NODE_CORE_COPIES_IMPL_H_

#include "node/core/copies.h"
#include "node/core/lane_impl.h"

struct copy_wait; /* copy_wait.c */
struct copy_waits {
    struct copy_wait *head, *tail;
};

/* What one tick appended to the log of a partition. A primary publishes whole ticks: a transaction
 * is within one, and of a key one version is kept for each. */
struct tick_end {
    uint64_t ver, ptime, log_seq;
    uint64_t boot_ns; /* of its first record */
    size_t bytes;     /* of its records in log_tail */
};

/* A primary that is to hand over (copy_hold.c). */
struct copy_hold {
    enum { HOLD_NONE, HOLD_ANSWERS, HOLD_PROMOTES } state;
    uint64_t since_ns, until_ns; /* the state ends then at the latest */
    uint64_t asked_rev;          /* record that the promotion compares, 0 = not asked for yet */
    uint64_t asked_ns;
    uint64_t given_up_rev; /* no further try before another record is read */
};

struct copy {
    struct replica *r;
    struct part *part;
    struct copy *next_due;
    bool due;
    struct tick_end *ends; /* of ticks that are not published, oldest at `first` */
    uint32_t first, n, cap;
    uint64_t own_bytes; /* counted in copies.own_bytes */
    uint64_t noted_ver, noted_ns;
    uint64_t unnamed_ns;     /* since when the record does not name this node, 0 = it does */
    struct copy_out {        /* primary: a learner is given all there is */
        bool going, awaited; /* awaited: its slice was sent and is not acknowledged */
        uint16_t node;
        uint64_t inc, slice, sent_ns;
        struct lane_snapshot snapshot;
    } out;
    struct copy_hold hold;
    uint64_t took_slice;       /* learner: to be acknowledged when it is written, 0 = none */
    struct copy_waits commit;  /* for a commit, in the order of versions */
    struct copy_waits durable; /* committed: for everybody's fsync */
    struct copy_waits reads;   /* for the confirmation of their tokens */
};

struct copies {
    struct replica_lane *rl;
    uint64_t boot_ns;
    size_t tail_bytes;
    struct copy *due;
    struct lane_copy_event *events;
    uint32_t event_n, event_cap;
    uint64_t *commit_ns; /* see lane_commit_ns */
    uint32_t commit_n, commit_cap;
    _Atomic uint64_t *read_until; /* by partition: see lane_read_until */
    uint64_t own_bytes;           /* of primaries: not published yet */
    bool probing;                 /* a read waits for a token that is not sent yet */
    struct fb_buf slice;          /* being sent */
    struct copy_wait *pool;
    uint64_t wait_bytes;
};

/* copies.c */
void copy_due(struct lane *l, struct copy *c);
void copy_event(struct lane *l, const struct lane_copy_event *e);
void copy_read_until(struct lane *l, const struct part *p, uint64_t ns);
/* How much of its log's tail clients of this node wait for. */
void copy_count_own(struct lane *l, struct copy *c);
/* A record of so many bytes went into its log's tail. */
void copy_log_end(struct lane *l, struct copy *c, uint64_t ver, uint64_t ptime, size_t bytes);
/* A primary: everybody in sync has all of the tick. */
void copy_committed(struct copies *s, const struct tick_end *e);
/* copy_stream.c: after each call that may change who leads, in the order in which things happened.
 */
void copy_settle(struct lane *l, struct copy *c);
/* copy_fill.c: goes on with a copy for a learner, or begins one. */
void copy_fill(struct lane *l, struct copy *c);
void copy_fill_acked(struct lane *l, struct copy *c, uint16_t node, uint64_t inc, uint64_t slice);
/* What is here is in no set, nor will be: it goes, from memory and from the log (PROTOCOL 9, H6).
 */
void copy_drop(struct lane *l, struct copy *c);
enum fb_status copy_fill_take(struct lane *l, struct copy *c, uint16_t node, uint64_t src_inc,
                              const struct fb_append *m);
/* copy_hold.c: goes on with a hand-over that the record asks for. */
void copy_hold(struct lane *l, struct copy *c);
/* It leads no more; gives for how long it was held. */
uint64_t copy_hold_end(struct lane *l, struct copy *c);
/* copy_wait.c */
void copy_waits_release(struct lane *l, struct copy *c);
/* Another node leads: of what was written the outcome is not known. */
void copy_waits_fail(struct lane *l, struct copy *c);
void copy_waits_fini(struct copy *c);
void copy_pool_fini(struct copies *s);

#endif
