/* Three nodes with whole lanes that hold copies of two partitions: processes, disks, connections,
 * clocks, coordinator, PostgreSQL and clients in one thread. One seed decides everything. */
#ifndef FB_TESTS_UNIT_NODE_COPIES_WORLD_H_
#define FB_TESTS_UNIT_NODE_COPIES_WORLD_H_

#include "node/core/copies.h"
#include "node/core/lane_impl.h"
#include "node/store/store.h"
#include "proto/base/mutant.h"

#include <stdlib.h>

#define CNODES 3u
#define PARTS 2u
#define KEYS 12u /* keys 0..3 are counters, 4..7 pairs that are written by transactions alone */
#define PAIRS_FIRST 4u
#define SETS_FIRST 8u
#define OPS_MAX 8192u
#define MS UINT64_C(1000000)

struct batch_end {
    uint64_t seq;
    size_t end;
};

struct cnode {
    char name[8];
    struct store *store;
    struct lane *lane; /* NULL: no process */
    uint64_t inc;
    struct fb_buf log; /* written */
    size_t synced;     /* of it */
    struct batch_end *ends;
    uint32_t end_n, end_cap;
    struct fb_buf snap[PARTS]; /* newest whole snapshot */
    struct reply_dest dest;
    struct feed_dest feeds;
    uint64_t offset_ns, paused_until, blind_until;
    uint64_t rev[PARTS];
    uint32_t epoch[PARTS];   /* open */
    uint32_t held[PARTS];    /* the epoch it was open in: it lets nothing in */
    uint64_t held_ns[PARTS]; /* since, by its clock at the beginning of that tick */
    uint64_t tick_ns;
    bool hands_over[PARTS];    /* in this tick it asked that another leads */
    bool led[PARTS];           /* at its last tick */
    uint64_t recovered[PARTS]; /* last version found at the start */
    uint16_t number[CNODES];   /* of the others, in its lane */
};

struct message {
    struct message *next;
    struct fb_buf items;
    enum { M_APPEND, M_ACK, M_HELLO } kind;
    uint32_t count;
};

/* What was sent, to be sent again with other bytes. */
#define HEARD 64u
struct heard {
    struct fb_buf items;
    int kind;
    uint32_t count;
};

struct link {
    struct message *head, *tail;
};

enum op_state { OP_OPEN, OP_DONE, OP_UNKNOWN, OP_FAILED };
struct cop {
    uint8_t kind; /* enum fb_op, FB_OP_TXN: both keys of a pair */
    uint8_t state;
    uint8_t key, node, level; /* level asked for, 0 = none */
    uint64_t floor;           /* greatest version of the key that was known when it was sent */
    uint64_t ver;
    uint64_t logged_ver;
};

struct ckey {
    char name[16];
    uint16_t part;
    uint64_t known; /* greatest version that was answered or read */
    uint64_t incr_done, incr_open;
    uint64_t pg_ver;
    struct fb_buf pg; /* the row */
};

struct cas_wish {
    uint16_t part;
    uint64_t rev, at;
    struct fb_part_record next;
};

struct cworld {
    uint64_t seed, rng, now, steps;
    struct fb_nsset *set;
    struct cnode node[CNODES];
    bool up[CNODES][CNODES];
    struct link link[CNODES][CNODES]; /* from, to */
    struct fb_part_record rec[PARTS];
    uint64_t rev[PARTS];
    uint64_t successor_ns[PARTS]; /* since when the record names one, 0 = it does not */
    uint64_t committed[PARTS];    /* greatest version that a primary said to be */
    uint64_t ckpt[PARTS];
    struct heard heard[HEARD];
    uint32_t heard_n;
    struct cas_wish wish[64];
    uint32_t wish_n;
    struct cop op[OPS_MAX];
    uint32_t op_n;
    struct ckey key[KEYS];
    bool counted[PAIRS_FIRST][OPS_MAX]; /* numbers that counters were answered with */
    bool healed, kills, power, cuts, pauses, promotes, plans, refuse, confirmed, slow_sync,
        small_ring;
    uint32_t frail;
    uint64_t answered, reads, lease_reads, promotions, restarts, fed, unknown, durable, local,
        cut_logs, snaps, increments, filled, held, released;
};

uint64_t cdraw(struct cworld *w);
static inline uint32_t cbelow(struct cworld *w, uint32_t n)
{
    return (uint32_t)(cdraw(w) % n);
}
static inline bool cchance(struct cworld *w, uint32_t percent)
{
    return cbelow(w, 100) < percent;
}
/* Ends the run: a violation. */
__attribute__((noreturn, format(printf, 1, 2))) void broken_rule(const char *fmt, ...);

void cworld_init(struct cworld *w, uint64_t seed);
void cworld_fini(struct cworld *w);
void cworld_step(struct cworld *w);
/* No more faults: until all copies are the same. False: they do not become so. */
bool cworld_heal(struct cworld *w);
/* copies_nodes.c */
void cnode_start(struct cworld *w, uint32_t i);
void cnode_end(struct cworld *w, uint32_t i, bool power);
void cnode_tick(struct cworld *w, uint32_t i);
void cnode_deliver(struct cworld *w, uint32_t i);
void cnode_snapshot(struct cworld *w, uint32_t i);
void ccut(struct cworld *w, uint32_t a, uint32_t b);
void cjoin(struct cworld *w, uint32_t a, uint32_t b);
/* Messages that no node sends reach a node: it refuses or takes them, and goes on. The world is of
 * no use after that. */
void cnode_hostile(struct cworld *w);
bool cnode_runs(const struct cworld *w, uint32_t i);
uint64_t cnode_clock(const struct cworld *w, uint32_t i);
const struct object *cnode_object(const struct cworld *w, uint32_t i, uint32_t key);
/* copies_clients.c */
void cclient_send(struct cworld *w, uint32_t i);
void cclient_logged(struct cworld *w, struct fb_bytes log);
void cclient_replies(struct cworld *w, uint32_t i);
bool cclient_waits(const struct cworld *w, uint32_t i, uint16_t part);
void cclient_lost(struct cworld *w, uint32_t i);
void cclient_read(struct cworld *w, uint32_t i);
void cfeed(struct cworld *w, uint32_t i);
void cfeed_take(struct cworld *w, uint32_t i);
void cjudge_node(struct cworld *w, uint32_t i);
void cjudge_end(struct cworld *w);

#endif
