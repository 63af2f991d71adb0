/* What a power loss would leave: FB_FAULTS_CUT=ROOT:MIRROR. Below MIRROR, which is on the same file
 * system and was begun by cut.py with what ROOT had at the start,
 *   live/INO    another name of each file, so that its inode number stays its own
 *   synced/INO  the contents it had when it was last synced
 *   names/INO   the names in a directory when that was last synced: lines "kind inode name"
 * cut.py makes from these, and from what was not synced, the tree that the power loss leaves. A
 * process that is killed in the middle of this was in the middle of its sync. One process a ROOT.
 */
#include "tests/faults/preload.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 4096
#define RANGES_MAX 4096
#define COPY_BYTES 65536

struct range {
    off_t from, to;
};

/* What was written to a file since its last sync. */
struct file {
    ino_t ino;
    struct range *ranges; /* RANGES_MAX; the last one grows when there is no room */
    unsigned count;
};

static struct {
    pthread_mutex_t mtx;
    bool started, on;
    char root[PATH_MAX], mirror[PATH_MAX];
    struct file files[FILES_MAX];
    unsigned count;
} g = {.mtx = PTHREAD_MUTEX_INITIALIZER};

static void give_up(const char *what, const char *path)
{
    dprintf(2, "FB_FAULTS_CUT: %s %s: %s\n", what, path, strerror(errno));
    _exit(98);
}

/* True when the file is one of ours; mtx is held then, until end(). errno stays. */
static bool begin(int fd, struct stat *st)
{
    char path[PATH_MAX];
    size_t n;
    int e = errno;

    if (fault_own_calls)
        return false;
    pthread_mutex_lock(&g.mtx);
    if (!g.started) {
        const char *v = getenv("FB_FAULTS_CUT"), *colon = v == NULL ? NULL : strchr(v, ':');
        g.started = true;
        g.on = colon != NULL;
        if (g.on) {
            snprintf(g.root, sizeof(g.root), "%.*s", (int)(colon - v), v);
            snprintf(g.mirror, sizeof(g.mirror), "%s", colon + 1);
        }
    }
    n = strlen(g.root);
    if (g.on && fault_path_of(fd, path, sizeof(path)) && strncmp(path, g.root, n) == 0 &&
        (path[n] == '/' || path[n] == '\0') && fstat(fd, st) == 0) {
        fault_own_calls = true;
        return true;
    }
    pthread_mutex_unlock(&g.mtx);
    errno = e;
    return false;
}

static void end(void)
{
    fault_own_calls = false;
    pthread_mutex_unlock(&g.mtx);
}

static void range_add(struct file *f, off_t from, off_t to)
{
    struct range *last = f->count > 0 ? &f->ranges[f->count - 1] : NULL;
    if (to <= from)
        return;
    if (last != NULL && (last->to == from || f->count == RANGES_MAX)) {
        last->from = from < last->from ? from : last->from;
        last->to = to > last->to ? to : last->to;
        return;
    }
    f->ranges[f->count++] = (struct range){from, to};
}

/* What a file had when this process met it may not be synced: it may be of one that was killed. */
static struct file *file_of(ino_t ino, off_t size)
{
    struct file *f;
    for (unsigned i = 0; i < g.count; i++)
        if (g.files[i].ino == ino)
            return &g.files[i];
    if (g.count == FILES_MAX)
        give_up("too many files", g.root);
    f = &g.files[g.count++];
    f->ino = ino;
    f->ranges = calloc(RANGES_MAX, sizeof(*f->ranges));
    if (f->ranges == NULL)
        give_up("no memory", g.root);
    range_add(f, 0, size);
    return f;
}

void cut_opened(int fd)
{
    char own[64], live[PATH_MAX + 64];
    struct stat st;
    if (!begin(fd, &st))
        return;
    if (S_ISREG(st.st_mode)) {
        snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
        snprintf(live, sizeof(live), "%s/live/%lu", g.mirror, (unsigned long)st.st_ino);
        if (linkat(AT_FDCWD, own, AT_FDCWD, live, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST)
            give_up("link", live);
        (void)file_of(st.st_ino, st.st_size);
    }
    end();
}

void cut_wrote(int fd, off_t at, ssize_t n)
{
    int e = errno;
    struct stat st;
    if (!begin(fd, &st))
        return;
    if (at < 0)
        at = lseek(fd, 0, SEEK_CUR) - n;
    range_add(file_of(st.st_ino, st.st_size), at, at + n);
    end();
    errno = e;
}

void cut_truncates(int fd, off_t n)
{
    struct stat st;
    if (!begin(fd, &st))
        return;
    if (n < st.st_size)
        range_add(file_of(st.st_ino, st.st_size), n, st.st_size);
    end();
}

static void copy_range(int from, int to, struct range r, const char *path)
{
    static char buffer[COPY_BYTES]; /* mtx */
    while (r.from < r.to) {
        off_t left = r.to - r.from;
        ssize_t got = pread(from, buffer, left < COPY_BYTES ? (size_t)left : COPY_BYTES, r.from);
        if (got == 0)
            return; /* cut off meanwhile */
        if (got < 0 || pwrite(to, buffer, (size_t)got, r.from) != got)
            give_up("copy", path);
        r.from += got;
    }
}

static void sync_file(struct file *f)
{
    char live[PATH_MAX + 64], synced[PATH_MAX + 64];
    struct stat st;
    int from, to;

    snprintf(live, sizeof(live), "%s/live/%lu", g.mirror, (unsigned long)f->ino);
    snprintf(synced, sizeof(synced), "%s/synced/%lu", g.mirror, (unsigned long)f->ino);
    from = open(live, O_RDONLY | O_CLOEXEC);
    to = open(synced, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 || fstat(from, &st) != 0 || ftruncate(to, st.st_size) != 0)
        give_up("keep", synced);
    for (unsigned i = 0; i < f->count; i++)
        copy_range(from, to, f->ranges[i], synced);
    f->count = 0;
    close(from);
    close(to);
}

static void sync_names(int fd, ino_t ino)
{
    char own[64], path[PATH_MAX + 64], made[PATH_MAX + 72];
    struct dirent *e;
    FILE *out;
    DIR *d;

    snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
    snprintf(path, sizeof(path), "%s/names/%lu", g.mirror, (unsigned long)ino);
    snprintf(made, sizeof(made), "%s.tmp", path);
    d = opendir(own);
    out = fopen(made, "we");
    if (d == NULL || out == NULL)
        give_up("keep", made);
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fprintf(out, "%c %lu %s\n", e->d_type == DT_DIR ? 'd' : 'f', (unsigned long)e->d_ino,
                    e->d_name);
    closedir(d);
    if (fclose(out) != 0 || rename(made, path) != 0)
        give_up("keep", path);
}

void cut_synced(int fd)
{
    struct stat st;
    if (!begin(fd, &st))
        return;
    if (S_ISDIR(st.st_mode))
        sync_names(fd, st.st_ino);
    else
        sync_file(file_of(st.st_ino, st.st_size));
    end();
}
