/* Goal: whichever call on a file fails under the file coordinator, and how: the caller is told, a
 * definite error means that nothing happened, "unknown" is said when it may have, and the store is
 * whole.
 * Method: a life of a store in a child process (made, sessions, commits by two handles, lists,
 * waits), with call number 1, 2, 3 ... failing with each of several errors. */
#include "tests/unit/crash/failing.h"

#include "proto/base/bounds.h"
#include "proto/base/buf.h"
#include "proto/coord/cluster_state.h"
#include "proto/coord/coord.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared {
    char url[96];
    _Atomic uint64_t done;  /* commits that were reported */
    _Atomic uint64_t maybe; /* commits that may have happened besides, reported as unknown */
    atomic_bool made;
};

/* One more commit of "count"; its value is how many there were. */
static bool commit(struct shared *s, struct fb_coord *c)
{
    char text[32];
    struct fb_err err;
    enum fb_status st;
    struct fb_coord_op op = {.key = "count", .rev = UINT64_MAX, .session = true};

    snprintf(text, sizeof(text), "%d", (int)(s->done + s->maybe) + 1);
    op.value = fb_bytes_str(text);
    st = fb_coord_txn(c, &op, 1, NULL, &err);
    if (st == FB_OK) {
        s->done += s->maybe + 1;
        s->maybe = 0;
    } else if (st == FB_EUNKNOWN) {
        s->maybe++;
    }
    return st == FB_OK;
}

static int life(void *arg)
{
    struct shared *s = arg;
    struct fb_coord *a = NULL, *b = NULL;
    struct fb_cluster_state *state;
    struct fb_coord_list list;
    struct fb_buf value = {0};
    struct fb_err err;
    bool all = true;
    int rc = 1;

    if (fb_coord_open(s->url, true, &a, &err) != FB_OK)
        return 1;
    atomic_store(&s->made, true);
    if (fb_coord_session(a, "node/a", &err) != FB_OK)
        goto out;
    all = commit(s, a) && all;
    for (int i = 0; i < 2; i++) /* what was made is found by the second */
        all = fb_cluster_init(a, 4, &err) == FB_OK && all;
    if (fb_cluster_state_read(a, &state, &err) == FB_OK)
        fb_cluster_state_put(state);
    else
        all = false;
    if (fb_coord_open(s->url, false, &b, &err) != FB_OK ||
        fb_coord_session(b, "node/b", &err) != FB_OK)
        goto out;
    all = commit(s, b) && all;
    all = commit(s, a) && all;
    if (fb_coord_list(b, "", &list, &err) == FB_OK) {
        all = fb_coord_wait(b, list.rev + 1, 0) == FB_OK && all;
        fb_coord_list_free(&list);
    } else {
        all = false;
    }
    if (fb_coord_get(a, "count", &value, NULL, &err) != FB_OK)
        all = false;
    fb_buf_fini(&value);
    fb_coord_wake(a);
    rc = all ? 0 : 1;
out:
    fb_coord_close(a);
    if (b != NULL)
        fb_coord_close(b);
    return rc;
}

static void remove_store(const char *root)
{
    static const char *const names[] = {"store/state",
                                        "store/state.tmp",
                                        "store/lock",
                                        "store/sessions/node%a.lock",
                                        "store/sessions/node%b.lock",
                                        "store/sessions",
                                        "store",
                                        ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[160];
        snprintf(path, sizeof(path), "%s/%s", root, names[i]);
        (void)remove(path);
    }
    assert_int_not_equal(access(root, F_OK), 0);
}

static void check(const struct shared *s, const char *what)
{
    struct fb_coord *c;
    struct fb_buf value = {0};
    struct fb_err err;
    enum fb_status st;
    int have;

    if (fb_coord_open(s->url, !s->made, &c, &err) != FB_OK)
        fail_msg("%s: %s", what, err.msg);
    st = fb_coord_get(c, "count", &value, NULL, &err);
    if (st != FB_OK && st != FB_ENOENT)
        fail_msg("%s: %s", what, err.msg);
    fb_buf_put(&value, "", 1);
    have = atoi((const char *)value.p);
    if (have < (int)s->done || have > (int)(s->done + s->maybe))
        fail_msg("%s: %d commits are there, %d were reported, %d were in doubt", what, have,
                 (int)s->done, (int)s->maybe);
    fb_buf_fini(&value);
    fb_coord_close(c);
}

static void each_call_fails(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EACCES, EINTR, FAILING_SHORT_COUNT};
    struct shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned told = 0, borne = 0;
    (void)state;

    assert_true(s != MAP_FAILED);
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        bool hit = true;
        for (unsigned n = 1; hit; n++) {
            char root[64], what[128];
            struct failing_end end;
            memset(s, 0, sizeof(*s));
            snprintf(root, sizeof(root), "%s/forebay-coord-XXXXXX",
                     access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
            assert_non_null(mkdtemp(root));
            snprintf(s->url, sizeof(s->url), "file://%s/store", root);
            end = failing_run(n, errors[e], life, s);
            hit = end.hit;
            snprintf(what, sizeof(what), "call %u, %s, fails with %d", n, end.call, errors[e]);
            if (end.aborted || (!hit && end.status != 0))
                fail_msg("%s: status %d %s", what, end.status, end.text);
            told += end.status != 0;
            borne += end.status == 0;
            check(s, what);
            remove_store(root);
        }
    }
    print_message("%u told to the caller, %u borne\n", told, borne);
    assert_true(told > 50 && borne > 20);
    munmap(s, sizeof(*s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_call_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
