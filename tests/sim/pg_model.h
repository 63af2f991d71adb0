/* PostgreSQL as a model: what a server does with the statements of sync/pg, so far as rows, locks,
 * transactions and lost connections go.
 *
 * A simulated process whose threads are the backends, one a connection. Rows that a transaction has
 * changed are locked until it ends; whoever wants them waits, at most lock_timeout, and then looks
 * at what is committed. Transactions read what is committed at each statement (READ COMMITTED).
 * What a client had sent before it died is carried out; then its backend finds the line closed and
 * rolls back. Every commit is kept for a while, so that the server can be replaced by a standby
 * that has not seen the last ones.
 *
 * pg_client.c puts this under sync/pg/pg.h for the real sync processes, pg_check.c judges every
 * commit.
 */
#ifndef FB_TESTS_SIM_PG_MODEL_H_
#define FB_TESTS_SIM_PG_MODEL_H_

#include "sync/pg/pg.h"
#include "tests/sim/proc.h"
#include "tests/sim/world.h"

enum pg_table {
    PG_T_CHECKPOINT, /* key: namespace, 0, partition */
    PG_T_DEAD,       /* key: namespace, 0, id */
    PG_T_OBJECTS,    /* the same */
    PG_T_TEAM,       /* mapped tables; key: id */
    PG_T_MEMBER,
    PG_T_NOTE,
    PG_TABLES
};

/* One version of a row. */
struct pg_image {
    bool exists;
    uint64_t xid;     /* xmin are its low 32 bits */
    uint8_t kind;     /* objects, dead letters: enum fb_kind */
    uint16_t part;    /* dead letters */
    uint64_t ver;     /* objects, dead letters, checkpoints */
    uint64_t history; /* checkpoints */
    int64_t expires_ms;
    char sqlstate[6];
    struct fb_buf value; /* mapped: a hash of the columns that are not null */
};

struct pg_row;

/* What a module that watches is told: after each commit, and when commits were lost (`lost`: the
 * row goes back from `was` to `now`). */
struct pg_observer {
    void *arg;
    void (*changed)(void *arg, enum pg_table t, struct fb_bytes key, const struct pg_image *was,
                    const struct pg_image *now, bool lost);
    /* all changes of one transaction were told; ours: written by a sync process */
    void (*committed)(void *arg, bool ours);
};

extern const struct world_module pg_module;
void pg_model_observe(struct pg_model *m, const struct pg_observer *o);

/* What is committed; NULL when there is no such row. */
const struct pg_image *pg_model_row(const struct pg_model *m, enum pg_table t, struct fb_bytes key);
const struct pg_image *pg_model_object(const struct pg_model *m, const char *ns,
                                       struct fb_bytes id);
const struct pg_image *pg_model_dead(const struct pg_model *m, const char *ns, struct fb_bytes id);
/* What PostgreSQL has of a key of a namespace without table; views. True: a version of it is
 * parked.
 */
struct raw_row;
bool pg_model_key(const struct world *w, const char *key, struct raw_row *out);
/* ver, 0 = none */
uint64_t pg_model_checkpoint(const struct pg_model *m, const char *ns, uint16_t part);
/* Does a rule of the table refuse this value? (A check constraint somebody added.) */
bool pg_model_refuses(const struct pg_model *m, struct fb_bytes value);
/* PG_TABLES: the namespace has no table. */
enum pg_table pg_table_of(const char *ns);
void pg_object_key(struct fb_buf *out, const char *ns, struct fb_bytes id);
/* Its connections are broken: the process that had them is gone. */
void pg_model_client_gone(struct pg_model *m, const struct sim_proc *p);
/* Milliseconds since 1970 by the server's clock, but never ahead of the node's: a row may then be
 * over a little earlier than its node thinks (PROTOCOL 14), which the history does not follow. */
uint64_t pg_model_wall_ms(const struct pg_model *m);
/* Its own clock, as the sync processes report it: the node's time stays within 5 minutes of it. */
uint64_t pg_model_clock_ms(const struct pg_model *m);
/* It loses the commits of the last `ns` nanoseconds: a standby takes over. */
void pg_model_regress(struct pg_model *m, uint64_t ns);

#endif
