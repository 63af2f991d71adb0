/* Failing calls: see failing.h. */
#include "tests/unit/crash/failing.h"

#include "proto/base/assert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared with the parent. */
struct seen {
    atomic_bool hit;
    char call[16];
};

static atomic_int left; /* 0 = not armed */
static int error_to_give;
static struct seen own_seen, *seen = &own_seen;

static const char *_Atomic always;
static int always_error;

/* Besides, for calls of a name: see failing_at and failing_before. */
#define RULES_MAX 4u
static struct rule {
    const char *_Atomic call; /* NULL = the last rule was before */
    atomic_uint left;         /* 0 = over */
    int error;
    void (*fn)(void *arg); /* NULL = it fails */
    void *arg;
} rules[RULES_MAX];

void failing_always(const char *call, int error)
{
    always_error = error;
    atomic_store(&always, call);
}

static void add_rule(const char *call, unsigned n, int error, void (*fn)(void *arg), void *arg)
{
    struct rule *r = rules;

    while (atomic_load(&r->call) != NULL)
        r++;
    fb_assert(r < rules + RULES_MAX && n > 0);
    r->error = error;
    r->fn = fn;
    r->arg = arg;
    atomic_store(&r->left, n);
    atomic_store(&r->call, call);
}

void failing_at(const char *call, unsigned n, int error)
{
    add_rule(call, n, error, NULL, NULL);
}

void failing_before(const char *call, unsigned n, void (*fn)(void *arg), void *arg)
{
    add_rule(call, n, 0, fn, arg);
}

bool failing_over(void)
{
    bool all = true;

    for (struct rule *r = rules; r < rules + RULES_MAX; r++) {
        all = all && atomic_load(&r->left) == 0;
        atomic_store(&r->left, 0);
        atomic_store(&r->call, NULL);
    }
    return all;
}

/* What the rules say about this call. */
static int ruled(const char *call)
{
    static atomic_bool inside; /* what comes in between makes calls, too */
    int error = 0;

    for (struct rule *r = rules; r < rules + RULES_MAX && !atomic_load(&inside); r++) {
        const char *name = atomic_load(&r->call);
        if (name == NULL || strcmp(name, call) != 0 || atomic_load(&r->left) == 0 ||
            atomic_fetch_sub(&r->left, 1) != 1)
            continue;
        error = r->error;
        if (r->fn != NULL) {
            atomic_store(&inside, true);
            r->fn(r->arg);
            atomic_store(&inside, false);
        }
    }
    return error;
}

/* How this call fails; 0 = it does not. */
static int failure(const char *call)
{
    const char *each = atomic_load(&always);
    int error = ruled(call);

    if (error != 0)
        return error;
    if (each != NULL && strcmp(each, call) == 0)
        return always_error;
    if (atomic_load(&left) <= 0 || atomic_fetch_sub(&left, 1) != 1)
        return 0;
    snprintf(seen->call, sizeof(seen->call), "%s", call);
    atomic_store(&seen->hit, true);
    return error_to_give;
}

void failing_arm(unsigned n, int error)
{
    atomic_store(&seen->hit, false);
    error_to_give = error;
    atomic_store(&left, (int)n);
}

void failing_disarm(void)
{
    atomic_store(&left, 0);
}

const char *failing_hit(void)
{
    return atomic_load(&seen->hit) ? seen->call : NULL;
}

/* A call that can only work or not: a short count is no failure of it. */
static bool fails(const char *call)
{
    int error = failure(call);

    if (error <= 0)
        return false;
    errno = error;
    return true;
}

#define REAL(type, name, params)                                                                   \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params
#define WHOLE(type, name, params, args, result)                                                    \
    REAL(type, name, params)                                                                       \
    {                                                                                              \
        return fails(#name) ? result : __real_##name args;                                         \
    }
/* One that may do less than was asked for, or nothing. */
#define PART(type, name, params, args, less)                                                       \
    REAL(type, name, params)                                                                       \
    {                                                                                              \
        int error = failure(#name);                                                                \
        if (error > 0) {                                                                           \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        if (error == FAILING_NOTHING_DONE)                                                         \
            return 0;                                                                              \
        if (error == FAILING_SHORT_COUNT)                                                          \
            less;                                                                                  \
        return __real_##name args;                                                                 \
    }

PART(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), n = 1)
PART(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), n = n / 2)
PART(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), n = (n + 1) / 2)
WHOLE(int, fsync, (int fd), (fd), -1)
WHOLE(int, fdatasync, (int fd), (fd), -1)
WHOLE(int, ftruncate, (int fd, off_t n), (fd, n), -1)
WHOLE(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n), -1)
WHOLE(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), -1)
WHOLE(int, unlinkat, (int dir, const char *name, int flags), (dir, name, flags), -1)
WHOLE(int, mkdirat, (int dir, const char *name, mode_t mode), (dir, name, mode), -1)
WHOLE(int, mkdir, (const char *name, mode_t mode), (name, mode), -1)
WHOLE(int, fstat, (int fd, struct stat *st), (fd, st), -1)
WHOLE(int, fstatat, (int dir, const char *name, struct stat *st, int flags), (dir, name, st, flags),
      -1)
