/* Goal: what etcd and the network between can do to the etcd back end is told as what it is:
 * unknown stays unknown, nothing goes back, nothing foreign is taken, watches lose nothing. Method:
 * private etcd processes that are killed, stopped, compacted, put back to an older copy, and a
 * proxy that loses and holds back. */
#include "tests/unit/coord/etcd_server.h"
#include "tests/unit/coord/proxy.h"

#include "proto/base/clock.h"
#include "proto/coord/coord.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct etcd_server server;

static int group_setup(void **state)
{
    (void)state;
    etcd_server_start(&server, 1);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    etcd_server_stop(&server);
    return 0;
}

static struct fb_coord *open_at(uint16_t port, const char *name)
{
    struct fb_coord *c;
    struct fb_err err;
    char url[128];

    snprintf(url, sizeof(url), "etcd://127.0.0.1:%u/%s", port, name);
    if (fb_coord_open(url, true, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void value_is(struct fb_coord *c, const char *key, const char *want)
{
    struct fb_buf v = {0};
    struct fb_err err;

    if (fb_coord_get(c, key, &v, NULL, &err) != FB_OK)
        fail_msg("%s: %s", key, err.msg);
    if (!fb_bytes_is(fb_buf_view(&v), want))
        fail_msg("%s is \"%.*s\", not \"%s\"", key, (int)v.n, (const char *)v.p, want);
    fb_buf_fini(&v);
}

static void wait_for_value(struct fb_coord *c, const char *key, const char *want)
{
    uint64_t until = fb_mono_ns() + UINT64_C(20000000000);

    for (;;) {
        struct fb_buf v = {0};
        bool is =
            fb_coord_get(c, key, &v, NULL, NULL) == FB_OK && fb_bytes_is(fb_buf_view(&v), want);
        fb_buf_fini(&v);
        if (is)
            return;
        if (fb_mono_ns() > until)
            fail_msg("%s does not become \"%s\"", key, want);
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

/* etcd carried it out and the answer was lost, on a connection that was used before: libcurl would
 * send it again, and the second be told of a mismatch, as if nothing had happened. */
static void a_lost_answer_is_unknown(void **state)
{
    static struct proxy p;
    struct fb_coord *c, *direct = open_at(server.port[0], "lost");
    struct fb_err err;
    uint64_t rev;

    (void)state;
    proxy_start(&p, server.port[0]);
    c = open_at(p.port, "lost");
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("one"), &rev, &err), FB_OK);
    value_is(c, "k", "one");
    atomic_store(&p.mode, PROXY_LOSE);
    assert_int_equal(fb_coord_cas(c, "k", rev, fb_bytes_str("two"), &rev, &err), FB_EUNKNOWN);
    assert_non_null(strstr(err.msg, "is not known"));
    assert_int_equal(atomic_load(&p.lost), 1); /* sent once */
    atomic_store(&p.mode, PROXY_PASS);
    value_is(direct, "k", "two");
    value_is(c, "k", "two");
    fb_coord_close(c);
    fb_coord_close(direct);
    proxy_stop(&p);
}

/* A request that is under way executes long after the caller gave up (PROTOCOL 6). */
static void a_late_transaction_is_unknown(void **state)
{
    static struct proxy p;
    struct fb_coord *c, *direct = open_at(server.port[0], "late");
    struct fb_err err;
    uint64_t rev, t0;

    (void)state;
    proxy_start(&p, server.port[0]);
    c = open_at(p.port, "late");
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("one"), &rev, &err), FB_OK);
    atomic_store(&p.mode, PROXY_HOLD);
    t0 = fb_mono_ns();
    assert_int_equal(fb_coord_cas(c, "k", rev, fb_bytes_str("two"), NULL, &err), FB_EUNKNOWN);
    assert_true(fb_mono_ns() - t0 < UINT64_C(9000000000));
    value_is(direct, "k", "one"); /* reading the old record resolves nothing */
    atomic_store(&p.mode, PROXY_PASS);
    wait_for_value(direct, "k", "two");
    fb_coord_close(c);
    fb_coord_close(direct);
    proxy_stop(&p);
}

static void nobody_there_is_definite(void **state)
{
    struct fb_coord *c;
    struct fb_err err;
    char url[128];

    (void)state;
    snprintf(url, sizeof(url), "etcd://127.0.0.1:%u,127.0.0.1:%u/x", etcd_free_port(),
             etcd_free_port());
    assert_int_equal(fb_coord_open(url, true, &c, &err), FB_ECLOSED);
    assert_non_null(strstr(err.msg, "cannot be reached"));
    assert_null(strchr(err.msg, '\n'));
    c = open_at(server.port[0], "definite");
    etcd_server_kill(&server, 0);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), NULL, &err), FB_ECLOSED);
    etcd_server_run(&server, 0);
    etcd_server_wait(&server);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), NULL, &err), FB_OK);
    fb_coord_close(c);
}

