/* Faults of storage for real processes, by LD_PRELOAD. README.md tells how to use it.
 *
 * FB_FAULTS=FILE       rules, one a line; read again when the file changes; hits go to FILE.hits
 * FB_FAULTS_CUT=ROOT:MIRROR  keeps in MIRROR what of ROOT would survive a power loss (cut.c)
 *
 * Any thread. Memory is static or from malloc outside of the intercepted calls' own locks; errno of
 * a call that is let through is its own.
 */
#include "tests/faults/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 64
#define EXPORT __attribute__((visibility("default")))

/* The C library's own. */
#define REAL(name)                                                                                 \
    ({                                                                                             \
        static _Atomic(void *) real_;                                                              \
        void *p_ = atomic_load(&real_);                                                            \
        if (p_ == NULL) {                                                                          \
            p_ = dlsym(RTLD_NEXT, #name);                                                          \
            atomic_store(&real_, p_);                                                              \
        }                                                                                          \
        (__typeof__(&name))p_;                                                                     \
    })

struct rule {
    char calls[128]; /* comma-separated names */
    char pattern[512];
    unsigned long skip, times; /* not the first `skip` calls; at most `times` after that */
    unsigned long seen, hits;
    int error;
    long shorten, delay_ms; /* -1 = no */
    long flip;              /* offset in the file, -1 = no */
};

static struct {
    pthread_mutex_t mtx;
    struct stat id; /* of the rules as they were read */
    struct rule rules[RULES_MAX];
    unsigned count;
    const char *path;
    bool started;
} g = {.mtx = PTHREAD_MUTEX_INITIALIZER};

/* What a rule wants of a call. */
struct verdict {
    int error;
    long shorten, flip;
};

static const struct {
    const char *name;
    int value;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"EDQUOT", EDQUOT},
              {"EACCES", EACCES}, {"EINTR", EINTR},   {"EFBIG", EFBIG}, {"EMFILE", EMFILE}};

/* A rule that is not understood ends the process: a test must not run without its fault. */
static void refuse(const char *line, const char *why)
{
    dprintf(2, "FB_FAULTS %s: %s: %s\n", g.path, why, line);
    _exit(99);
}

static void parse_word(struct rule *r, const char *word, const char *line)
{
    const char *value = strchr(word, '=');
    size_t n = value == NULL ? 0 : (size_t)(value - word);
    if (value == NULL)
        refuse(line, "not key=value");
    value++;
    if (n == 4 && strncmp(word, "skip", n) == 0) {
        r->skip = strtoul(value, NULL, 10);
    } else if (n == 5 && strncmp(word, "times", n) == 0) {
        r->times = strtoul(value, NULL, 10);
    } else if (n == 5 && strncmp(word, "short", n) == 0) {
        r->shorten = strtol(value, NULL, 10);
    } else if (n == 5 && strncmp(word, "delay", n) == 0) {
        r->delay_ms = strtol(value, NULL, 10);
    } else if (n == 4 && strncmp(word, "flip", n) == 0) {
        r->flip = strtol(value, NULL, 10);
    } else if (n == 5 && strncmp(word, "error", n) == 0) {
        for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
            if (strcmp(errors[i].name, value) == 0)
                r->error = errors[i].value;
        if (r->error == 0)
            refuse(line, "unknown error");
    } else {
        refuse(line, "unknown key");
    }
}

static void parse_line(char *line)
{
    char copy[1024], *save = NULL, *calls, *pattern;
    struct rule *r = &g.rules[g.count];

    snprintf(copy, sizeof(copy), "%s", line);
    calls = strtok_r(line, " \t\n", &save);
    if (calls == NULL || calls[0] == '#')
        return;
    pattern = strtok_r(NULL, " \t\n", &save);
    if (pattern == NULL || g.count == RULES_MAX)
        refuse(copy, pattern == NULL ? "no pattern" : "too many rules");
    *r = (struct rule){.times = ULONG_MAX, .shorten = -1, .delay_ms = -1, .flip = -1};
    snprintf(r->calls, sizeof(r->calls), ",%s,", calls);
    snprintf(r->pattern, sizeof(r->pattern), "%s", pattern);
    for (char *word; (word = strtok_r(NULL, " \t\n", &save)) != NULL;)
        parse_word(r, word, copy);
    if (r->error == 0 && r->shorten < 0 && r->delay_ms < 0 && r->flip < 0)
        refuse(copy, "nothing to do");
    g.count++;
}

