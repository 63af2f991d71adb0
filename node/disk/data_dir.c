/* The data directory: created once, bound to one cluster and node name, used by one process. */
#include "node/disk/data_dir.h"
#include "node/disk/file.h"

#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_DIR_FORMAT 1u
#define TEXT_BYTES_MAX 1024
#define UUID_TEXT_BYTES 37

static void uuid_text(const uint8_t u[16], char out[UUID_TEXT_BYTES])
{
    char *at = out;
    for (int i = 0; i < 16; i++)
        at += snprintf(at, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

/* "<body>checksum=<8 hex>\n": a person can read it, a flipped bit is noticed. */
static void text_seal(char *text, size_t cap)
{
    size_t n = strlen(text);
    snprintf(text + n, cap - n, "checksum=%08" PRIx32 "\n", fb_checksum32(text, n));
}

static bool text_sealed(char *text)
{
    char *last = strstr(text, "\nchecksum=");
    char again[32];
    if (last == NULL)
        return false;
    snprintf(again, sizeof(again), "checksum=%08" PRIx32 "\n",
             fb_checksum32(text, (size_t)(last + 1 - text)));
    if (strcmp(last + 1, again) != 0)
        return false;
    last[1] = '\0';
    return true;
}

/* The value of "key=..." in a text of lines; false when it is missing or too long. */
static bool text_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t k = strlen(key);
    for (const char *line = text, *end; *line != '\0'; line = *end == '\n' ? end + 1 : end) {
        size_t n;
        end = line + strcspn(line, "\n");
        if (strncmp(line, key, k) != 0 || line[k] != '=')
            continue;
        n = strcspn(line + k + 1, "\n");
        if (n >= cap)
            return false;
        memcpy(out, line + k + 1, n);
        out[n] = '\0';
        return true;
    }
    return false;
}

static enum fb_status identity_check(const struct data_dir *d, char *text, const char *cluster,
                                     const char *node, struct fb_err *err)
{
    char format[16], have_cluster[UUID_TEXT_BYTES], have_node[256];

    if (text_value(text, "format", format, sizeof(format)) &&
        strtoul(format, NULL, 10) > DATA_DIR_FORMAT && strtoul(format, NULL, 10) < 1000)
        return fb_err_set(err, FB_EUNSUPPORTED,
                          "data directory %s has format %s, this program knows format %u: start "
                          "the newer forebay-node that wrote it",
                          d->path, format, DATA_DIR_FORMAT);
    if (!text_sealed(text) || !text_value(text, "format", format, sizeof(format)) ||
        !text_value(text, "cluster", have_cluster, sizeof(have_cluster)) ||
        !text_value(text, "node", have_node, sizeof(have_node)))
        return fb_err_set(err, FB_ECORRUPT,
                          "%s/IDENTITY is damaged: check the disk; restore that file from a "
                          "backup, or set another data_dir",
                          d->path);
    if (strcmp(have_cluster, cluster) != 0)
        return fb_err_set(err, FB_EFOREIGN,
                          "data directory %s belongs to cluster %s, not to this one (%s): set "
                          "another data_dir, or correct the coordinator address",
                          d->path, have_cluster, cluster);
    if (strcmp(have_node, node) != 0)
        return fb_err_set(err, FB_EFOREIGN,
                          "data directory %s belongs to node \"%s\", this node is \"%s\": set "
                          "another data_dir, or correct the node's name",
                          d->path, have_node, node);
    return FB_OK;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A folder that cannot be read, or not to its end, counts as one with something in it. */
static bool sub_is_empty(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    bool empty = true;

    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    for (errno = 0; empty && (e = readdir(d)) != NULL; errno = 0)
        empty = is_dots(e->d_name);
    empty = empty && errno == 0;
    closedir(d);
    return empty;
}

/* No IDENTITY: only what our own interrupted first start leaves may be there. */
static enum fb_status refuse_unknown(const struct data_dir *d, struct fb_err *err)
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    enum fb_status s = FB_OK;
    struct dirent *e;

    if (dir == NULL) {
        s = fb_err_set(err, fb_status_of_errno(errno), "read data directory %s: %s", d->path,
                       strerror(errno));
        if (fd >= 0)
            close(fd);
        return s;
    }
    for (errno = 0; s == FB_OK && (e = readdir(dir)) != NULL; errno = 0) {
        const char *n = e->d_name;
        if (is_dots(n) || strcmp(n, "LOCK") == 0 || strcmp(n, "IDENTITY.tmp") == 0 ||
            strcmp(n, "lost+found") == 0)
            continue;
        if ((strcmp(n, "log") == 0 || strcmp(n, "snapshot") == 0) && sub_is_empty(d->fd, n))
            continue;
        s = fb_err_set(err, FB_EREFUSED,
                       "directory %s is not empty (\"%.80s\") and has no IDENTITY file, so it is "
                       "not a data directory: set data_dir to an empty or new directory",
                       d->path, n);
    }
    /* What was not seen may be somebody's. */
    if (s == FB_OK && errno != 0)
        s = fb_err_set(err, fb_status_of_errno(errno), "read data directory %s: %s", d->path,
                       strerror(errno));
    closedir(dir);
    return s;
}

/* The name of a directory that was just made must outlive a power loss, as everything below it. */
static enum fb_status sync_parent(const char *path, struct fb_err *err)
{
    char parent[sizeof(((struct data_dir *)0)->path)];
    const char *last = strrchr(path, '/');
    enum fb_status s;
    int fd;

    snprintf(parent, sizeof(parent), "%.*s",
             last == NULL ? 1 : (last == path ? 1 : (int)(last - path)), last == NULL ? "." : path);
    s = disk_open_dir(parent, &fd, err);
    if (s == FB_EPERM)
        return FB_OK; /* who may not read it cannot sync it; the machine's own start made it */
    if (s != FB_OK)
        return s;
    if (!FB_MUTANT(dir_parent_no_sync) && fsync(fd) != 0)
        s = fb_err_set(err, fb_status_of_errno(errno), "sync %s: %s", parent, strerror(errno));
    close(fd);
    return s;
}

/* As long as there is no IDENTITY all of them are synced above, made just now or not: a start that
 * ended in between may have left them so. */
static enum fb_status make_dirs(const char *path, struct fb_err *err)
{
    char identity[sizeof(((struct data_dir *)0)->path) + 16];
    bool first;
    char part[sizeof(((struct data_dir *)0)->path)];
    size_t n = strlen(path);
    snprintf(identity, sizeof(identity), "%s/IDENTITY", path);
    first = access(identity, F_OK) != 0;
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        enum fb_status s = FB_OK;
        if (part[i] != '/' && part[i] != '\0')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0700) == 0 || (errno == EEXIST && first))
            s = sync_parent(part, err);
        else if (errno != EEXIST)
            s = fb_err_set(err, errno == EROFS ? FB_EPERM : fb_status_of_errno(errno),
                           "create data directory %s: %s: create it and give it to this user, "
                           "or set another data_dir",
                           part, strerror(errno));
        if (s != FB_OK)
            return s;
        part[i] = path[i];
    }
    return FB_OK;
}

