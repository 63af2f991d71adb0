/* The records of all nodes' logs, each once, and which of them lies in the past of which.
 *
 * With one copy the ledger is that node's log, and a recovery that finds less cuts it. With several
 * a node's log is a path through it: a record knows the one before it, logs part where an epoch
 * starts that has not all there was, and a log that was cut, copied or recovered stands at another
 * record of the ledger, never beside it. What counts is the path to the newest epoch that has
 * opened: whoever observes is told the records of this one, and with each that opens what of the
 * epochs before is not in it.
 */
#ifndef FB_TESTS_SIM_LEDGER_H_
#define FB_TESTS_SIM_LEDGER_H_

#include "proto/wire/record.h"
#include "tests/sim/kernel.h"

/* What the last end of a process may have taken. */
enum node_loss {
    NODE_LOSS_NOTHING,  /* kill, exit: all that write(2) took is there */
    NODE_LOSS_UNSYNCED, /* power: what no fsync had covered */
    NODE_LOSS_ANY,      /* an fsync had lied, or the directory was lost */
    NODE_LOSS_LEADER    /* an epoch starts at a node that had not all of the one before */
};

struct seen { /* one record */
    uint64_t ver, prev, ptime, obj_ver, dsafe, content, value_hash;
    uint32_t key; /* index into the partition's keys + 1, 0 = none */
    uint8_t type;
    uint32_t group; /* GROUP: how many follow */
    int64_t expires_ms;
    /* node_check_limit.c: its namespace or the node is at its limit since; UINT64_MAX: is not */
    uint64_t below_ns;
};

struct known_key {
    struct fb_buf key;
    uint64_t hash;
};
struct known_keys { /* of a partition */
    struct known_key *k;
    uint32_t n, cap;
};

/* Who wants to know each record when it was written, and what of a partition is left after a
 * recovery or the start of an epoch. */
struct ledger_observer {
    void *arg;
    void (*record)(void *arg, const struct fb_record *r);
    void (*recovered)(void *arg, uint16_t part, uint64_t last_ver, enum node_loss loss);
    void (*opened)(void *arg, uint16_t part); /* with several copies: it serves, perhaps since just
                                                 before */
};

struct ledger;
struct ledger *ledger_new(struct sim *s, uint32_t partitions, bool copies);
void ledger_free(struct ledger *l);
bool ledger_copies(const struct ledger *l);
void ledger_observe(struct ledger *l, const struct ledger_observer *o);
const struct known_keys *ledger_keys(const struct ledger *l, uint16_t part);
/* A node has written r to its log; `content`: of its bytes. What is kept of it goes to *out. I3: a
 * version names one record for ever, and with one copy it is written once. */
void ledger_record(struct ledger *l, const struct fb_record *r, uint64_t content, struct seen *out);
/* With one copy: the node has recovered up to last_ver. */
void ledger_recovered(struct ledger *l, uint16_t part, uint64_t last_ver, enum node_loss loss);

/* With several copies: the partition was found open in this epoch, at a node whose log ends with
 * `written`. What is not in the past of that counts no more, what is does. */
void ledger_opened(struct ledger *l, uint16_t part, uint32_t epoch, uint64_t written);

/* NULL: nobody wrote it. */
const struct seen *ledger_find(const struct ledger *l, uint16_t part, uint64_t ver);
/* Is `ver` the record `of` or in its past? 0, the beginning, is in everything's. */
bool ledger_past(const struct ledger *l, uint16_t part, uint64_t ver, uint64_t of);
/* The newest in the past of `ver` (or itself) that still counts: the rest may be cut off. */
uint64_t ledger_counted(const struct ledger *l, uint16_t part, uint64_t ver);

#endif
