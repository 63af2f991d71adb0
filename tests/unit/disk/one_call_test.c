/* Goal: one certain call fails, or another process acts right before it: the caller is told what is
 * wrong with what, nothing of anybody else's is touched, and the next try works.
 * Method: failing_at and failing_before; a child process where the end of it is what is expected.
 */
#include "tests/unit/crash/failing.h"
#include "tests/unit/disk/disk_util.h"

#include "node/disk/data_dir.h"
#include "node/disk/file.h"
#include "node/disk/snapshot.h"

#include "proto/base/log.h"

#include <errno.h>
#include <semaphore.h>

static const uint8_t ours[16] = {1, 2, 3};
static char dir[64];

static int setup(void **state)
{
    (void)state;
    util_dir(dir, sizeof(dir));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    util_remove(dir);
    return 0;
}

static bool is_there(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void make_folder(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_file(const char *name)
{
    char path[128];
    int fd;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = creat(path, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* --- the data directory --- */

static void expect(enum fb_status want, const char *words)
{
    struct data_dir d;
    struct fb_err err = {0};
    enum fb_status s = data_dir_open(dir, ours, "n1", &d, &err);

    if (!failing_over())
        fail_msg("the call that was to fail did not come: %s", err.msg);
    if (s != want || (words != NULL && strstr(err.msg, words) == NULL))
        fail_msg("status %d, want %d: %s", s, want, err.msg);
    if (s == FB_OK)
        data_dir_close(&d, 0);
}

/* False when there is no such call any more. */
static bool refused_when_readdir_fails(unsigned n)
{
    struct data_dir d;
    struct fb_err err = {0};
    enum fb_status s;

    failing_at("readdir", n, EIO);
    s = data_dir_open(dir, ours, "n1", &d, &err);
    if (s != FB_EIO && s != FB_EREFUSED)
        fail_msg("call %u: status %d: %s", n, s, err.msg);
    return failing_over();
}

/* Something of somebody's may be where it was not seen: an error is no empty folder. */
static void an_unreadable_folder_is_not_taken(void **state)
{
    (void)state;
    make_folder("log");
    make_file("log/letter");
    failing_at("fdopendir", 1, EMFILE);
    expect(FB_EIO, "read data directory");
    failing_at("fdopendir", 2, EMFILE);
    expect(FB_EREFUSED, "\"log\"");
    for (unsigned n = 1; refused_when_readdir_fails(n); n++)
        ;
    assert_false(is_there("LOCK"));
    assert_false(is_there("IDENTITY"));
}

static void a_read_only_file_system(void **state)
{
    (void)state;
    assert_int_equal(rmdir(dir), 0);
    failing_at("mkdir", 2, EROFS); /* the first is that of the folder above */
    expect(FB_EPERM, "create data directory");
    expect(FB_OK, NULL);
    failing_at("openat", 2, EROFS);
    expect(FB_EPERM, "give the directory to this user");
}

static void in_use_by_nobody_knows_whom(void **state)
{
    struct data_dir d;
    struct fb_err err;
    (void)state;
    assert_int_equal(data_dir_open(dir, ours, "n1", &d, &err), FB_OK);
    failing_at("openat", 3, EMFILE); /* IDENTITY, LOCK to lock it, LOCK to read it */
    expect(FB_EBUSY, "pid unknown");
    data_dir_close(&d, 0);
}

static void start_and_stop(void *arg)
{
    struct data_dir d;
    struct fb_err err;
    assert_int_equal(data_dir_open(dir, ours, arg, &d, &err), FB_OK);
    data_dir_close(&d, 0);
}

/* Between the look at IDENTITY and the lock another first start comes and goes. */
static void another_first_start_is_quicker(void **state)
{
    static char other[] = "n2", same[] = "n1";
    struct data_dir d;
    struct fb_err err;
    (void)state;

    failing_before("fcntl", 1, start_and_stop, other);
    expect(FB_EFOREIGN, "belongs to node \"n2\"");
    assert_int_equal(data_dir_open(dir, ours, "n2", &d, &err), FB_OK); /* as it was */
    data_dir_close(&d, 0);
    util_remove(dir);
    assert_int_equal(mkdir(dir, 0700), 0);

    failing_before("fcntl", 1, start_and_stop, other);
    failing_at("openat", 4, EIO); /* IDENTITY, the folder, LOCK, IDENTITY again */
    expect(FB_EIO, "data directory");
    expect(FB_EFOREIGN, "belongs to node \"n2\""); /* it was not written over */
    util_remove(dir);
    assert_int_equal(mkdir(dir, 0700), 0);

    failing_before("fcntl", 1, start_and_stop, same);
    expect(FB_OK, NULL);
}

/* As network file systems have it: no error, and nothing was written. */
static void a_write_that_writes_nothing(void **state)
{
    struct data_dir d;
    struct fb_err err;
    (void)state;
    failing_at("pwrite", 2, FAILING_NOTHING_DONE); /* the pid, IDENTITY */
    expect(FB_ENOSPC, "write IDENTITY");
    expect(FB_OK, NULL);
    assert_int_equal(data_dir_open(dir, ours, "n1", &d, &err), FB_OK);
    failing_at("pwrite", 1, FAILING_NOTHING_DONE);
    data_dir_close(&d, 7);
    assert_true(failing_over());
    assert_int_equal(data_dir_open(dir, ours, "n1", &d, &err), FB_OK);
    assert_false(d.was_clean);
    data_dir_close(&d, 7);
    assert_int_equal(data_dir_open(dir, ours, "n1", &d, &err), FB_OK);
    assert_true(d.was_clean && d.clean_inc == 7);
    data_dir_close(&d, 0);
}

/* --- the log --- */

static void cut(void *arg)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, (const char *)arg);
    assert_int_equal(truncate(path, 100), 0);
}

static void a_segment_that_gets_shorter(void **state)
{
    static char name[] = "00000001-00-00000001.seg";
    struct util_seen seen = {0};
    struct fb_err err;
    (void)state;
    log_close(util_open(dir, 1, 1, 4096));
    failing_before("pread", 2, cut, name); /* the marks, the segment */
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_EIO);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, name));
    assert_non_null(strstr(err.msg, "became shorter"));
}

