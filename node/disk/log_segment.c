/* Making and sealing segment files. */
#include "node/disk/log_segment.h"
#include "node/disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int log_preallocate(int fd, uint64_t bytes)
{
    while (fallocate(fd, 0, 0, (off_t)bytes) != 0) {
        if (errno == EINTR)
            continue;
        if (errno != EOPNOTSUPP)
            return errno;
        /* A file system without fallocate: a sparse file of the same size. Room is then found out
         * at each write. */
        return ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
    }
    return 0;
}

enum fb_status log_segment_create(int dir_fd, const struct log_segment_header *header, bool durable,
                                  int *fd, struct fb_err *err)
{
    uint8_t bytes[LOG_HEADER_BYTES];
    char name[LOG_NAME_BYTES], made[LOG_NAME_BYTES + 4];
    const char *operation = "create segment";
    int e;

    log_name_format(name, header->generation, header->lane, header->segment);
    snprintf(made, sizeof(made), "%s%s", name, durable ? ".tmp" : "");
    log_segment_header_encode(bytes, header);
    /* ".tmp" may be of an earlier start that did not get to the end */
    *fd = openat(dir_fd, made, O_RDWR | O_CREAT | O_CLOEXEC | (durable ? O_TRUNC : O_EXCL), 0600);
    if (*fd < 0) {
        e = errno;
        goto failed;
    }
    e = log_preallocate(*fd, header->segment_bytes);
    if (e == 0)
        e = disk_pwrite(*fd, bytes, sizeof(bytes), 0);
    if (e == 0 && durable) {
        operation = "sync segment";
        if (fsync(*fd) != 0 || renameat(dir_fd, made, dir_fd, name) != 0 || fsync(dir_fd) != 0)
            disk_die(name, operation, errno);
    }
    if (e == 0)
        return FB_OK;
    close(*fd);
    *fd = -1;
    /* A file of a segment's name that is none would follow the last one of its lane: no start would
     * go on from there. */
    if (unlinkat(dir_fd, made, 0) != 0 && !durable)
        disk_die(name, "remove segment", errno);
failed:
    if (!disk_is_full(e))
        disk_die(name, operation, e);
    return fb_err_set(err, FB_ENOSPC, "no room for a log segment of %llu bytes: %s",
                      (unsigned long long)header->segment_bytes, strerror(e));
}

int log_segment_seal(int fd, const char *name, const struct log_footer *f, uint64_t salt)
{
    uint8_t bytes[LOG_FOOTER_BYTES];
    int e;

    log_footer_encode(bytes, f, salt);
    e = disk_pwrite(fd, bytes, sizeof(bytes), f->offset);
    if (e != 0)
        return e;
    /* The footer is durable before the file gets its short size: a short file without footer is
     * damage. */
    if (fdatasync(fd) != 0)
        disk_die(name, "fdatasync", errno);
    if (ftruncate(fd, (off_t)(f->offset + LOG_FOOTER_BYTES)) != 0)
        return errno;
    if (fdatasync(fd) != 0)
        disk_die(name, "fdatasync", errno);
    return 0;
}
