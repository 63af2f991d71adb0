/* forebay.objects and the checkpoints against a real PostgreSQL. */
#include "tests/unit/pg/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct fb_namespace session = {.name = "session"};

static void strings_and_hashes(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_buf text = {0}, raw = {0};
    struct fb_feed_object o[5];
    struct pg_feed feed;
    struct fb_load_rep rep;
    fb_hash_put(&text, fb_bytes_str("name"), fb_bytes_str("J\xc3\xbcrgen \"x\"\n\\"));
    fb_hash_put(&raw, fb_bytes("\xff\0", 2), fb_bytes("\0\1\2", 3));
    o[0] = fixture_object(11, FB_KIND_STRING, fb_bytes_str("s"), fb_bytes("a\0\xff'\\", 5));
    o[1] = fixture_object(12, FB_KIND_HASH, fb_bytes_str("h"), fb_buf_view(&text));
    o[2] = fixture_object(13, FB_KIND_HASH, fb_bytes("\xfe\0", 2), fb_buf_view(&raw));
    o[3] = fixture_object(14, FB_KIND_STRING, fb_bytes_str(""), fb_bytes("", 0));
    o[3].expires_ms = INT64_C(4102444800123);
    o[4] = fixture_object(15, FB_KIND_STRING, fb_bytes_str("old"), fb_bytes("x", 1));
    o[4].expires_ms = 1000;
    feed = fixture_feed(&session, NULL, 0, 15, o, 5);
    feed.history = 3;
    if (fixture_apply(f, &b, &feed, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    assert_true(b.xid > 0);
    assert_string_equal(fixture_text(f, "select ver || ' ' || history || ' ' || owner || ' ' || "
                                        "consistent from forebay.checkpoint"),
                        "15 3 test true");
    rep = fixture_load(f, &session, NULL, o[0].id);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_int_equal(rep.kind, FB_KIND_STRING);
    assert_true(fb_bytes_equal(rep.value, o[0].value));
    assert_int_equal(rep.ckpt_ver, 15);
    assert_int_equal(rep.history, 3);
    assert_int_equal(rep.stored_ver, 11);
    rep = fixture_load(f, &session, NULL, o[1].id);
    assert_int_equal(rep.kind, FB_KIND_HASH);
    assert_true(fb_bytes_equal(rep.value, o[1].value));
    rep = fixture_load(f, &session, NULL, o[2].id);
    assert_int_equal(rep.kind, FB_KIND_HASH);
    assert_true(fb_bytes_equal(rep.value, o[2].value));
    rep = fixture_load(f, &session, NULL, o[3].id);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_int_equal(rep.value.n, 0);
    assert_int_equal(rep.expires_ms, INT64_C(4102444800123));
    rep = fixture_load(f, &session, NULL, o[4].id);
    assert_int_equal(rep.status, FB_LOAD_ABSENT);
    rep = fixture_load(f, &session, NULL, fb_bytes_str("never"));
    assert_int_equal(rep.status, FB_LOAD_ABSENT);
    assert_int_equal(rep.ckpt_ver, 15);

    o[0].kind = FB_KIND_NONE;
    o[0].ver = 16;
    o[1].value = fb_bytes("now a string", 12);
    o[1].kind = FB_KIND_STRING;
    feed = fixture_feed(&session, NULL, 15, 20, o, 2);
    feed.history = 3;
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_OK);
    assert_int_equal(b.rows_deleted, 1);
    assert_int_equal(fixture_load(f, &session, NULL, o[0].id).status, FB_LOAD_ABSENT);
    rep = fixture_load(f, &session, NULL, o[1].id);
    assert_true(fb_bytes_equal(rep.value, o[1].value));
    pg_batch_fini(&b);
    fb_buf_fini(&text);
    fb_buf_fini(&raw);
}

/* A stale checkpoint or history changes nothing. */
static void compare_lost(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_feed_object o =
        fixture_object(30, FB_KIND_STRING, fb_bytes_str("lost"), fb_bytes("x", 1));
    struct pg_feed feeds[2];
    struct pg_feed feed = fixture_feed(&session, NULL, 14, 30, &o, 1);
    feed.history = 3;
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_LOST);
    feed.prev = 20;
    feed.history = 2;
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_LOST);
    /* One lost feed of two takes the other with it. */
    feeds[0] = feeds[1] = feed;
    feeds[0].history = 3;
    feeds[1].part = 8;
    feeds[1].prev = 5;
    b.feeds = feeds;
    b.feed_count = 2;
    assert_int_equal(pg_apply(f->pg, fixture_cluster, &b, &err), PG_LOST);
    assert_int_equal(fixture_load(f, &session, NULL, o.id).status, FB_LOAD_ABSENT);
    assert_string_equal(
        fixture_text(f, "select string_agg(ver::text, ' ') from forebay.checkpoint"), "20");
    pg_batch_fini(&b);
}

