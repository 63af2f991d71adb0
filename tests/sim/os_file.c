/* The C library's file calls as a simulated process sees them: the linker sends the calls of the
 * program here (--wrap), so node/disk runs as it is. Only calls on simulated files may come. */
#include "tests/sim/fs.h"
#include "tests/sim/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define FD_FIRST 1000000

struct handle {
    bool open, sync_failed;
    struct fs_node *node;
    struct sim_proc *proc;
    uint64_t proc_number;
    struct fs_node *dir; /* it was opened in, and by which name: for the trace */
    char name[FS_NAME_BYTES];
    uint64_t at; /* of read */
    /* of a directory being read */
    struct fs_names list;
    uint32_t next;
    struct dirent entry;
};

static struct handle *handles[4096];
static uint32_t handle_n;

static struct handle *handle_of(int fd)
{
    fb_assert(fd >= FD_FIRST && fd < FD_FIRST + (int)handle_n);
    struct handle *h = handles[fd - FD_FIRST];
    fb_assert(h->open && h->proc == sim_self() && h->proc_number == sim_self()->number);
    return h;
}

static int handle_open(struct fs_node *node, struct fs_node *dir, const char *name)
{
    uint32_t i;
    struct handle *h;
    for (i = 0; i < handle_n; i++) /* those of dead processes are closed */
        if (!handles[i]->open || !handles[i]->proc->alive ||
            handles[i]->proc_number != handles[i]->proc->number)
            break;
    if (i == handle_n) {
        fb_assert(handle_n < FB_COUNT_OF(handles));
        handles[handle_n++] = fb_xcalloc(1, sizeof *h);
    }
    h = handles[i];
    free(h->list.e);
    *h = (struct handle){.open = true,
                         .node = node,
                         .proc = sim_self(),
                         .proc_number = sim_self()->number,
                         .dir = dir};
    snprintf(h->name, sizeof h->name, "%s", name);
    return FD_FIRST + (int)i;
}

struct fs_node *sim_os_file(int fd, struct fs_node **dir, const char **name)
{
    fb_assert(fd >= FD_FIRST && fd < FD_FIRST + (int)handle_n);
    struct handle *h = handles[fd - FD_FIRST];
    *dir = h->dir;
    *name = h->name;
    return h->node;
}

/* How likely a death in this call is: what happens seldom, and at a start, is looked at closer. */
static uint32_t danger(const struct sim_proc *p, const char *call)
{
    bool seldom = strcmp(call, "pread") != 0 && strcmp(call, "pwritev") != 0 &&
                  strcmp(call, "fdatasync") != 0 && strcmp(call, "pwrite") != 0;
    uint32_t per_million = seldom ? 1000 : 150;
    if (sim_dangerous(p->sim, call))
        return 10000;
    if (sim_fault_on(p->sim, SIM_FAULT_NODE_STORM) &&
        sim_now_ns(p->sim) < p->started_ns + 100 * SIM_MS)
        per_million *= 6;
    return per_million;
}

static bool lingers(const struct sim *s, const char *call)
{
    const char *where = sim_plan(s)->linger;
    return where != NULL && strcmp(where, call) == 0;
}

/* Every call passes here: the process may die in it, and other threads may come first. */
static struct sim_fs *point(const char *call, const char *name)
{
    struct sim_proc *p = sim_self();
    struct sim *s = p->sim;
    fb_assert(p->fs != NULL && p->alive);
    if (!sim_in_coro())
        return p->fs;
    if (sim_strikes(s, SIM_DISK, SIM_FAULT_NODE_KILL, danger(p, call))) {
        sim_trace(s, "%s killed in %s %s", p->name, call, name);
        sim_proc_end(p, SIM_KILLED, 0);
    }
    if (sim_strikes(s, SIM_DISK, SIM_FAULT_NODE_POWER, danger(p, call))) {
        sim_trace(s, "%s power loss in %s %s", p->name, call, name);
        sim_proc_end(p, SIM_POWER, 0);
    }
    if (lingers(s, call) && sim_chance(s, SIM_DISK, 200000))
        sim_sleep(sim_spread(s, SIM_DISK, 10 * SIM_US, 300 * SIM_MS));
    else if (sim_chance(s, SIM_DISK, 20000))
        sim_sleep(sim_spread(s, SIM_DISK, 10 * SIM_US, 10 * SIM_MS));
    return p->fs;
}