WHOLE(int, fstatvfs, (int fd, struct statvfs *v), (fd, v), -1)
WHOLE(int, eventfd, (unsigned n, int flags), (n, flags), -1)
WHOLE(int, inotify_init1, (int flags), (flags), -1)
WHOLE(DIR *, opendir, (const char *name), (name), NULL)
WHOLE(DIR *, fdopendir, (int fd), (fd), NULL)
WHOLE(struct dirent *, readdir, (DIR * d), (d), NULL)

/* Event and notification descriptors are no storage. */
static bool is_file(int fd)
{
    struct stat st;
    return __real_fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

#define PART_OF_FILE(name, params, args)                                                           \
    REAL(ssize_t, name, params)                                                                    \
    {                                                                                              \
        int error = is_file(fd) ? failure(#name) : 0;                                              \
        if (error > 0) {                                                                           \
            errno = error;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        if (error == FAILING_SHORT_COUNT)                                                          \
            n = (n + 1) / 2;                                                                       \
        return __real_##name args;                                                                 \
    }
PART_OF_FILE(read, (int fd, void *p, size_t n), (fd, p, n))
PART_OF_FILE(write, (int fd, const void *p, size_t n), (fd, p, n))

/* Linux closes the descriptor whatever close() says. */
REAL(int, close, (int fd))
{
    bool says_no = is_file(fd) && fails("close");
    int e = errno, rc = __real_close(fd);

    if (says_no)
        errno = e;
    return says_no ? -1 : rc;
}

/* The mode is passed on whether it is there or not. */
#define OPENING(name, params, args)                                                                \
    REAL(int, name, params)                                                                        \
    {                                                                                              \
        mode_t mode = 0;                                                                           \
        if (flags & O_CREAT) {                                                                     \
            va_list ap;                                                                            \
            va_start(ap, flags);                                                                   \
            mode = va_arg(ap, mode_t);                                                             \
            va_end(ap);                                                                            \
        }                                                                                          \
        return fails(#name) ? -1 : __real_##name args;                                             \
    }
OPENING(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPENING(open, (const char *path, int flags, ...), (path, flags, mode))

REAL(int, fcntl, (int fd, int command, ...))
{
    va_list ap;
    void *argument;
    va_start(ap, command);
    argument = va_arg(ap, void *);
    va_end(ap);
    return fails("fcntl") ? -1 : __real_fcntl(fd, command, argument);
}

#ifdef FB_COVERED
void __gcov_dump(void);
/* An end by abort() counts for gcov, too. */
static void on_abort(int sig)
{
    __gcov_dump();
    signal(sig, SIG_DFL);
    raise(sig);
}
#else
#define on_abort SIG_DFL /* cmocka's handler would go on with the tests */
#endif

static size_t read_all(int fd, char *text, size_t cap)
{
    size_t n = 0;
    for (;;) {
        char rest[512];
        ssize_t got =
            n < cap ? __real_read(fd, text + n, cap - n) : __real_read(fd, rest, sizeof(rest));
        if (got <= 0)
            return n;
        n += n < cap ? (size_t)got : 0;
    }
}

struct failing_end failing_run(unsigned n, int error, int (*fn)(void *arg), void *arg)
{
    struct failing_end end = {0};
    struct seen *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int out[2], status;
    pid_t pid;

    fb_assert(shared != MAP_FAILED && pipe(out) == 0);
    fflush(NULL);
    pid = fork();
    fb_assert(pid >= 0);
    if (pid == 0) {
        int rc;
        signal(SIGABRT, on_abort);
        dup2(out[1], 2);
        close(out[0]);
        close(out[1]);
        seen = shared;
        failing_arm(n, error);
        rc = fn(arg);
        failing_disarm();
        exit(rc);
    }
    close(out[1]);
    end.text[read_all(out[0], end.text, sizeof(end.text) - 1)] = '\0';
    close(out[0]);
    fb_assert(waitpid(pid, &status, 0) == pid);
    end.hit = atomic_load(&shared->hit);
    memcpy(end.call, shared->call, sizeof(end.call));
    munmap(shared, sizeof(*shared));
    end.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    if (!end.aborted && !WIFEXITED(status))
        fprintf(stderr, "child ended with %x: %s\n", (unsigned)status, end.text);
    fb_assert(end.aborted || WIFEXITED(status));
    return end;
}
