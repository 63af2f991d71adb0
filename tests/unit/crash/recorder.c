/* The recorder: see recorder.h. */
#include "tests/unit/crash/recorder.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* A name in the directory tree as the running program sees it. */
struct entry {
    uint32_t dir, object;
    char name[CRASH_NAME_BYTES];
};

struct object {
    ino_t ino;
    bool is_dir, gone; /* gone: unlinked, its inode may come again as another file */
    uint64_t size;
};

static struct {
    pthread_mutex_t mtx; /* recursive: reading the tree and a failed assertion make calls too */
    bool on;
    char root[PATH_MAX];
    dev_t dev;
    struct crash_record r;
    struct object *objects;
    struct entry *entries;
    size_t entry_count;
    void (*hook)(void *arg);
    void *hook_arg;
} g = {.mtx = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

static struct crash_op *add(enum crash_kind kind)
{
    struct crash_record *r = &g.r;
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 1024;
        r->ops = fb_xrealloc(r->ops, r->cap * sizeof(*r->ops));
    }
    r->ops[r->count] = (struct crash_op){.kind = kind};
    return &r->ops[r->count++];
}

static uint32_t object_add(const struct stat *st)
{
    g.objects = fb_xrealloc(g.objects, (g.r.objects + 1) * sizeof(*g.objects));
    g.objects[g.r.objects] = (struct object){
        .ino = st->st_ino, .is_dir = S_ISDIR(st->st_mode), .size = (uint64_t)st->st_size};
    return g.r.objects++;
}

/* UINT32_MAX: none of ours. The newest of the same inode number is the one that exists. */
static uint32_t object_of_stat(const struct stat *st)
{
    if (st->st_dev == g.dev)
        for (uint32_t i = g.r.objects; i-- > 0;)
            if (g.objects[i].ino == st->st_ino)
                return i;
    return UINT32_MAX;
}

static uint32_t object_of_fd(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? object_of_stat(&st) : UINT32_MAX;
}

/* The directory and last name of a path; false when it is not below the root. */
static bool place_of(int dir_fd, const char *path, uint32_t *dir, const char **name)
{
    const char *slash = strrchr(path, '/');
    char up[PATH_MAX];
    struct stat st;

    if (slash == NULL) {
        *name = path;
        snprintf(up, sizeof(up), ".");
    } else {
        *name = slash + 1;
        snprintf(up, sizeof(up), "%.*s", (int)(slash - path) + (slash == path), path);
    }
    if (fstatat(dir_fd, up, &st, 0) != 0)
        return false;
    *dir = object_of_stat(&st);
    return *dir != UINT32_MAX;
}

static struct entry *entry_find(uint32_t dir, const char *name)
{
    for (size_t i = 0; i < g.entry_count; i++)
        if (g.entries[i].dir == dir && strcmp(g.entries[i].name, name) == 0)
            return &g.entries[i];
    return NULL;
}

static void entry_add(uint32_t dir, const char *name, uint32_t object)
{
    g.entries = fb_xrealloc(g.entries, (g.entry_count + 1) * sizeof(*g.entries));
    g.entries[g.entry_count] = (struct entry){.dir = dir, .object = object};
    fb_assert(strlen(name) < CRASH_NAME_BYTES);
    snprintf(g.entries[g.entry_count].name, CRASH_NAME_BYTES, "%s", name);
    g.entry_count++;
}

static void entry_drop(struct entry *e)
{
    *e = g.entries[--g.entry_count];
}

static void note_make(uint32_t dir, const char *name, const struct stat *st)
{
    struct crash_op *op = add(CRASH_MAKE);
    op->dir = dir;
    op->object = object_add(st);
    op->is_dir = S_ISDIR(st->st_mode);
    snprintf(op->name, sizeof(op->name), "%s", name);
    entry_add(dir, name, op->object);
}

/* What is there at the start, as operations that were synced. */
static void note_tree(const char *path, uint32_t dir)
{
    DIR *d = opendir(path);
    struct dirent *e;
    fb_assert(d != NULL);
    while ((e = readdir(d)) != NULL) {
        char sub[PATH_MAX];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        fb_assert(stat(sub, &st) == 0);
        note_make(dir, e->d_name, &st);
        if (S_ISDIR(st.st_mode)) {
            note_tree(sub, g.r.objects - 1);
        } else {
            uint32_t object = g.r.objects - 1;
            int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
            struct crash_op *op = add(CRASH_WRITE);
            op->object = object;
            op->n = (size_t)st.st_size;
            op->data = fb_xmalloc(op->n + 1);
            fb_assert(fd >= 0 && read(fd, op->data, op->n) == (ssize_t)op->n);
            close(fd);
            add(CRASH_SYNC)->object = object;
        }
    }
    closedir(d);
    add(CRASH_SYNC)->object = dir;
}

