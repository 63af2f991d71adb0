/* The append log: open, append, close. */
#include "node/disk/log.h"
#include "node/disk/file.h"
#include "node/disk/log_dir.h"
#include "node/disk/log_internal.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

struct log_segment_header log_header_of(const struct log *log, uint32_t lane, uint32_t segment,
                                        uint64_t first_seq, uint64_t bytes)
{
    return (struct log_segment_header){.generation = log->config.generation,
                                       .lane = lane,
                                       .segment = segment,
                                       .first_seq = first_seq,
                                       .segment_bytes = bytes,
                                       .salt = log->lanes[lane].salt,
                                       .previous_generation = log->previous_generation,
                                       .lanes = log->config.lanes};
}

void log_path_format(const struct log *log, uint32_t lane, uint32_t segment, char *out, size_t n)
{
    char name[LOG_NAME_BYTES];
    log_name_format(name, log->config.generation, lane, segment);
    snprintf(out, n, "%s/%s", log->dir, name);
}

bool log_reserve_make(struct log *log)
{
    int e, fd;
    if (log->reserve_fd >= 0)
        return true;
    fd = openat(log->dir_fd, LOG_RESERVE_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    e = log_preallocate(fd, log->config.segment_bytes);
    if (e != 0) {
        close(fd);
        unlinkat(log->dir_fd, LOG_RESERVE_NAME, 0);
        if (!disk_is_full(e))
            disk_die(LOG_RESERVE_NAME, "preallocate", e);
        return false;
    }
    log->reserve_fd = fd;
    return true;
}

/* The reserve becomes segment `header->segment`. -1: there is none, or it is too small. */
static int reserve_take(struct log *log, const struct log_segment_header *header)
{
    uint8_t bytes[LOG_HEADER_BYTES];
    char name[LOG_NAME_BYTES];
    int fd, e;

    if (header->segment_bytes > log->config.segment_bytes)
        return -1;
    pthread_mutex_lock(&log->mtx);
    fd = log->reserve_fd;
    log->reserve_fd = -1;
    pthread_mutex_unlock(&log->mtx);
    if (fd < 0)
        return -1;
    log_name_format(name, header->generation, header->lane, header->segment);
    log_segment_header_encode(bytes, header);
    e = disk_pwrite(fd, bytes, sizeof(bytes), 0);
    if (e == 0 && renameat(log->dir_fd, LOG_RESERVE_NAME, log->dir_fd, name) != 0)
        e = errno;
    if (e == 0)
        return fd;
    close(fd);
    if (!disk_is_full(e))
        disk_die(name, "use the reserve", e);
    return -1;
}

static void segment_push(struct log_lane *l, uint32_t number, int fd, uint64_t bytes,
                         bool name_synced)
{
    if (l->segment_count == l->segment_cap) {
        l->segment_cap = l->segment_cap ? l->segment_cap * 2 : 16;
        l->segments = fb_xrealloc(l->segments, l->segment_cap * sizeof(*l->segments));
    }
    l->segments[l->segment_count++] = (struct log_segment){
        .number = number, .fd = fd, .name_synced = name_synced, .file_bytes = bytes};
}

/* Begins the lane's next segment with room for `need` bytes; from the reserve only when `urgent`.
 */
static enum fb_status roll(struct log *log, uint32_t lane, uint64_t need, bool urgent,
                           struct fb_err *err)
{
    struct log_lane *l = &log->lanes[lane];
    uint64_t bytes = LOG_HEADER_BYTES + need + LOG_FOOTER_BYTES;
    struct log_segment_header h;
    struct log_segment *last;
    enum fb_status s;
    int fd;

    if (bytes < log->config.segment_bytes)
        bytes = log->config.segment_bytes;
    h = log_header_of(log, lane, l->w_segment + 1, l->w_seq + 1, bytes);
    s = log_segment_create(log->dir_fd, &h, false, &fd, err);
    if (s == FB_ENOSPC && urgent && (fd = reserve_take(log, &h)) >= 0) {
        FB_LOG(WARN, "disk full: the log's reserve segment is in use", FB_KS("dir", log->dir),
               FB_KU("lane", lane));
        s = FB_OK;
    }
    if (s != FB_OK)
        return s;
    pthread_mutex_lock(&l->mtx);
    last = &l->segments[l->segment_count - 1];
    last->batches = l->w_batches;
    last->chain = l->w_chain;
    last->offset = l->w_offset;
    last->last_seq = l->w_seq;
    segment_push(l, h.segment, fd, bytes, false);
    pthread_mutex_unlock(&l->mtx);
    atomic_fetch_add(&log->bytes, bytes);
    l->w_fd = fd;
    l->w_segment = h.segment;
    l->w_offset = LOG_HEADER_BYTES;
    l->w_capacity = bytes;
    l->w_batches = l->w_chain = 0;
    return FB_OK;
}

/* One pwritev. False: the disk is full. The beginning of the batch that was written then is
 * overwritten by the next try, or by the footer when that goes to another segment; a kill before
 * either leaves a torn end, which recovery knows. */
static bool write_batch(struct log *log, uint32_t lane, const uint8_t *header,
                        struct fb_bytes records, int *why)
{
    static const uint8_t zeros[8];
    struct log_lane *l = &log->lanes[lane];
    struct iovec v[3] = {{(void *)(uintptr_t)header, LOG_BATCH_HEADER_BYTES},
                         {(void *)(uintptr_t)records.p, records.n},
                         {(void *)(uintptr_t)zeros, (size_t)(log_padded(records.n) - records.n)}};
    size_t total = v[0].iov_len + v[1].iov_len + v[2].iov_len;
    ssize_t put;

    do {
        put = pwritev(l->w_fd, v, 3, (off_t)l->w_offset);
    } while (put < 0 && errno == EINTR);
    if (put == (ssize_t)total)
        return true;
    *why = put < 0 ? errno : ENOSPC; /* a short write of a file is a full disk */
    if (FB_MUTANT(log_write_error))
        return true;
    if (!disk_is_full(*why)) {
        char path[4400];
        log_path_format(log, lane, l->w_segment, path, sizeof(path));
        disk_die(path, "write", *why);
    }
    return false;
}

enum fb_status log_append(struct log *log, uint32_t lane, uint64_t seq, struct fb_bytes records,
                          bool urgent, struct fb_err *err)
{
    struct log_lane *l = &log->lanes[lane];
    struct log_batch_header b;
    uint8_t header[LOG_BATCH_HEADER_BYTES];
    uint64_t need;
    int why = 0;

    fb_assert(lane < log->config.lanes);
    fb_assert(seq == l->w_seq + 1);
    if (records.n > LOG_BATCH_BYTES_MAX)
        return fb_err_set(err, FB_ETOOBIG, "a log batch of %zu bytes; at most %u are allowed",
                          records.n, LOG_BATCH_BYTES_MAX);
    need = log_batch_bytes((uint32_t)records.n);
    if (l->w_offset + need + LOG_FOOTER_BYTES > l->w_capacity) {
        enum fb_status s = roll(log, lane, need, urgent, err);
        if (s != FB_OK)
            return s;
    }
    b = (struct log_batch_header){
        .lane = lane,
        .seq = seq,
        .synced = atomic_load_explicit(&l->synced_seq, memory_order_relaxed),
        .generation = log->config.generation,
        .length = (uint32_t)records.n,
        .payload_checksum = log_payload_checksum(records.p, records.n, l->salt)};
    log_batch_header_encode(header, &b, l->salt);
    if (!write_batch(log, lane, header, records, &why)) {
        if (!urgent || roll(log, lane, need, true, err) != FB_OK ||
            !write_batch(log, lane, header, records, &why))
            return fb_err_set(err, FB_ENOSPC, "the disk of %s is full (%s): free some space",
                              log->dir, strerror(why));
    }
    l->w_offset += need;
    l->w_batches++;
    l->w_chain = log_chain(l->w_chain, b.payload_checksum);
    l->w_seq = seq;
    /* Partner: the load in sync_lane; whoever sees the sequence may rely on pwritev having returned
     * (I18). */
    atomic_store_explicit(&l->written_seq, seq, memory_order_release);
    if (!atomic_exchange(&log->dirty, true)) {
        pthread_mutex_lock(&log->mtx);
        pthread_cond_signal(&log->wake);
        pthread_mutex_unlock(&log->mtx);
    }
    return FB_OK;
}

void log_sync_soon(struct log *log, uint32_t lane)
{
    fb_assert(lane < log->config.lanes);
    if (atomic_exchange(&log->lanes[lane].soon, true))
        return; /* asked for already; the fsync thread has not taken the data yet */
    atomic_store(&log->soon, true);
    pthread_mutex_lock(&log->mtx);
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->mtx);
}