/* The zombie waits for the lock of the winner's checkpoint and then loses; a lock nobody gives up
 * is a namespace error. */
static void locked_checkpoint(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_feed_object o =
        fixture_object(30, FB_KIND_STRING, fb_bytes_str("locked"), fb_bytes("x", 1));
    struct pg_feed feed = fixture_feed(&session, NULL, 20, 30, &o, 1);
    feed.history = 3;
    fixture_sql(f, "begin");
    fixture_sql(f, "update forebay.checkpoint set ver = 25");
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "55P03");
    fixture_sql(f, "rollback");
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_OK);
    pg_batch_fini(&b);
}

/* The backend dies: an outage, the same batch works after a reconnect. */
static void outage(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_batch b = {0};
    struct pg_error err;
    bool fatal;
    struct fb_feed_object o =
        fixture_object(40, FB_KIND_STRING, fb_bytes_str("o"), fb_bytes("x", 1));
    struct pg_feed feed = fixture_feed(&session, NULL, 30, 40, &o, 1);
    feed.history = 3;
    fixture_sql(f, "select pg_terminate_backend(pid, 2000) from pg_stat_activity where "
                   "application_name = 'forebay-sync/test'");
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_OUTAGE);
    assert_false(pg_connected(f->pg));
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_OUTAGE);
    if (pg_connect(f->pg, &fatal, &err) != PG_OK)
        fail_msg("%s", err.message);
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_OK);
    pg_batch_fini(&b);
}

