/* Flat-file snapshots of partitions: temp, checksum per block, fsync, rename, fsync of the
 * directory; two are kept.
 *
 * Files: <data_dir>/snapshot/<part:04d>-<ver:016x>.snap, first written as <name>.tmp; the one
 * before of the same version is <part:04d>-<ver:016x>.1.snap. The file carries magic, format
 * version, partition, start_ver, generation and log sequence it starts from, then blocks {length,
 * checksum, items}, then an end block with the totals.
 */
#ifndef FB_NODE_DISK_SNAPSHOT_H_
#define FB_NODE_DISK_SNAPSHOT_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

/* Largest `items` of one snapshot_append. */
#define SNAPSHOT_BLOCK_BYTES_MAX (64u << 20)

struct snapshot_info {
    uint16_t part;
    uint64_t start_ver;
    uint64_t generation; /* where replay of the log starts */
    uint64_t start_log_seq;
    uint64_t bytes; /* of the file */
    uint64_t blocks;
    uint64_t written_wall_ms;
    char name[64];
};

struct snapshot_writer;

/* Uses part, start_ver, generation and start_log_seq of `info`.
 * Thread: one at a time per writer; blocking disk I/O, so never a partition writer's thread.
 * Errors: FB_ENOSPC no room (abandon the writer; what was there is intact), FB_EPERM and the like
 * when the file cannot be made, FB_ETOOBIG. A disk that fails a write or an fsync ends the process
 * with one log line (I19). */
FB_MUST_USE enum fb_status snapshot_create(const char *dir, const struct snapshot_info *info,
                                           struct snapshot_writer **out, struct fb_err *err);
FB_MUST_USE enum fb_status snapshot_append(struct snapshot_writer *w, struct fb_bytes items,
                                           struct fb_err *err);
/* End block, fsync, rename, fsync directory, older ones beyond the two newest deleted. Frees w in
 * every case. */
FB_MUST_USE enum fb_status snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms,
                                           struct fb_err *err);
void snapshot_abandon(struct snapshot_writer *w); /* removes the temp file, frees */

/* All snapshots in dir, sorted by (part, start_ver descending). A damaged one stays in the list
 * with what its name says (blocks 0): snapshot_read then tells what is wrong. Left-over .tmp files
 * are removed, so not while a writer is open. Gives *out; the caller frees it. */
FB_MUST_USE enum fb_status snapshot_list(const char *dir, struct snapshot_info **out, size_t *count,
                                         struct fb_err *err);
/* Reads and checks a whole file; calls `items` per block when not NULL. FB_ECORRUPT names file,
 * block and offset: the caller falls back to the older one (whose log is still there) or refuses.
 * Blocks given before the error are good, but the snapshot as a whole is not. FB_EUNSUPPORTED: a
 * newer format. FB_EIO: the disk. `items` borrows until it returns. */
typedef enum fb_status (*snapshot_items_fn)(void *arg, uint16_t part, struct fb_bytes items,
                                            struct fb_err *err);
FB_MUST_USE enum fb_status snapshot_read(const char *dir, const char *name,
                                         struct snapshot_info *info, snapshot_items_fn items,
                                         void *arg, struct fb_err *err);

#endif
