/* The table of watched threads and the thread that looks at it. */
#include "proto/rt/watchdog.h"

#include "proto/base/assert.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WATCHED_MAX 256u
#define STEP_MIN_MS 20u
#define STEP_MAX_MS 1000u

struct watched {
    /* its own thread stores, the watchdog loads */
    _Atomic uint64_t beats;
    _Atomic(const char *) note;
    _Atomic uint32_t on;
    /* watch_mtx */
    bool used, said;
    char name[16];
    long tid;
    uint64_t seen, silent_ms;
};

static pthread_mutex_t watch_mtx = PTHREAD_MUTEX_INITIALIZER;
static struct watched watched[WATCHED_MAX];
static _Thread_local struct watched *mine;

static _Atomic uint64_t limit_ms_now, abort_ms_now;
static pthread_mutex_t wake_mtx = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static bool stop, changed; /* wake_mtx */
static pthread_t watcher;
static bool running; /* main thread */
static struct fb_counter *stalls[FB_BEAT_KINDS];

static const char *const on_names[FB_BEAT_KINDS] = {"work", "disk", "database", "coordinator"};

/* ---- from the threads that are watched ---- */

static void beat(enum fb_beat_on on, const char *note)
{
    struct watched *w = mine;

    if (w == NULL)
        return;
    atomic_store_explicit(&w->on, (uint32_t)on, memory_order_relaxed);
    atomic_store_explicit(&w->note, note, memory_order_relaxed);
    /* one writer: no locked instruction */
    atomic_store_explicit(&w->beats, atomic_load_explicit(&w->beats, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

void fb_beat(const char *note)
{
    beat(FB_BEAT_WORK, note);
}

void fb_beat_blocks(enum fb_beat_on on, const char *note)
{
    beat(on, note);
}

void fb_watch_thread(const char *name)
{
    fb_assert(mine == NULL);
    pthread_mutex_lock(&watch_mtx);
    for (uint32_t i = 0; i < WATCHED_MAX && mine == NULL; i++) {
        struct watched *w = &watched[i];
        if (w->used)
            continue;
        w->used = true;
        w->said = false;
        w->tid = syscall(SYS_gettid);
        w->silent_ms = 0;
        atomic_store_explicit(&w->note, "starts", memory_order_relaxed);
        atomic_store_explicit(&w->on, FB_BEAT_WORK, memory_order_relaxed);
        snprintf(w->name, sizeof(w->name), "%s", name);
        mine = w;
    }
    pthread_mutex_unlock(&watch_mtx);
    /* a thread beyond the table runs unwatched */
}

void fb_unwatch_thread(void)
{
    if (mine == NULL)
        return;
    pthread_mutex_lock(&watch_mtx);
    mine->used = false;
    mine = NULL;
    pthread_mutex_unlock(&watch_mtx);
}

/* ---- the watchdog ---- */

/* What the kernel says of the thread: R runs, S sleeps, D waits for the disk; '?' unknown. */
static char kernel_state(long tid)
{
    char path[64], line[256], *close;
    FILE *f;
    char state = '?';

    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", tid);
    f = fopen(path, "re");
    if (f == NULL)
        return state;
    if (fgets(line, sizeof(line), f) != NULL && (close = strrchr(line, ')')) != NULL &&
        close[1] == ' ')
        state = close[2];
    fclose(f);
    return state;
}

static void report(const struct watched *w, uint32_t on)
{
    const char *note = atomic_load_explicit(&w->note, memory_order_relaxed);
    char state[2] = {kernel_state(w->tid), 0};

    fb_counter_add(stalls[on], 1);
    if (on == FB_BEAT_WORK)
        FB_LOG(ERROR,
               "a thread hangs; /livez fails until it goes on. This is a bug in Forebay: keep a "
               "core (gcore) for the report, then restart the process",
               FB_KS("thread", w->name), FB_KS("doing", note), FB_KU("silent_ms", w->silent_ms),
               FB_KI("tid", w->tid), FB_KS("kernel_state", state));
    else
        FB_LOG(WARN, "a thread waits long for what is outside of this process",
               FB_KS("thread", w->name), FB_KS("for", on_names[on]), FB_KS("doing", note),
               FB_KU("silent_ms", w->silent_ms), FB_KI("tid", w->tid),
               FB_KS("kernel_state", state));
}

static void look(struct watched *w, uint64_t step_ms, uint64_t limit, uint64_t abort_after)
{
    uint64_t beats = atomic_load_explicit(&w->beats, memory_order_relaxed);
    uint32_t on = atomic_load_explicit(&w->on, memory_order_relaxed);

    if (beats != w->seen) {
        if (w->said)
            FB_LOG(INFO, "the thread goes on", FB_KS("thread", w->name),
                   FB_KU("silent_ms", w->silent_ms));
        w->seen = beats;
        w->silent_ms = 0;
        w->said = false;
        return;
    }
    w->silent_ms += step_ms;
    if (limit != 0 && w->silent_ms >= limit && !w->said) {
        w->said = true;
        report(w, on);
    }
    if (abort_after != 0 && on == FB_BEAT_WORK && w->silent_ms >= abort_after) {
        FB_LOG(ERROR,
               "a thread hangs for as long as process.watchdog_abort allows, the process "
               "ends itself",
               FB_KS("thread", w->name), FB_KU("silent_ms", w->silent_ms));
        abort();
    }
}

/* A tenth of the limit, so that a report is at most that late. */
static uint64_t step_of(uint64_t limit)
{
    uint64_t step = limit == 0 ? STEP_MAX_MS : limit / 10;
    return step < STEP_MIN_MS ? STEP_MIN_MS : step > STEP_MAX_MS ? STEP_MAX_MS : step;
}

/* True: time to end. */
static bool pause_for(uint64_t ms)
{
    uint64_t until = fb_mono_ns() + ms * 1000000u;
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000000u),
                          .tv_nsec = (long)(until % 1000000000u)};
    bool end;

    pthread_mutex_lock(&wake_mtx);
    while (!stop && !changed && pthread_cond_timedwait(&wake, &wake_mtx, &ts) != ETIMEDOUT)
        ;
    changed = false;
    end = stop;
    pthread_mutex_unlock(&wake_mtx);
    return end;
}

static void *watch_main(void *arg)
{
    uint64_t last = fb_mono_ns(), step = 0;

    (void)arg;
    do {
        uint64_t limit = atomic_load(&limit_ms_now), abort_after = atomic_load(&abort_ms_now);
        uint64_t now = fb_mono_ns(), passed = (now - last) / 1000000u;

        /* longer than twice the step: this thread did not run either, so nobody is to blame */
        if (passed > step * 2)
            passed = step * 2;
        last = now;
        pthread_mutex_lock(&watch_mtx);
        for (uint32_t i = 0; i < WATCHED_MAX; i++)
            if (watched[i].used)
                look(&watched[i], passed, limit, abort_after);
        pthread_mutex_unlock(&watch_mtx);
        step = step_of(limit);
    } while (!pause_for(step));
    return NULL;
}

/* ---- what others see ---- */

/* The limit that is in force; UINT64_MAX = off. */
static uint64_t limit_in_force(void)
{
    uint64_t limit = atomic_load(&limit_ms_now);
    return limit == 0 ? UINT64_MAX : limit;
}

static void gauge_silent(void *arg, struct fb_buf *out)
{
    uint32_t n[FB_BEAT_KINDS] = {0};
    uint64_t limit = limit_in_force();

    (void)arg;
    pthread_mutex_lock(&watch_mtx);
    for (uint32_t i = 0; i < WATCHED_MAX; i++)
        if (watched[i].used && watched[i].silent_ms >= limit)
            n[atomic_load_explicit(&watched[i].on, memory_order_relaxed)]++;
    pthread_mutex_unlock(&watch_mtx);
    for (uint32_t k = 0; k < FB_BEAT_KINDS; k++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "on=\"%s\"", on_names[k]);
        fb_gauge_emit(out, "threads_stalled", labels, n[k]);
    }
}