static enum fb_status try_open(struct log **log, struct fb_err *err)
{
    struct log_config c = {
        .dir = dir, .lanes = 1, .segment_bytes = 4096, .generation = 1, .sync_interval_ms = 60000};
    return log_open(&c, log, err);
}

/* A first segment is made under another name: what is left of it is no segment. */
static void a_first_segment_without_room(void **state)
{
    struct util_seen seen = {0};
    struct fb_err err;
    struct log *log;
    (void)state;
    failing_at("fallocate", 2, ENOSPC); /* the marks, the segment */
    failing_at("unlinkat", 1, EIO);
    assert_int_equal(try_open(&log, &err), FB_ENOSPC);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "no room for a log segment"));
    assert_true(is_there("00000001-00-00000001.seg.tmp"));
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(try_open(&log, &err), FB_OK);
    log_close(log);
    assert_false(is_there("00000001-00-00000001.seg.tmp"));
}

/* Full is full, by whatever name; nothing else is. */
static void what_full_is_called(void **state)
{
    static const int names[] = {ENOSPC, EDQUOT, EFBIG};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(names); i++) {
        struct fb_buf b = {0};
        struct fb_err err;
        struct log *log = util_open(dir, i + 1, 1, 4096);
        util_payload(i + 1, 0, 1, util_payload_bytes(1), &b);
        failing_at("pwritev", 1, names[i]);
        assert_int_equal(log_append(log, 0, 1, fb_buf_view(&b), false, &err), FB_ENOSPC);
        assert_true(failing_over());
        util_append(log, i + 1, 0, 1, 3);
        log_close(log);
        fb_buf_fini(&b);
    }
    assert_false(disk_is_full(EIO));
}

/* Not even what is urgent, in a segment of its own: an answer all the same, and what comes once
 * there is room stands in that segment. */
