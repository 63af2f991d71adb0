/* Goal: one certain thing goes wrong between a sync process and PostgreSQL: the class that is told
 * is what it means, and what the connection is at is known. Method: link-time, for the names in
 * pg.cmake: libpq or the line gives what a test asks for. */
#include "tests/unit/pg/rows_util.h"

#include "sync/pg/internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static bool silent; /* nothing comes from the server any more */

int __real_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms)
{
    if (!silent)
        return __real_poll(p, n, ms);
    (void)__real_poll(NULL, 0, ms < 100 ? ms : 100);
    return 0;
}

static bool no_memory; /* libpq gives the result that it makes of itself then, once */

PGresult *__real_PQgetResult(PGconn *conn);
PGresult *__wrap_PQgetResult(PGconn *conn);
PGresult *__wrap_PQgetResult(PGconn *conn)
{
    if (!no_memory)
        return __real_PQgetResult(conn);
    no_memory = false;
    return PQmakeEmptyPGresult(conn, PGRES_FATAL_ERROR);
}

static const char *not_sent; /* what begins so is not */

int __real_PQsendQuery(PGconn *conn, const char *sql);
int __wrap_PQsendQuery(PGconn *conn, const char *sql);
int __wrap_PQsendQuery(PGconn *conn, const char *sql)
{
    if (not_sent != NULL && strncmp(sql, not_sent, strlen(not_sent)) == 0)
        return 0;
    return __real_PQsendQuery(conn, sql);
}

static bool ends_in_rollback; /* what is sent to commit does not */

int __real_PQsendQueryParams(PGconn *conn, const char *sql, int n, const Oid *types,
                             const char *const *values, const int *lengths, const int *formats,
                             int format);
int __wrap_PQsendQueryParams(PGconn *conn, const char *sql, int n, const Oid *types,
                             const char *const *values, const int *lengths, const int *formats,
                             int format);
int __wrap_PQsendQueryParams(PGconn *conn, const char *sql, int n, const Oid *types,
                             const char *const *values, const int *lengths, const int *formats,
                             int format)
{
    if (ends_in_rollback && strcmp(sql, "commit") == 0)
        sql = "rollback";
    return __real_PQsendQueryParams(conn, sql, n, types, values, lengths, formats, format);
}

static unsigned serialization; /* so many statements fail as those that are best sent again */

int __real_PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
                               const int *lengths, const int *formats, int format);
int __wrap_PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
                               const int *lengths, const int *formats, int format);
int __wrap_PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
                               const int *lengths, const int *formats, int format)
{
    if (serialization == 0)
        return __real_PQsendQueryPrepared(conn, name, n, values, lengths, formats, format);
    serialization--;
    return __real_PQsendQuery(conn, "do $$begin raise 'again' using errcode = '40001'; end$$");
}

static struct pg *with_timeout(struct fixture *f, uint32_t timeout_ms)
{
    struct pg_config config = {.conninfo = f->conninfo,
                               .application_name = "forebay-sync/one",
                               .connect_timeout_s = 5,
                               .statement_timeout_ms = timeout_ms,
                               .lock_timeout_ms = timeout_ms};
    return pg_new(&config);
}

/* A statement while `fails` is set: an outage, and the connection is gone. */
static void statement_fails(void **state, uint32_t timeout_ms, bool *fails, struct pg_error *err)
{
    struct fixture *f = fixture_get(state);
    struct pg *pg = with_timeout(f, timeout_ms);
    struct pg_standbys standbys;
    bool fatal;

    rows_must(pg_connect(pg, &fatal, err), err);
    *fails = true;
    assert_int_equal(pg_read_standbys(pg, &standbys, err), PG_OUTAGE);
    *fails = false;
    assert_false(pg_connected(pg));
    pg_free(pg);
}

/* A server that says nothing any more is given up some seconds behind the statement's time. */
static void a_silent_server_is_given_up(void **state)
{
    struct pg_error err;

    statement_fails(state, 100, &silent, &err);
    assert_string_equal(err.message, "PostgreSQL does not answer: gave up after 5100 ms");
}

/* An error that PostgreSQL did not tell: the answer is lost, and with it what the session is at. */
static void a_result_without_memory_for_it(void **state)
{
    struct pg_error err;

    statement_fails(state, 10000, &no_memory, &err);
    assert_string_equal(err.sqlstate, "");
    assert_true(err.message[0] != '\0');
}

