/* Flat-file snapshots of partitions: temp, checksum per block, fsync, rename, fsync of the directory; two are kept.
 *
 * Files: <data_dir>/snapshot/<part:04d>-<ver:016x>.snap, first written as <name>.tmp. The file carries magic, format version,
 * partition, start_ver, generation and log sequence it starts from, then blocks {length, checksum, items}, then an end block with the totals.
 */
#ifndef FB_NODE_DISK_SNAPSHOT_H_
#define FB_NODE_DISK_SNAPSHOT_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct snapshot_info {
    uint16_t part;
    uint64_t start_ver;
    uint64_t generation;
    uint64_t start_log_seq;
    uint64_t bytes;
    uint64_t blocks;
    uint64_t written_wall_ms;
    char name[64];
};

struct snapshot_writer;

/* Thread: one at a time per writer; blocking disk I/O, so never a partition writer's thread. */
FB_MUST_USE enum fb_status snapshot_create(const char *dir, const struct snapshot_info *info, struct snapshot_writer **out,
                                           struct fb_err *err);
FB_MUST_USE enum fb_status snapshot_append(struct snapshot_writer *w, struct fb_bytes items, struct fb_err *err);
/* End block, fsync, rename, fsync directory, older ones beyond the two newest deleted. Frees w in every case. */
FB_MUST_USE enum fb_status snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms, struct fb_err *err);
void snapshot_abandon(struct snapshot_writer *w); /* removes the temp file, frees */

/* All complete-looking snapshots in dir, sorted by (part, start_ver descending). Left-over .tmp files are removed. */
FB_MUST_USE enum fb_status snapshot_list(const char *dir, struct snapshot_info **out, size_t *count, struct fb_err *err);
/* Reads and checks a whole file; calls `items` per block when not NULL. FB_ECORRUPT names file, block and offset: the
 * caller falls back to the older one (whose log is still there) or refuses. */
typedef enum fb_status (*snapshot_items_fn)(void *arg, uint16_t part, struct fb_bytes items, struct fb_err *err);
FB_MUST_USE enum fb_status snapshot_read(const char *dir, const char *name, struct snapshot_info *info, snapshot_items_fn items,
                                         void *arg, struct fb_err *err);

#endif