/* A server that stays silent is an outage after the statement's timeout and 5 s. */
static void silence(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_config config = {
        .conninfo = f->conninfo, .application_name = "silent", .statement_timeout_ms = 200};
    struct pg_error err;
    char lsn[32];
    bool fatal;
    struct pg *pg = pg_new(&config);
    pid_t pid;
    assert_int_equal(pg_connect(pg, &fatal, &err), PG_OK);
    pid = (pid_t)strtol(
        fixture_text(f, "select pid from pg_stat_activity where application_name = 'silent'"), NULL,
        10);
    assert_true(pid > 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(pg_lsn(pg, lsn, &err), PG_OUTAGE);
    assert_int_equal(kill(pid, SIGCONT), 0);
    assert_false(pg_connected(pg));
    assert_non_null(strstr(err.message, "does not answer"));
    pg_free(pg);
}

static void wrong_login(void **state)
{
    struct fixture *f = fixture_get(state);
    char conninfo[512];
    struct pg_config config = {.conninfo = conninfo, .connect_timeout_s = 2};
    struct pg_error err;
    bool fatal;
    struct pg *pg;
    snprintf(conninfo, sizeof(conninfo), "%s dbname=nowhere", f->conninfo);
    pg = pg_new(&config);
    assert_int_equal(pg_connect(pg, &fatal, &err), PG_OUTAGE);
    assert_true(fatal);
    assert_string_equal(err.sqlstate, "3D000");
    pg_free(pg);
    snprintf(conninfo, sizeof(conninfo), "host=/nowhere dbname=x user=y");
    pg = pg_new(&config);
    assert_int_equal(pg_connect(pg, &fatal, &err), PG_OUTAGE);
    assert_false(fatal);
    pg_free(pg);
    snprintf(conninfo, sizeof(conninfo), "hunter2");
    pg = pg_new(&config);
    assert_int_equal(pg_connect(pg, &fatal, &err), PG_OUTAGE);
    assert_true(fatal);
    assert_null(strstr(err.message, "hunter2"));
    pg_free(pg);
}

static void seen(void *arg, uint16_t part, const char *ns, uint64_t history, uint64_t ver)
{
    assert_int_equal(part, 7);
    assert_string_equal(ns, "session");
    assert_int_equal(history, 3);
    *(uint64_t *)arg = ver;
}

static void checkpoints(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg_error err;
    uint64_t ver = 0;
    char lsn[32];
    assert_int_equal(pg_read_checkpoints(f->pg, fixture_cluster, seen, &ver, &err), PG_OK);
    assert_int_equal(ver, 40);
    assert_int_equal(pg_lsn(f->pg, lsn, &err), PG_OK);
    assert_non_null(strchr(lsn, '/'));
    assert_int_equal(pg_setup(f->pg, &err), PG_OK); /* again: idempotent */
}

/* Rows that somebody else wrote: without a value they are empty, and what is no hash is refused. */
static void rows_of_others(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_load_rep rep;

    fixture_sql(f, "insert into forebay.objects (ns, id, kind) values ('session', 'o1', 'string'),"
                   " ('session', 'o2', 'hash');"
                   "insert into forebay.objects (ns, id, kind, value) values"
                   " ('session', 'o3', 'hash', '\\x01')");
    rep = fixture_load(f, &session, NULL, fb_bytes_str("o1"));
    assert_true(rep.status == FB_LOAD_FOUND && rep.kind == FB_KIND_STRING && rep.value.n == 0);
    rep = fixture_load(f, &session, NULL, fb_bytes_str("o2"));
    assert_true(rep.status == FB_LOAD_FOUND && rep.kind == FB_KIND_HASH && rep.value.n == 0);
    rep = fixture_load(f, &session, NULL, fb_bytes_str("o3"));
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    assert_true(rep.value.n > 0 && memmem(rep.value.p, rep.value.n, "not one that Forebay wrote",
                                          strlen("not one that Forebay wrote")) != NULL);
    /* A field whose name is longer than any of ours. */
    fixture_sql(f, "insert into forebay.objects (ns, id, kind, fields) values ('session', 'o4',"
                   " 'hash', jsonb_build_object(repeat('n', 65535), 1, 'v', 'w')),"
                   " ('session', 'o5', 'hash', jsonb_build_object(repeat('n', 65536), 1))");
    rep = fixture_load(f, &session, NULL, fb_bytes_str("o4"));
    assert_true(rep.status == FB_LOAD_FOUND && fb_hash_count(rep.value) == 2);
    assert_int_equal(fixture_load(f, &session, NULL, fb_bytes_str("o5")).status, FB_LOAD_REFUSED);
}

/* Ends the wait of a commit for a standby. */
static void *cancel_wait(void *arg)
{
    struct fixture *f = arg;
    for (bool done = false; !done;) {
        PGresult *res = PQexec(f->sql, "select pg_cancel_backend(pid) from pg_stat_activity"
                                       " where wait_event = 'SyncRep'");
        done = PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) > 0;
        PQclear(res);
    }
    return NULL;
}

static void want_standby(struct fixture *f, const char *name)
{
    char sql[128];
    snprintf(sql, sizeof(sql), "alter system set synchronous_standby_names = '%s'", name);
    fixture_sql(f, sql);
    fixture_sql(f, "select pg_reload_conf()");
    while (strcmp(fixture_text(f, "show synchronous_standby_names"), name) != 0)
        ;
}

