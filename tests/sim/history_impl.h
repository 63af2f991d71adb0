/* Inside of the shadow history. Nobody but tests/sim/history*.c includes this. */
#ifndef FB_TESTS_SIM_HISTORY_IMPL_H_
#define FB_TESTS_SIM_HISTORY_IMPL_H_

#include "tests/sim/history.h"

#define NONE UINT32_MAX
#define BUCKETS 512u

struct version {
    struct shadow state;
    uint64_t ver;     /* of the object */
    uint64_t rec_ver; /* of the record: the place in the partition's order */
    uint64_t cut; /* rec_ver, or the end of its GROUP: what the writer has done when it is there */
    uint64_t at_ns, ptime_ms;
    struct history_op *by; /* tentative while by is not answered; NULL: expiry, or answered */
    uint8_t promised;      /* enum fb_level, the highest anybody was told */
};

struct object {
    char key[SHADOW_TEXT_MAX];
    struct object *next; /* of its bucket */
    uint16_t part;
    bool others;       /* others write it, too */
    struct version *v; /* v[0]: absent, before everything */
    uint32_t n, cap;
    uint32_t
        known; /* a version somebody was told of; what is sent from now on sees this or newer */
    struct {
        uint64_t conn;
        uint32_t known;
        uint64_t at_ns; /* when the command that told it was sent */
    } told[HISTORY_CLIENTS_MAX];
    struct history_op *first; /* not answered, or with unknown outcome; in the order of sending */
    struct history_op *last;
};

enum op_state { OP_OPEN, OP_UNKNOWN };

struct history_op {
    struct shadow_cmd cmd;
    struct object *o;
    struct history_op *prev, *next; /* of the object */
    uint64_t sent_ns, wall_ms, conn;
    uint32_t client;
    uint32_t floor; /* o->known when it was sent */
    uint32_t made;  /* the version it made, NONE */
    uint8_t state, level;
    bool burned; /* it made a version that was lost: it must not make another */
    struct history_txn *txn;
};

struct history_txn {
    struct history_txn *next; /* of all that are open or unknown */
    struct history_op **ops;
    uint32_t n;
    uint32_t at; /* operations before this one can make no more records */
    struct history_watch *watches;
    uint32_t watch_n;
    uint64_t group;      /* its GROUP record, 0 = none yet */
    uint64_t group_prev; /* the record before the group */
    bool answered, burned;
};

struct partition {
    uint64_t last_ver;
    uint64_t opened_ns; /* EPOCH_START */
    uint64_t group, group_end, group_prev;
    struct history_txn *group_txn;
    uint32_t group_left;
};

struct history {
    struct history_config config;
    struct history_counts counts;
    struct object *bucket[BUCKETS];
    struct partition *parts;
    struct history_txn *txns;
    uint64_t wall_ms, wall_max_ms;
    bool failed;
};

/* history.c */
void fail(struct history *h, const struct object *o, const char *what, const char *fmt, ...)
    FB_PRINTF(4, 5);
struct object *object_of(struct history *h, const char *key, bool make);
/* Out of its object's list, and gone. */
void op_end(struct history *h, struct history_op *op);
/* Before version i at node time `now_ms`: what a command finds. Absent when it has expired. */
const struct shadow *state_before(const struct object *o, uint32_t i, uint64_t now_ms);
/* Does `op` make version i of its object? */
bool op_makes(const struct history_op *op, uint32_t i);
/* Give version i to another command that may have made it; false when there is none. */
bool version_regive(struct history *h, struct object *o, uint32_t i);
/* history_judge.c */
/* The lowest version that a reply received now may be based on. */
uint32_t lowest(const struct history *h, const struct history_op *op);
void learn(struct history_op *op, uint32_t i);
/* A command that made no version, on version i of its object as it may have looked meanwhile: does
 * the reply fit? `r` NULL: any reply does. */
bool fits_without(const struct history *h, const struct history_op *op, uint32_t i,
                  const struct reply *r);
bool definite_error(const struct reply *r);
bool unknown_error(const struct reply *r);
/* history_txn.c */
/* At the end of a GROUP: nothing of the transaction may be missing. */
void txn_group_end(struct history *h, struct partition *p);
void txn_free(struct history_txn *t);

#endif