bool fb_watchdog_live(struct fb_buf *why)
{
    uint64_t limit = limit_in_force();
    bool live = true;

    pthread_mutex_lock(&watch_mtx);
    for (uint32_t i = 0; i < WATCHED_MAX; i++) {
        const struct watched *w = &watched[i];
        uint32_t on = atomic_load_explicit(&w->on, memory_order_relaxed);
        if (!w->used || w->silent_ms < limit)
            continue;
        live = live && on != FB_BEAT_WORK;
        fb_buf_printf(why, "%sthread %s %s%s for %.1f s (%s)", why->n > 0 ? "\n" : "", w->name,
                      on == FB_BEAT_WORK ? "hangs" : "waits for the ",
                      on == FB_BEAT_WORK ? "" : on_names[on], (double)w->silent_ms / 1e3,
                      atomic_load_explicit(&w->note, memory_order_relaxed));
    }
    pthread_mutex_unlock(&watch_mtx);
    return live;
}

void fb_watchdog_status(struct fb_buf *json)
{
    const char *comma = "";

    fb_buf_printf(json, "{\"limit_ms\":%llu,\"abort_ms\":%llu,\"threads\":[",
                  (unsigned long long)atomic_load(&limit_ms_now),
                  (unsigned long long)atomic_load(&abort_ms_now));
    pthread_mutex_lock(&watch_mtx);
    for (uint32_t i = 0; i < WATCHED_MAX; i++) {
        const struct watched *w = &watched[i];
        if (!w->used)
            continue;
        fb_buf_printf(json,
                      "%s{\"thread\":\"%s\",\"tid\":%ld,\"doing\":\"%s\",\"on\":\"%s\","
                      "\"silent_ms\":%llu}",
                      comma, w->name, w->tid, atomic_load_explicit(&w->note, memory_order_relaxed),
                      on_names[atomic_load_explicit(&w->on, memory_order_relaxed)],
                      (unsigned long long)w->silent_ms);
        comma = ",";
    }
    pthread_mutex_unlock(&watch_mtx);
    fb_buf_put_str(json, "]}");
}