uint64_t log_synced_seq(const struct log *log, uint32_t lane)
{
    fb_assert(lane < log->config.lanes);
    return atomic_load(&log->lanes[lane].synced_seq);
}

bool log_disk_low(const struct log *log)
{
    return atomic_load_explicit(&log->disk_low, memory_order_relaxed);
}

uint64_t log_bytes(const struct log *log)
{
    return atomic_load_explicit(&log->bytes, memory_order_relaxed);
}

/* Segments that an earlier start did not finish making: never in use, and as large as real ones. */
static void remove_left_over(const struct log *log)
{
    DIR *d = opendir(log->dir);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        size_t n = strlen(e->d_name);
        if (n > 8 && strcmp(e->d_name + n - 8, ".seg.tmp") == 0 &&
            unlinkat(log->dir_fd, e->d_name, 0) != 0)
            FB_LOG(WARN, "left-over file not removed", FB_KS("file", e->d_name),
                   FB_KS("error", strerror(errno)));
    }
    if (d != NULL)
        closedir(d);
}

/* What is on disk already, and that our generation is newer. */
static enum fb_status look_at_disk(struct log *log, struct fb_err *err)
{
    struct log_file *files;
    size_t count;
    enum fb_status s = log_dir_list(log->dir, &files, &count, err);

