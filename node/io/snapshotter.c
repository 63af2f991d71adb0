/* Snapshot rounds: when the log has grown or time has passed, every partition is written once. */
#include "node/io/snapshotter.h"

#include "node/disk/snapshot.h"
#include "node/io/worker.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"
#include "proto/rt/watchdog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Where a partition's log is still needed: the older of its two snapshots. */
struct mark {
    uint64_t newer_seq, older_seq; /* log sequences of this generation */
    bool newer, older;             /* taken in this generation */
};

struct snapshotter {
    struct node *node;
    struct fb_thread *thread;
    _Atomic uint64_t interval_ms, log_bytes_max, slice_max; /* limits */
    struct mark *marks;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stop, now, running, slice_done; /* mutex */
    struct snapshotter_status status;    /* mutex */
    /* one request at a time to a lane; written by the worker before slice_done */
    struct lane_snapshot snap;
    struct fb_buf slice;
    _Atomic uint64_t slice_bytes; /* its memory, for whoever asks */
    bool begin, has_content;
    uint64_t log_seq;  /* of the last write to the lane's log when the slice was taken */
    uint64_t next_seq; /* of the next one */
};

/* Worker thread, between two ticks. */
static void take_slice(void *arg, struct worker *w)
{
    struct snapshotter *s = arg;
    if (s->begin) {
        uint16_t part = s->snap.part;
        s->has_content = lane_snapshot_begin(w->lane, part, &s->snap);
    }
    if (s->has_content && !s->snap.done)
        lane_snapshot_slice(w->lane, &s->snap, &s->slice, atomic_load(&s->slice_max));
    s->log_seq = w->log_seq;
    s->next_seq = lane_effects(w->lane)->log_seq;
    pthread_mutex_lock(&s->mutex);
    s->slice_done = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
}

static void ask_slice(struct snapshotter *s, bool begin)
{
    struct job *j = job_new(JOB_CALL);
    fb_buf_clear(&s->slice);
    s->begin = begin;
    s->slice_done = false;
    j->call = take_slice;
    j->arg = s;
    fb_beat("waits for a worker's slice");
    worker_post(s->node->workers[node_lane_of(s->node, s->snap.part)], j);
    pthread_mutex_lock(&s->mutex);
    while (!s->slice_done)
        pthread_cond_wait(&s->cond, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    atomic_store_explicit(&s->slice_bytes, s->slice.cap, memory_order_relaxed);
}

/* The slices show what was written meanwhile. A snapshot may only be there when the log has that
 * too: a power loss would else leave half of a group, or versions that the log never had. */
static void wait_synced(struct snapshotter *s, uint32_t lane, uint64_t log_seq)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    while (!FB_MUTANT(snapshot_unsynced) && log_synced_seq(s->node->log, lane) < log_seq) {
        fb_beat_blocks(FB_BEAT_DISK, "waits for the log to be synced");
        log_sync_soon(s->node->log, lane);
        nanosleep(&pause, NULL);
    }
}

static enum fb_status one_partition(struct snapshotter *s, uint16_t part, struct fb_err *err)
{
    struct snapshot_writer *w;
    struct snapshot_info info = {.part = part, .generation = s->node->generation};
    enum fb_status st;

    s->snap = (struct lane_snapshot){.part = part};
    ask_slice(s, true);
    if (!s->has_content && s->snap.keep)
        return FB_OK; /* a start reads them up to the note, and misses what was before them */
    if (!s->has_content) {
        /* nothing of it is in the log so far; it may be opened at any time */
        s->marks[part] =
            (struct mark){.newer_seq = FB_MUTANT(trim_unsaved) ? UINT64_MAX : s->next_seq,
                          .older_seq = FB_MUTANT(trim_unsaved) ? UINT64_MAX : s->next_seq,
                          .newer = true,
                          .older = true};
        return FB_OK;
    }
    info.start_ver = s->snap.start_ver;
    info.start_log_seq = s->snap.start_log_seq;
    fb_beat_blocks(FB_BEAT_DISK, "creates a snapshot");
    st = snapshot_create(s->node->dir.snapshot_path, &info, &w, err);
    if (st != FB_OK)
        return st;
    for (;;) {
        fb_beat_blocks(FB_BEAT_DISK, "writes a snapshot");
        st = snapshot_append(w, fb_buf_view(&s->slice), err);
        if (st != FB_OK) {
            snapshot_abandon(w);
            return st;
        }
        if (s->snap.done)
            break;
        ask_slice(s, false);
    }
    wait_synced(s, node_lane_of(s->node, part), s->log_seq);
    fb_beat_blocks(FB_BEAT_DISK, "syncs a snapshot");
    st = snapshot_commit(w, fb_wall_ms(), err);
    if (st == FB_OK) {
        struct mark *m = &s->marks[part];
        m->older = m->newer;
        m->older_seq = m->newer_seq;
        m->newer = true;
        m->newer_seq = info.start_log_seq;
    }
    return st;
}