/* A call that the disk fails. What may follow is judged by the checkers (I19). */
static bool broken(const char *call, const char *name, uint32_t per_million)
{
    struct sim_proc *p = sim_self();
    if (!sim_strikes(p->sim, SIM_DISK, SIM_FAULT_DISK_EIO, per_million))
        return false;
    sim_trace(p->sim, "%s %s %s fails: EIO", p->name, call, name);
    /* what failed to be read, or to go away, was there before; the pid in LOCK is for people */
    if (strcmp(call, "pread") != 0 && strcmp(call, "openat") != 0 &&
        strcmp(call, "fdopendir") != 0 && strcmp(call, "unlinkat") != 0 &&
        strcmp(name, "LOCK") != 0)
        p->fs->errors++; /* something may not have been written */
    p->fs->failed = true;
    errno = EIO;
    return true;
}

static bool full(const char *call, const char *name)
{
    struct sim_proc *p = sim_self();
    if (p->fs->room == UINT64_MAX || p->fs->room > 4096)
        return false;
    sim_fault(p->sim, SIM_FAULT_DISK_FULL);
    sim_trace(p->sim, "%s %s %s fails: ENOSPC", p->name, call, name);
    p->fs->full_said = true;
    errno = ENOSPC;
    return true;
}

static int open_in(struct sim_fs *fs, struct fs_node *dir, const char *name, int flags)
{
    struct fs_node *f = fs_child(fs, dir, name);
    if (f == NULL && !(flags & O_CREAT)) {
        errno = ENOENT;
        return -1;
    }
    if (f != NULL && (flags & O_CREAT) && (flags & O_EXCL)) {
        errno = EEXIST;
        return -1;
    }
    if (f == NULL) {
        if (full("create", name))
            return -1;
        f = fs_make(fs, dir, name, false);
    } else if (flags & O_TRUNC) {
        fs_resize(fs, f, 0);
    }
    if ((flags & O_DIRECTORY) && !f->dir) {
        errno = ENOTDIR;
        return -1;
    }
    return handle_open(f, dir, name);
}

int __wrap_openat(int dir_fd, const char *name, int flags, ...);
int __wrap_openat(int dir_fd, const char *name, int flags, ...)
{
    struct sim_fs *fs = point("openat", name);
    if (broken("openat", name, 40))
        return -1;
    return open_in(fs, handle_of(dir_fd)->node, name, flags);
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    struct sim_fs *fs = point("open", path);
    struct fs_node *f = fs_lookup(fs, path);
    fb_assert((flags & O_CREAT) == 0);
    if (f == NULL) {
        errno = ENOENT;
        return -1;
    }
    return handle_open(f, f, path);
}

int __wrap_close(int fd);
int __wrap_close(int fd)
{
    struct handle *h = handle_of(fd);
    h->open = false;
    if (h->node->lock_of == h)
        h->node->lock_of = NULL;
    return 0;
}

ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at)
{
    struct handle *h = handle_of(fd);
    (void)point("pread", h->name);
    if (broken("pread", h->name, 100))
        return -1;
    return (ssize_t)fs_read(h->node, p, n, (uint64_t)at);
}

ssize_t __wrap_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n)
{
    struct handle *h = handle_of(fd);
    ssize_t got = __wrap_pread(fd, p, n, (off_t)h->at);
    if (got > 0)
        h->at += (uint64_t)got;
    return got;
}

/* A write during which the process dies leaves the beginning of it. */
static void die_within(struct sim_fs *fs, struct handle *h, const uint8_t *p, size_t n, uint64_t at)
{
    struct sim_proc *self = sim_self();
    bool power = sim_strikes(fs->sim, SIM_DISK, SIM_FAULT_NODE_POWER, 150);
    if (!power && !sim_strikes(fs->sim, SIM_DISK, SIM_FAULT_NODE_KILL, 150))
        return;
    size_t part = (size_t)sim_range(fs->sim, SIM_DISK, 0, n);
    if (!power) { /* the kernel looks for a fatal signal between two pages */
        uint64_t end = (at + part) / FS_PAGE * FS_PAGE;
        part = part == n ? n : end > at ? (size_t)(end - at) : 0;
    }
    n = part;
    (void)fs_write(fs, h->node, p, n, at);
    sim_trace(fs->sim, "%s %s after %zu bytes of a write to %s", self->name,
              power ? "power loss" : "killed", n, h->name);
    sim_proc_end(self, power ? SIM_POWER : SIM_KILLED, 0);
}

