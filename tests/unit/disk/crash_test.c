/* Goal: a process that dies between any two system calls of a whole life (open, append, roll, sync,
 * seal, close, and recovery itself) leaves a log that recovers: everything appended is there,
 * everything reported as synced too. Method: the calls that change files are replaced at link time
 * and end the child before the n-th one, n = 1, 2, 3 ... until a child lives through. And kill -9
 * of a busy writer. */
#include "tests/unit/disk/disk_util.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

static atomic_int calls_left; /* 0 = no limit */

static void count_call(void)
{
    int left = atomic_load(&calls_left);
    if (left > 0 && atomic_fetch_sub(&calls_left, 1) == 1)
        _exit(77);
}

#define WRAP(type, name, params, args)                                                             \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        count_call();                                                                              \
        return __real_##name args;                                                                 \
    }

WRAP(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, unlinkat, (int a, const char *name, int flags), (a, name, flags))

/* What a child did, seen by the test after its death. */
struct progress {
    _Atomic uint64_t appended[2];
    _Atomic uint64_t synced[2];
};

static struct progress *progress_new(void)
{
    void *p = mmap(NULL, sizeof(struct progress), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

static void synced(void *arg, uint32_t lane, uint64_t seq)
{
    atomic_store(&((struct progress *)arg)->synced[lane], seq);
}

static void one_life(const char *dir, uint64_t generation, uint64_t last, struct progress *p)
{
    struct log_config c = {.dir = dir,
                           .lanes = 2,
                           .segment_bytes = 4096,
                           .generation = generation,
                           .sync_interval_ms = 60000,
                           .arg = p,
                           .synced = synced};
    struct log *log;
    struct fb_err err;

    if (log_open(&c, &log, &err) != FB_OK)
        _exit(1);
    for (uint64_t seq = 1; seq <= last; seq++) {
        for (uint32_t lane = 0; lane < 2; lane++) {
            util_append(log, generation, lane, seq, seq);
            atomic_store(&p->appended[lane], seq);
        }
        if (seq % 20 == 0)
            util_sync(log, 0, seq);
    }
    log_close(log);
}

/* fn in a child that may make `calls` calls; true when it came to its end. */
static bool in_child(int calls, void (*fn)(const char *, struct progress *), const char *dir,
                     struct progress *p)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        atomic_store(&calls_left, calls);
        fn(dir, p);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 77))
        fail_msg("child ended with status %x", status);
    return WEXITSTATUS(status) == 0;
}

static void live(const char *dir, struct progress *p)
{
    one_life(dir, 1, 45, p);
}

static void recover(const char *dir, struct progress *p)
{
    struct util_seen seen = {0};
    struct fb_err err;
    (void)p;
    if (util_recover(dir, &seen, NULL, &err) != FB_OK)
        _exit(2);
}

static void check(const char *dir, const struct progress *p)
{
    struct util_seen seen = {0};
    struct fb_err err;
    if (util_recover(dir, &seen, NULL, &err) != FB_OK)
        fail_msg("%s", err.msg);
    for (uint32_t i = 0; i < 2; i++) {
        /* The page cache survives a process: the batch in flight may be there, an appended one
         * must. */
        assert_in_range(seen.last[1][i], p->appended[i], p->appended[i] + 1);
        assert_true(seen.last[1][i] >= p->synced[i]);
    }
    fb_buf_fini(&seen.expect);
}

static void death_while_writing(void **state)
{
    struct progress *p = progress_new();
    bool lived = false;
    char dir[64];
    int n;
    (void)state;

    for (n = 1; !lived; n++) {
        memset(p, 0, sizeof(*p));
        util_dir(dir, sizeof(dir));
        lived = in_child(n, live, dir, p);
        check(dir, p);
        util_remove(dir);
    }
    print_message("%d deaths\n", n - 2);
    assert_true(n > 100);
    munmap(p, sizeof(*p));
}

static void death_while_recovering(void **state)
{
    struct progress *p = progress_new();
    struct util_image im;
    bool lived = false;
    char dir[64];
    int n;
    (void)state;

    util_dir(dir, sizeof(dir));
    (void)in_child(110, live, dir, p); /* somewhere in the middle */
    assert_true(p->appended[0] > 20 && p->appended[0] < 45);
    util_image_take(&im, dir);
    for (n = 1; !lived; n++) {
        util_image_put(&im, dir);
        lived = in_child(n, recover, dir, p);
        check(dir, p);
    }
    print_message("%d deaths\n", n - 2);
    assert_true(n > 6);
    util_image_free(&im);
    util_remove(dir);
    munmap(p, sizeof(*p));
}

static void killed_while_busy(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct progress *p = progress_new();
        char dir[64];
        int status;
        pid_t pid;

        util_dir(dir, sizeof(dir));
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            one_life(dir, 1, 1000000, p);
            _exit(0);
        }
        while (atomic_load(&p->synced[0]) < 200u + (unsigned)round * 37u)
            usleep(500);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        check(dir, p);
        util_remove(dir);
        munmap(p, sizeof(*p));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(death_while_writing),
        cmocka_unit_test(death_while_recovering),
        cmocka_unit_test(killed_while_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
