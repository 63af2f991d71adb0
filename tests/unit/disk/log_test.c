/* Goal: what was appended comes back in order and whole, over segments, generations and trims.
 * Method: batches whose contents tell their place; recovery checks each. */
#include "tests/unit/disk/disk_util.h"

#include "proto/base/hash.h"
#include "proto/rt/metrics.h"

#include <stdatomic.h>

static _Atomic uint64_t synced_by_callback;

static void synced(void *arg, uint32_t lane, uint64_t seq)
{
    (void)arg;
    assert_int_equal(lane, 0);
    assert_true(seq >= atomic_load(&synced_by_callback));
    atomic_store(&synced_by_callback, seq);
}

static void round_trip(void **state)
{
    char dir[64];
    struct util_seen seen = {0};
    struct fb_err err;
    struct log *log;
    uint32_t torn;
    (void)state;

    util_dir(dir, sizeof(dir));
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    log = util_open(dir, 1, 2, 4096);
    util_append(log, 1, 0, 1, 300);
    util_append(log, 1, 1, 1, 10);
    util_sync(log, 0, 300);
    assert_int_equal(log_synced_seq(log, 1), 0); /* nobody waited for lane 1 */
    log_close(log);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    assert_int_equal(torn, 0);
    assert_int_equal(seen.last[1][0], 300);
    assert_int_equal(seen.last[1][1], 10);

    log = util_open(dir, 3, 5, 4096); /* another number of lanes, and a number left out */
    for (uint32_t i = 0; i < 5; i++)
        util_append(log, 3, i, 1, i * 20);
    log_close(log);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 300);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(seen.last[3][i], i * 20);
    fb_buf_fini(&seen.expect);
    util_remove(dir);
}

static void group_commit(void **state)
{
    char dir[64];
    struct log_config c = {.lanes = 1,
                           .segment_bytes = 1 << 20,
                           .generation = 1,
                           .sync_interval_ms = 20,
                           .synced = synced};
    struct fb_buf page = {0};
    struct fb_err err;
    struct log *log;
    (void)state;

    c.dir = util_dir(dir, sizeof(dir));
    assert_int_equal(log_open(&c, &log, &err), FB_OK);
    util_append(log, 1, 0, 1, 50);
    for (int i = 0; i < 5000 && atomic_load(&synced_by_callback) < 50; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&synced_by_callback), 50); /* by the interval alone */
    assert_int_equal(log_synced_seq(log, 0), 50);
    log_close(log);
    fb_metrics_page(&page);
    fb_buf_put_u8(&page, 0);
    assert_non_null(strstr((const char *)page.p, "forebay_log_fsync_duration_seconds_count"));
    fb_buf_fini(&page);
    util_remove(dir);
}

static void large_batch_and_bad_settings(void **state)
{
    char dir[64];
    struct log_config c = {.lanes = 1, .segment_bytes = 100, .generation = 1};
    struct fb_buf big = {0};
    struct fb_err err;
    struct log *log;
    (void)state;

    c.dir = util_dir(dir, sizeof(dir));
    assert_int_equal(log_open(&c, &log, &err), FB_EINVAL);
    c.segment_bytes = 4096;
    c.lanes = 65;
    assert_int_equal(log_open(&c, &log, &err), FB_EINVAL);
    c.lanes = 1;
    c.generation = 0;
    assert_int_equal(log_open(&c, &log, &err), FB_EINVAL);
    log = util_open(dir, 1, 1, 4096);
    memset(fb_buf_grow(&big, 100000), 'x', 100000);
    assert_int_equal(log_append(log, 0, 1, fb_buf_view(&big), false, &err),
                     FB_OK); /* larger than a segment */
    util_append(log, 1, 0, 2, 3);
    log_close(log);
    c.generation = 1;
    assert_int_equal(log_open(&c, &log, &err), FB_EINVAL); /* generation is on disk already */
    assert_non_null(strstr(err.msg, "generation"));
    fb_buf_fini(&big);
    util_remove(dir);
}

static size_t files_of(const char *dir, uint64_t generation)
{
    struct log_file *f;
    struct fb_err err;
    size_t n, found = 0;
    assert_int_equal(log_dir_list(dir, &f, &n, &err), FB_OK);
    for (size_t i = 0; i < n; i++)
        found += f[i].generation == generation;
    free(f);
    return found;
}

static uint64_t bytes_of(const char *dir)
{
    struct log_file *f;
    struct fb_err err;
    uint64_t sum = 0;
    size_t n;
    assert_int_equal(log_dir_list(dir, &f, &n, &err), FB_OK);
    for (size_t i = 0; i < n; i++)
        sum += f[i].bytes;
    free(f);
    return sum;
}

