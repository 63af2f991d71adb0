/* Goal: whichever call of libpq fails, or at which the line breaks: the caller is told an outage
 * (or, around COMMIT, that nobody knows), the connection is given up, and PostgreSQL has all of the
 * batch or nothing of it, as its checkpoint says.
 * Method: everything a sync process asks PostgreSQL, with call number 1, 2, 3 ... failing, until
 * none does any more (every seventh; all in the long form, FB_FAILING_LONG=1); link-time, for the
 * names in pg.cmake. */
#include "tests/unit/pg/rows_util.h"

#include "sync/pg/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum how {
    SAYS_NO,
    LINE_BREAKS,
    NONSENSE_COMES, /* from something in between, as the answer to what ends a part of a batch */
};

static unsigned left; /* 0 = not armed */
static enum how how;
static const char *hit;

/* Calls of the test's own session do not count. */
static PGconn *own;

/* What the connection reads from now on is no message of PostgreSQL's, and nobody reads what it
 * writes. */
static void answer_nonsense(PGconn *conn)
{
    static const char nonsense[] = "!!!!!!!! 400 Bad Request !!!!!!!!";
    static int other = -1;
    int pair[2];

    if (other >= 0)
        (void)close(other);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(write(pair[1], nonsense, sizeof(nonsense)), sizeof(nonsense));
    assert_int_equal(dup2(pair[0], PQsocket(conn)), PQsocket(conn));
    (void)close(pair[0]);
    other = pair[1];
}

/* True when this call is to say no; when the line is to break it is broken here, and the call finds
 * out by itself. */
static bool fails(const char *call, PGconn *conn)
{
    if (left == 0 || conn == own ||
        (how == NONSENSE_COMES && strcmp(call, "PQpipelineSync") != 0) || --left > 0)
        return false;
    hit = call;
    if (how == SAYS_NO)
        return true;
    if (how == NONSENSE_COMES)
        answer_nonsense(conn);
    else if (conn != NULL && PQsocket(conn) >= 0)
        (void)shutdown(PQsocket(conn), SHUT_RDWR);
    return false;
}

#define WRAP(type, name, params, args, failure)                                                    \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        return fails(#name, conn) ? (failure) : __real_##name args;                                \
    }
WRAP(int, PQsetnonblocking, (PGconn * conn, int on), (conn, on), -1)
WRAP(int, PQflush, (PGconn * conn), (conn), -1)
WRAP(int, PQconsumeInput, (PGconn * conn), (conn), 0)
WRAP(int, PQpipelineSync, (PGconn * conn), (conn), 0)
WRAP(int, PQexitPipelineMode, (PGconn * conn), (conn), 0)
WRAP(int, PQsendQuery, (PGconn * conn, const char *sql), (conn, sql), 0)
WRAP(int, PQsendPrepare,
     (PGconn * conn, const char *name, const char *sql, int n, const Oid *types),
     (conn, name, sql, n, types), 0)
WRAP(PostgresPollingStatusType, PQconnectPoll, (PGconn * conn), (conn), PGRES_POLLING_FAILED)

WRAP(int, PQsendQueryParams,
     (PGconn * conn, const char *sql, int n, const Oid *types, const char *const *values,
      const int *lengths, const int *formats, int format),
     (conn, sql, n, types, values, lengths, formats, format), 0)
WRAP(int, PQsendQueryPrepared,
     (PGconn * conn, const char *name, int n, const char *const *values, const int *lengths,
      const int *formats, int format),
     (conn, name, n, values, lengths, formats, format), 0)

PGresult *__real_PQgetResult(PGconn *conn);
PGresult *__wrap_PQgetResult(PGconn *conn);
PGresult *__wrap_PQgetResult(PGconn *conn)
{
    return fails("PQgetResult", conn) ? NULL : __real_PQgetResult(conn);
}

PGconn *__real_PQconnectStartParams(const char *const *keys, const char *const *values, int expand);
PGconn *__wrap_PQconnectStartParams(const char *const *keys, const char *const *values, int expand);
PGconn *__wrap_PQconnectStartParams(const char *const *keys, const char *const *values, int expand)
{
    return fails("PQconnectStartParams", NULL) && how == SAYS_NO
               ? NULL /* no memory */
               : __real_PQconnectStartParams(keys, values, expand);
}

static bool interrupts, interrupted; /* every second wait is interrupted by a signal */

int __real_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms);
int __wrap_poll(struct pollfd *p, nfds_t n, int ms)
{
    if (interrupts && (interrupted = !interrupted)) {
        errno = EINTR;
        return -1;
    }
    if (!fails("poll", NULL))
        return __real_poll(p, n, ms);
    errno = ENOMEM;
    return -1;
}

static void letter(void *arg, const struct pg_letter *l)
{
    (void)l;
    ++*(unsigned *)arg;
}