static void full_for_what_is_urgent(void **state)
{
    struct util_seen seen = {0};
    struct fb_buf b = {0};
    struct fb_err err;
    struct log *log = util_open(dir, 1, 1, 4096);
    (void)state;
    util_append(log, 1, 0, 1, 3);
    util_payload(1, 0, 4, util_payload_bytes(4), &b);
    failing_at("pwritev", 1, ENOSPC);
    failing_at("pwritev", 2, ENOSPC);
    assert_int_equal(log_append(log, 0, 4, fb_buf_view(&b), true, &err), FB_ENOSPC);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "free some space"));
    assert_true(is_there("00000001-00-00000002.seg"));
    util_append(log, 1, 0, 4, 6);
    log_close(log);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 6);
    fb_buf_fini(&seen.expect);
    fb_buf_fini(&b);
}

enum end { TAKEN_NAME, STAYS };

/* Fills a segment; the next one cannot be made, or not removed again. */
static int roll(void *arg)
{
    struct log *log = util_open(dir, 1, 1, 4096);
    if (*(enum end *)arg == TAKEN_NAME) {
        make_file("00000001-00-00000002.seg");
    } else {
        failing_at("fallocate", 1, ENOSPC);
        failing_at("unlinkat", 1, EIO);
    }
    util_append(log, 1, 0, 1, 40);
    return 0;
}

static void a_next_segment_in_the_way(void **state)
{
    static const char *const words[] = {"operation=\"create segment\"",
                                        "operation=\"remove segment\""};
    (void)state;
    for (enum end e = TAKEN_NAME; e <= STAYS; e++) {
        struct failing_end end = failing_run(0, 0, roll, &e);
        assert_true(end.aborted);
        if (strstr(end.text, words[e]) == NULL || strstr(end.text, "00000002.seg") == NULL)
            fail_msg("%s", end.text);
        util_remove(dir);
        assert_int_equal(mkdir(dir, 0700), 0);
    }
}

static void note(void *arg)
{
    sem_post(arg);
}

/* How much room there is is not known: that is no reason to refuse writes, nor to stop. */
static void unknown_free_space(void **state)
{
    struct util_seen seen = {0};
    struct fb_err err;
    struct log *log;
    sem_t looked;
    (void)state;
    failing_at("fstatvfs", 1, EIO);
    log = util_open(dir, 1, 1, 4096);
    assert_true(failing_over());
    assert_false(log_disk_low(log));
    sem_init(&looked, 0, 0);
    failing_before("fstatvfs", 1, note, &looked); /* it is looked at again each second */
    util_append(log, 1, 0, 1, 3);
    assert_true(is_there("reserve"));
    while (sem_wait(&looked) != 0)
        ;
    log_close(log); /* the reserve, which was there, was not made again */
    assert_true(failing_over());
    sem_destroy(&looked);
    assert_false(is_there("reserve"));
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 3);
    fb_buf_fini(&seen.expect);
}

/* --- snapshots --- */

static void a_snapshot_that_gets_shorter(void **state)
{
    static char name[] = "0001-0000000000000005.snap";
    struct snapshot_info info = {.part = 1, .start_ver = 5};
    struct snapshot_writer *w;
    struct fb_err err;
    (void)state;
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    assert_int_equal(snapshot_append(w, fb_bytes_str("some items, and more of them"), &err), FB_OK);
    assert_int_equal(snapshot_commit(w, 1, &err), FB_OK);
    failing_before("pread", 3, cut, name); /* headers of the file and of the block, the block */
    assert_int_equal(snapshot_read(dir, name, &info, NULL, NULL, &err), FB_ECORRUPT);
    assert_true(failing_over());
    assert_non_null(strstr(err.msg, "became shorter"));
    assert_non_null(strstr(err.msg, name));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unreadable_folder_is_not_taken),
        TEST(a_read_only_file_system),
        TEST(in_use_by_nobody_knows_whom),
        TEST(another_first_start_is_quicker),
        TEST(a_write_that_writes_nothing),
        TEST(a_segment_that_gets_shorter),
        TEST(a_first_segment_without_room),
        TEST(what_full_is_called),
        TEST(full_for_what_is_urgent),
        TEST(a_next_segment_in_the_way),
        TEST(unknown_free_space),
        TEST(a_snapshot_that_gets_shorter),
    };
    fb_log_set_level(FB_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
