/* The shadow history: what every client asked and was told, against every version that was written.
 *
 * Fed from outside the code under test: commands as clients send them, replies as clients read
 * them, and the records of the node's log in the order in which they were written. From these it
 * judges, as things happen:
 *
 *   - every record is what exactly one command makes of the version before it, at most one record a
 *     command, whatever was answered (I14, I15, P6); a record in a GROUP belongs to its
 * transaction, and the GROUP is whole;
 *   - an answer is what its own record, or for a command without one some version between the
 * newest one known before it was sent and the last one written, makes it (I11, I12, P2); answers of
 * one connection follow its order;
 *   - a definite error has no record, then or later (I14, P7);
 *   - what was answered at a level is still there after what the level survives (I13).
 *
 * A version is known once somebody was told of it. Pure: no clock, no random numbers; one thread.
 */
#ifndef FB_TESTS_SIM_HISTORY_H_
#define FB_TESTS_SIM_HISTORY_H_

#include "proto/wire/record.h"
#include "proto/wire/request.h"
#include "tests/sim/shadow.h"

#define HISTORY_CLIENTS_MAX 64u

struct history;
struct history_op;  /* one command on one key; the history's, until it is answered */
struct history_txn; /* MULTI ... EXEC */

enum history_loss {
    HISTORY_KILLED, /* kill -9, clean stop, pause: nothing written may be missing */
    HISTORY_POWER,  /* power: what was not synced may be missing */
    HISTORY_DISK,   /* the disk lied, broke or is gone: only PostgreSQL is sure */
    HISTORY_LEADER, /* of several copies another one leads: what it had not may be missing */
};

struct history_config {
    void *arg;
    uint32_t partitions;
    /* `what`: the invariant. The history looks at nothing more afterwards. */
    void (*violation)(void *arg, const char *what, const char *text);
    void (*trace)(void *arg, const char *line); /* may be NULL */
    /* Are objects of this key also changed by others (SQL)? Then its values are not judged. NULL:
     * none. */
    bool (*others_write)(void *arg, const char *key);
    /* The version of the row PostgreSQL has of an object, 0 = none; after HISTORY_DISK. NULL: there
     * is no loss of disks. */
    uint64_t (*row_version)(void *arg, const char *key);
    /* With several copies: is the record on a disk of any node? What an answer has shown is on as
     * many as were asked for, and is not left out as long as one of them has it. NULL: there is one
     * copy. */
    bool (*held)(void *arg, uint16_t part, uint64_t rec_ver);
};

struct history_counts {
    uint64_t commands, acknowledged, unknown, refused, records, lost_records, transactions, aborted;
};

struct history *history_new(const struct history_config *config);
void history_free(struct history *h);
const struct history_counts *history_counts(const struct history *h);
bool history_failed(const struct history *h);

/* The node's wall clock, and the latest time that it has read from it; before anything else of the
 * same instant. */
void history_wall(struct history *h, uint64_t wall_ms, uint64_t seen_ms);
/* Since the call before, the node's wall clock was set back to `ms` at the earliest (UINT64_MAX: it
 * was not), and perhaps forward again: what is under way may have been carried out by that time. */
void history_wall_set_back(struct history *h, uint64_t ms);

/* `cmd` is sent now, by connection `conn` (a number never used again) of `client`. Takes the bytes
 * of cmd. level: what the answer promises (enum fb_level). With SHADOW_AGAIN it was sent before,
 * and nobody knows what became of that: either may take effect, or both. */
struct history_op *history_invoke(struct history *h, uint64_t now_ns, uint32_t client,
                                  uint64_t conn, struct shadow_cmd *cmd, uint8_t level);
const char *history_op_key(const struct history_op *op);
const struct shadow_cmd *history_op_cmd(const struct history_op *op);
/* Its reply. `op` is the history's afterwards. */
void history_reply(struct history *h, struct history_op *op, uint64_t now_ns,
                   const struct reply *r);
/* Does what it writes not tell that it wrote it (a DEL), nor which time of several? */
bool history_nameless(const struct shadow_cmd *cmd);
/* Is a command under way that could be taken for `cmd` by what it writes (two DELs of one key)? Who
 * made a record would be a guess: clients do not send such. `strict`: nor one whose outcome nobody
 * knows. */
bool history_has_twin(struct history *h, const struct shadow_cmd *cmd, bool strict);
/* One reply for several: DEL k1 k2 adds up, of MSET and MGET pass the item or the whole to
 * history_reply. */
void history_reply_sum(struct history *h, struct history_op **ops, uint32_t n, uint64_t now_ns,
                       const struct reply *r);
/* Its connection is gone without a reply. */
void history_unknown(struct history *h, struct history_op *op, uint64_t now_ns);

struct history_watch {
    const void *object;
    uint64_t seen; /* last record of the object when WATCH was answered */
};
struct history_watch history_watched(struct history *h, const char *key);
/* MULTI, cmds, EXEC are sent, maybe right behind a WATCH of the same keys: then history_txn_watched
 * says when that was answered. Takes the bytes of cmds.
 * levels: of each command, what its answer promises. */
struct history_txn *history_txn(struct history *h, uint64_t now_ns, uint32_t client, uint64_t conn,
                                struct shadow_cmd *cmds, uint32_t n, const uint8_t *levels,
                                const struct history_watch *watches, uint32_t watch_n);
void history_txn_watched(struct history *h, struct history_txn *t);
/* Its keys, for people. */
void history_txn_keys(const struct history_txn *t, struct fb_buf *out);
void history_txn_reply(struct history *h, struct history_txn *t, uint64_t now_ns,
                       const struct reply *r);
void history_txn_unknown(struct history *h, struct history_txn *t, uint64_t now_ns);

/* A record was written to the log: write(2) returned, whether or not anybody was told. */
void history_record(struct history *h, uint64_t now_ns, const struct fb_record *r);
/* From now on others write this key as well: its values are not judged any more. */
void history_others(struct history *h, const char *key);
/* A node has recovered partition `part` up to and including `last_ver`. */
void history_recovered(struct history *h, uint64_t now_ns, uint16_t part, uint64_t last_ver,
                       enum history_loss loss);

/* With several copies an epoch starts before it serves: it does now. */
void history_opened(struct history *h, uint64_t now_ns, uint16_t part);

/* PostgreSQL has gone back to an older state: what no log has is gone with it. */
void history_rows_lost(struct history *h, uint64_t now_ns);

/* The newest version of every key that was ever written, in no particular order. */
struct history_final {
    const char *key;
    const struct shadow *state;
    uint64_t ver;
    bool others_write;
};
void history_each(const struct history *h, void (*fn)(void *arg, const struct history_final *f),
                  void *arg);
/* Its state and version; NULL when it was never written. */
const struct shadow *history_newest(const struct history *h, const char *key, uint64_t *ver);

#endif