/* Until something changes, or that long. */
static void a_while(struct fb_coord *c, uint64_t rev, uint32_t ms)
{
    enum fb_status s = fb_coord_wait(c, rev, ms);
    assert_true(s == FB_OK || s == FB_ETIMEOUT);
}

static uint64_t listed(struct fb_coord *c)
{
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t rev;

    if (fb_coord_list(c, "", &l, &err) != FB_OK)
        fail_msg("%s", err.msg);
    rev = l.rev;
    fb_coord_list_free(&l);
    return rev;
}

static void changes(struct fb_coord *c, struct fb_coord *by, uint64_t rev, unsigned within_ms)
{
    struct fb_err err;
    uint64_t t0;

    if (fb_coord_cas(by, "k", UINT64_MAX, fb_bytes_str("v"), NULL, &err) != FB_OK)
        fail_msg("%s", err.msg);
    t0 = fb_mono_ns();
    assert_int_equal(fb_coord_wait(c, rev, within_ms), FB_OK);
    assert_true(fb_mono_ns() - t0 < within_ms * UINT64_C(1000000));
}

/* What changed while no stream was open is told by the next one. */
static void a_watch_that_is_cut_loses_nothing(void **state)
{
    static struct proxy p;
    struct fb_coord *c, *direct = open_at(server.port[0], "cut");
    uint64_t rev;

    (void)state;
    proxy_start(&p, server.port[0]);
    c = open_at(p.port, "cut");
    for (int i = 0; i < 3; i++) {
        rev = listed(c);
        assert_int_equal(fb_coord_wait(c, rev, 50), FB_ETIMEOUT);
        atomic_store(&p.mode, PROXY_CUT);
        assert_int_equal(fb_coord_wait(c, rev, 5000), FB_OK); /* it ended: a look tells why */
        assert_int_equal(fb_coord_cas(direct, "k", UINT64_MAX, fb_bytes_str("v"), NULL, NULL),
                         FB_OK);
        atomic_store(&p.mode, PROXY_PASS);
        while (fb_coord_wait(c, rev, 3000) != FB_OK)
            fail_msg("the change was lost");
        assert_true(listed(c) > rev);
    }
    fb_coord_close(c);
    fb_coord_close(direct);
    proxy_stop(&p);
}

static void compact(void)
{
    char revision[32], command[300];
    struct fb_coord *c = open_at(server.port[0], "compact");

    snprintf(revision, sizeof(revision), "%llu", (unsigned long long)listed(c));
    fb_coord_close(c);
    snprintf(command, sizeof(command),
             "ETCDCTL_API=3 etcdctl --endpoints 127.0.0.1:$2 compact %s >/dev/null", revision);
    etcd_server_shell(&server, command);
}