void crash_record(const char *dir)
{
    struct stat st;
    pthread_mutex_lock(&g.mtx);
    fb_assert(!g.on && stat(dir, &st) == 0);
    g.dev = st.st_dev;
    (void)object_add(&st);
    note_tree(dir, 0);
    g.r.base = g.r.count;
    g.on = true;
    pthread_mutex_unlock(&g.mtx);
}

struct crash_record crash_record_end(void)
{
    struct crash_record r;
    pthread_mutex_lock(&g.mtx);
    fb_assert(g.on);
    r = g.r;
    free(g.objects);
    free(g.entries);
    g.objects = NULL;
    g.entries = NULL;
    g.entry_count = 0;
    g.r = (struct crash_record){0};
    g.on = false;
    g.hook = NULL;
    pthread_mutex_unlock(&g.mtx);
    return r;
}

void crash_record_free(struct crash_record *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->ops[i].data);
    free(r->ops);
    *r = (struct crash_record){0};
}

void crash_note(uint32_t note, uint64_t a, uint64_t b)
{
    pthread_mutex_lock(&g.mtx);
    if (g.on) {
        struct crash_op *op = add(CRASH_NOTE);
        op->note = note;
        op->a = a;
        op->b = b;
    }
    pthread_mutex_unlock(&g.mtx);
}

void crash_before_sync(void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&g.mtx);
    g.hook = fn;
    g.hook_arg = arg;
    pthread_mutex_unlock(&g.mtx);
}

void crash_print(const struct crash_record *r, size_t from, size_t to)
{
    static const char *const names[] = {"make",     "rename",   "unlink", "write",
                                        "truncate", "allocate", "sync",   "note"};
    for (size_t i = from; i < to && i < r->count; i++) {
        const struct crash_op *op = &r->ops[i];
        fprintf(stderr, "%4zu %-8s object=%u", i, names[op->kind], op->object);
        if (op->kind <= CRASH_UNLINK)
            fprintf(stderr, " dir=%u %s %s", op->dir, op->name, op->name_to);
        else if (op->kind == CRASH_NOTE)
            fprintf(stderr, " %u %llu %llu", op->note, (unsigned long long)op->a,
                    (unsigned long long)op->b);
        else
            fprintf(stderr, " at=%llu n=%zu", (unsigned long long)op->at, op->n);
        fprintf(stderr, "\n");
    }
}

static void note_write(int fd, const struct iovec *v, int count, uint64_t at, size_t done)
{
    uint32_t object = object_of_fd(fd);
    struct crash_op *op;
    if (object == UINT32_MAX || done == 0)
        return;
    op = add(CRASH_WRITE);
    op->object = object;
    op->at = at;
    op->size_before = g.objects[object].size;
    op->data = fb_xmalloc(done);
    for (int i = 0; i < count && op->n < done; i++) {
        size_t n = v[i].iov_len < done - op->n ? v[i].iov_len : done - op->n;
        if (n > 0)
            memcpy(op->data + op->n, v[i].iov_base, n);
        op->n += n;
    }
    if (at + done > g.objects[object].size)
        g.objects[object].size = at + done;
}

static void note_size(int fd, enum crash_kind kind, uint64_t size)
{
    uint32_t object = object_of_fd(fd);
    struct crash_op *op;
    if (object == UINT32_MAX)
        return;
    op = add(kind);
    op->object = object;
    op->at = size;
    if (kind == CRASH_TRUNCATE || size > g.objects[object].size)
        g.objects[object].size = size;
}

/* The real calls, each noted when it had an effect. */
#define REAL(type, name, params)                                                                   \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params
#define LOCKED(type, call, noted)                                                                  \
    do {                                                                                           \
        type result;                                                                               \
        int e;                                                                                     \
        pthread_mutex_lock(&g.mtx);                                                                \
        result = call;                                                                             \
        e = errno;                                                                                 \
        if (g.on && result >= 0)                                                                   \
            noted;                                                                                 \
        pthread_mutex_unlock(&g.mtx);                                                              \
        errno = e;                                                                                 \
        return result;                                                                             \
    } while (0)

REAL(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at))
{
    LOCKED(ssize_t, __real_pwritev(fd, v, n, at),
           note_write(fd, v, n, (uint64_t)at, (size_t)result));
}

REAL(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at))
{
    struct iovec v = {(void *)(uintptr_t)p, n};
    LOCKED(ssize_t, __real_pwrite(fd, p, n, at),
           note_write(fd, &v, 1, (uint64_t)at, (size_t)result));
}

