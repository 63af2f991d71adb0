/* A real PostgreSQL for a test program, one connection of sync/pg and one of plain SQL. */
#ifndef FB_TESTS_UNIT_PG_FIXTURE_H_
#define FB_TESTS_UNIT_PG_FIXTURE_H_

#include "sync/pg/pg.h"

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>

struct fixture {
    char dir[64];
    char conninfo[256];
    struct pg *pg;
    PGconn *sql; /* somebody else's session */
};

extern const uint8_t fixture_cluster[16];

/* Group setup and teardown: starts the server, runs pg_setup; stops it and removes its folder. */
int fixture_start(void **state);
int fixture_stop(void **state);
struct fixture *fixture_get(void **state);
/* A further connection as Forebay makes it. */
struct pg *fixture_connect(struct fixture *f);
/* Plain SQL; fails the test on an error. */
void fixture_sql(struct fixture *f, const char *sql);
/* First column of the first row, "" for none or null; valid until the next call. */
const char *fixture_text(struct fixture *f, const char *sql);

/* One feed with objects, next version `next`. */
struct pg_feed fixture_feed(const struct fb_namespace *ns, const struct fb_schema *schema,
                            uint64_t prev, uint64_t next, const struct fb_feed_object *objects,
                            size_t count);
enum pg_class fixture_apply(struct fixture *f, struct pg_batch *b, struct pg_feed *feed,
                            struct pg_error *err);
/* Load one id; the value's bytes are valid until the next call. */
struct fb_load_rep fixture_load(struct fixture *f, const struct fb_namespace *ns,
                                const struct fb_schema *schema, struct fb_bytes id);
struct fb_feed_object fixture_object(uint64_t ver, uint8_t kind, struct fb_bytes id,
                                     struct fb_bytes value);

#endif