static ssize_t write_at(const char *call, int fd, const void *p, size_t n, uint64_t at)
{
    struct handle *h = handle_of(fd);
    struct sim_fs *fs = point(call, h->name);
    size_t put;
    if (sim_in_coro())
        die_within(fs, h, p, n, at);
    if (broken(call, h->name, 100))
        return -1;
    put = fs_write(fs, h->node, p, n, at);
    if (put < n) {
        sim_fault(fs->sim, SIM_FAULT_DISK_FULL);
        fs->full_said = true;
        sim_trace(fs->sim, "%s %s %s takes %zu of %zu bytes: disk full", sim_self()->name, call,
                  h->name, put, n);
    }
    if (put == 0 && n > 0) {
        errno = ENOSPC;
        return -1;
    }
    return (ssize_t)put;
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return write_at("pwrite", fd, p, n, (uint64_t)at);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *v, int count, off_t at);
ssize_t __wrap_pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    struct fb_buf all = {0};
    for (int i = 0; i < count; i++)
        fb_buf_put(&all, v[i].iov_base, v[i].iov_len);
    ssize_t put = write_at("pwritev", fd, all.p, all.n, (uint64_t)at);
    int e = errno;
    fb_buf_fini(&all);
    errno = e;
    return put;
}

static int sync_fd(const char *call, int fd)
{
    struct handle *h = handle_of(fd);
    struct sim_fs *fs = point(call, h->name);
    struct sim *s = fs->sim;
    bool early = sim_chance(s, SIM_DISK, 500000);
    uint64_t takes = sim_spread(s, SIM_DISK, 50 * SIM_US, 8 * SIM_MS);
    if (lingers(s, call))
        takes = sim_spread(s, SIM_DISK, 1 * SIM_MS, 400 * SIM_MS);
    if (sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_SLOW, 4000))
        takes = sim_spread(s, SIM_DISK, 10 * SIM_MS, 3 * SIM_S);
    if (broken(call, h->name, 500))
        return -1;
    if (sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_LIE, 2000)) {
        sim_trace(s, "%s %s %s says yes and does nothing", sim_self()->name, call, h->name);
        fs->lied = true;
        return 0;
    }
    if (early)
        fs_sync(h->node);
    if (sim_in_coro())
        sim_sleep(takes);
    if (!early)
        fs_sync(h->node);
    return 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    return sync_fd("fsync", fd);
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    return sync_fd("fdatasync", fd);
}

int __wrap_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size)
{
    struct handle *h = handle_of(fd);
    struct sim_fs *fs = point("ftruncate", h->name);
    if (broken("ftruncate", h->name, 100))
        return -1;
    return fs_resize(fs, h->node, (uint64_t)size) ? 0 : -1;
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t n);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
    struct handle *h = handle_of(fd);
    struct sim_fs *fs = point("fallocate", h->name);
    fb_assert(mode == 0 && at == 0);
    if (broken("fallocate", h->name, 100))
        return -1;
    if (fs_reserve(fs, h->node, (uint64_t)n))
        return 0;
    sim_fault(fs->sim, SIM_FAULT_DISK_FULL);
    fs->full_said = true;
    sim_trace(fs->sim, "%s fallocate %s fails: ENOSPC", sim_self()->name, h->name);
    errno = ENOSPC;
    return -1;
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    struct sim_fs *fs = point("renameat", to);
    fb_assert(from_fd == to_fd);
    if (broken("renameat", to, 200))
        return -1;
    if (fs_rename(fs, handle_of(from_fd)->node, from, to)) {
        if (strstr(to, ".snap") != NULL)
            sim_proc_endanger(sim_self(), SIM_DANGER_SNAPSHOT, 100000, 60 * SIM_MS);
        return 0;
    }
    errno = ENOENT;
    return -1;
}

int __wrap_unlinkat(int dir_fd, const char *name, int flags);
int __wrap_unlinkat(int dir_fd, const char *name, int flags)
{
    struct sim_fs *fs = point("unlinkat", name);
    (void)flags;
    if (broken("unlinkat", name, 200))
        return -1;
    if (fs_unlink(fs, handle_of(dir_fd)->node, name))
        return 0;
    errno = ENOENT;
    return -1;
}

