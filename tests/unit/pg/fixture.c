/* Starts tests/integration/pg_server for a test program. */
#include "tests/unit/pg/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const uint8_t fixture_cluster[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static struct fb_buf loaded;

struct pg *fixture_connect(struct fixture *f)
{
    struct pg_config config = {.conninfo = f->conninfo,
                               .application_name = "forebay-sync/test",
                               .connect_timeout_s = 5,
                               .statement_timeout_ms = 10000,
                               .lock_timeout_ms = 1000};
    struct pg_error err;
    bool fatal;
    struct pg *pg = pg_new(&config);
    if (pg_connect(pg, &fatal, &err) != PG_OK)
        fail_msg("%s", err.message);
    return pg;
}

int fixture_start(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct pg_error err;
    char command[512];
    FILE *p;
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/fbpg.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(command, sizeof(command), "%s start %s", PG_SERVER, f->dir);
    p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(f->conninfo, sizeof(f->conninfo), p));
    assert_int_equal(pclose(p), 0);
    f->conninfo[strcspn(f->conninfo, "\n")] = '\0';
    f->sql = PQconnectdb(f->conninfo);
    assert_int_equal(PQstatus(f->sql), CONNECTION_OK);
    f->pg = fixture_connect(f);
    if (pg_setup(f->pg, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    *state = f;
    return 0;
}

int fixture_stop(void **state)
{
    struct fixture *f = *state;
    char command[512];
    int rc;
    pg_free(f->pg);
    PQfinish(f->sql);
    snprintf(command, sizeof(command), "%s stop %s immediate && rm -rf %s", PG_SERVER, f->dir,
             f->dir);
    rc = system(command);
    fb_buf_fini(&loaded);
    free(f);
    return rc;
}

struct fixture *fixture_get(void **state)
{
    return *state;
}

void fixture_sql(struct fixture *f, const char *sql)
{
    PGresult *res = PQexec(f->sql, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    PQclear(res);
}

const char *fixture_text(struct fixture *f, const char *sql)
{
    static char text[4096];
    PGresult *res = PQexec(f->sql, sql);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    snprintf(text, sizeof(text), "%s", PQntuples(res) == 0 ? "" : PQgetvalue(res, 0, 0));
    PQclear(res);
    return text;
}

struct pg_feed fixture_feed(const struct fb_namespace *ns, const struct fb_schema *schema,
                            uint64_t prev, uint64_t next, const struct fb_feed_object *objects,
                            size_t count)
{
    return (struct pg_feed){.part = 7,
                            .ns = ns,
                            .schema = schema,
                            .prev = prev,
                            .next = next,
                            .consistent = true,
                            .objects = objects,
                            .count = count};
}

enum pg_class fixture_apply(struct fixture *f, struct pg_batch *b, struct pg_feed *feed,
                            struct pg_error *err)
{
    pg_batch_fini(b);
    *b = (struct pg_batch){.feeds = feed, .feed_count = 1, .owner = "test"};
    return pg_apply(f->pg, fixture_cluster, b, err);
}

struct fb_load_rep fixture_load(struct fixture *f, const struct fb_namespace *ns,
                                const struct fb_schema *schema, struct fb_bytes id)
{
    struct fb_load_req req = {.part = 7, .token = 42, .ns = fb_bytes_str(ns->name), .id = id};
    struct fb_load_rep rep;
    struct pg_load l = {.ns = ns, .schema = schema, .reqs = &req, .reps = &rep, .count = 1};
    struct pg_error err;
    fb_buf_clear(&loaded);
    if (pg_load(f->pg, fixture_cluster, &l, &loaded, &err) != PG_OK)
        fail_msg("load: %s %s", err.sqlstate, err.message);
    assert_int_equal(rep.token, 42);
    return rep;
}

struct fb_feed_object fixture_object(uint64_t ver, uint8_t kind, struct fb_bytes id,
                                     struct fb_bytes value)
{
    return (struct fb_feed_object){.ver = ver, .kind = kind, .id = id, .value = value};
}