/* ---- start and stop ---- */

static void metrics(void)
{
    static bool done;

    for (uint32_t k = 0; k < FB_BEAT_KINDS; k++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "on=\"%s\"", on_names[k]);
        stalls[k] = fb_counter_register("thread_stalls_total", labels,
                                        "Times a thread was silent for longer than the watchdog's "
                                        "limit; on=work: it hung.");
    }
    if (!done)
        fb_gauge_register("threads_stalled",
                          "Threads that are silent for longer than the watchdog's limit; on=work: "
                          "they hang.",
                          gauge_silent, NULL);
    done = true;
}

enum fb_status fb_watchdog_start(uint64_t limit_ms, uint64_t abort_ms, struct fb_err *err)
{
    pthread_condattr_t attr;
    int rc;

    metrics();
    atomic_store(&limit_ms_now, limit_ms);
    atomic_store(&abort_ms_now, abort_ms);
    stop = false;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wake, &attr);
    pthread_condattr_destroy(&attr);
    /* not by fb_thread_start: nobody would watch it, and it reads nothing by RCU */
    rc = fb_thread_plain(&watcher, "watchdog", watch_main);
    if (rc != 0)
        return fb_err_set(err, fb_status_of_errno(rc), "start the watchdog: %s", strerror(rc));
    running = true;
    return FB_OK;
}

void fb_watchdog_set(uint64_t limit_ms, uint64_t abort_ms)
{
    atomic_store(&limit_ms_now, limit_ms);
    atomic_store(&abort_ms_now, abort_ms);
    pthread_mutex_lock(&wake_mtx);
    changed = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&wake_mtx);
}

void fb_watchdog_stop(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&wake_mtx);
    stop = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&wake_mtx);
    pthread_join(watcher, NULL);
    pthread_cond_destroy(&wake);
    running = false;
}
