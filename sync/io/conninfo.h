/* The file that holds the libpq connection string, password included. */
#ifndef FB_SYNC_IO_CONNINFO_H_
#define FB_SYNC_IO_CONNINFO_H_

#include "proto/base/buf.h"

/* Reads it into `out` as one NUL-terminated line. *exposed: others may read the file. Errors:
 * FB_ENOENT, FB_EPERM, FB_EIO; FB_EINVAL empty or larger than 16 KiB. */
FB_MUST_USE enum fb_status sync_conninfo_read(const char *path, struct fb_buf *out, bool *exposed,
                                              struct fb_err *err);

#endif