static void trimming(void **state)
{
    char dir[64];
    struct util_seen seen = {.first = 1};
    struct fb_err err;
    struct log *log;
    size_t before;
    (void)state;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 3, 4096);
    util_append(log, 1, 2, 1, 100);
    log_close(log);
    log = util_open(dir, 2, 1, 4096);
    util_append(log, 2, 0, 1, 300);
    assert_int_equal(log_trim(log, 0, 200, false, &err),
                     FB_OK); /* nothing synced yet: nothing goes */
    assert_true(files_of(dir, 2) > 5);
    util_sync(log, 0, 300);
    before = files_of(dir, 2);
    assert_int_equal(log_trim(log, 0, 1, false, &err), FB_OK);
    assert_int_equal(files_of(dir, 2), before);
    assert_int_equal(log_trim(log, 0, 200, false, &err), FB_OK);
    assert_true(files_of(dir, 2) < before);
    assert_true(files_of(dir, 1) > 0);
    assert_int_equal(log_trim(log, 0, 200, true, &err), FB_OK);
    assert_int_equal(files_of(dir, 1), 0);
    assert_int_equal(log_bytes(log), bytes_of(dir));
    assert_int_equal(log_trim(log, 0, 1000, true, &err), FB_OK); /* the active segment stays */
    assert_true(files_of(dir, 2) >= 1);
    util_append(log, 2, 0, 301, 320);
    log_close(log);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[2][0], 320);
    fb_buf_fini(&seen.expect);
    util_remove(dir);
}

/* Somebody took the files away under a running node: there is nothing to delete any more. */
static void trimming_what_is_gone(void **state)
{
    struct util_image none = {0};
    char dir[64];
    struct fb_err err;
    struct log *log;
    (void)state;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 4096);
    util_append(log, 1, 0, 1, 100);
    util_sync(log, 0, 100);
    assert_true(files_of(dir, 1) > 3);
    util_image_put(&none, dir);
    if (log_trim(log, 0, 100, true, &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_true(log_bytes(log) <= 2 * 4096);
    log_close(log);
    util_remove(dir);
}

struct replay {
    uint64_t left; /* batches that are taken */
    bool whole;    /* the end is refused */
    uint64_t completed;
};

static enum fb_status take_batch(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                                 struct fb_bytes records, struct fb_err *err)
{
    struct replay *r = arg;
    (void)generation;
    (void)lane;
    (void)records;
    if (r->left-- == 0)
        return fb_err_set(err, FB_EPROTO, "batch %d is refused", (int)seq);
    return FB_OK;
}

static enum fb_status complete(void *arg, struct fb_err *err)
{
    struct replay *r = arg;
    r->completed++;
    return r->whole ? FB_OK : fb_err_set(err, FB_ENOMEM, "the end is refused");
}

/* Who replays says no to a batch, or to the whole: told as it is, and nothing on disk is changed.
 */
static void a_replay_that_is_refused(void **state)
{
    struct replay r = {.left = 2};
    struct log_recovery recovery = {.arg = &r, .batch = take_batch, .complete = complete};
    struct util_image im;
    char dir[64];
    struct fb_err err;
    struct log *log;
    (void)state;

    recovery.dir = util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 4096);
    util_append(log, 1, 0, 1, 40);
    util_image_take(&im, dir);
    log_close(log);
    util_image_put(&im, dir); /* not sealed */
    assert_int_equal(log_recover(&recovery, &err), FB_EPROTO);
    assert_string_equal(err.msg, "batch 3 is refused");
    assert_int_equal(r.completed, 0);
    util_image_same(&im, dir);
    r.left = 100;
    assert_int_equal(log_recover(&recovery, &err), FB_ENOMEM);
    assert_string_equal(err.msg, "the end is refused");
    assert_int_equal(r.completed, 1);
    assert_int_equal(r.left, 60);
    util_image_same(&im, dir);
    r.left = 100;
    r.whole = true;
    assert_int_equal(log_recover(&recovery, &err), FB_OK);
    assert_int_equal(r.completed, 2);
    util_image_free(&im);
    util_remove(dir);
}

static void a_newer_format(void **state)
{
    struct util_seen seen = {0};
    struct util_image im;
    char dir[64];
    struct fb_err err;
    size_t k = 0;
    (void)state;

    util_dir(dir, sizeof(dir));
    log_close(util_open(dir, 1, 1, 4096));
    util_image_take(&im, dir);
    while (strstr(im.file[k].name, ".seg") == NULL)
        k++;
    fb_put_u32(im.file[k].p + 8, LOG_FORMAT + 1);
    fb_put_u32(im.file[k].p + LOG_HEADER_BYTES - 4,
               (uint32_t)fb_hash64(im.file[k].p, LOG_HEADER_BYTES - 4, 0));
    util_image_put(&im, dir);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, im.file[k].name));
    assert_non_null(strstr(err.msg, "log format 2"));
    util_image_same(&im, dir);
    util_image_free(&im);
    util_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(group_commit),
        cmocka_unit_test(large_batch_and_bad_settings),
        cmocka_unit_test(trimming),
        cmocka_unit_test(trimming_what_is_gone),
        cmocka_unit_test(a_replay_that_is_refused),
        cmocka_unit_test(a_newer_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
