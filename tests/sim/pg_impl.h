/* Inside of the model of PostgreSQL: pg_*.c share this. */
#ifndef FB_TESTS_SIM_PG_IMPL_H_
#define FB_TESTS_SIM_PG_IMPL_H_

#include "tests/sim/pg_model.h"

#define PG_BUCKETS 128u
#define PG_SESSIONS_MAX 64u
/* How far a standby may lag behind; the cluster is told so (database_safety = lag). */
#define PG_STANDBY_LAG_NS (8 * SIM_S)

struct pg_session;

struct pg_row {
    struct pg_row *next, *next_locked;
    enum pg_table table;
    struct fb_buf key;
    struct pg_image now, next_image; /* committed; of the transaction that has the lock */
    bool changed;
    struct pg_session *locker;
    struct sim_waitq waiting;
};

/* A request of a client: run by its backend. */
struct pg_call {
    struct pg_call *next;
    void (*fn)(struct pg_session *s, struct pg_call *c);
    uint64_t due_ns; /* when it reaches the server */
    bool done;
    bool in_txn; /* opens a transaction, or belongs to the one that is open */
    struct pg_error err;
};

struct pg_session {
    struct pg_model *m;
    uint64_t number;
    struct sim_proc *client; /* NULL: somebody's psql */
    uint64_t client_number;
    bool client_gone; /* nothing more comes, nobody listens */
    bool server_gone; /* the backend has ended, or its end is under way to the client */
    bool terminate;   /* pg_terminate_backend */
    bool used;
    struct pg_call *head, *tail;
    struct sim_waitq server, reply;
    /* transaction */
    bool open, ours;
    uint64_t xid;          /* 0 = none yet */
    uint64_t lock_wait_ns; /* lock_timeout of the present call; 0: as everybody's */
    struct pg_row *locked;
    struct pg_row *waits_for;
    char fatal[6];       /* last words */
    struct pg_error err; /* of the present call */
};

struct pg_undo {
    uint64_t at_ns, xid;
    struct pg_row *row;
    struct pg_image was;
};

struct pg_model {
    struct world *w;
    struct sim *sim;
    struct sim_proc proc;
    struct sim_clock clock;
    struct pg_row *bucket[PG_TABLES][PG_BUCKETS];
    struct pg_session *session[PG_SESSIONS_MAX];
    uint64_t sessions;
    uint64_t next_xid, started_ms;
    struct pg_undo *undo;
    size_t undo_n, undo_cap;
    struct pg_observer observer[4];
    uint32_t observer_n;
    enum { PG_ALONE, PG_ASYNC, PG_SYNC } standby;
    uint64_t replicated_ns; /* PG_SYNC: when the last commit was that the standby confirmed */
    uint32_t poison;        /* one value in so many is refused; 0 = none */
    bool restarting, full;
    uint64_t slow_until;
    bool table_locked[PG_TABLES], table_gone[PG_TABLES];
    struct sim_waitq table_wait[PG_TABLES];
};

/* pg_model.c: rows and transactions. Calls that may wait are for backends. */
/* pg_proc.c: perhaps the standby takes over within a tenth of a second. */
void pg_fail_over_soon(struct pg_model *m);
struct pg_row *pg_row_find(struct pg_model *m, enum pg_table t, struct fb_bytes key, bool make);
void pg_image_copy(struct pg_image *to, const struct pg_image *from);
void pg_image_fini(struct pg_image *i);
/* Of all rows of a table, in no particular order that matters. */
void pg_each(struct pg_model *m, enum pg_table t, void (*fn)(void *arg, struct pg_row *r),
             void *arg);
/* What this transaction sees. */
const struct pg_image *pg_see(const struct pg_session *s, const struct pg_row *r);
/* Waits for whoever has it. False: an error is set. */
bool pg_lock(struct pg_session *s, struct pg_row *r);
/* Until when a session waits for others' locks from now on (lock_timeout). */
uint64_t pg_lock_until(const struct pg_session *s);
/* The row is locked: its next version, as it is now to begin with. */
struct pg_image *pg_change(struct pg_session *s, struct pg_row *r);
uint64_t pg_xid(struct pg_session *s);
void pg_commit(struct pg_session *s);
void pg_rollback(struct pg_session *s);
/* Before each statement: time passes, faults strike. False: an error is set. */
bool pg_statement(struct pg_session *s, enum pg_table t);
bool pg_fail(struct pg_session *s, const char *sqlstate, const char *text);

/* pg_server.c: backends and their calls. */
void pg_backend(void *arg);
struct pg_session *pg_session_open(struct pg_model *m, struct sim_proc *client);
/* The client sees its line broken; what the server has got it carries out. */
void pg_session_cut(struct pg_session *s);

/* pg_rows.c: mapped tables */
struct fb_schema *pg_table_schema(const struct pg_model *m, const struct fb_namespace *ns);

#endif
