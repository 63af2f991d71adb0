/* Inside of the append log: shared by log.c (open, append, close), log_sync.c (fsync thread) and
 * log_trim.c.
 *
 * Who writes what: a lane's `w_` fields belong to its writer; `segments` is guarded by the lane's
 * mutex, which the writer takes only when it begins a new segment; files are closed and sealed by
 * the fsync thread alone.
 */
#ifndef FB_NODE_DISK_LOG_INTERNAL_H_
#define FB_NODE_DISK_LOG_INTERNAL_H_

#include "node/disk/log.h"
#include "node/disk/log_segment.h"

#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOG_BATCH_BYTES_MAX (256u << 20)
#define LOG_RESERVE_NAME "reserve"

/* One file of this generation. */
struct log_segment {
    uint32_t number;
    int fd; /* -1 once sealed */
    bool sealed;
    bool name_synced;    /* directory entry and header are on stable storage */
    uint64_t file_bytes; /* what it counts in log_bytes */
    /* set when the next one begins */
    uint64_t batches, chain, offset, last_seq;
};

struct log_lane {
    /* the lane's writer */
    int w_fd;
    uint32_t w_segment;
    uint64_t w_seq;      /* last written */
    uint64_t w_offset;   /* where the next batch goes */
    uint64_t w_capacity; /* size of the file */
    uint64_t w_batches, w_chain;
    /* const after open */
    uint64_t salt;
    /* mtx */
    pthread_mutex_t mtx;
    struct log_segment *segments; /* oldest first, the last one is written to */
    size_t segment_count, segment_cap;
    /* any thread */
    _Atomic uint64_t written_seq;
    _Atomic uint64_t synced_seq;
    atomic_bool soon;
};

struct log {
    struct log_config config; /* const, but sync_interval_ms: mtx */
    char *dir;                /* const */
    int dir_fd;               /* const */
    int marks_fd;             /* const; fsync thread writes */
    uint64_t previous_generation;
    struct log_lane *lanes;
    struct fb_thread *thread;
    struct fb_histogram *fsync_seconds;
    pthread_mutex_t mtx; /* stop, reserve_fd, and the sleep of the fsync thread */
    pthread_cond_t wake;
    bool stop;
    int reserve_fd;    /* a preallocated empty segment for the day the disk is full; -1 = used up */
    atomic_bool dirty; /* some lane has unsynced data */
    atomic_bool soon;  /* some lane has `soon` */
    atomic_bool disk_low;
    _Atomic uint64_t bytes;
};

/* Header of a lane's segment. */
struct log_segment_header log_header_of(const struct log *log, uint32_t lane, uint32_t segment,
                                        uint64_t first_seq, uint64_t bytes);
/* Name for messages: "<dir>/<segment file>". */
void log_path_format(const struct log *log, uint32_t lane, uint32_t segment, char *out, size_t n);
/* Makes the reserve when there is none. False when there is no room. log->mtx held, or before the
 * thread runs. */
bool log_reserve_make(struct log *log);
/* Body of the fsync thread. */
void log_sync_main(void *arg);
/* Statfs of the disk into log->disk_low. */
void log_check_disk(struct log *log);

#endif