/* A stream that begins below what was compacted is ended by etcd: a list, and on from there. */
static void compaction_under_a_watch(void **state)
{
    struct fb_coord *c = open_at(server.port[0], "compact"),
                    *d = open_at(server.port[0], "compact");
    uint64_t rev = listed(c);

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(fb_coord_cas(d, "k", UINT64_MAX, fb_bytes_str("v"), NULL, NULL), FB_OK);
    compact();
    assert_int_equal(fb_coord_wait(c, rev, 5000), FB_OK);
    rev = listed(c);
    assert_int_equal(fb_coord_wait(c, rev, 50), FB_ETIMEOUT);
    struct fb_coord *other = open_at(server.port[0], "other");
    assert_int_equal(fb_coord_cas(other, "k", UINT64_MAX, fb_bytes_str("v"), NULL, NULL), FB_OK);
    fb_coord_close(other);
    compact(); /* under the open stream */
    changes(c, d, rev, 5000);
    fb_coord_close(c);
    fb_coord_close(d);
}

/* etcd dies and comes back: the same revisions, the same session. */
static void kill_and_restart_under_a_session(void **state)
{
    struct fb_coord *c = open_at(server.port[0], "kill"), *d = open_at(server.port[0], "kill");
    struct fb_coord_op op = {
        .key = "node/n1", .rev = UINT64_MAX, .value = fb_bytes_str("{}"), .session = true};
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t rev, until;

    (void)state;
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_OK);
    assert_int_equal(fb_coord_txn(c, &op, 1, &rev, &err), FB_OK);
    rev = listed(d);
    assert_int_equal(fb_coord_wait(d, rev, 50), FB_ETIMEOUT);
    etcd_server_kill(&server, 0);
    assert_int_equal(fb_coord_wait(d, rev, 3000), FB_OK);
    assert_int_equal(fb_coord_list(d, "", &l, &err), FB_ECLOSED);
    etcd_server_run(&server, 0);
    etcd_server_wait(&server);
    until = fb_mono_ns() + UINT64_C(6500000000); /* longer than a lease that nobody keeps */
    do {
        assert_int_equal(fb_coord_list(d, "", &l, &err), FB_OK);
        assert_int_equal(l.count, 1);
        assert_true(l.kv[0].alive);
        rev = l.rev;
        fb_coord_list_free(&l);
        a_while(d, rev, 500);
    } while (fb_mono_ns() < until);
    changes(d, c, listed(d), 5000);
    fb_coord_close(c);
    rev = listed(d);
    assert_int_equal(fb_coord_list(d, "node/", &l, &err), FB_OK);
    assert_false(l.kv[0].alive); /* and stays listed */
    fb_coord_list_free(&l);
    fb_coord_close(d);
}

/* A stopped etcd takes connections and says nothing: each call ends in time, and the lease that ran
 * out meanwhile is taken again. */
static void stopped_etcd(void **state)
{
    struct fb_coord *c = open_at(server.port[0], "stop");
    struct fb_coord_op op = {
        .key = "node/n1", .rev = UINT64_MAX, .value = fb_bytes_str("{}"), .session = true};
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t rev, t0;
    bool alive = false;

    (void)state;
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_OK);
    assert_int_equal(fb_coord_txn(c, &op, 1, &rev, &err), FB_OK);
    etcd_server_pause(&server, 0);
    t0 = fb_mono_ns();
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ETIMEOUT);
    assert_true(fb_mono_ns() - t0 < UINT64_C(7000000000));
    etcd_server_resume(&server, 0);
    etcd_server_wait(&server);
    t0 = fb_mono_ns();
    while (!alive && fb_mono_ns() - t0 < UINT64_C(20000000000)) {
        if (fb_coord_list(c, "", &l, &err) != FB_OK)
            continue;
        rev = l.rev;
        alive = l.kv[0].alive;
        fb_coord_list_free(&l);
        if (!alive)
            a_while(c, rev, 500);
    }
    assert_true(alive);
    fb_coord_close(c);
}

