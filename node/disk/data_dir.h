/* The data directory: whose it is, and that only one process uses it.
 *
 * <data_dir>/LOCK (OFD lock), IDENTITY (cluster uuid, node name, format version; text), CLEAN
 * (marker of a clean stop: inc, deleted on start), log/, snapshot/.
 */
#ifndef FB_NODE_DISK_DATA_DIR_H_
#define FB_NODE_DISK_DATA_DIR_H_

#include "proto/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct data_dir {
    int fd;
    int lock_fd;
    char path[4096];
    char log_path[4200];
    char snapshot_path[4200];
    bool was_clean; /* a clean stop's marker was there (and is gone now) */
    uint64_t clean_inc;
};

/* Creates what is missing. Errors, each one line that says what to do and with nothing touched:
 * FB_EBUSY another process (pid) uses it; FB_EFOREIGN other cluster uuid or node name; FB_EPERM;
 * FB_EUNSUPPORTED newer format; FB_EREFUSED the directory is not empty and not ours; FB_ECORRUPT
 * its IDENTITY is damaged; FB_EINVAL path or name. On an error *out is closed. Main thread, before
 * anything else of node/disk. */
FB_MUST_USE enum fb_status data_dir_open(const char *path, const uint8_t cluster[16],
                                         const char *node_name, struct data_dir *out,
                                         struct fb_err *err);
/* Writes the clean marker when `inc` is not 0 (only after log_close), unlocks, closes. Twice is
 * harmless. */
void data_dir_close(struct data_dir *d, uint64_t inc);

#endif