static void stat_of(const struct fs_node *f, struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_size = (off_t)f->size;
    st->st_mode = f->dir ? S_IFDIR | 0700 : S_IFREG | 0600;
    st->st_ino = f->number;
}

int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
    stat_of(handle_of(fd)->node, st);
    return 0;
}

int __wrap_fstatat(int dir_fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat(int dir_fd, const char *name, struct stat *st, int flags)
{
    struct fs_node *f = fs_child(sim_self()->fs, handle_of(dir_fd)->node, name);
    (void)flags;
    if (f == NULL) {
        errno = ENOENT;
        return -1;
    }
    stat_of(f, st);
    return 0;
}

int __wrap_fstatvfs(int fd, struct statvfs *v);
int __wrap_fstatvfs(int fd, struct statvfs *v)
{
    (void)handle_of(fd);
    memset(v, 0, sizeof *v);
    v->f_blocks = 100000;
    v->f_bavail = sim_self()->fs->low ? 1000 : 50000;
    return 0;
}

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    (void)mode;
    if (fs_lookup(sim_self()->fs, path) != NULL)
        return 0;
    errno = ENOENT;
    return -1;
}

static int make_dir(struct sim_fs *fs, struct fs_node *dir, const char *name)
{
    if (fs_child(fs, dir, name) != NULL) {
        errno = EEXIST;
        return -1;
    }
    (void)fs_make(fs, dir, name, true);
    return 0;
}

int __wrap_mkdirat(int dir_fd, const char *name, mode_t mode);
int __wrap_mkdirat(int dir_fd, const char *name, mode_t mode)
{
    struct sim_fs *fs = point("mkdirat", name);
    (void)mode;
    return make_dir(fs, handle_of(dir_fd)->node, name);
}

int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
    struct sim_fs *fs = point("mkdir", path);
    char parent[256];
    const char *last = strrchr(path, '/');
    struct fs_node *dir;
    (void)mode;
    fb_assert(last != NULL && strlen(path) < sizeof parent);
    snprintf(parent, sizeof parent, "%.*s", (int)(last - path), path);
    dir = fs_lookup(fs, parent);
    fb_assert(dir != NULL);
    return make_dir(fs, dir, last + 1);
}

int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    struct handle *h = handle_of(fd), *by = h->node->lock_of;
    fb_assert(command == F_OFD_SETLK);
    if (by != NULL && by != h && by->open && by->proc->alive &&
        by->proc_number == by->proc->number) {
        errno = EAGAIN;
        return -1;
    }
    h->node->lock_of = h;
    return 0;
}

/* ---- directories: a DIR is our handle ---- */

DIR *__wrap_fdopendir(int fd);
DIR *__wrap_fdopendir(int fd)
{
    struct handle *h = handle_of(fd);
    if (broken("fdopendir", h->name, 20))
        return NULL;
    h->list.e = fb_xcalloc(h->node->names.n + 1, sizeof *h->list.e);
    h->list.n = h->node->names.n;
    if (h->list.n > 0)
        memcpy(h->list.e, h->node->names.e, h->list.n * sizeof *h->list.e);
    h->next = 0;
    return (DIR *)(void *)h;
}

DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    int fd = __wrap_open(path, O_RDONLY | O_DIRECTORY);
    return fd < 0 ? NULL : __wrap_fdopendir(fd);
}

static int fd_of(const struct handle *h)
{
    for (uint32_t i = 0; i < handle_n; i++)
        if (handles[i] == h)
            return FD_FIRST + (int)i;
    abort();
}

int __wrap_dirfd(DIR *d);
int __wrap_dirfd(DIR *d)
{
    return fd_of((struct handle *)(void *)d);
}

struct dirent *__wrap_readdir(DIR *d);
struct dirent *__wrap_readdir(DIR *d)
{
    struct handle *h = (struct handle *)(void *)d;
    if (h->next == h->list.n)
        return NULL;
    snprintf(h->entry.d_name, sizeof h->entry.d_name, "%s", h->list.e[h->next++].name);
    return &h->entry;
}

int __wrap_closedir(DIR *d);
int __wrap_closedir(DIR *d)
{
    return __wrap_close(fd_of((struct handle *)(void *)d));
}
