/* Goal: a full disk is a definite answer and leaves the log good; any other storage error ends the
 * process (I19). Method: pwritev, fdatasync and fallocate are replaced at link time and fail on
 * demand; deaths happen in a child. */
#include "tests/unit/disk/disk_util.h"

#include "node/disk/snapshot.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <sys/wait.h>

static atomic_int fail_pwritev;   /* errno, -1 = short write */
static atomic_int fail_fdatasync; /* errno */
static atomic_int fail_fsync;
static atomic_int fail_fallocate;

ssize_t __real_pwritev(int fd, const struct iovec *v, int n, off_t at);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t at);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n);

ssize_t __wrap_pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    int e = atomic_exchange(&fail_pwritev, 0);
    if (e == -1)
        return __real_pwritev(fd, v, 1, at); /* the header only */
    if (e != 0) {
        errno = e;
        return -1;
    }
    return __real_pwritev(fd, v, n, at);
}

static int fails(atomic_int *why)
{
    int e = atomic_load(why);
    errno = e;
    return e != 0;
}

int __wrap_fdatasync(int fd)
{
    return fails(&fail_fdatasync) ? -1 : __real_fdatasync(fd);
}
int __wrap_fsync(int fd)
{
    return fails(&fail_fsync) ? -1 : __real_fsync(fd);
}
int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
    return fails(&fail_fallocate) ? -1 : __real_fallocate(fd, mode, at, n);
}

static void ends_by_abort(void (*fn)(const char *dir), const char *words)
{
    char dir[64], text[4096];
    ssize_t n = 0, got;
    int out[2], status;
    pid_t pid;

    util_dir(dir, sizeof(dir));
    assert_int_equal(pipe(out), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the tests */
        dup2(out[1], 2);
        fn(dir);
        _exit(0);
    }
    close(out[1]);
    while ((got = read(out[0], text + n, sizeof(text) - 1 - (size_t)n)) > 0)
        n += got;
    text[n] = '\0';
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(text, words) == NULL ||
        strstr(text, "errno=5") == NULL)
        fail_msg("status %x, output: %s", status, text);
    util_remove(dir);
}

static void write_error(const char *dir)
{
    struct log *log = util_open(dir, 1, 1, 4096);
    util_append(log, 1, 0, 1, 3);
    atomic_store(&fail_pwritev, EIO);
    util_append(log, 1, 0, 4, 4);
}

static void sync_error(const char *dir)
{
    struct log *log = util_open(dir, 1, 1, 4096);
    atomic_store(&fail_fdatasync, EIO);
    util_append(log, 1, 0, 1, 3);
    log_sync_soon(log, 0);
    for (int i = 0; i < 10000; i++)
        usleep(1000);
}

static void snapshot_sync_error(const char *dir)
{
    struct snapshot_info info = {.part = 1, .start_ver = 2};
    struct snapshot_writer *w;
    struct fb_err err;
    if (snapshot_create(dir, &info, &w, &err) != FB_OK)
        return;
    atomic_store(&fail_fsync, EIO);
    (void)!snapshot_commit(w, 1, &err);
}

static void storage_errors_end_the_process(void **state)
{
    (void)state;
    ends_by_abort(write_error, "00000001-00-00000001.seg");
    ends_by_abort(sync_error, "operation=fdatasync");
    ends_by_abort(snapshot_sync_error, ".snap");
}

static void full_while_writing(void **state)
{
    char dir[64];
    struct util_seen seen = {0};
    struct util_image im;
    struct fb_buf b = {0};
    struct fb_err err;
    struct log *log;
    uint32_t torn;
    (void)state;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 1, 8192);
    util_append(log, 1, 0, 1, 5);
    util_payload(1, 0, 6, util_payload_bytes(6), &b);
    atomic_store(&fail_pwritev, ENOSPC);
    assert_int_equal(log_append(log, 0, 6, fb_buf_view(&b), false, &err), FB_ENOSPC);
    atomic_store(&fail_pwritev, -1);
    assert_int_equal(log_append(log, 0, 6, fb_buf_view(&b), false, &err), FB_ENOSPC);
    util_image_take(&im, dir); /* a definite error; what was written of it is a torn end */
    util_append(log, 1, 0, 6, 10);
    /* urgent goes on in the reserve, after a short write and with no room for a new segment */
    util_payload(1, 0, 11, util_payload_bytes(11), &b);
    atomic_store(&fail_fallocate, ENOSPC);
    atomic_store(&fail_pwritev, -1);
    assert_int_equal(log_append(log, 0, 11, fb_buf_view(&b), true, &err), FB_OK);
    util_append(log, 1, 0, 12, 20); /* and the rest of the reserve may be used by anybody */
    util_sync(log, 0, 20);
    log_close(log);
    atomic_store(&fail_fallocate, 0);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 20);
    assert_int_equal(torn, 0);
    util_image_put(&im, dir);
    assert_int_equal(util_recover(dir, &seen, &torn, &err), FB_OK);
    assert_int_equal(seen.last[1][0], 5);
    assert_int_equal(torn, 1);
    util_image_free(&im);
    fb_buf_fini(&seen.expect);
    fb_buf_fini(&b);
    util_remove(dir);
}

