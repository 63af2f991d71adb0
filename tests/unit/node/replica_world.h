/* Three nodes that hold one partition, as a model around the real replica stream: processes, disks,
 * connections, clocks, the coordinator. One seed decides everything. */
#ifndef FB_TESTS_UNIT_NODE_REPLICA_WORLD_H_
#define FB_TESTS_UNIT_NODE_REPLICA_WORLD_H_

#include "node/core/replica.h"
#include "proto/base/mutant.h"
#include "proto/wire/record.h"

#include <stdlib.h>

#define NODES 3u
#define LOG_MAX 2048u
#define EPOCHS_MAX 96u
#define COUNTERS_MAX 256u
#define MESSAGES_MAX 256u
#define CAS_MAX 64u
#define READS_MAX 8u
#define ACKS_MAX 4096u
#define MS UINT64_C(1000000)

struct entry {
    uint64_t ver, prev, content;
};

/* A confirmed read on its way. */
struct a_read {
    uint64_t token, must;
    uint32_t epoch;
};

struct anode {
    char name[8];
    struct replica_lane *rl; /* NULL = not running */
    uint64_t inc;
    struct entry log[LOG_MAX];
    uint32_t n, written, synced; /* of the log */
    uint32_t syncing;            /* an fsync is under way for so many, 0 = none */
    uint64_t com_saved, com_seen;
    uint32_t rate; /* of its clock, in thousandths */
    uint64_t offset_ns, paused_until;
    struct fb_part_record rec; /* as it read it last */
    uint64_t rev;
    uint64_t acked_to; /* greatest version answered here, in epoch answered_epoch */
    uint32_t answered_epoch;
    struct a_read reads[READS_MAX];
    uint32_t read_n;
};

struct message {
    struct fb_buf appends, acks, hellos;
    uint32_t append_n, ack_n, hello_n;
    uint64_t src_inc, dst_inc, at;
};

struct link { /* from one node to another */
    struct message m[MESSAGES_MAX];
    uint32_t n;
    bool blocked;
};

struct cas_request {
    uint64_t rev;
    struct fb_part_record next;
};

/* What one process acknowledged to the primary of an epoch. */
struct ack_seen {
    uint32_t node, epoch;
    uint64_t inc, acked, synced;
};

struct world {
    uint64_t seed, rng, now, steps;
    struct anode node[NODES];
    struct link link[NODES][NODES];
    bool up[NODES][NODES]; /* a connection stands; the same both ways */
    struct fb_part_record rec, old_rec[8];
    uint64_t rev;
    struct cas_request cas[CAS_MAX];
    uint32_t cas_n;
    uint64_t next_inc, next_content;
    /* faults of this seed */
    bool blackouts; /* any node may lose power; else one, and all may be killed */
    uint32_t frail; /* that one */
    bool skew;      /* clocks at the bound of what leases stand */
    bool slow_sync, promotions, partitions, restarts, pauses, late_cas, slow_net, small_tail, harsh;
    bool healed;
    uint64_t quiet_until; /* no new faults before */
    /* ghosts */
    uint64_t content[EPOCHS_MAX][COUNTERS_MAX], prev[EPOCHS_MAX][COUNTERS_MAX];
    uint64_t committed; /* greatest version any primary had committed */
    uint64_t visible;   /* greatest one that a client was shown or answered */
    uint64_t kept;      /* greatest one that must be there at every primary that opens */
    struct ack_seen acks[ACKS_MAX];
    uint32_t ack_n;
    uint64_t opened, writes, answered, lease_reads, confirmed_reads, power_losses, kills, casses,
        cuts, copies, durable, degraded;
    bool failed;
};

uint64_t draw(struct world *w); /* 64 random bits */
static inline uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)(draw(w) % n);
}
static inline bool chance(struct world *w, uint32_t percent)
{
    return below(w, 100) < percent;
}
/* Something that must not be. */
void violation(struct world *w, const char *fmt, ...) FB_PRINTF(2, 3);

/* replica_world.c */
void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);
uint64_t node_clock(const struct world *w, uint32_t i);
bool node_runs(const struct world *w, uint32_t i); /* up and not paused */
struct replica *node_replica(const struct world *w, uint32_t i);
int64_t log_find(const struct anode *n, uint64_t ver); /* index or -1 */
void node_start(struct world *w, uint32_t i);
void node_stop(struct world *w, uint32_t i, bool power);
/* Its data become the committed ones of the primary: what a full copy does to a learner. */
void node_copy(struct world *w, uint32_t i, uint32_t from);
void node_tick(struct world *w, uint32_t i);
void node_sync(struct world *w, uint32_t i);
void node_read_record(struct world *w, uint32_t i, bool stale);
void link_set(struct world *w, uint32_t i, uint32_t j, bool up);
bool member_is_alive(const struct world *w, const struct fb_member *m);
uint32_t node_index(const char *name);

/* replica_coord.c */
void coord_init(struct world *w);
bool coord_event(struct world *w, const struct fb_record_event *ev);
void coord_request(struct world *w, uint32_t i);
void coord_execute(struct world *w);
void coord_promote(struct world *w);
/* Another member than the primary. */
void coord_take_over(struct world *w);
void coord_control(struct world *w);

/* replica_judge.c */
void judge_append(struct world *w, uint32_t i, const struct entry *e, bool by_primary);
void judge_ack(struct world *w, uint32_t i, const struct fb_append_ack *a);
void judge_commit(struct world *w, uint32_t i);
void judge_open(struct world *w, uint32_t i);
void judge_answers(struct world *w, uint32_t i);
void judge_reads(struct world *w, uint32_t i);
void judge_always(struct world *w);

#endif