/* Reads the rules when the file is another one than before. mtx held. */
static void look_at_rules(void)
{
    char text[16384], *save = NULL;
    struct stat st;
    ssize_t n;
    int fd;

    if (!g.started) {
        g.path = getenv("FB_FAULTS");
        g.started = true;
    }
    if (g.path == NULL || stat(g.path, &st) != 0) {
        g.count = 0;
        return;
    }
    if (st.st_ino == g.id.st_ino && st.st_mtim.tv_sec == g.id.st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == g.id.st_mtim.tv_nsec)
        return;
    fd = REAL(open)(g.path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : REAL(read)(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return;
    g.id = st;
    g.count = 0;
    text[n] = '\0';
    for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
        parse_line(line);
}

static void note_hit(const char *call, const char *path, const struct rule *r)
{
    char name[PATH_MAX], line[PATH_MAX + 128];
    int fd, n;
    snprintf(name, sizeof(name), "%s.hits", g.path);
    n = snprintf(line, sizeof(line), "%d %s %s error=%d short=%ld delay=%ld flip=%ld\n",
                 (int)getpid(), call, path, r->error, r->shorten, r->delay_ms, r->flip);
    fd = REAL(open)(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0) {
        (void)!REAL(write)(fd, line, (size_t)n);
        close(fd);
    }
}

/* The first rule that fits decides; a delay is waited for here. */
static struct verdict judge(const char *call, const char *path)
{
    struct verdict v = {.shorten = -1, .flip = -1};
    char word[40];
    long delay_ms = -1;

    snprintf(word, sizeof(word), ",%s,", call);
    pthread_mutex_lock(&g.mtx);
    look_at_rules();
    for (unsigned i = 0; i < g.count; i++) {
        struct rule *r = &g.rules[i];
        if (strstr(r->calls, word) == NULL || fnmatch(r->pattern, path, 0) != 0)
            continue;
        if (r->seen++ < r->skip || r->hits >= r->times)
            continue;
        r->hits++;
        note_hit(call, path, r);
        v = (struct verdict){.error = r->error, .shorten = r->shorten, .flip = r->flip};
        delay_ms = r->delay_ms;
        break;
    }
    pthread_mutex_unlock(&g.mtx);
    if (delay_ms > 0) {
        struct timespec t = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000};
        while (nanosleep(&t, &t) != 0)
            ;
    }
    return v;
}

__thread bool fault_own_calls;

static bool wanted(void)
{
    return !fault_own_calls && (g.started ? g.path : getenv("FB_FAULTS")) != NULL;
}

static struct verdict judge_fd(const char *call, int fd)
{
    char path[PATH_MAX];
    if (!wanted() || !fault_path_of(fd, path, sizeof(path)))
        return (struct verdict){.shorten = -1, .flip = -1};
    return judge(call, path);
}

static struct verdict judge_at(const char *call, int dir, const char *name)
{
    char path[PATH_MAX];
    if (!wanted())
        return (struct verdict){.shorten = -1, .flip = -1};
    fault_path_at(dir, name, path, sizeof(path));
    return judge(call, path);
}

bool fault_path_of(int fd, char *out, size_t cap)
{
    char link[40];
    ssize_t n;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, out, cap - 1);
    if (n <= 0 || out[0] != '/')
        return false;
    out[n] = '\0';
    return true;
}

void fault_path_at(int dir, const char *name, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = '\0';
    if (name[0] != '/') {
        if (dir == AT_FDCWD ? getcwd(out, cap) == NULL : !fault_path_of(dir, out, cap))
            out[0] = '\0';
        n = strlen(out);
    }
    snprintf(out + n, cap - n, "%s%s", name[0] == '/' ? "" : "/", name);
}

/* Leaves of the vectors only the first `n` bytes. */
static int shorten(struct iovec *out, const struct iovec *v, int count, size_t n)
{
    int k = 0;
    for (int i = 0; i < count && n > 0; i++) {
        out[k] = v[i];
        if (out[k].iov_len > n)
            out[k].iov_len = n;
        n -= out[k++].iov_len;
    }
    return k;
}