static void full_at_the_next_segment(void **state)
{
    char dir[64];
    struct util_seen seen = {0};
    struct fb_buf b = {0};
    struct fb_err err;
    struct log *log;
    uint64_t seq = 0, after;
    (void)state;

    util_dir(dir, sizeof(dir));
    log = util_open(dir, 1, 2, 4096);
    atomic_store(&fail_fallocate, ENOSPC);
    do {
        seq++;
        util_payload(1, 0, seq, util_payload_bytes(seq), &b);
    } while (log_append(log, 0, seq, fb_buf_view(&b), false, &err) == FB_OK);
    assert_int_equal(err.code, FB_ENOSPC);
    assert_true(seq > 10);
    assert_int_equal(log_append(log, 0, seq, fb_buf_view(&b), true, &err), FB_OK);
    for (after = seq + 1;; after++) { /* the reserve ends, too */
        util_payload(1, 0, after, util_payload_bytes(after), &b);
        if (log_append(log, 0, after, fb_buf_view(&b), true, &err) != FB_OK)
            break;
    }
    assert_int_equal(err.code, FB_ENOSPC);
    assert_true(after > seq + 10);
    atomic_store(&fail_fallocate, 0); /* there is room again */
    util_append(log, 1, 0, after, after + 10);
    log_close(log);
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[1][0], after + 10);
    fb_buf_fini(&seen.expect);
    fb_buf_fini(&b);
    util_remove(dir);
}

/* The same with a real file system that really is full. Needs the right to mount. */
static void a_small_disk(void **state)
{
    char dir[64];
    struct util_seen seen = {0};
    struct snapshot_info info = {.part = 1, .start_ver = 2};
    struct snapshot_writer *w;
    struct fb_buf b = {0};
    struct fb_err err;
    struct log *log;
    enum fb_status s = FB_OK;
    uint64_t seq = 0;
    (void)state;

    util_dir(dir, sizeof(dir));
    if (mount("forebay-test", dir, "tmpfs", 0, "size=132k") != 0) {
        rmdir(dir);
        skip();
    }
    log = util_open(dir, 1, 1, 16384);
    while (s == FB_OK) {
        seq++;
        util_payload(1, 0, seq, util_payload_bytes(seq), &b);
        s = log_append(log, 0, seq, fb_buf_view(&b), false, &err);
    }
    assert_int_equal(s, FB_ENOSPC);
    assert_true(seq > 300);
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_ENOSPC);
    assert_int_equal(log_append(log, 0, seq, fb_buf_view(&b), true, &err), FB_OK); /* the reserve */
    for (int i = 0; i < 3000 && !log_disk_low(log); i++)
        usleep(1000);
    assert_true(log_disk_low(log));
    util_sync(log, 0, seq);
    assert_int_equal(log_trim(log, 0, seq, false, &err),
                     FB_OK); /* a snapshot elsewhere lets the log shrink */
    util_append(log, 1, 0, seq + 1, seq + 200);
    log_close(log);
    seen.first = 1;
    assert_int_equal(util_recover(dir, &seen, NULL, &err), FB_OK);
    assert_int_equal(seen.last[1][0], seq + 200);
    fb_buf_fini(&seen.expect);
    fb_buf_fini(&b);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

static void no_room_to_start(void **state)
{
    char dir[64];
    struct log_config c = {.lanes = 2, .segment_bytes = 4096, .generation = 1};
    struct util_image left;
    struct fb_err err;
    struct log *log;
    (void)state;

    c.dir = util_dir(dir, sizeof(dir));
    atomic_store(&fail_fallocate, ENOSPC);
    assert_int_equal(log_open(&c, &log, &err), FB_ENOSPC);
    atomic_store(&fail_fallocate, 0);
    util_image_take(&left, dir);
    for (size_t i = 0; i < left.count; i++) /* no segment; the marks of none do no harm */
        assert_string_equal(left.file[i].name, "synced");
    util_image_free(&left);
    util_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storage_errors_end_the_process),
        cmocka_unit_test(full_while_writing),
        cmocka_unit_test(full_at_the_next_segment),
        cmocka_unit_test(a_small_disk),
        cmocka_unit_test(no_room_to_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