    if (s != FB_OK)
        return s;
    remove_left_over(log);
    for (size_t i = 0; i < count; i++) {
        atomic_fetch_add(&log->bytes, files[i].bytes);
        log->previous_generation = files[i].generation;
    }
    free(files);
    if (log->previous_generation >= log->config.generation)
        return fb_err_set(err, FB_EINVAL, "log generation %llu is not newer than %llu on disk",
                          (unsigned long long)log->config.generation,
                          (unsigned long long)log->previous_generation);
    return FB_OK;
}

/* The file of the marks. Marks of an older generation in it mean nothing any more. Its name gets to
 * the disk with the first segment's. */
static enum fb_status marks_open(struct log *log, struct fb_err *err)
{
    int e;
    log->marks_fd = openat(log->dir_fd, LOG_MARKS_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    e = log->marks_fd < 0
            ? errno
            : log_preallocate(log->marks_fd, (uint64_t)LOG_LANES_MAX * LOG_MARK_BYTES);
    if (e == 0)
        return FB_OK;
    if (!disk_is_full(e))
        disk_die(LOG_MARKS_NAME, "create", e);
    return fb_err_set(err, FB_ENOSPC, "no room for %s/%s: %s: free some space", log->dir,
                      LOG_MARKS_NAME, strerror(e));
}

static enum fb_status first_segments(struct log *log, struct fb_err *err)
{
    uint64_t bytes = log->config.segment_bytes;
    for (uint32_t i = 0; i < log->config.lanes; i++) {
        struct log_lane *l = &log->lanes[i];
        struct log_segment_header h = log_header_of(log, i, 1, 1, bytes);
        enum fb_status s = log_segment_create(log->dir_fd, &h, true, &l->w_fd, err);
        if (s != FB_OK)
            return s;
        segment_push(l, 1, l->w_fd, bytes, true);
        l->w_segment = 1;
        l->w_offset = LOG_HEADER_BYTES;
        l->w_capacity = bytes;
        atomic_fetch_add(&log->bytes, bytes);
    }
    if (!log_reserve_make(log))
        FB_LOG(WARN, "no room for the log's reserve segment: free some space",
               FB_KS("dir", log->dir));
    return FB_OK;
}

static void log_free(struct log *log)
{
    for (uint32_t i = 0; i < log->config.lanes; i++) {
        struct log_lane *l = &log->lanes[i];
        for (size_t k = 0; k < l->segment_count; k++)
            if (l->segments[k].fd >= 0)
                close(l->segments[k].fd);
        free(l->segments);
        pthread_mutex_destroy(&l->mtx);
    }
    if (log->reserve_fd >= 0)
        close(log->reserve_fd);
    if (log->marks_fd >= 0)
        close(log->marks_fd);
    if (log->dir_fd >= 0)
        close(log->dir_fd);
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->mtx);
    free(log->lanes);
    free(log->dir);
    free(log);
}

