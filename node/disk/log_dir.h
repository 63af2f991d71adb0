/* The segment files of a log directory, in order. */
#ifndef FB_NODE_DISK_LOG_DIR_H_
#define FB_NODE_DISK_LOG_DIR_H_

#include "node/disk/log_format.h"

struct log_file {
    uint64_t generation;
    uint32_t lane;
    uint32_t segment;
    uint64_t bytes;
    char name[LOG_NAME_BYTES];
};

/* Every *.seg of ours, ordered by generation, lane, segment; other files are left out. Gives *out
 * (free). */
FB_MUST_USE enum fb_status log_dir_list(const char *dir, struct log_file **out, size_t *count,
                                        struct fb_err *err);

#endif