/* The server ends a session in the middle of a statement: its own words are what is told, and not
 * those of libpq, which finds the line broken behind them. */
static void the_server_ends_the_session(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg *pg = with_timeout(f, 10000);
    struct fb_namespace ns = rows_mapping("ends", "ends", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {.feed_count = 1, .owner = "test"};
    struct pg_feed feed;
    struct pg_error err;
    struct fb_schema *s;
    bool fatal;

    rows_must(pg_connect(pg, &fatal, &err), &err);
    assert_int_equal(
        pg_script(pg, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)", &err),
        PG_OUTAGE);
    assert_string_equal(err.sqlstate, "57P01");
    assert_string_equal(err.message, "terminating connection due to administrator command");
    assert_false(pg_connected(pg));

    /* in the middle of a batch, too */
    rows_must(pg_connect(pg, &fatal, &err), &err);
    fixture_sql(f, "create table app.ends (id int primary key, v text);"
                   "create function app.ends() returns trigger language plpgsql as"
                   " 'begin perform pg_terminate_backend(pg_backend_pid()), pg_sleep(20); end';"
                   "create trigger ends before insert on app.ends for each row execute function"
                   " app.ends()");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "ours");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("7"), fb_buf_view(&row));
    feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    b.feeds = &feed;
    assert_int_equal(pg_apply(pg, fixture_cluster, &b, &err), PG_OUTAGE);
    assert_string_equal(err.sqlstate, "57P01");
    assert_string_equal(err.message, "terminating connection due to administrator command");
    assert_false(pg_connected(pg));
    pg_batch_fini(&b);
    fb_schema_free(s);
    fb_buf_fini(&row);
    pg_free(pg);
}

/* The transaction has ended, and not as it was asked to: nothing is written, and it can be tried
 * again at once on the same connection. */
static void commit_is_answered_with_rollback(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("f", "f", "id");
    struct fb_schema *s = rows_usable(f, &ns);
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;

    rows_put(&row, "v", "ours");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("7"), fb_buf_view(&row));
    ends_in_rollback = true;
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_RETRY);
    ends_in_rollback = false;
    assert_string_equal(err.message, "PostgreSQL answered COMMIT with ROLLBACK");
    assert_string_equal(fixture_text(f, "select count(*) from app.f where id = 7"), "0");
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from app.f where id = 7"), "1");
    pg_batch_fini(&b);
    fb_schema_free(s);
    fb_buf_fini(&row);
}

/* Once more is tried; what is refused twice is for the node to ask for again. */
static void a_load_that_is_to_be_tried_again(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("f", "f", "id");
    struct fb_schema *s = rows_usable(f, &ns);

    assert_int_equal(fixture_load(f, &ns, s, fb_bytes_str("1")).status, FB_LOAD_FOUND);
    serialization = 1;
    assert_int_equal(fixture_load(f, &ns, s, fb_bytes_str("1")).status, FB_LOAD_FOUND);
    serialization = 2;
    assert_int_equal(fixture_load(f, &ns, s, fb_bytes_str("1")).status, FB_LOAD_DB_DOWN);
    assert_int_equal(serialization, 0);
    fb_schema_free(s);
}

/* More statements than a connection keeps: the oldest are given up before the next call, which is
 * an outage when that fails. */
static void statements_that_cannot_be_given_up(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg *pg = with_timeout(f, 10000);
    struct pg_error err;
    char sql[32], lsn[32];
    bool fatal;

    for (int failing = 0; failing < 2; failing++) {
        rows_must(pg_connect(pg, &fatal, &err), &err);
        for (unsigned i = 0; i <= PG_STATEMENTS_KEEP; i++) {
            snprintf(sql, sizeof(sql), "select %u", i);
            rows_must(pg_run(pg, sql, NULL, true, NULL, &err), &err);
        }
        assert_int_equal(pg->statement_count, PG_STATEMENTS_KEEP + 1);
        not_sent = failing ? "deallocate fb" : NULL;
        assert_int_equal(pg_lsn(pg, lsn, &err), failing ? PG_OUTAGE : PG_OK);
        assert_int_equal(pg_connected(pg), !failing);
        pg_disconnect(pg);
    }
    not_sent = NULL;
    pg_free(pg);
}

static void none(void *arg, const struct pg_letter *l)
{
    (void)l;
    ++*(unsigned *)arg;
}