static enum fb_status take_lock(struct data_dir *d, struct fb_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char pid[32];

    d->lock_fd = openat(d->fd, "LOCK", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return fb_err_set(
            err, errno == EROFS ? FB_EPERM : fb_status_of_errno(errno),
            "open %s/LOCK: %s: give the directory to this user, or set another data_dir", d->path,
            strerror(errno));
    if (fcntl(d->lock_fd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EAGAIN && errno != EACCES)
            return fb_err_set(err, fb_status_of_errno(errno), "lock %s/LOCK: %s", d->path,
                              strerror(errno));
        if (disk_read_text(d->fd, "LOCK", pid, sizeof(pid), NULL) != FB_OK)
            pid[0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        return fb_err_set(err, FB_EBUSY,
                          "data directory %s is in use by another process (pid %s): stop it, or "
                          "set another data_dir",
                          d->path, pid[0] != '\0' ? pid : "unknown");
    }
    snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) != 0 || disk_pwrite(d->lock_fd, pid, strlen(pid), 0) != 0)
        FB_LOG(WARN, "pid not written to the lock file",
               FB_KS("path", d->path)); /* the lock itself holds */
    return FB_OK;
}

static enum fb_status create_contents(struct data_dir *d, const char *cluster, const char *node,
                                      bool has_identity, struct fb_err *err)
{
    char text[TEXT_BYTES_MAX];
    enum fb_status s;

    if ((mkdirat(d->fd, "log", 0700) != 0 && errno != EEXIST) ||
        (mkdirat(d->fd, "snapshot", 0700) != 0 && errno != EEXIST))
        return fb_err_set(err, fb_status_of_errno(errno), "create folders in %s: %s", d->path,
                          strerror(errno));
    if (fsync(d->fd) != 0)
        return fb_err_set(err, fb_status_of_errno(errno), "sync %s: %s", d->path, strerror(errno));
    if (has_identity)
        return FB_OK;
    s = sync_parent(d->path, err); /* an earlier first start may have been killed before it did */
    if (s != FB_OK)
        return s;
    snprintf(text, sizeof(text),
             "# Data directory of a Forebay node. Written once; do not "
             "edit.\nformat=%u\ncluster=%s\nnode=%s\n",
             DATA_DIR_FORMAT, cluster, node);
    text_seal(text, sizeof(text));
    s = disk_replace_text(d->fd, "IDENTITY", text, err);
    return s == FB_OK ? FB_OK : fb_err_wrap(err, s, "data directory %s", d->path);
}

