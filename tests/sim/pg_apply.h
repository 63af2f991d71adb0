/* A batch on its way through the model of PostgreSQL: pg_batch.c sends it, pg_apply.c carries it
 * out.
 */
#ifndef FB_TESTS_SIM_PG_APPLY_H_
#define FB_TESTS_SIM_PG_APPLY_H_

#include "tests/sim/pg_client.h"

enum pg_op {
    PG_DO_DELETE,
    PG_DO_NULL,
    PG_DO_UPDATE,
    PG_DO_INSERT,
    PG_DO_PUT
}; /* order within a namespace */

struct pg_ref {
    uint32_t feed, object;
    uint32_t depth, number;
    enum pg_op kind;
    bool done;
};

struct pg_commit_call {
    struct pg_call c;
    bool replicated, cancelled;
};

struct pg_apply_call {
    struct pg_call c;
    struct pg_batch b; /* a copy: the client may be gone before the server is done */
    struct fb_namespace *ns;
    struct fb_feed_object **objects;
    struct fb_buf bytes;
    struct pg_ref *refs;
    size_t ref_n;
    bool missing;
};

/* Requests (pg_call.fn), in the backend. */
void pg_run_apply(struct pg_session *s, struct pg_call *c);   /* all but COMMIT */
void pg_run_missing(struct pg_session *s, struct pg_call *c); /* rows that were not reached */
void pg_run_commit(struct pg_session *s, struct pg_call *c);  /* struct pg_commit_call */
void pg_run_rollback(struct pg_session *s, struct pg_call *c);
void pg_run_barrier(struct pg_session *s, struct pg_call *c);

#endif