static void checkpoint(void *arg, uint16_t part, const char *ns, uint64_t history, uint64_t ver)
{
    (void)part, (void)ns, (void)history, (void)ver;
    ++*(unsigned *)arg;
}

static void conflict(void *arg, const struct pg_conflict_row *r)
{
    (void)r;
    ++*(unsigned *)arg;
}

static void said(void *arg, int level, const char *text)
{
    (void)level, (void)text;
    ++*(unsigned *)arg;
}

#define LOCK_WAIT_MS 5000u /* another than that of the connection: it has to be set */

struct life {
    struct fixture *f;
    struct pg *pg;
    struct fb_namespace ns;
    struct fb_schema *schema;
    uint64_t told; /* checkpoint that was reported as committed */
    uint64_t open; /* one whose outcome nobody knows, 0 = none */
};

static enum pg_class apply(struct life *l, const struct fb_feed_object *o, size_t n, uint64_t next,
                           enum pg_class want, struct pg_error *err)
{
    struct pg_feed feed = fixture_feed(&l->ns, l->schema, l->told, next, o, n);
    struct pg_batch b = {
        .feeds = &feed, .feed_count = 1, .owner = "test", .lock_wait_ms = LOCK_WAIT_MS};
    enum pg_class c = pg_apply(l->pg, fixture_cluster, &b, err);

    if (c == PG_OK)
        l->told = next;
    else if (c == PG_UNKNOWN)
        l->open = next;
    if (c == PG_CONFLICT)
        c = pg_conflict_put(l->pg, fixture_cluster, &b, err);
    else if (c == PG_OK && want != PG_OK)
        fail_msg("a conflict was not seen");
    pg_batch_fini(&b);
    return c;
}

static enum pg_class batches(struct life *l, struct pg_error *err)
{
    struct fb_buf row = {0};
    struct fb_feed_object o[5];
    struct pg_feed feed = fixture_feed(&l->ns, l->schema, 3, 3, NULL, 0);
    struct pg_batch barrier = {.feeds = &feed, .feed_count = 1, .owner = "test"};
    enum pg_class c;