static void nothing_at(void *arg, uint16_t part, const char *ns, uint64_t history, uint64_t ver)
{
    (void)part, (void)ns, (void)history, (void)ver;
    ++*(unsigned *)arg;
}

static void no_conflict(void *arg, const struct pg_conflict_row *r)
{
    (void)r;
    ++*(unsigned *)arg;
}

static void nothing_said(void *arg, int level, const char *text)
{
    (void)level, (void)text;
    ++*(unsigned *)arg;
}

/* Whatever is asked without a connection: an outage, with words. */
static void nothing_is_asked_without_a_connection(void **state)
{
    static const struct pg_letter_query all = {.limit = 10};
    struct fixture *f = fixture_get(state);
    struct pg *pg = with_timeout(f, 10000);
    struct fb_namespace ns = rows_mapping("f", "f", "id");
    struct fb_schema *s = rows_usable(f, &ns), *read = NULL;
    struct fb_feed_object o = fixture_object(1, FB_KIND_NONE, fb_bytes_str("1"), fb_bytes("", 0));
    struct fb_load_req req = {.part = 7, .ns = fb_bytes_str("f"), .id = fb_bytes_str("1")};
    struct fb_load_rep rep;
    struct pg_load load = {.ns = &ns, .schema = s, .reqs = &req, .reps = &rep, .count = 1};
    struct pg_feed feed = fixture_feed(&ns, s, 1, 1, NULL, 0);
    struct pg_batch b = {.feeds = &feed, .feed_count = 1, .owner = "test"};
    struct fb_nsset *set = fb_xcalloc(1, sizeof(*set));
    struct fb_buf bytes = {0};
    struct pg_standbys standbys;
    unsigned told = 0;
    uint64_t n = 1;
    char lsn[32];
    struct pg_error err[16];
    const enum pg_class got[] = {
        pg_apply(pg, fixture_cluster, &b, &err[0]),
        pg_barrier(pg, fixture_cluster, &b, &err[1]),
        pg_load(pg, fixture_cluster, &load, &bytes, &err[2]),
        pg_read_checkpoints(pg, fixture_cluster, nothing_at, &told, &err[3]),
        pg_read_standbys(pg, &standbys, &err[4]),
        pg_lsn(pg, lsn, &err[5]),
        pg_dead_letter_put(pg, fixture_cluster, "f", 7, &o, "22000", "", &err[6]),
        pg_dead_letter_list(pg, fixture_cluster, &all, none, &told, &err[7]),
        pg_dead_letter_count(pg, fixture_cluster, &n, &err[8]),
        pg_conflict_put(pg, fixture_cluster, &b, &err[9]),
        pg_conflict_done(pg, fixture_cluster, "f", o.id, 1, "ours", &err[10]),
        pg_conflict_list(pg, fixture_cluster, NULL, 10, no_conflict, &told, &err[11]),
        pg_sweep_objects(pg, 1000, 10, &n, &err[12]),
        pg_check(pg, set, nothing_said, &told, &err[13]),
        pg_setup(pg, &err[14]),
        pg_read_schema(pg, &ns, &read, &err[15]),
    };

    for (size_t i = 0; i < FB_COUNT_OF(got); i++) {
        if (got[i] != PG_OUTAGE || err[i].class != PG_OUTAGE)
            fail_msg("call %zu: class %d, %d", i, (int)got[i], (int)err[i].class);
        assert_string_equal(err[i].message, "not connected to PostgreSQL");
    }
    assert_int_equal(told, 0);
    assert_null(read);
    assert_int_equal(rep.status, FB_LOAD_DB_DOWN);
    assert_true(fb_bytes_is(rep.value, "not connected to PostgreSQL"));
    fb_buf_fini(&bytes);
    free(set);
    fb_schema_free(s);
    pg_free(pg);
}

static int start(void **state)
{
    int rc = rows_start(state);
    fixture_sql(*state, "create table app.f (id int primary key, v text);"
                        "insert into app.f values (1, 'theirs')");
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(a_result_without_memory_for_it),
        cmocka_unit_test(the_server_ends_the_session),
        cmocka_unit_test(commit_is_answered_with_rollback),
        cmocka_unit_test(a_load_that_is_to_be_tried_again),
        cmocka_unit_test(statements_that_cannot_be_given_up),
        cmocka_unit_test(nothing_is_asked_without_a_connection),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
