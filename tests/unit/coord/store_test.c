/* Goal: every back end is a linearizable compare-and-swap store with sessions and hints of changes.
 * Method: two handles (as two processes would have) on a store of our own, and forked children that
 * die; over a directory and over a private etcd. */
#include "tests/unit/coord/backends.h"

#include "proto/base/clock.h"
#include "proto/rt/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void compare_and_swap(void **state)
{
    struct fb_coord *a, *b;
    struct fb_buf v = {0};
    struct fb_err err;
    struct fb_coord_list l;
    uint64_t r1, r2, rev;

    a = must_open(*state);
    b = must_open(*state);
    assert_int_equal(fb_coord_get(a, "meta", &v, &rev, &err), FB_ENOENT);
    assert_int_equal(fb_coord_cas(a, "meta", 0, fb_bytes_str("one"), &r1, &err), FB_OK);
    assert_int_equal(fb_coord_cas(b, "meta", 0, fb_bytes_str("two"), &r2, &err), FB_EMISMATCH);
    assert_int_equal(fb_coord_get(b, "meta", &v, &rev, &err), FB_OK);
    assert_true(fb_bytes_is(fb_buf_view(&v), "one"));
    assert_int_equal(rev, r1);
    assert_int_equal(
        fb_coord_cas(b, "meta", r1, fb_bytes_str("two \"quoted\" \xc3\xa9\n"), &r2, &err), FB_OK);
    assert_true(r2 > r1);
    assert_int_equal(fb_coord_cas(b, "meta", r2, fb_bytes("\xff", 1), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(b, "meta", r2, fb_bytes("a\0b", 3), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(b, "\xff", 0, fb_bytes_str("v"), &rev, &err), FB_EINVAL);
    {
        struct fb_coord_op ops[] = {{.key = "part/2", .value = fb_bytes_str("p2")},
                                    {.key = "part/10", .value = fb_bytes_str("p10")},
                                    {.key = "meta", .rev = r1, .value = fb_bytes_str("no")}};
        assert_int_equal(fb_coord_txn(a, ops, 3, &rev, &err), FB_EMISMATCH); /* all or nothing */
        assert_int_equal(fb_coord_txn(a, ops, 2, &rev, &err), FB_OK);
    }
    assert_int_equal(fb_coord_list(b, "part/", &l, &err), FB_OK);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.kv[0].key, "part/10");
    assert_int_equal(l.kv[1].rev, rev);
    assert_true(l.kv[0].alive);
    assert_int_equal(l.rev, rev);
    fb_coord_list_free(&l);
    assert_int_equal(fb_coord_cas(b, "part/2", UINT64_MAX, fb_bytes(NULL, 0), NULL, &err),
                     FB_OK); /* delete */
    fb_buf_clear(&v);
    assert_int_equal(fb_coord_get(a, "part/2", &v, &rev, &err), FB_ENOENT);
    fb_buf_fini(&v);
    fb_coord_close(a);
    fb_coord_close(b);
}

#define ROUNDS 60

static void increment(void *arg)
{
    struct fb_coord *c = must_open(arg);
    struct fb_err err;
    for (int done = 0; done < ROUNDS;) {
        struct fb_buf v = {0};
        uint64_t rev = 0;
        char text[32];
        enum fb_status s = fb_coord_get(c, "n", &v, &rev, &err);
        fb_buf_put_u8(&v, 0);
        snprintf(text, sizeof(text), "%d", s == FB_OK ? atoi((char *)v.p) + 1 : 1);
        s = fb_coord_cas(c, "n", s == FB_OK ? rev : 0, fb_bytes_str(text), NULL, &err);
        fb_buf_fini(&v);
        if (s == FB_OK)
            done++;
        else if (s != FB_EMISMATCH)
            fail_msg("%s", err.msg);
    }
    fb_coord_close(c);
}

static void rivals_lose_no_update(void **state)
{
    struct fb_thread *t[4];
    struct fb_coord *c = must_open(*state);
    struct fb_buf v = {0};
    struct fb_err err;
    uint64_t rev;

    for (int i = 0; i < 4; i++)
        assert_int_equal(fb_thread_start("rival", increment, *state, &t[i], &err), FB_OK);
    for (int i = 0; i < 4; i++)
        fb_thread_join(t[i]);
    assert_int_equal(fb_coord_get(c, "n", &v, &rev, &err), FB_OK);
    fb_buf_put_u8(&v, 0);
    assert_int_equal(atoi((char *)v.p), 4 * ROUNDS);
    fb_buf_fini(&v);
    fb_coord_close(c);
}

static bool is_alive(struct fb_coord *c, const char *key, uint64_t *rev)
{
    struct fb_coord_list l;
    struct fb_err err;
    bool alive;
    assert_int_equal(fb_coord_list(c, key, &l, &err), FB_OK);
    assert_int_equal(l.count, 1);
    alive = l.kv[0].alive;
    *rev = l.rev;
    fb_coord_list_free(&l);
    return alive;
}

/* The kernel tells of a lock at once; a lease has to run out. */
static uint64_t noticed_ns(const struct place *p)
{
    return p->etcd ? UINT64_C(14000000000) : UINT64_C(1500000000);
}

static void sessions_die_with_their_process(void **state)
{
    struct fb_coord *c = must_open(*state), *d;
    struct fb_coord_op op = {.key = "node/n1", .value = fb_bytes_str("{}"), .session = true};
    struct fb_err err;
    uint64_t rev, t0;
    int up[2], status;
    char byte;
    pid_t pid;

    assert_int_equal(fb_coord_txn(c, &op, 1, &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, "bad name!", &err), FB_EINVAL);
    assert_int_equal(pipe(up), 0);
    pid = fork();
    if (pid == 0) {
        d = must_open(*state);
        if (fb_coord_session(d, "node/n1", &err) != FB_OK ||
            fb_coord_txn(d, &op, 1, &rev, &err) != FB_OK)
            _exit(1);
        if (write(up[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_true(is_alive(c, "node/n1", &rev));
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_EBUSY);
    assert_non_null(strstr(err.msg, "running already, as process"));
    assert_int_equal(fb_coord_wait(c, rev, 50), FB_ETIMEOUT);
    kill(pid, SIGKILL);
    t0 = fb_mono_ns();
    assert_int_equal(fb_coord_wait(c, rev, 15000),
                     FB_OK); /* noticed without a change of the store */
    assert_true(fb_mono_ns() - t0 < noticed_ns(*state));
    waitpid(pid, &status, 0);
    assert_false(is_alive(c, "node/n1", &rev));
    /* The next process of that name does not bring the old one's key to life. */
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_OK);
    assert_false(is_alive(c, "node/n1", &rev));
    op.rev = UINT64_MAX;
    assert_int_equal(fb_coord_txn(c, &op, 1, &rev, &err), FB_OK);
    assert_true(is_alive(c, "node/n1", &rev));
    d = must_open(*state);
    assert_true(is_alive(d, "node/n1", &rev));
    fb_coord_close(c);
    assert_false(is_alive(d, "node/n1", &rev));
    fb_coord_close(d);
    close(up[0]);
    close(up[1]);
}

static void put_soon(void *arg)
{
    struct fb_coord *c = arg;
    (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    if (fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), NULL, NULL) != FB_OK)
        abort();
}

static void wake_soon(void *arg)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    fb_coord_wake(arg);
}

static void wait_sees_changes_at_once(void **state)
{
    struct fb_coord *a = must_open(*state), *b = must_open(*state);
    struct fb_coord_list l;
    struct fb_thread *t;
    struct fb_err err;
    uint64_t t0 = fb_mono_ns();

    assert_int_equal(fb_coord_list(a, "", &l, &err), FB_OK);
    assert_int_equal(fb_coord_wait(a, l.rev, 100), FB_ETIMEOUT);
    assert_true(fb_mono_ns() - t0 >= 100000000u);
    assert_int_equal(fb_thread_start("putter", put_soon, b, &t, &err), FB_OK);
    t0 = fb_mono_ns();
    assert_int_equal(fb_coord_wait(a, l.rev, 10000), FB_OK);
    assert_true(fb_mono_ns() - t0 < UINT64_C(1000000000));
    fb_thread_join(t);
    assert_int_equal(fb_coord_wait(a, l.rev, 10000),
                     FB_OK); /* still different from what was seen */
    fb_coord_list_free(&l);
    assert_int_equal(fb_coord_list(a, "", &l, &err), FB_OK);
    assert_int_equal(fb_thread_start("waker", wake_soon, a, &t, &err), FB_OK);
    assert_int_equal(fb_coord_wait(a, l.rev, 10000), FB_OK);
    fb_thread_join(t);
    fb_coord_list_free(&l);
    fb_coord_close(a);
    fb_coord_close(b);
}

/* Keys, values and names that cannot be are refused by what is wrong with them. */
static void refuses_nonsense(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_buf v = {0};
    struct fb_err err;
    uint64_t rev;
    char key[300];

    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(fb_coord_get(c, "", &v, &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, key, 0, fb_bytes_str("v"), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("\xff"), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes("a\0b", 3), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, "", &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, ".hidden", &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, key, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, ".own", 0, fb_bytes_str("v"), &rev, &err), FB_EINVAL);
    fb_coord_close(c);
    fb_coord_close(NULL);
}

/* What one transaction may hold, and values as large as configurations get. */
static void large_transactions(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_coord_op ops[FB_COORD_TXN_MAX + 1];
    static char keys[FB_COORD_TXN_MAX + 1][16];
    struct fb_coord_list l;
    struct fb_buf big = {0};
    struct fb_err err;
    uint64_t rev;

    memset(fb_buf_grow(&big, 5000), 'x', 5000);
    for (unsigned i = 0; i <= FB_COORD_TXN_MAX; i++) {
        snprintf(keys[i], sizeof(keys[i]), "part/%u", i);
        ops[i] = (struct fb_coord_op){.key = keys[i], .value = fb_buf_view(&big)};
    }
    assert_int_equal(fb_coord_txn(c, ops, FB_COORD_TXN_MAX + 1, &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_txn(c, ops, FB_COORD_TXN_MAX, &rev, &err), FB_OK);
    assert_int_equal(fb_coord_txn(c, ops, FB_COORD_TXN_MAX, &rev, &err), FB_EMISMATCH);
    assert_non_null(strstr(err.msg, "part/0 changed meanwhile (revision "));
    memset(fb_buf_grow(&big, 500000), 'y', 500000);
    assert_int_equal(fb_coord_cas(c, "config", 0, fb_buf_view(&big), &rev, &err), FB_OK);
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_OK);
    assert_int_equal(l.count, FB_COORD_TXN_MAX + 1);
    assert_string_equal(l.kv[0].key, "config");
    assert_true(fb_bytes_equal(l.kv[0].value, fb_buf_view(&big)));
    for (size_t i = 1; i < l.count; i++)
        assert_true(strcmp(l.kv[i - 1].key, l.kv[i].key) < 0);
    fb_coord_list_free(&l);
    fb_buf_fini(&big);
    fb_coord_close(c);
}

#define STORY(kind)                                                                                \
    cmocka_unit_test_setup_teardown(compare_and_swap, kind##_setup, kind##_teardown),              \
        cmocka_unit_test_setup_teardown(rivals_lose_no_update, kind##_setup, kind##_teardown),     \
        cmocka_unit_test_setup_teardown(sessions_die_with_their_process, kind##_setup,             \
                                        kind##_teardown),                                          \
        cmocka_unit_test_setup_teardown(wait_sees_changes_at_once, kind##_setup, kind##_teardown), \
        cmocka_unit_test_setup_teardown(refuses_nonsense, kind##_setup, kind##_teardown),          \
        cmocka_unit_test_setup_teardown(large_transactions, kind##_setup, kind##_teardown)

int main(void)
{
    const struct CMUnitTest file[] = {STORY(file)};
    const struct CMUnitTest etcd[] = {STORY(etcd)};
    int failed = cmocka_run_group_tests_name("file", file, NULL, NULL);

    return failed +
           cmocka_run_group_tests_name("etcd", etcd, etcd_group_setup, etcd_group_teardown);
}
