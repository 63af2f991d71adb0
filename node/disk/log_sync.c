/* The fsync thread: group commit, sealing of full segments, the reserve and the free space. */
#include "node/disk/file.h"
#include "node/disk/log_internal.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/rt/watchdog.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define CHECK_INTERVAL_NS UINT64_C(1000000000)

void log_check_disk(struct log *log)
{
    struct statvfs v;
    if (fstatvfs(log->dir_fd, &v) == 0) /* else the next look tells */
        atomic_store(&log->disk_low, (uint64_t)v.f_bavail * 20u < (uint64_t)v.f_blocks);
}

static void die(const struct log *log, uint32_t lane, uint32_t segment, const char *operation,
                int e)
{
    char path[4400];
    log_path_format(log, lane, segment, path, sizeof(path));
    disk_die(path, operation, e);
}

/* Never repeated: after a failed fsync the kernel may have dropped the pages and say "fine" the
 * next time. */
static void sync_file(struct log *log, uint32_t lane, const struct log_segment *g)
{
    uint64_t begin = fb_mono_ns();
    fb_beat_blocks(FB_BEAT_DISK, "fdatasync of the log");
    if (!FB_MUTANT(log_no_fdatasync) && fdatasync(g->fd) != 0 && !FB_MUTANT(log_fdatasync_error))
        die(log, lane, g->number, "fdatasync", errno);
    fb_histogram_observe_ns(log->fsync_seconds, fb_mono_ns() - begin, 1);
}

static void sync_names(struct log *log)
{
    fb_beat_blocks(FB_BEAT_DISK, "fsync of the log's directory");
    if (!FB_MUTANT(log_no_dir_sync) && fsync(log->dir_fd) != 0)
        disk_die(log->dir, "fsync of the directory", errno);
}

/* Gives the file its footer and closes it; result: its size. A full disk leaves it without,
 * or with a part of it: recovery seals it. */
static uint64_t seal(struct log *log, uint32_t lane, const struct log_segment *g, bool more)
{
    struct log_footer f = {.more = more,
                           .generation = log->config.generation,
                           .lane = lane,
                           .segment = g->number,
                           .batches = g->batches,
                           .last_seq = g->last_seq,
                           .offset = g->offset,
                           .chain = g->chain};
    char path[4400];
    int e;

    fb_beat_blocks(FB_BEAT_DISK, "seals a segment");
    log_path_format(log, lane, g->number, path, sizeof(path));
    e = log_segment_seal(g->fd, path, &f, log->lanes[lane].salt);
    if (e != 0 && !disk_is_full(e))
        die(log, lane, g->number, "seal", e);
    if (e != 0) {
        sync_file(log, lane, g);
        FB_LOG(WARN, "log segment not sealed, the disk is full", FB_KS("dir", log->dir),
               FB_KU("lane", lane), FB_KU("segment", g->number));
    }
    close(g->fd);
    if (e != 0)
        return g->file_bytes;
    atomic_fetch_sub(&log->bytes, g->file_bytes - (g->offset + LOG_FOOTER_BYTES));
    return g->offset + LOG_FOOTER_BYTES;
}

/* The oldest segment that is still open, and the one behind it. True: `first` is the one being
 * written. */
static bool oldest_open(struct log_lane *l, struct log_segment *first, struct log_segment *next)
{
    size_t i = 0;
    bool active;
    pthread_mutex_lock(&l->mtx);
    while (l->segments[i].sealed)
        i++;
    *first = l->segments[i];
    active = i + 1 == l->segment_count;
    if (!active)
        *next = l->segments[i + 1];
    pthread_mutex_unlock(&l->mtx);
    return active;
}

/* Notes what is durable now: the name, or (sealed_bytes not 0) the whole segment, which is closed.
 */
static void mark(struct log_lane *l, uint32_t number, uint64_t sealed_bytes)
{
    pthread_mutex_lock(&l->mtx);
    for (size_t i = 0; i < l->segment_count; i++) {
        struct log_segment *g = &l->segments[i];
        if (g->number != number)
            continue;
        g->name_synced = true;
        if (sealed_bytes != 0) {
            g->sealed = true;
            g->file_bytes = sealed_bytes;
            g->fd = -1;
        }
    }
    pthread_mutex_unlock(&l->mtx);
}

/* Notes beside the log what is reported now: recovery then tells a hole that a power loss left
 * above it from damage below it. Not synced: until it is on disk, which the kernel or the next
 * start sees to, recovery knows less, never something wrong. Hence no room for it is no reason to
 * stop. */