static void trim(struct snapshotter *s)
{
    struct node *n = s->node;
    bool all_older = true;
    for (uint32_t p = 0; p < n->partitions; p++)
        all_older = all_older && s->marks[p].older;
    for (uint32_t lane = 0; lane < n->worker_count; lane++) {
        uint64_t keep = UINT64_MAX;
        struct fb_err err;
        for (uint32_t p = lane; p < n->partitions; p += n->worker_count) {
            uint64_t need = s->marks[p].older ? s->marks[p].older_seq : 0;
            if (need < keep)
                keep = need;
        }
        fb_beat_blocks(FB_BEAT_DISK, "trims the log");
        if (log_trim(n->log, lane, keep, all_older, &err) != FB_OK)
            FB_LOG(WARN, "log was not trimmed", FB_KS("error", err.msg));
    }
}

static bool stopping(struct snapshotter *s)
{
    bool stop;
    pthread_mutex_lock(&s->mutex);
    stop = s->stop;
    pthread_mutex_unlock(&s->mutex);
    return stop;
}

static void set_progress(struct snapshotter *s, uint32_t done, uint32_t total)
{
    pthread_mutex_lock(&s->mutex);
    s->status.done = done;
    s->status.total = total;
    pthread_mutex_unlock(&s->mutex);
}

static void round_of_all(struct snapshotter *s)
{
    uint64_t start = fb_mono_ns();
    struct fb_err err = {0};
    enum fb_status st = FB_OK;
    uint32_t p = 0;

    for (; st == FB_OK && p < s->node->partitions && !stopping(s); p++) {
        set_progress(s, p, s->node->partitions);
        st = one_partition(s, (uint16_t)p, &err);
    }
    set_progress(s, 0, 0);
    if (st != FB_OK) {
        FB_LOG(WARN, "snapshot failed; the log is kept, the next round tries again",
               FB_KS("error", err.msg));
    } else if (p == s->node->partitions) {
        trim(s);
        FB_LOG(INFO, "snapshots written", FB_KU("partitions", p),
               FB_KU("ms", (fb_mono_ns() - start) / 1000000),
               FB_KU("log_bytes", log_bytes(s->node->log)));
    }
    pthread_mutex_lock(&s->mutex);
    snprintf(s->status.last_error, sizeof(s->status.last_error), "%s", st == FB_OK ? "" : err.msg);
    if (st == FB_OK && p == s->node->partitions) {
        s->status.rounds++;
        s->status.last_success_wall_ms = fb_wall_ms();
    }
    s->status.attempts++;
    s->running = false;
    pthread_mutex_unlock(&s->mutex);
}

static bool due(struct snapshotter *s, uint64_t last_ns, uint64_t base_bytes)
{
    return fb_mono_ns() - last_ns >= s->interval_ms * 1000000 ||
           log_bytes(s->node->log) > base_bytes + s->log_bytes_max;
}

static void snapshotter_main(void *arg)
{
    struct snapshotter *s = arg;
    uint64_t last_ns = fb_mono_ns(), base_bytes = 0;

    for (;;) {
        struct timespec until;
        bool go;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += 1;
        fb_beat("waits for the next round");
        pthread_mutex_lock(&s->mutex);
        if (!s->stop && !s->now)
            pthread_cond_timedwait(&s->cond, &s->mutex, &until);
        go = s->now;
        s->now = false;
        if (s->stop) {
            pthread_mutex_unlock(&s->mutex);
            return;
        }
        pthread_mutex_unlock(&s->mutex);
        if (go || due(s, last_ns, base_bytes)) {
            pthread_mutex_lock(&s->mutex);
            s->running = true;
            pthread_mutex_unlock(&s->mutex);
            round_of_all(s);
            last_ns = fb_mono_ns();
            base_bytes = log_bytes(s->node->log);
        }
    }
}

enum fb_status snapshotter_start(struct node *n, const struct snapshotter_limits *limits,
                                 struct snapshotter **out, struct fb_err *err)
{
    struct snapshotter *s = fb_xcalloc(1, sizeof(*s));
    pthread_condattr_t attr;
    enum fb_status st;

    s->node = n;
    snapshotter_set(s, limits);
    s->marks = fb_xcalloc(n->partitions, sizeof(*s->marks));
    pthread_mutex_init(&s->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    st = fb_thread_start("snapshot", snapshotter_main, s, &s->thread, err);
    if (st != FB_OK) {
        free(s->marks);
        free(s);
        return st;
    }
    *out = s;
    return FB_OK;
}

void snapshotter_stop(struct snapshotter *s)
{
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    fb_thread_join(s->thread);
    fb_buf_fini(&s->slice);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mutex);
    free(s->marks);
    free(s);
}

uint64_t snapshotter_memory_bytes(const struct snapshotter *s)
{
    return atomic_load_explicit(&s->slice_bytes, memory_order_relaxed);
}

void snapshotter_set(struct snapshotter *s, const struct snapshotter_limits *limits)
{
    atomic_store(&s->interval_ms, limits->interval_ms);
    atomic_store(&s->log_bytes_max, limits->log_bytes);
    atomic_store(&s->slice_max, limits->slice_bytes);
}

uint64_t snapshotter_now(struct snapshotter *s)
{
    uint64_t attempt;
    pthread_mutex_lock(&s->mutex);
    s->now = true;
    attempt = s->status.attempts + (s->running ? 2 : 1);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mutex);
    return attempt;
}

void snapshotter_status_get(struct snapshotter *s, struct snapshotter_status *out)
{
    pthread_mutex_lock(&s->mutex);
    *out = s->status;
    pthread_mutex_unlock(&s->mutex);
}