    rows_put(&row, "v", "ours");
    o[0] = fixture_object(1, FB_KIND_HASH, fb_bytes_str("7"), fb_buf_view(&row));
    o[1] = fixture_object(2, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o[1].flags = FB_OBJECT_HAS_BASE;
    o[1].changed = rows_bit(l->schema, "v");
    o[2] = fixture_object(3, FB_KIND_NONE, fb_bytes_str("99"), fb_bytes_str(""));
    o[3] = fixture_object(3, FB_KIND_HASH, fb_bytes_str("8"), fb_buf_view(&row)); /* see start */
    o[4] = fixture_object(3, FB_KIND_HASH, fb_bytes_str("70"), fb_buf_view(&row));
    o[4].flags = FB_OBJECT_PARKED;
    c = apply(l, o, 5, 3, PG_OK, err); /* the letter of "7" goes with it, that of "70" stays */
    o[0] = fixture_object(4, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    if (c == PG_OK)
        c = apply(l, o, 1, 4, PG_CONFLICT, err);
    if (c == PG_OK)
        c = pg_conflict_done(l->pg, fixture_cluster, "f", o[0].id, 4, "ours", err);
    o[0].ver = 5;
    if (c == PG_OK)
        c = pg_dead_letter_put(l->pg, fixture_cluster, "f", 7, &o[0], "22000", "text", err);
    if (c == PG_OK)
        c = pg_barrier(l->pg, fixture_cluster, &barrier, err);
    fb_buf_fini(&row);
    pg_batch_fini(&barrier);
    return c;
}

/* A row and a key that is no number, then the row again where the session has lost its statements.
 */
static enum pg_class loads(struct life *l, struct pg_error *err)
{
    struct fb_load_req reqs[] = {
        {.part = 7, .ns = fb_bytes_str(l->ns.name), .id = fb_bytes_str("1")},
        {.part = 7, .ns = fb_bytes_str(l->ns.name), .id = fb_bytes_str("x")}};
    struct fb_load_rep reps[2];
    struct pg_load load = {.ns = &l->ns,
                           .schema = l->schema,
                           .reqs = reqs,
                           .reps = reps,
                           .count = 2,
                           .lock_wait_ms = LOCK_WAIT_MS};
    struct fb_buf bytes = {0};
    enum pg_class c = pg_load(l->pg, fixture_cluster, &load, &bytes, err);

    assert_int_equal(reps[0].status, c == PG_OK ? FB_LOAD_FOUND : FB_LOAD_DB_DOWN);
    assert_int_equal(reps[1].status, c == PG_OK ? FB_LOAD_REFUSED : FB_LOAD_DB_DOWN);
    if (c == PG_OK)
        c = pg_script(l->pg, "deallocate all", err);
    load.count = 1;
    if (c == PG_OK) {
        c = pg_load(l->pg, fixture_cluster, &load, &bytes, err);
        assert_int_equal(reps[0].status, c == PG_OK ? FB_LOAD_FOUND : FB_LOAD_DB_DOWN);
    }
    fb_buf_fini(&bytes);
    return c;
}

static enum pg_class questions(struct life *l, struct pg_error *err)
{
    static const struct pg_letter_query all = {.limit = 10};
    struct fb_nsset *set = fb_xcalloc(1, sizeof(*set));
    struct pg_standbys standbys;
    unsigned count = 0;
    uint64_t n;
    char lsn[32];
    enum pg_class c = pg_read_checkpoints(l->pg, fixture_cluster, checkpoint, &count, err);

    set->count = 1;
    set->ns[0] = l->ns;
    if (c == PG_OK)
        c = pg_read_standbys(l->pg, &standbys, err);
    if (c == PG_OK)
        c = pg_lsn(l->pg, lsn, err);
    if (c == PG_OK)
        c = loads(l, err);
    if (c == PG_OK)
        c = pg_dead_letter_list(l->pg, fixture_cluster, &all, letter, &count, err);
    if (c == PG_OK)
        c = pg_dead_letter_count(l->pg, fixture_cluster, &n, err);
    if (c == PG_OK)
        c = pg_conflict_list(l->pg, fixture_cluster, NULL, 10, conflict, &count, err);
    if (c == PG_OK)
        c = pg_sweep_objects(l->pg, 1000, 10, &n, err);
    if (c == PG_OK)
        c = pg_check(l->pg, set, said, &count, err);
    if (c == PG_OK)
        c = pg_setup(l->pg, err);
    free(set);
    return c;
}

static enum pg_class live(struct life *l, struct pg_error *err)
{
    bool fatal;
    enum pg_class c = pg_connect(l->pg, &fatal, err);

    if (c == PG_OK)
        c = pg_read_schema(l->pg, &l->ns, &l->schema, err);
    if (c == PG_OK)
        c = batches(l, err);
    return c == PG_OK ? questions(l, err) : c;
}

static void prepare(struct fixture *f)
{
    fixture_sql(f,
                "truncate app.f, forebay.checkpoint, forebay.dead_letter, forebay.conflict_log;"
                "insert into app.f values (1, 'good', 'theirs');"
                "select setval('app.tries', 1, false);"
                "insert into forebay.dead_letter (cluster, ns, id, part, version, kind, sqlstate,"
                " message) values ('01020304-0506-0708-090a-0b0c0d0e0f10', 'f', '7', 7, 0,"
                " 'none', '22000', ''), ('01020304-0506-0708-090a-0b0c0d0e0f10', 'f', '70', 7, 3,"
                " 'none', '22000', '')");
}

/* What the server does for a session that is gone is done: its transaction has an end. */
static void wait_until_gone(struct fixture *f)
{
    time_t end = time(NULL) + 30;
    while (strcmp(fixture_text(f, "select count(*) from pg_stat_activity where application_name ="
                                  " 'forebay-sync/failing'"),
                  "0") != 0)
        assert_true(time(NULL) < end);
}

static void check(struct life *l, enum pg_class c, unsigned n, const struct pg_error *err)
{
    uint64_t ver;

    if (c != PG_OK && c != PG_OUTAGE && c != PG_UNKNOWN)
        fail_msg("call %u, %s: class %d, %s %s", n, hit, (int)c, err->sqlstate, err->message);
    if (c != PG_OK && (err->message[0] == '\0' || err->remark[0] == '\0'))
        fail_msg("call %u, %s: no reason", n, hit);
    if (c != PG_OK && pg_connected(l->pg))
        fail_msg("call %u, %s: the connection is used on", n, hit);
    pg_free(l->pg);
    wait_until_gone(l->f);
    ver = strtoull(fixture_text(l->f, "select coalesce(max(ver), 0) from forebay.checkpoint"), NULL,
                   10);
    if (ver != l->told && (l->open == 0 || ver != l->open))
        fail_msg("call %u, %s: checkpoint %lu, %lu was reported", n, hit, (unsigned long)ver,
                 (unsigned long)l->told);
    /* The row, the letter and the checkpoint are one. */
    assert_string_equal(fixture_text(l->f, "select count(*) from app.f where id = 7"),
                        ver >= 3 ? "1" : "0");
    assert_string_equal(
        fixture_text(l->f, "select count(*) from forebay.dead_letter where id = '7'"),
        ver >= 3 ? "0" : "1");
}

static void each_call(struct fixture *f, enum how mode)
{
    struct pg_config config = {.conninfo = f->conninfo,
                               .application_name = "forebay-sync/failing",
                               .connect_timeout_s = 5,
                               .statement_timeout_ms = 10000,
                               .lock_timeout_ms = 10000};
    unsigned step = getenv("FB_FAILING_LONG") != NULL || mode == NONSENSE_COMES ? 1 : 7;
    unsigned n = 1 + (unsigned)mode * 3 % step, told = 0, unknown = 0;

    own = f->sql;
    do {
        struct life l = {.f = f, .ns = rows_mapping("f", "f", "id"), .pg = pg_new(&config)};
        struct pg_error err;
        enum pg_class c;

        prepare(f);
        how = mode;
        hit = NULL;
        left = n;
        c = live(&l, &err);
        left = 0;
        if (hit == NULL)
            rows_must(c, &err);
        check(&l, c, n, &err);
        told += c == PG_OUTAGE;
        unknown += c == PG_UNKNOWN;
        fb_schema_free(l.schema);
        n += step;
    } while (hit != NULL);
    print_message("%u calls, each %u.: %u outages, %u unknown\n", n - step, step, told, unknown);
    assert_true(told > (mode == NONSENSE_COMES ? 2 : 50) && unknown > 0);
}

static void each_call_says_no(void **state)
{
    each_call(fixture_get(state), SAYS_NO);
}

static void the_line_breaks_at_each_call(void **state)
{
    each_call(fixture_get(state), LINE_BREAKS);
}

static void something_else_answers(void **state)
{
    each_call(fixture_get(state), NONSENSE_COMES);
}

static struct pg_config config_of(struct fixture *f, uint32_t timeout_ms)
{
    return (struct pg_config){.conninfo = f->conninfo,
                              .application_name = "forebay-sync/failing",
                              .connect_timeout_s = 5,
                              .statement_timeout_ms = timeout_ms,
                              .lock_timeout_ms = timeout_ms};
}

/* A signal during a wait is no failure. */
static void waits_that_are_interrupted_go_on(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_config config = config_of(f, 10000);
    struct life l = {.f = f, .ns = rows_mapping("f", "f", "id"), .pg = pg_new(&config)};
    struct pg_error err;
    enum pg_class c;

    own = f->sql;
    prepare(f);
    interrupts = true;
    c = live(&l, &err);
    interrupts = false;
    rows_must(c, &err);
    check(&l, c, 0, &err);
    fb_schema_free(l.schema);
}

/* A trigger keeps a row out, which is found out by a second try: whichever call fails on the way
 * there, it is an outage; the trigger is blamed only at the end of it, also where what fails is the
 * rollback. */
static void a_row_that_is_kept_out(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_config config = config_of(f, 10000);
    unsigned n = 0, told = 0;

    own = f->sql;
    how = SAYS_NO;
    fixture_sql(f, "truncate forebay.checkpoint");
    do {
        struct life l = {.f = f, .ns = rows_mapping("f", "f", "id"), .pg = pg_new(&config)};
        struct fb_buf row = {0};
        struct fb_feed_object o;
        struct pg_error err;
        enum pg_class c;
        bool fatal;

        rows_must(pg_connect(l.pg, &fatal, &err), &err);
        rows_must(pg_read_schema(l.pg, &l.ns, &l.schema, &err), &err);
        rows_put(&row, "v", "ours");
        o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("9"), fb_buf_view(&row));
        hit = NULL;
        left = ++n;
        c = apply(&l, &o, 1, 1, PG_OK, &err);
        left = 0;
        if (c != PG_ROW && (c != PG_OUTAGE || hit == NULL))
            fail_msg("call %u, %s: class %d, %s %s", n, hit, (int)c, err.sqlstate, err.message);
        assert_string_equal(err.sqlstate, c == PG_OUTAGE ? "" : "09000");
        if (c == PG_OUTAGE)
            assert_false(pg_connected(l.pg));
        told += c == PG_OUTAGE;
        fb_schema_free(l.schema);
        fb_buf_fini(&row);
        pg_free(l.pg);
    } while (hit != NULL);
    assert_true(told > 40 && n > told + 1);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.checkpoint"), "0");
}

/* Row 8 is let in at the second try, row 9 at none. */
static int start(void **state)
{
    int rc = rows_start(state);
    fixture_sql(*state,
                "create type app.mood as enum ('good', 'bad');"
                "create table app.f (id int primary key, mood app.mood, v text);"
                "create sequence app.tries;"
                "create function app.keep_out() returns trigger language plpgsql as"
                " 'begin return case when new.id = 8 and nextval(''app.tries'') > 1 then new end;"
                " end';"
                "create trigger keep_out before insert on app.f for each row"
                " when (new.id in (8, 9)) execute function app.keep_out()");
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_says_no),
        cmocka_unit_test(the_line_breaks_at_each_call),
        cmocka_unit_test(something_else_answers),
        cmocka_unit_test(waits_that_are_interrupted_go_on),
        cmocka_unit_test(a_row_that_is_kept_out),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
