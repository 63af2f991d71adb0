/* Inside of the node's checkers: what is kept of every record and batch (node_check*.c). */
#ifndef FB_TESTS_SIM_NODE_CHECK_IMPL_H_
#define FB_TESTS_SIM_NODE_CHECK_IMPL_H_

#include "tests/sim/node_check.h"

#include "node/core/lane_impl.h"

#define ASKED_MAX 8192u

struct part_view {
    struct seen *r; /* ascending versions; cut back after a loss */
    uint32_t n, cap;
    const struct known_keys *keys;
    uint64_t written, durable, floor; /* floor: durable before the present process began */
    uint64_t recovered;               /* what the present process began with */
    uint64_t saved;                   /* start of the newest snapshot that has its name */
    uint32_t epoch_started;           /* this incarnation's */
    uint64_t history;                 /* of that epoch */
    uint32_t open;                    /* the epoch in which it was seen open last */
    bool filling;      /* with several copies: what is written is a copy of another's state */
    bool parted;       /* this process's log was cut, or copied anew */
    bool unsure;       /* the note in the write that an end interrupted may be there or not */
    uint64_t copied;   /* what the copy stands for */
    uint32_t wiped_at; /* marks before it say nothing any more */
};

struct batch { /* one write to the log */
    struct fs_node *file, *dir;
    uint64_t generation, seq, at, n, synced; /* synced: what its header says was, then */
    uint32_t lane, segment;
    uint32_t first_mark, mark_n;
    bool checked;
    bool kept, trimmed; /* node_check_trim.c */
};

struct mark {
    uint16_t part;
    uint64_t ver;
};

struct asked { /* a request on its way, to know the partition of its reply */
    const struct sim_conn *conn;
    uint32_t seq;
    uint32_t epoch;
    uint16_t part;
    bool grows; /* its last record, if it writes, is one that admission may refuse */
    bool used;
    uint64_t received_ns;
};

struct load_asked { /* of a key: the last load that was asked for */
    uint32_t ns;
    struct fb_buf id;
    uint16_t part;
    uint32_t epoch;
    uint64_t token;
    bool answered;
};

struct clock_lane {       /* what a lane may believe of the time */
    uint64_t newest_ms;   /* of the records it began with, and of those since */
    uint64_t believed_ms; /* before it was told PostgreSQL's clock */
    bool empty;           /* it began with nothing */
    bool told;
};

struct node_check {
    struct sim *sim;
    struct sim_proc *proc;
    struct node *node;
    struct ledger *ledger;
    uint32_t partitions;
    const struct fb_nsset *namespaces;
    enum node_loss loss;
    struct part_view *parts;
    struct batch *batches;
    uint32_t batch_n, batch_cap;
    struct mark *marks;
    uint32_t mark_n, mark_cap;
    uint64_t generation;  /* of this incarnation, 0 = no log yet */
    uint32_t first_batch; /* of this incarnation */
    uint64_t errors_before;
    /* a batch whose write was under way when the process ended: it may be there or not */
    struct fb_buf in_flight[NODE_WORKERS_MAX];
    bool replaying, must_refuse, recovered;
    uint64_t *incs; /* of every start that came through its recovery */
    uint32_t inc_n, inc_cap;
    uint64_t below_ns[NODE_WORKERS_MAX][FB_NAMESPACES_MAX]; /* last seen below max_dirty_bytes */
    uint64_t node_below_ns[NODE_WORKERS_MAX]; /* the node, as that worker knows its limit */
    struct {                                  /* of this process: node_check_load.c */
        struct load_asked *asked;
        uint32_t n, cap;
        const struct fb_load_rep *taking; /* the answer whose row is being installed */
    } load;
    struct { /* of this process: node_check_clock.c */
        uint64_t started_ns, started_mono_ns;
        int64_t ahead_ms; /* PostgreSQL's clock and the machine's monotonic one: the most told */
        bool told;
        struct clock_lane lane[NODE_WORKERS_MAX];
    } clock;
    struct asked asked[ASKED_MAX];
    struct { /* the snapshot that is being written; a node has one thread for them */
        uint16_t part;
        uint64_t start; /* of it: what is newer is replayed from the log */
        uint64_t shown; /* newest version in it */
    } snapshot;
    struct node_check *next; /* of the checks of a world */
};

/* The check of the process whose code runs now. */
struct node_check *node_check_mine(void);

/* node_check_copies.c: with several copies. A record is written: true when it is a note of the node
 * or a part of a copy, and no record of the ledger; else the view ends with the one before it. */
bool node_check_note(struct node_check *c, const struct fb_record *r);
void node_check_view_add(struct part_view *v, const struct seen *s);
/* The view becomes the ledger's path to `ver`. */
void node_check_stand(struct node_check *c, uint16_t part, uint64_t ver);
/* A recovery found `last`: may it? */
void node_check_recovered_copy(struct node_check *c, uint16_t part, uint64_t last);
/* node_check_load.c: a load is asked for; the process ends. */
void node_check_load_asked(struct node_check *c, const struct fb_load_req *q);
void node_check_load_end(struct node_check *c);
/* node_check_clock.c: a process starts, has recovered, is told PostgreSQL's clock
 * (FB_FRAME_DB_CLOCK); a record is written whose partition was at `last_ms`. */
void node_check_clock_start(struct node_check *c);
void node_check_clock_recovered(struct node_check *c, const struct node *n);
void node_check_clock_told(struct node_check *c, const struct fb_frame *f);
void node_check_clock_record(struct node_check *c, const struct fb_record *r, uint64_t last_ms);
/* node_check_seal.c: every segment that is there after a recovery is on the platter. */
void node_check_recovered_files(const struct node_check *c);
/* node_check_limit.c: nothing was below its limit for longer than now. */
void node_check_limits(struct node_check *c);
/* A request comes: would admission refuse it at a limit, and is its record known by the reply? */
bool node_check_grows(const struct fb_req *req);
/* A record is written: since when its namespace or the node is at its limit, whichever is longer;
 * UINT64_MAX: neither is, or the record grows nothing. */
uint64_t node_check_below_ns(struct node_check *c, const struct fb_record *r);
/* A request was answered with success at `ver`. */
void node_check_grown(const struct node_check *c, const struct asked *a, uint64_t ver);
/* node_check_state.c: I9, an epoch that other workers see has its start in the log. */
void node_check_open(struct node_check *c);

/* The record of that version, or NULL. */
static inline const struct seen *node_check_seen(const struct part_view *v, uint64_t ver)
{
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (v->r[mid].ver < ver)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n && v->r[lo].ver == ver ? &v->r[lo] : NULL;
}

static inline uint32_t node_check_lane_of(const struct node *n, uint32_t part)
{
    return part % n->worker_count;
}

#endif