/* I34. The same etcd with an older copy of its files, then one that was made anew. */
static void going_back_is_refused(void **state)
{
    static struct proxy p;
    struct etcd_server other;
    struct fb_coord *c = open_at(server.port[0], "back");
    struct fb_coord_list l;
    struct fb_buf v = {0};
    struct fb_err err;

    (void)state;
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("1"), NULL, &err), FB_OK);
    etcd_server_kill(&server, 0);
    etcd_server_shell(&server, "cp -a \"$1/m0\" \"$1/old\"");
    etcd_server_run(&server, 0);
    etcd_server_wait(&server);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("2"), NULL, &err), FB_OK);
    etcd_server_kill(&server, 0);
    etcd_server_shell(&server, "mv \"$1/m0\" \"$1/new\" && mv \"$1/old\" \"$1/m0\"");
    etcd_server_run(&server, 0);
    etcd_server_wait(&server);
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ESTALE);
    assert_non_null(strstr(err.msg, "went back from revision"));
    assert_int_equal(fb_coord_get(c, "k", &v, NULL, &err), FB_ESTALE);
    assert_int_equal(v.n, 0);
    fb_buf_fini(&v);
    etcd_server_kill(&server, 0);
    etcd_server_shell(&server, "rm -r \"$1/m0\" && mv \"$1/new\" \"$1/m0\"");
    etcd_server_run(&server, 0);
    etcd_server_wait(&server);
    value_is(c, "k", "2");
    fb_coord_close(c);

    etcd_server_start(&other, 1);
    proxy_start(&p, server.port[0]);
    c = open_at(p.port, "back");
    value_is(c, "k", "2");
    atomic_store(&p.mode, PROXY_CUT);
    assert_int_not_equal(fb_coord_list(c, "", &l, &err), FB_OK);
    atomic_store(&p.server, other.port[0]);
    atomic_store(&p.mode, PROXY_PASS);
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_EFOREIGN);
    assert_non_null(strstr(err.msg, "another etcd cluster"));
    fb_coord_close(c);
    proxy_stop(&p);
    etcd_server_stop(&other);
}

/* One of three down: everything goes on. Two down: nothing is told that may be old. */
static void three_members(void **state)
{
    struct etcd_server three;
    struct fb_coord *c, *d;
    struct fb_coord_list l;
    struct fb_err err = {0};
    char url[256];
    uint64_t rev, t0;
    enum fb_status s;

    (void)state;
    etcd_server_start(&three, 3);
    etcd_server_url(&three, "three", url);
    assert_int_equal(fb_coord_open(url, true, &c, &err), FB_OK);
    assert_int_equal(fb_coord_open(url, true, &d, &err), FB_OK);
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_OK);
    rev = listed(d);
    assert_int_equal(fb_coord_wait(d, rev, 50), FB_ETIMEOUT);
    etcd_server_pause(&three, 0); /* the one that both ask */
    t0 = fb_mono_ns();
    do /* it may have been the leader, and a write be unknown */
        s = fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), NULL, &err);
    while (s != FB_OK && fb_mono_ns() - t0 < UINT64_C(25000000000));
    if (s != FB_OK)
        fail_msg("%s", err.msg);
    rev = listed(d);
    assert_int_equal(fb_coord_wait(d, rev, 50), FB_ETIMEOUT);
    changes(d, c, rev, 5000); /* the watch has moved too */
    etcd_server_kill(&three, 1);
    t0 = fb_mono_ns();
    s = fb_coord_list(d, "", &l, &err);
    assert_true(s == FB_ETIMEOUT || s == FB_ECLOSED);
    assert_true(fb_mono_ns() - t0 < UINT64_C(8000000000));
    assert_null(strchr(err.msg, '\n'));
    etcd_server_run(&three, 1);
    etcd_server_wait(&three);
    value_is(d, "k", "v");
    fb_coord_close(c);
    fb_coord_close(d);
    etcd_server_stop(&three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_answer_is_unknown),
        cmocka_unit_test(a_late_transaction_is_unknown),
        cmocka_unit_test(nobody_there_is_definite),
        cmocka_unit_test(a_watch_that_is_cut_loses_nothing),
        cmocka_unit_test(compaction_under_a_watch),
        cmocka_unit_test(kill_and_restart_under_a_session),
        cmocka_unit_test(stopped_etcd),
        cmocka_unit_test(going_back_is_refused),
        cmocka_unit_test(three_members),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