/* What receives the log and says so; it ends with its connection. */
static FILE *start_standby(struct fixture *f)
{
    char command[512];
    FILE *p;
    snprintf(command, sizeof(command),
             "mkdir %s/wal && exec %s/pg_receivewal -n --synchronous -h %s -p 5432 -U postgres -D "
             "%s/wal 2>&1",
             f->dir, fixture_text(f, "select setting from pg_config where name = 'BINDIR'"), f->dir,
             f->dir);
    p = popen(command, "r");
    assert_non_null(p);
    return p;
}

/* A barrier says whether a standby has what was committed: there is no such checkpoint, none is
 * wanted, one is wanted and there is none, so that somebody ends the wait; there is one. */
static void barriers(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace unknown = {.name = "unknown"};
    struct pg_feed feed = fixture_feed(&unknown, NULL, 1, 1, NULL, 0);
    struct pg_batch b = {.feeds = &feed, .feed_count = 1, .owner = "test"};
    struct pg_error err;
    pthread_t thread;
    FILE *standby;

    assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_LOST);
    assert_string_equal(err.message, "there is no such checkpoint");
    assert_false(b.replicated);
    feed = fixture_feed(&session, NULL, 1, 1, NULL, 0);
    fixture_sql(f, "alter table forebay.checkpoint rename to away");
    assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "42P01");
    assert_false(b.replicated);
    fixture_sql(f, "alter table forebay.away rename to checkpoint");
    assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_OK);
    assert_false(b.replicated || b.sync_cancelled);
    want_standby(f, "nobody");
    assert_int_equal(pthread_create(&thread, NULL, cancel_wait, f), 0);
    do /* its own session has read the configuration, too, once it waits */
        assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_OK);
    while (!b.sync_cancelled);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(b.replicated);
    want_standby(f, "pg_receivewal");
    standby = start_standby(f);
    while (strcmp(fixture_text(f, "select count(*) from pg_stat_replication where sync_state = "
                                  "'sync'"),
                  "1") != 0)
        ;
    do {
        assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_OK);
        assert_false(b.sync_cancelled);
    } while (!b.replicated);
    want_standby(f, "");
    fixture_sql(f, "select pg_terminate_backend(pid) from pg_stat_replication");
    (void)pclose(standby);
    do /* nobody is asked any more */
        assert_int_equal(pg_barrier(f->pg, fixture_cluster, &b, &err), PG_OK);
    while (b.replicated);
    pg_batch_fini(&b);
}

/* Somebody made the column something else: what is in it is not taken for an object's bytes. */
static void values_that_are_no_bytes(void **state)
{
    static const char *const kinds[] = {"string", "hash"};
    struct fixture *f = fixture_get(state);

    fixture_sql(f, "delete from forebay.objects;"
                   "alter table forebay.objects alter column value type text");
    for (size_t i = 0; i < FB_COUNT_OF(kinds); i++) {
        struct fb_load_rep rep;
        char sql[200];
        snprintf(sql, sizeof(sql),
                 "insert into forebay.objects (ns, id, kind, value) values"
                 " ('session', 'k%zu', '%s', 'words')",
                 i, kinds[i]);
        fixture_sql(f, sql);
        rep = fixture_load(f, &session, NULL, i == 0 ? fb_bytes_str("k0") : fb_bytes_str("k1"));
        assert_int_equal(rep.status, FB_LOAD_REFUSED);
        assert_int_equal(rep.kind, FB_KIND_NONE);
        assert_true(fb_bytes_is(rep.value, "the row of forebay.objects is not one that Forebay "
                                           "wrote: fields must be a JSON object, value of type "
                                           "bytea"));
    }
    fixture_sql(f, "delete from forebay.objects;"
                   "alter table forebay.objects alter column value type bytea using null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_and_hashes),
        cmocka_unit_test(rows_of_others),
        cmocka_unit_test(barriers),
        cmocka_unit_test(compare_lost),
        cmocka_unit_test(locked_checkpoint),
        cmocka_unit_test(outage),
        cmocka_unit_test(silence),
        cmocka_unit_test(wrong_login),
        cmocka_unit_test(checkpoints),
        cmocka_unit_test(values_that_are_no_bytes),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
