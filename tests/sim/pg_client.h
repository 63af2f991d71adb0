/* The client's side of the model of PostgreSQL: `struct pg` of sync/pg/pg.h. */
#ifndef FB_TESTS_SIM_PG_CLIENT_H_
#define FB_TESTS_SIM_PG_CLIENT_H_

#include "tests/sim/pg_impl.h"

struct pg {
    struct pg_session *s; /* NULL: not connected */
    uint32_t statement_timeout_ms, connect_timeout_s;
};

extern struct pg_model *pg_the_model;

/* PG_OK: the answer is there, c->err says what it is. Else the line is gone and `c` is nobody's
 * any more: the server may still come to it. */
enum pg_class pg_call(struct pg *pg, struct pg_call *c,
                      void (*fn)(struct pg_session *s, struct pg_call *c), struct pg_error *err);
enum pg_class pg_client_fail(struct pg_error *err, enum pg_class class, const char *sqlstate,
                             const char *text);
/* Sends a request and does not wait: the line breaks at once. It arrives `late_ns` from now. */
void pg_call_and_cut(struct pg *pg, struct pg_call *c,
                     void (*fn)(struct pg_session *s, struct pg_call *c), uint64_t late_ns);

#endif