static struct log *log_new(const struct log_config *config)
{
    struct log *log = fb_xcalloc(1, sizeof(*log));
    pthread_condattr_t attr;

    log->config = *config;
    log->config.segment_bytes &= ~UINT64_C(7);
    log->dir = fb_xstrdup(config->dir);
    log->config.dir = log->dir;
    log->dir_fd = log->marks_fd = log->reserve_fd = -1;
    pthread_mutex_init(&log->mtx, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&log->wake, &attr);
    pthread_condattr_destroy(&attr);
    log->lanes = fb_xcalloc(config->lanes, sizeof(*log->lanes));
    for (uint32_t i = 0; i < config->lanes; i++) {
        pthread_mutex_init(&log->lanes[i].mtx, NULL);
        log->lanes[i].salt = fb_random_u64();
        log->lanes[i].w_fd = -1;
    }
    log->fsync_seconds = fb_histogram_register("forebay_log_fsync_duration_seconds", NULL,
                                               "Time of one fdatasync of the append log.", false);
    return log;
}

enum fb_status log_open(const struct log_config *config, struct log **out, struct fb_err *err)
{
    struct log *log;
    enum fb_status s;

    *out = NULL;
    if (config->lanes == 0 || config->lanes > LOG_LANES_MAX)
        return fb_err_set(err, FB_EINVAL, "%u lanes of the log; 1 to %u are allowed", config->lanes,
                          LOG_LANES_MAX);
    if (config->segment_bytes < LOG_SEGMENT_BYTES_MIN ||
        config->segment_bytes > LOG_SEGMENT_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "log segments of %llu bytes; %u to %u are allowed",
                          (unsigned long long)config->segment_bytes, LOG_SEGMENT_BYTES_MIN,
                          LOG_SEGMENT_BYTES_MAX);
    log = log_new(config);
    s = disk_open_dir(log->dir, &log->dir_fd, err);
    if (s == FB_OK)
        s = look_at_disk(log, err);
    if (s == FB_OK)
        s = marks_open(log, err);
    if (s == FB_OK)
        s = first_segments(log, err);
    if (s == FB_OK) {
        log_check_disk(log);
        s = fb_thread_start("log-fsync", log_sync_main, log, &log->thread, err);
    }
    if (s != FB_OK) {
        log_free(log);
        return s;
    }
    *out = log;
    return FB_OK;
}

void log_close(struct log *log)
{
    if (log == NULL)
        return;
    pthread_mutex_lock(&log->mtx);
    log->stop = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->mtx);
    fb_thread_join(log->thread); /* syncs and seals on its way out */
    unlinkat(log->dir_fd, LOG_RESERVE_NAME, 0);
    log_free(log);
}