#define FAIL(v)                                                                                    \
    do {                                                                                           \
        if ((v).error != 0) {                                                                      \
            errno = (v).error;                                                                     \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

/* ---- writing ---- */

EXPORT ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct verdict v = judge_fd("pwrite", fd);
    ssize_t put;
    FAIL(v);
    put = REAL(pwrite)(fd, p, v.shorten >= 0 && (size_t)v.shorten < n ? (size_t)v.shorten : n, at);
    if (put > 0)
        cut_wrote(fd, at, put);
    return put;
}

EXPORT ssize_t pwritev(int fd, const struct iovec *vec, int count, off_t at)
{
    struct verdict v = judge_fd("pwritev", fd);
    struct iovec less[64];
    ssize_t put;
    FAIL(v);
    if (v.shorten >= 0 && count <= 64) {
        count = shorten(less, vec, count, (size_t)v.shorten);
        vec = less;
    }
    put = REAL(pwritev)(fd, vec, count, at);
    if (put > 0)
        cut_wrote(fd, at, put);
    return put;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
    struct verdict v = judge_fd("write", fd);
    ssize_t put;
    FAIL(v);
    put = REAL(write)(fd, p, v.shorten >= 0 && (size_t)v.shorten < n ? (size_t)v.shorten : n);
    if (put > 0)
        cut_wrote(fd, -1, put);
    return put;
}

EXPORT int ftruncate(int fd, off_t n)
{
    struct verdict v = judge_fd("ftruncate", fd);
    FAIL(v);
    cut_truncates(fd, n);
    return REAL(ftruncate)(fd, n);
}

EXPORT int fallocate(int fd, int mode, off_t at, off_t n)
{
    struct verdict v = judge_fd("fallocate", fd);
    FAIL(v);
    return REAL(fallocate)(fd, mode, at, n);
}

EXPORT int fsync(int fd)
{
    struct verdict v = judge_fd("fsync", fd);
    int r;
    FAIL(v);
    r = REAL(fsync)(fd);
    if (r == 0)
        cut_synced(fd);
    return r;
}

EXPORT int fdatasync(int fd)
{
    struct verdict v = judge_fd("fdatasync", fd);
    int r;
    FAIL(v);
    r = REAL(fdatasync)(fd);
    if (r == 0)
        cut_synced(fd);
    return r;
}

/* ---- names ---- */

EXPORT int renameat(int a, const char *from, int b, const char *to)
{
    struct verdict v = judge_at("rename", b, to);
    FAIL(v);
    return REAL(renameat)(a, from, b, to);
}

EXPORT int rename(const char *from, const char *to)
{
    struct verdict v = judge_at("rename", AT_FDCWD, to);
    FAIL(v);
    return REAL(rename)(from, to);
}

EXPORT int unlinkat(int dir, const char *name, int flags)
{
    struct verdict v = judge_at("unlink", dir, name);
    FAIL(v);
    return REAL(unlinkat)(dir, name, flags);
}

EXPORT int unlink(const char *name)
{
    struct verdict v = judge_at("unlink", AT_FDCWD, name);
    FAIL(v);
    return REAL(unlink)(name);
}

EXPORT int mkdirat(int dir, const char *name, mode_t mode)
{
    struct verdict v = judge_at("mkdir", dir, name);
    FAIL(v);
    return REAL(mkdirat)(dir, name, mode);
}

EXPORT int mkdir(const char *name, mode_t mode)
{
    struct verdict v = judge_at("mkdir", AT_FDCWD, name);
    FAIL(v);
    return REAL(mkdir)(name, mode);
}

/* "create" is asked first when the call may make a file, then "open". */
static struct verdict judge_open(int dir, const char *name, int flags)
{
    struct verdict v = {0};
    if (flags & O_CREAT)
        v = judge_at("create", dir, name);
    return v.error != 0 ? v : judge_at("open", dir, name);
}

EXPORT int openat(int dir, const char *name, int flags, ...)
{
    struct verdict v = judge_open(dir, name, flags);
    mode_t mode = 0;
    int fd;
    FAIL(v);
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    fd = REAL(openat)(dir, name, flags, mode);
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)))
        cut_opened(fd);
    return fd;
}

EXPORT int open(const char *name, int flags, ...)
{
    struct verdict v = judge_open(AT_FDCWD, name, flags);
    mode_t mode = 0;
    int fd;
    FAIL(v);
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    fd = REAL(open)(name, flags, mode);
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC)))
        cut_opened(fd);
    return fd;
}

/* ---- reading ---- */

static ssize_t flipped(struct verdict v, void *p, ssize_t got, off_t at)
{
    if (v.flip >= at && v.flip < at + got)
        ((unsigned char *)p)[v.flip - at] ^= 1;
    return got;
}

EXPORT ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    struct verdict v = judge_fd("read", fd);
    FAIL(v);
    if (v.shorten > 0 && (size_t)v.shorten < n)
        n = (size_t)v.shorten;
    return flipped(v, p, REAL(pread)(fd, p, n, at), at);
}

EXPORT ssize_t read(int fd, void *p, size_t n)
{
    struct verdict v = judge_fd("read", fd);
    off_t at;
    FAIL(v);
    if (v.shorten > 0 && (size_t)v.shorten < n)
        n = (size_t)v.shorten;
    if (v.flip < 0)
        return REAL(read)(fd, p, n);
    at = lseek(fd, 0, SEEK_CUR);
    return flipped(v, p, REAL(read)(fd, p, n), at);
}

/* The names for large files: the same on a 64-bit system. */
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))
ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at) ALIAS(pwrite);
ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at) ALIAS(pwritev);
ssize_t pread64(int fd, void *p, size_t n, off64_t at) ALIAS(pread);
int ftruncate64(int fd, off64_t n) ALIAS(ftruncate);
int fallocate64(int fd, int mode, off64_t at, off64_t n) ALIAS(fallocate);
int openat64(int dir, const char *name, int flags, ...) ALIAS(openat);
int open64(const char *name, int flags, ...) ALIAS(open);
