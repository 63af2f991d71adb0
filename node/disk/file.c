/* File helpers: see file.h. */
#include "node/disk/file.h"

#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void disk_die(const char *path, const char *operation, int err)
{
    FB_LOG(ERROR,
           "storage failed: what was not synced before may be lost, so this process stops and "
           "acknowledges nothing "
           "more; check the disk and the kernel log, then start the node again",
           FB_KS("path", path), FB_KS("operation", operation), FB_KI("errno", err),
           FB_KS("error", strerror(err)));
    abort();
}

bool disk_is_full(int err)
{
    return err == ENOSPC || err == EDQUOT || err == EFBIG;
}

enum fb_status disk_pread(int fd, void *p, size_t n, uint64_t offset)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = pread(fd, at, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FB_EIO;
        if (got == 0)
            return FB_ETORN;
        at += got;
        n -= (size_t)got;
        offset += (uint64_t)got;
    }
    return FB_OK;
}

int disk_pwrite(int fd, const void *p, size_t n, uint64_t offset)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t put = pwrite(fd, at, n, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno;
        if (put == 0)
            return ENOSPC;
        at += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

enum fb_status disk_read_text(int dir_fd, const char *name, char *out, size_t n, struct fb_err *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s: %s", name, strerror(errno));
    while (used < n - 1) {
        ssize_t got = read(fd, out + used, n - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int e = errno;
            close(fd);
            return fb_err_set(err, fb_status_of_errno(e), "read %s: %s", name, strerror(e));
        }
        if (got == 0)
            break;
        used += (size_t)got;
    }
    out[used] = '\0';
    close(fd);
    return FB_OK;
}

enum fb_status disk_replace_text(int dir_fd, const char *name, const char *text, struct fb_err *err)
{
    char tmp[256];
    const char *what = "create";
    int fd, e;

    snprintf(tmp, sizeof(tmp), "%s.tmp", name);
    fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        e = errno;
        goto failed;
    }
    what = "write";
    e = disk_pwrite(fd, text, strlen(text), 0);
    if (e == 0 && fsync(fd) != 0)
        e = errno;
    close(fd);
    if (e != 0)
        goto remove_tmp;
    what = "rename";
    if (renameat(dir_fd, tmp, dir_fd, name) != 0) {
        e = errno;
        goto remove_tmp;
    }
    what = "sync the directory of";
    if (fsync(dir_fd) != 0) {
        e = errno;
        goto failed;
    }
    return FB_OK;
remove_tmp:
    unlinkat(dir_fd, tmp, 0);
failed:
    return fb_err_set(err, fb_status_of_errno(e), "%s %s: %s", what, name, strerror(e));
}

enum fb_status disk_open_dir(const char *path, int *fd, struct fb_err *err)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open directory %s: %s", path,
                          strerror(errno));
    return FB_OK;
}
