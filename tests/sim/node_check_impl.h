/* Inside of the node's checkers: what is kept of every record and batch (node_check*.c). */
#ifndef FB_TESTS_SIM_NODE_CHECK_IMPL_H_
#define FB_TESTS_SIM_NODE_CHECK_IMPL_H_

#include "tests/sim/node_check.h"

#include "node/core/lane_impl.h"

#define ASKED_MAX 8192u

struct seen { /* one record */
    uint64_t ver, ptime, obj_ver, dsafe, content, key_hash, value_hash;
    uint32_t key; /* index into keys of the partition + 1, 0 = none */
    uint8_t type;
    uint32_t group; /* GROUP: how many follow */
    int64_t expires_ms;
};

struct known_key {
    struct fb_buf key;
    uint64_t hash;
};

struct part_view {
    struct seen *r; /* ascending versions; cut back after a loss */
    uint32_t n, cap;
    struct known_key *keys;
    uint32_t key_n, key_cap;
    uint64_t written, durable, floor; /* floor: durable before the present process began */
    uint64_t recovered;               /* what the present process began with */
    uint32_t epoch_started;           /* this incarnation's */
    /* every version there ever was, also those lost: open addressing, ver -> content */
    struct {
        uint64_t ver, content;
    } * all;
    uint32_t all_n, all_cap;
};

struct batch { /* one write to the log */
    struct fs_node *file, *dir;
    uint64_t generation, seq, at, n, synced; /* synced: what its header says was, then */
    uint32_t lane, segment;
    uint32_t first_mark, mark_n;
    bool checked;
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
    bool used;
};

struct node_check {
    struct sim *sim;
    struct sim_proc *proc;
    struct node *node;
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
    struct node_observer observer[4];
    uint32_t observer_n;
    uint64_t *incs; /* of every start that came through its recovery */
    uint32_t inc_n, inc_cap;
    struct asked asked[ASKED_MAX];
};

/* node_check_snapshot.c: looks at the snapshots of the process that starts now. */
void node_check_snapshots(struct node_check *c);
/* node_check_state.c: I9, an epoch that other workers see has its start in the log. */
void node_check_open(const struct node_check *c);

static inline uint32_t node_check_lane_of(const struct node *n, uint32_t part)
{
    return part % n->worker_count;
}

#endif