/* The marker counts once: it is gone, durably, before anything else is changed (I17). */
static enum fb_status take_clean_marker(struct data_dir *d, struct fb_err *err)
{
    char text[TEXT_BYTES_MAX], inc[24];
    enum fb_status s = disk_read_text(d->fd, "CLEAN", text, sizeof(text), err);

    if (s == FB_ENOENT)
        return FB_OK;
    if (s != FB_OK)
        return s;
    if (text_sealed(text) && text_value(text, "inc", inc, sizeof(inc))) {
        d->clean_inc = strtoull(inc, NULL, 16);
        d->was_clean = d->clean_inc != 0;
    }
    if (unlinkat(d->fd, "CLEAN", 0) != 0 || fsync(d->fd) != 0)
        return fb_err_set(err, fb_status_of_errno(errno), "remove %s/CLEAN: %s", d->path,
                          strerror(errno));
    return FB_OK;
}

static enum fb_status open_locked(struct data_dir *d, const char *cluster, const char *node,
                                  struct fb_err *err)
{
    char text[TEXT_BYTES_MAX];
    enum fb_status s, have;

    /* Before the lock, so that a directory of somebody else is not even given a LOCK file. */
    have = disk_read_text(d->fd, "IDENTITY", text, sizeof(text), err);
    if (have != FB_OK && have != FB_ENOENT)
        return fb_err_wrap(err, have, "data directory %s", d->path);
    s = have == FB_OK ? identity_check(d, text, cluster, node, err) : refuse_unknown(d, err);
    if (s == FB_OK)
        s = take_lock(d, err);
    if (s != FB_OK)
        return s;
    if (have != FB_OK) { /* another first start may have been quicker, and have ended since */
        have = disk_read_text(d->fd, "IDENTITY", text, sizeof(text), err);
        if (have == FB_OK)
            s = identity_check(d, text, cluster, node, err);
        else if (have != FB_ENOENT)
            s = fb_err_wrap(err, have, "data directory %s", d->path);
        if (s != FB_OK)
            return s;
    }
    s = create_contents(d, cluster, node, have == FB_OK, err);
    return s == FB_OK ? take_clean_marker(d, err) : s;
}

enum fb_status data_dir_open(const char *path, const uint8_t cluster[16], const char *node_name,
                             struct data_dir *out, struct fb_err *err)
{
    char uuid[UUID_TEXT_BYTES];
    enum fb_status s;

    memset(out, 0, sizeof(*out));
    out->fd = out->lock_fd = -1;
    if (path[0] == '\0' || strlen(path) >= sizeof(out->path))
        return fb_err_set(err, FB_EINVAL, "data_dir is empty or longer than %zu bytes",
                          sizeof(out->path) - 1);
    if (node_name[0] == '\0' || strlen(node_name) > 255 || strpbrk(node_name, "\r\n") != NULL)
        return fb_err_set(err, FB_EINVAL, "the node's name must be 1 to 255 bytes on one line");
    snprintf(out->path, sizeof(out->path), "%s", path);
    snprintf(out->log_path, sizeof(out->log_path), "%s/log", path);
    snprintf(out->snapshot_path, sizeof(out->snapshot_path), "%s/snapshot", path);
    uuid_text(cluster, uuid);
    s = make_dirs(path, err);
    if (s == FB_OK)
        s = disk_open_dir(path, &out->fd, err);
    if (s == FB_OK)
        s = open_locked(out, uuid, node_name, err);
    if (s != FB_OK)
        data_dir_close(out, 0);
    return s;
}

void data_dir_close(struct data_dir *d, uint64_t inc)
{
    char text[TEXT_BYTES_MAX];
    struct fb_err err;

    if (inc != 0 && d->lock_fd >= 0) { /* it is open, and was not closed before */
        snprintf(text, sizeof(text), "# Everything was written and synced.\ninc=%016" PRIx64 "\n",
                 inc);
        text_seal(text, sizeof(text));
        if (disk_replace_text(d->fd, "CLEAN", text, &err) !=
            FB_OK) /* costs only the next start some work */
            FB_LOG(WARN, "marker of a clean stop not written", FB_KS("path", d->path),
                   FB_KS("error", err.msg));
    }
    if (d->lock_fd >= 0)
        close(d->lock_fd); /* gives the lock back */
    if (d->fd >= 0)
        close(d->fd);
    d->fd = d->lock_fd = -1;
}
