/* A worker: the single writer of one lane, and the server of the connections it was given.
 *
 * Everything reaches it through two mailboxes: frames (from nng's threads) and jobs (from everybody
 * else).
 */
#ifndef FB_NODE_IO_WORKER_H_
#define FB_NODE_IO_WORKER_H_

#include "node/io/node.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/thread.h"

/* One connection as all workers know it. Freed when every worker has let go (refs). */
struct peer {
    _Atomic uint32_t refs;
    struct fb_conn *conn;
    enum fb_role role;
    uint32_t worker;            /* that decodes its frames */
    _Atomic uint64_t *heard_ns; /* of a node: when a frame of it came last; else NULL */
    struct peer_lane {
        struct reply_dest reply; /* out always starts with an open REP frame (frame_mark) */
        struct feed_dest feed;
        size_t frame_mark;
        uint32_t queue_us; /* the longest of this tick */
        uint16_t node;     /* of a node, once linked: the lane's number of it */
        bool linked;
        bool open; /* reply.out has its frame begun */
        bool released;
    } lane[]; /* one per worker, each touched only by that worker */
};

enum job_kind {
    JOB_OPENED,  /* peer */
    JOB_CLOSED,  /* peer */
    JOB_FORWARD, /* peer + items: requests for this worker's partitions that came in at another */
    JOB_FEED,    /* peer + frame: FEED_REQ, FEED_POS, LOAD_REP, VERDICT items for this lane, already
                    sorted out */
    JOB_CONFIG,  /* config */
    JOB_REPLICA, /* peer + frame_kind + items of the replica stream, sorted out */
    JOB_RECORD,  /* state + items = {u16 part}: their records in the coordinator are new */
    JOB_CALL,    /* call(arg, lane): runs between ticks */
    JOB_STOP,
};

struct job {
    struct fb_mail mail;
    enum job_kind kind;
    enum fb_frame_kind frame_kind; /* FORWARD, FEED, REPLICA: what they came in */
    uint32_t count;
    uint64_t received_ns;           /* FORWARD: when their frame came */
    struct peer *peer;              /* referenced */
    struct node_config *config;     /* referenced */
    struct fb_cluster_state *state; /* referenced */
    struct fb_buf items;
    void (*call)(void *arg, struct worker *w);
    void *arg;
};

struct worker {
    struct node *node;
    uint32_t index;
    struct lane *lane; /* this thread only, once started */
    struct fb_mailbox *frames;
    struct fb_mailbox *jobs;
    struct fb_thread *thread;
    struct node_config *config;
    struct fb_buf *forward; /* per worker: items to hand over at the end of a frame (forward.c) */
    uint32_t *forward_count;
    uint64_t frame_number;
    uint64_t tick_ns;     /* when it began */
    uint64_t *refused_in; /* by partition: frame in which a request was refused last */
    struct fb_buf scratch;
    struct job *later_head, *later_tail; /* JOB_RECORD that wait for lane_clock_ready */
    bool clock_held;                     /* and was said */
    struct worker_lag *lag;              /* lag.h */
    bool copied; /* a partition has several copies: a tick is one of copies.h, too */
    struct peer *links[FB_NODES_MAX]; /* newest connection of the lane's node of this number */
    uint64_t silence_at_ns;           /* when it is told again how long primaries are silent */
    struct peer **syncs;              /* connected sync processes */
    uint32_t sync_count, sync_cap;
    struct peer **zombies; /* closed connections that still owe replies to nobody */
    uint32_t zombie_count, zombie_cap;
    uint64_t synced_seq;
    uint64_t log_seq;
    uint64_t no_sync_since_ns; /* loads wait and no sync process is connected; 0 = fine */
    uint64_t rng;
    bool stop;
    uint64_t memory_at_ns; /* when it is counted again */
    struct worker_memory { /* this thread writes, any reads */
        _Atomic uint64_t dirty, feeds, loads, log, replies;
    } memory;
    _Atomic uint64_t ticks;
    _Atomic uint64_t hits; /* reads answered without the lane; written by the worker alone */
};

/* Lane is recovered and configured; thread starts with worker_start. */
struct worker *worker_new(struct node *n, uint32_t index, struct lane *lane);
FB_MUST_USE enum fb_status worker_start(struct worker *w, struct fb_err *err);
void worker_stop(struct worker *w); /* drains, joins */
/* What is left in the mailboxes; it may post to any worker, so all are drained before one is freed.
 * No thread runs. */
void worker_drain(struct worker *w);
void worker_free(struct worker *w);
/* Hand a job over; any thread. Takes it. */
void worker_post(struct worker *w, struct job *j);
struct job *job_new(enum job_kind kind);
void peer_put(struct peer *p);

/* requests.c: a REQ frame that came in here, and forwarded items. */
void worker_request_frame(struct worker *w, struct peer *p, const struct fb_frame *f,
                          uint64_t received_ns);
void worker_request_items(struct worker *w, struct peer *p, struct fb_bytes items, uint32_t count,
                          uint64_t received_ns);
/* forward.c: an item of another lane's partition, as it came; all of a frame's go at its end. */
void worker_forward(struct worker *w, uint32_t lane, struct fb_bytes item);
void worker_hand_over(struct worker *w, struct peer *p, enum job_kind kind,
                      enum fb_frame_kind frame_kind, uint64_t received_ns);
/* feeds.c: frames of sync processes. */
void worker_clock_frame(struct worker *w, const struct fb_frame *f);
void worker_sync_frame(struct worker *w, struct peer *p, const struct fb_frame *f);
void worker_sync_items(struct worker *w, struct peer *p, enum fb_frame_kind kind,
                       struct fb_bytes items, uint32_t count);
/* flush.c: everything the tick produced goes out. */
void worker_flush(struct worker *w);
/* The end of a tick: its log is written, then what it may show is shown. */
void worker_write_out(struct worker *w);
/* Ends the tick early when its log has grown: between two requests, never within one. */
void worker_relieve(struct worker *w);
struct reply_dest *worker_dest(struct worker *w, struct peer *p);
void worker_touch(struct worker *w, struct reply_dest *d);

#endif
