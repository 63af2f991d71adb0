/* Goal: the file store is a linearizable compare-and-swap store that survives crashes and refuses
 * damage. Method: two handles (as two processes would have) on a directory of our own, and forked
 * children that die. */
#include "proto/base/clock.h"
#include "proto/coord/coord.h"
#include "proto/rt/thread.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char dir[64];
    char url[128];
};

static int setup(void **state)
{
    struct place *p = fb_xcalloc(1, sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/tmp/fb-coord-XXXXXX");
    if (mkdtemp(p->dir) == NULL)
        return -1;
    snprintf(p->url, sizeof(p->url), "file://%s/store", p->dir);
    *state = p;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    struct place *p = *state;
    int rc = nftw(p->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(p);
    return rc;
}

static struct fb_coord *must_open(const struct place *p)
{
    struct fb_coord *c;
    struct fb_err err;
    if (fb_coord_open(p->url, true, &c, &err) != FB_OK)
        fail_msg("%s", err.msg);
    return c;
}

static void put_file(const struct place *p, const char *name, const char *text)
{
    char path[128];
    FILE *f;
    snprintf(path, sizeof(path), "%s/store/%s", p->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void compare_and_swap(void **state)
{
    struct fb_coord *a, *b;
    struct fb_buf v = {0};
    struct fb_err err;
    struct fb_coord_list l;
    uint64_t r1, r2, rev;
    struct stat st;
    char path[128];

    assert_int_equal(fb_coord_open(((struct place *)*state)->url, false, &a, &err), FB_ENOENT);
    a = must_open(*state);
    b = must_open(*state);
    snprintf(path, sizeof(path), "%s/store", ((struct place *)*state)->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
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
    assert_int_equal(fb_coord_wait(c, rev, 5000),
                     FB_OK); /* noticed without a change of the store */
    assert_true(fb_mono_ns() - t0 < UINT64_C(1500000000));
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

static void damage_is_named_and_kept(void **state)
{
    static const char *const bad[] = {
        "{\"format\": \"forebay-coordinator-1\", \"revi",
        "",
        "[]",
        "{\"format\": \"other\", \"revision\": 9, \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 900, \"keys\": {\"a\": {\"value\": "
        "3, \"rev\": 1}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 900, \"keys\": {\"a\": {\"value\": "
        "\"x\", \"rev\": 901}}}",
    };
    struct place *p = *state;
    struct fb_coord *c = must_open(p), *d;
    struct fb_coord_list l;
    struct fb_err err;

    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        char path[128], text[256] = "";
        FILE *f;
        put_file(p, "state", bad[i]);
        assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "store/state"));
        assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), NULL, &err),
                         FB_ECORRUPT);
        assert_int_equal(fb_coord_open(p->url, true, &d, &err), FB_ECORRUPT);
        snprintf(path, sizeof(path), "%s/store/state", p->dir);
        f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(bad[i]));
        fclose(f);
        assert_string_equal(text, bad[i]);
    }
    fb_coord_close(c);
}

static void old_copy_and_crash_leftovers(void **state)
{
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t rev;

    for (int i = 0; i < 3; i++)
        assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), &rev, &err), FB_OK);
    put_file(p, "state.tmp", "{\"half"); /* a writer died here */
    assert_int_equal(fb_coord_cas(c, "k", rev, fb_bytes_str("w"), &rev, &err), FB_OK);
    put_file(p, "state", "{\"format\": \"forebay-coordinator-1\", \"revision\": 2, \"keys\": {}}");
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ESTALE);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("x"), NULL, &err), FB_ESTALE);
    fb_coord_close(c);
}

static void urls(void **state)
{
    struct fb_coord *c;
    struct fb_err err;
    (void)state;
    assert_int_equal(fb_coord_open("file://host/x", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("zk:x", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("etcd://e1:2379", true, &c, &err), FB_EUNSUPPORTED);
    assert_int_equal(fb_coord_open("file:///nonexistent/a/b", true, &c, &err), FB_ENOENT);
}

/* Keys, names and states that cannot be are refused by what is wrong with them. */
static void refuses_nonsense(void **state)
{
    static const char *const states[] = {
        "{\"format\": \"forebay-coordinator-1\", \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": \"1\", \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 0, \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": []}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": {\"rev\": 1}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": "
        "{\"value\": \"\", \"rev\": 2}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": "
        "{\"value\": \"\", \"rev\": 1, \"session\": 7}}}",
        "{\"format\": \"forebay-coordinator-2\", \"revision\": 1, \"keys\": {}}",
        "",
    };
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_buf v = {0};
    struct fb_err err;
    uint64_t rev;
    char key[300], path[128];

    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_int_equal(fb_coord_get(c, "", &v, &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, key, 0, fb_bytes_str("v"), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("\xff"), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes("a\0b", 3), &rev, &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, "", &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, ".hidden", &err), FB_EINVAL);
    assert_int_equal(fb_coord_session(c, key, &err), FB_EINVAL);
    fb_coord_close(c);
    fb_coord_close(NULL);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        put_file(p, "state", states[i]);
        assert_int_equal(fb_coord_open(p->url, false, &c, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "state is damaged"));
    }
    snprintf(path, sizeof(path), "%s/store/state", p->dir);
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fb_coord_open(p->url, false, &c, &err), FB_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(compare_and_swap, setup, teardown),
        cmocka_unit_test_setup_teardown(rivals_lose_no_update, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_die_with_their_process, setup, teardown),
        cmocka_unit_test_setup_teardown(wait_sees_changes_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_named_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(old_copy_and_crash_leftovers, setup, teardown),
        cmocka_unit_test(urls),
        cmocka_unit_test_setup_teardown(refuses_nonsense, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