static void write_mark(struct log *log, uint32_t lane, uint64_t seq)
{
    struct log_mark m = {.lane = lane, .generation = log->config.generation, .seq = seq};
    uint8_t bytes[LOG_MARK_BYTES];
    int e;

    log_mark_encode(bytes, &m, log->lanes[lane].salt);
    e = disk_pwrite(log->marks_fd, bytes, sizeof(bytes), (uint64_t)lane * LOG_MARK_BYTES);
    if (e != 0 && !disk_is_full(e))
        disk_die(LOG_MARKS_NAME, "write", e);
}

/* Everything written to the lane so far becomes durable, oldest segment first; full segments are
 * sealed, but only once the segment behind has its name and header on disk: a footer that says
 * "more" must be right after a power loss. */
static void sync_lane(struct log *log, uint32_t lane)
{
    struct log_lane *l = &log->lanes[lane];
    struct log_segment g, next;
    /* Partner: the store in log_append. Taken first, so every batch up to it is in a segment seen
     * below. */
    uint64_t written = atomic_load_explicit(&l->written_seq, memory_order_acquire);

    if (written == atomic_load_explicit(&l->synced_seq, memory_order_relaxed))
        return;
    while (!oldest_open(l, &g, &next)) {
        sync_file(log, lane, &g);
        sync_file(log, lane, &next);
        sync_names(log);
        mark(l, next.number, 0);
        mark(l, g.number, seal(log, lane, &g, true));
    }
    sync_file(log, lane, &g);
    if (!g.name_synced) {
        sync_names(log);
        mark(l, g.number, 0);
    }
    write_mark(log, lane, written);
    atomic_store(&l->synced_seq, written);
    if (log->config.synced != NULL)
        log->config.synced(log->config.arg, lane, written);
}

/* The writers are done: the last segments get their footers too. */
static void finish(struct log *log)
{
    for (uint32_t i = 0; i < log->config.lanes; i++) {
        struct log_lane *l = &log->lanes[i];
        struct log_segment g, next;
        sync_lane(log, i);
        (void)oldest_open(l, &g, &next);
        g.batches = l->w_batches;
        g.chain = l->w_chain;
        g.offset = l->w_offset;
        g.last_seq = l->w_seq;
        if (!g.name_synced)
            sync_names(log);
        mark(l, g.number, seal(log, i, &g, false));
    }
    sync_names(log);
}

void log_set_sync_interval(struct log *log, uint32_t ms)
{
    pthread_mutex_lock(&log->mtx);
    log->config.sync_interval_ms = ms;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->mtx);
}

static void sleep_until(struct log *log, uint64_t ns)
{
    struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000u),
                          .tv_nsec = (long)(ns % 1000000000u)};
    (void)pthread_cond_timedwait(&log->wake, &log->mtx,
                                 &ts); /* any reason to wake is looked at again */
}

void log_sync_main(void *arg)
{
    struct log *log = arg;
    uint64_t due = 0, check = fb_mono_ns() + CHECK_INTERVAL_NS;

    for (;;) {
        bool stop, all, soon;
        uint64_t now;

        fb_beat("waits for work");
        pthread_mutex_lock(&log->mtx);
        for (;;) {
            now = fb_mono_ns();
            if (atomic_load(&log->dirty) && due == 0)
                due = now + (uint64_t)log->config.sync_interval_ms * 1000000u;
            if (log->stop || atomic_load(&log->soon) || (due != 0 && now >= due) || now >= check)
                break;
            sleep_until(log, due != 0 && due < check ? due : check);
        }
        stop = log->stop;
        if (now >= check) {
            fb_beat_blocks(FB_BEAT_DISK, "looks at free space, makes the reserve");
            log_check_disk(log);
            (void)log_reserve_make(log);
            check = now + CHECK_INTERVAL_NS;
        }
        pthread_mutex_unlock(&log->mtx);

        fb_beat("syncs the log");
        all = due != 0 && now >= due;
        soon = atomic_exchange(&log->soon, false);
        if (stop) {
            finish(log);
            return;
        }
        if (all) {
            due = 0;
            atomic_store(&log->dirty,
                         false); /* before the data is taken: a later append sets it again */
        }
        for (uint32_t i = 0; (all || soon) && i < log->config.lanes; i++)
            if (atomic_exchange(&log->lanes[i].soon, false) || all)
                sync_lane(log, i);
    }
}
