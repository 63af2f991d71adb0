/* The append log of a node: one stream of segments per (generation, lane), PROTOCOL 16.
 *
 * Every start of the process opens a new generation, so the number of lanes may differ between
 * starts. Replay order: generations ascending; within one generation lanes touch disjoint
 * partitions and may be replayed in any order. Files:
 * <data_dir>/log/<generation:08x>-<lane:02x>-<segment:08x>.seg
 *
 * Batch = header {magic, lane, sequence, payload length, checksum(header), checksum(payload),
 * synced sequence at write time} + encoded records (proto/wire/record.h). Segments are preallocated
 * and sealed with a footer. Bytes: log_format.h; the picture and the rules of access: README.md.
 *
 * Order of a start: log_recover, then log_open with a generation above last_generation.
 */
#ifndef FB_NODE_DISK_LOG_H_
#define FB_NODE_DISK_LOG_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

struct log;

struct log_config {
    const char *dir;           /* <data_dir>/log, exists */
    uint32_t lanes;            /* 1..64 */
    uint64_t segment_bytes;    /* default 64 MiB */
    uint64_t generation;       /* greater than every one on disk */
    uint32_t sync_interval_ms; /* group commit: at least this between fsyncs when nobody waits
                                  (default 50) */
    void *arg;
    /* fsync thread: everything of `lane` up to and including sequence `seq` is on stable storage.
     */
    void (*synced)(void *arg, uint32_t lane, uint64_t seq);
};

/* Creates the generation's first segments (durable on return) and starts the fsync thread. Copies
 * what config points to. Errors: FB_EINVAL a setting out of range (lanes, segment_bytes 4 KiB .. 1
 * GiB) or a generation that is not newer than those on disk; FB_ENOSPC no room for one segment a
 * lane; FB_ENOENT, FB_EPERM the directory. */
FB_MUST_USE enum fb_status log_open(const struct log_config *config, struct log **out,
                                    struct fb_err *err);
/* Syncs (calling `synced`), seals and closes. The writers must have stopped. When it returns,
 * everything appended is durable: a storage error on the way ends the process instead. NULL is
 * allowed. */
void log_close(struct log *log);

/* One batch, one write(2). Thread: the lane's writer only. seq: exactly the last one of this lane +
 * 1, from 1. Blocks for the write only. A storage error never returns: it logs one line and aborts
 * (I19), except FB_ENOSPC: nothing was written (definite), the same seq may be used again; the
 * reserve segment is for `urgent` batches. FB_ETOOBIG: more than 256 MiB. Beginning a new segment
 * (once in segment_bytes) costs a create and a preallocation. */
FB_MUST_USE enum fb_status log_append(struct log *log, uint32_t lane, uint64_t seq,
                                      struct fb_bytes records, bool urgent, struct fb_err *err);
/* Sync soon: somebody waits. Any thread. */
void log_sync_soon(struct log *log, uint32_t lane);
uint64_t log_synced_seq(const struct log *log, uint32_t lane); /* any thread */
/* True below 5 % free space: new writes should be refused; checked at most once a second by the
 * fsync thread. Any thread. */
bool log_disk_low(const struct log *log);
/* Changes config.sync_interval_ms. Any thread. */
void log_set_sync_interval(struct log *log, uint32_t ms);
uint64_t log_bytes(const struct log *log); /* on disk, all generations; any thread */
/* Delete segments that hold only sequences below keep_seq of this lane and generation, and all
 * older generations if drop_older (every partition has a snapshot taken in this generation). Any
 * one thread. */
FB_MUST_USE enum fb_status log_trim(struct log *log, uint32_t lane, uint64_t keep_seq,
                                    bool drop_older, struct fb_err *err);

/* Recovery: replays every batch on disk in order, before log_open. */
struct log_recovery {
    const char *dir;
    void *arg;
    /* One batch's records (several fb_record). Return an error to stop. */
    enum fb_status (*batch)(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                            struct fb_bytes records, struct fb_err *err);
    /* NULL, or called when every batch was given and before anything on disk is changed: the last
     * word about whether the whole makes sense. An error ends the recovery. */
    enum fb_status (*complete)(void *arg, struct fb_err *err);
    /* Progress, about every 16 MiB. */
    void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes);
    /* Results: */
    uint64_t last_generation; /* highest on disk, 0 = none */
    uint64_t bytes;           /* of the batches replayed, headers included */
    uint32_t torn_tails;      /* cut (truncated and synced) */
};
/* A torn tail is cut, also one with good batches behind a hole, as a power loss leaves it;
 * corruption (README: a bad batch at or below a sequence that was reported as synced, or in a
 * sealed segment; a missing segment behind a sealed one; a missing generation) is FB_ECORRUPT: err
 * names file and offset and what to do, nothing is changed on disk. Batches given before were good,
 * but must not be served. On success every segment on disk is sealed and synced: what was replayed
 * will be there at the next start, too. What this cannot see: the oldest segments of a lane gone
 * (that is what a trim leaves), which shows as a gap of the records' prev. Other errors:
 * FB_EUNSUPPORTED a newer format; FB_EIO; FB_ENOSPC while sealing; whatever `batch` returned.
 * Blocks; one thread; reads whole segments into memory (one at a time). */
FB_MUST_USE enum fb_status log_recover(struct log_recovery *r, struct fb_err *err);

#endif
