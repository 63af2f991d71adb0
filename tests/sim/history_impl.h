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
    uint64_t stamp;        /* of the search that looked at it last */
    bool only_row;         /* in no log any more: PostgreSQL alone has it */
    bool expiry;           /* an EXPIRE record, of no command */
    bool guessed;          /* of a command without a name: another of that kind may have made it */
    struct shadow before;  /* of a lost one that is nobody's for sure: what it was made from */
};

struct object {
    char key[SHADOW_TEXT_MAX];
    struct object *next; /* of its bucket */
    uint16_t part;
    bool others;         /* others write it, too */
    uint64_t parked_ver; /* of its last PARK record */
    struct version *v;   /* v[0]: absent, before everything */
    uint32_t n, cap;
    uint32_t
        known; /* a version somebody was told of; what is sent from now on sees this or newer */
    struct {
        uint64_t conn;
        uint32_t known;
        uint64_t at_ns; /* when the command that told it was sent */
    } told[HISTORY_CLIENTS_MAX];
    struct version *lost; /* by crashes: at_ns is when they were lost */
    uint32_t lost_n, lost_cap;
    struct history_op *first; /* not answered, or with unknown outcome; in the order of sending */
    struct history_op *last;
};

enum op_state { OP_OPEN, OP_UNKNOWN };

struct history_op {
    struct shadow_cmd cmd;
    struct object *o;
    struct history_op *prev, *next; /* of the object */
    uint64_t sent_ns, conn;
    uint64_t wall_ms;  /* the node's clock when it was sent, or what that was set back to since */
    uint64_t until_ns; /* answered then, and it is not sure whether it made a record, or which; 0 =
                          not so */
    uint32_t client;
    uint32_t floor; /* o->known when it was sent */
    uint32_t made;  /* the version it made, NONE */
    uint8_t state, level;
    bool burned; /* it made a version that was lost: it must not make another */
    bool robbed; /* ... by a power loss, which takes nothing that was on disk */
    bool doubt;  /* it may be the one that made a version that was lost */
    struct history_txn *txn;
};

/* The records of one GROUP. */
struct group {
    uint64_t ver, end; /* of the GROUP record, of the last one in it; 0 = none */
    uint64_t prev;     /* the record before it */
    struct group_item {
        struct object *o;
        uint32_t i; /* its version */
    } * items;
    uint32_t n, cap;
};

struct history_txn {
    struct history_txn *next; /* of all that are not answered, or with unknown outcome */
    struct history_op **ops;
    uint32_t n;
    struct history_watch *watches;
    uint32_t watch_n;
    struct group group; /* that it made: a guess until it is answered */
    bool unknown, burned;
};

struct partition {
    uint64_t last_ver;
    uint64_t opened_ns;    /* EPOCH_START */
    uint64_t disk_lost_ns; /* recovered then on an empty disk, 0 = never */
    struct group group;    /* the last one, while its records come */
    uint32_t group_left;
};

struct history {
    struct history_config config;
    struct history_counts counts;
    struct object *bucket[BUCKETS];
    struct partition *parts;
    struct history_txn *txns;
    uint64_t wall_ms, wall_max_ms, stamp;
    bool failed;
};

/* history.c */
void fail(struct history *h, const struct object *o, const char *what, const char *fmt, ...)
    FB_PRINTF(4, 5);
struct object *object_of(struct history *h, const char *key, bool make);
/* It was answered and made a version: that one, or another that it may be taken for. */
static inline bool op_is_answered(const struct history_op *op)
{
    return op->until_ns != 0 && op->cmd.op != SHADOW_SET;
}
/* Out of its object's list, and gone. */
void op_end(struct history *h, struct history_op *op);
/* Before version i at node time `now_ms`: what a command finds. Absent when it has expired. */
const struct shadow *state_before(const struct object *o, uint32_t i, uint64_t now_ms);
/* Does `op` make version i of its object? */
bool op_makes(const struct history_op *op, uint32_t i);
/* Give version i to another command that may have made it; false when there is none. */
bool version_regive(struct history *h, struct object *o, uint32_t i);
/* May op, with the answer r, have made version i: the one it is thought to have made, or one of
 * another command that nobody can tell from it? */
bool version_may_be(const struct history_op *op, uint32_t i, const struct reply *r);
/* Version i is lost, and not only the command it was given to may have made it, for all that its
 * record says: then all these are in doubt, and nobody's it is. False: it is for sure. */
bool version_in_doubt(struct object *o, uint32_t i);
/* Was it sure from its bytes that op made the version it is thought to have made? */
bool version_is_named(const struct history_op *op);
/* Take a version that another command was thought to have made, and of which `r` is the answer. */
bool version_take(struct history *h, struct history_op *op, const struct reply *r);
/* history_judge.c */
/* The lowest version that a reply received now may be based on. */
uint32_t lowest(const struct history *h, const struct history_op *op);
void learn(struct history_op *op, uint32_t i);
/* A command that made no version, on version i of its object as it may have looked meanwhile: does
 * the reply fit? `r` NULL: any reply does. */
bool fits_without(const struct history *h, const struct history_op *op, uint32_t i,
                  const struct reply *r);
/* Does PostgreSQL have version i, which op made, if that was promised? */
bool row_has(const struct history *h, const struct history_op *op, uint32_t i);
/* Does a version that a crash took since the command was sent explain the answer? */
bool fits_lost(const struct history_op *op, const struct reply *r);
bool definite_error(const struct reply *r);
bool unknown_error(const struct reply *r);
/* history_txn.c */
/* The records of a GROUP are all there: whose are they? */
void group_done(struct history *h, struct partition *p);
void history_txn_free(struct history_txn *t);

#endif
