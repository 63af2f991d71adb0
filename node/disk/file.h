/* Small file helpers of this folder: whole reads and writes, durable replacement, and the end after
 * a storage error. */
#ifndef FB_NODE_DISK_FILE_H_
#define FB_NODE_DISK_FILE_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

#include <sys/types.h>

/* The disk failed under us: one error line (path, operation, errno and what it means), then abort.
 * After a failed write or fsync nobody knows what is on disk, so nothing may be acknowledged any
 * more (I19) and no retry can help. Any thread. */
FB_NORETURN void disk_die(const char *path, const char *operation, int err);
/* errno values that mean "no room", which is a definite answer and not a broken disk. */
bool disk_is_full(int err);

/* Reads exactly n bytes at `offset`. FB_ETORN: the file ends before; FB_EIO: errno is set. */
FB_MUST_USE enum fb_status disk_pread(int fd, void *p, size_t n, uint64_t offset);
/* Writes everything. Result 0 or an errno value; on an error part of it may be written. */
FB_MUST_USE int disk_pwrite(int fd, const void *p, size_t n, uint64_t offset);

/* Reads a small text file at directory fd into out (at most n - 1 bytes, terminated). FB_ENOENT
 * when it is not there. */
FB_MUST_USE enum fb_status disk_read_text(int dir_fd, const char *name, char *out, size_t n,
                                          struct fb_err *err);
/* Durable replacement: <name>.tmp, fsync, rename, fsync of the directory. On an error the temp file
 * is removed. */
FB_MUST_USE enum fb_status disk_replace_text(int dir_fd, const char *name, const char *text,
                                             struct fb_err *err);
/* Opens a directory for *at calls and fsync; the caller closes. */
FB_MUST_USE enum fb_status disk_open_dir(const char *path, int *fd, struct fb_err *err);

#endif
