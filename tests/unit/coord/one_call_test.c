/* Goal: one certain call of the file coordinator fails, or another process acts right before it:
 * what is told is what is wrong, and nothing of the store is lost. Method: failing_at and
 * failing_before on a store of our own. */
#include "tests/unit/coord/backends.h"
#include "tests/unit/crash/failing.h"

#include "proto/coord/cluster_state.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void cut(void *arg)
{
    const struct place *p = arg;
    char path[128];
    snprintf(path, sizeof(path), "%s/store/state", p->dir);
    assert_int_equal(truncate(path, 10), 0);
}

static void a_state_that_gets_shorter(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_err err;

    fb_coord_close(c);
    failing_before("read", 1, cut, *state);
    assert_int_equal(fb_coord_open(((struct place *)*state)->url, false, &c, &err), FB_ECORRUPT);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "it became shorter while it was read"));
}

/* What went wrong first is what is told. */
static void a_write_and_the_close_fail(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_buf value = {0};
    struct fb_err err;

    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("old"), NULL, &err), FB_OK);
    failing_at("write", 1, ENOSPC);
    failing_at("close", 1, EIO);
    assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("new"), NULL, &err), FB_ENOSPC);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "write "));
    assert_int_equal(fb_coord_get(c, "k", &value, NULL, &err), FB_OK);
    assert_true(fb_bytes_is(fb_buf_view(&value), "old"));
    fb_buf_clear(&value);
    assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("new"), NULL, &err), FB_OK);
    assert_int_equal(fb_coord_get(c, "k", &value, NULL, &err), FB_OK);
    assert_true(fb_bytes_is(fb_buf_view(&value), "new"));
    fb_buf_fini(&value);
    fb_coord_close(c);
}

static void away(void *arg)
{
    store_away(arg);
}

/* Somebody else made the cluster, and what he made is gone when it is looked at. */
static void a_cluster_that_goes_away(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_err err;

    assert_int_equal(fb_cluster_init(c, 4, &err), FB_OK);
    failing_before("fstatat", 2, away, *state); /* that of the transaction, that of the read */
    assert_int_equal(fb_cluster_init(c, 4, &err), FB_ENOENT);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "store/state"));
    store_back(*state);
    assert_int_equal(fb_cluster_init(c, 4, &err), FB_OK);
    fb_coord_close(c);
}

static void change(void *arg)
{
    struct fb_err err;
    assert_int_equal(fb_coord_cas(arg, "k", UINT64_MAX, fb_bytes_str("w"), NULL, &err), FB_OK);
}

/* No descriptors left. Without the one to be woken by there is no handle; without notifications
 * changes are seen all the same, by looking. */
static void no_descriptors(void **state)
{
    struct fb_coord *other = must_open(*state), *c;
    struct fb_err err;
    uint64_t rev;

    failing_at("eventfd", 1, EMFILE);
    assert_int_not_equal(fb_coord_open(((struct place *)*state)->url, false, &c, &err), FB_OK);
    assert_true(failing_over());
    assert_string_equal(err.msg, "coordinator: eventfd: Too many open files");

    failing_at("inotify_init1", 1, EMFILE);
    c = must_open(*state);
    assert_true(failing_over());
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), &rev, &err), FB_OK);
    assert_int_equal(fb_coord_wait(c, rev, 0), FB_ETIMEOUT);
    failing_before("fstatat", 2, change, other); /* behind the first look of the wait */
    assert_int_equal(fb_coord_wait(c, rev, 20000), FB_OK);
    assert_true(failing_over());
    fb_coord_close(c);
    fb_coord_close(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_setup, file_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_state_that_gets_shorter),
                                       TEST(a_write_and_the_close_fail),
                                       TEST(a_cluster_that_goes_away), TEST(no_descriptors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