REAL(ssize_t, write, (int fd, const void *p, size_t n))
{
    struct iovec v = {(void *)(uintptr_t)p, n};
    LOCKED(ssize_t, __real_write(fd, p, n),
           note_write(fd, &v, 1, (uint64_t)(lseek(fd, 0, SEEK_CUR) - result), (size_t)result));
}

REAL(int, ftruncate, (int fd, off_t n))
{
    LOCKED(int, __real_ftruncate(fd, n), note_size(fd, CRASH_TRUNCATE, (uint64_t)n));
}

REAL(int, fallocate, (int fd, int mode, off_t at, off_t n))
{
    LOCKED(int, __real_fallocate(fd, mode, at, n),
           note_size(fd, CRASH_ALLOCATE, (uint64_t)(at + n)));
}

static void note_sync(int fd)
{
    uint32_t object = object_of_fd(fd);
    if (object != UINT32_MAX)
        add(CRASH_SYNC)->object = object;
}

static void before_sync(void)
{
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_lock(&g.mtx);
    fn = g.on ? g.hook : NULL;
    arg = g.hook_arg;
    pthread_mutex_unlock(&g.mtx);
    if (fn != NULL)
        fn(arg);
}

/* The result alone counts: the files of these tests are in memory, where a sync does nothing. */
REAL(int, fdatasync, (int fd))
{
    before_sync();
    LOCKED(int, __real_fdatasync(fd), note_sync(fd));
}

REAL(int, fsync, (int fd))
{
    before_sync();
    LOCKED(int, __real_fsync(fd), note_sync(fd));
}

static void note_rename(int dir_fd, const char *from, int to_fd, const char *to)
{
    uint32_t dir, dir_to;
    const char *name, *name_to;
    struct entry *e, *old;
    struct crash_op *op;

    if (!place_of(dir_fd, from, &dir, &name) || !place_of(to_fd, to, &dir_to, &name_to))
        return;
    fb_assert(dir == dir_to); /* nobody moves between directories */
    e = entry_find(dir, name);
    fb_assert(e != NULL);
    op = add(CRASH_RENAME);
    op->dir = dir;
    op->object = e->object;
    snprintf(op->name, sizeof(op->name), "%s", name);
    snprintf(op->name_to, sizeof(op->name_to), "%s", name_to);
    old = entry_find(dir, name_to);
    if (old != NULL)
        entry_drop(old);
    e = entry_find(dir, op->name);
    entry_drop(e);
    entry_add(dir, name_to, op->object);
}

REAL(int, renameat, (int a, const char *from, int b, const char *to))
{
    LOCKED(int, __real_renameat(a, from, b, to), note_rename(a, from, b, to));
}

static void note_unlink(int dir_fd, const char *path)
{
    uint32_t dir;
    const char *name;
    struct entry *e;
    struct crash_op *op;

    if (!place_of(dir_fd, path, &dir, &name))
        return;
    e = entry_find(dir, name);
    fb_assert(e != NULL);
    op = add(CRASH_UNLINK);
    op->dir = dir;
    op->object = e->object;
    snprintf(op->name, sizeof(op->name), "%s", name);
    entry_drop(e);
}

REAL(int, unlinkat, (int dir, const char *name, int flags))
{
    LOCKED(int, __real_unlinkat(dir, name, flags), note_unlink(dir, name));
}

static void note_mkdir(int dir_fd, const char *path)
{
    uint32_t dir;
    const char *name;
    struct stat st;
    if (place_of(dir_fd, path, &dir, &name) && fstatat(dir_fd, path, &st, 0) == 0)
        note_make(dir, name, &st);
}

REAL(int, mkdirat, (int dir, const char *name, mode_t mode))
{
    LOCKED(int, __real_mkdirat(dir, name, mode), note_mkdir(dir, name));
}

REAL(int, mkdir, (const char *name, mode_t mode))
{
    LOCKED(int, __real_mkdir(name, mode), note_mkdir(AT_FDCWD, name));
}

/* Made, or emptied. */
static void note_open(int dir_fd, const char *path, int flags, int fd)
{
    uint32_t dir;
    const char *name;
    struct stat st;

    if ((flags & (O_CREAT | O_TRUNC)) == 0 || !place_of(dir_fd, path, &dir, &name))
        return;
    fb_assert(fstat(fd, &st) == 0);
    if (entry_find(dir, name) == NULL)
        note_make(dir, name, &st);
    else if (flags & O_TRUNC)
        note_size(fd, CRASH_TRUNCATE, 0);
}

REAL(int, openat, (int dir, const char *name, int flags, ...))
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    LOCKED(int, __real_openat(dir, name, flags, mode), note_open(dir, name, flags, result));
}
