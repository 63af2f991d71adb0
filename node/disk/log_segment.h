/* Making and sealing segment files; shared by the writer and by recovery. */
#ifndef FB_NODE_DISK_LOG_SEGMENT_H_
#define FB_NODE_DISK_LOG_SEGMENT_H_

#include "node/disk/log_format.h"

/* Makes <name>, preallocated and with its header, under a temp name first when `durable` (then
 * header and name are on stable storage on return). FB_ENOSPC: no room, nothing is left behind.
 * Another error of the disk ends the process. */
FB_MUST_USE enum fb_status log_segment_create(int dir_fd, const struct log_segment_header *header,
                                              bool durable, int *fd, struct fb_err *err);
/* Writes the footer at f->offset, syncs, and cuts the file behind it. Results: 0 or an errno value;
 * a sync that fails ends the process in any case. `name` is for its message. */
FB_MUST_USE int log_segment_seal(int fd, const char *name, const struct log_footer *f,
                                 uint64_t salt);
/* Preallocates the file up to `bytes` (zeros). 0 or an errno value. */
FB_MUST_USE int log_preallocate(int fd, uint64_t bytes);

#endif
