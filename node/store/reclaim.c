/* Retired objects go in batches to one thread, which waits for readers once per group of batches.
 */
#include "node/store/reclaim.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/rt/rcu.h"
#include "proto/rt/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define BATCH_OBJECTS 512u
/* A reader that sits in a section for seconds must not let memory grow without end. */
#define RETIRED_OBJECTS_MAX (1u << 20)

struct retired_batch {
    struct retired_batch *next;
    size_t bytes;
    uint32_t n;
    struct object *objects[BATCH_OBJECTS];
};

struct reclaim {
    pthread_t thread;
    pthread_mutex_t mtx;
    pthread_cond_t wake, room;
    struct retired_batch *queue; /* mtx */
    bool stop;                   /* mtx */
    _Atomic uint64_t bytes, count;
};

struct retired_batch *retired_batch_new(void)
{
    struct retired_batch *b = fb_xmalloc(sizeof *b);
    b->next = NULL;
    b->bytes = 0;
    b->n = 0;
    return b;
}

bool retired_batch_add(struct retired_batch *b, struct object *o, size_t bytes)
{
    fb_assert(b->n < BATCH_OBJECTS);
    b->objects[b->n++] = o;
    b->bytes += bytes;
    return b->n == BATCH_OBJECTS;
}

static void free_batches(struct reclaim *r, struct retired_batch *b)
{
    while (b != NULL) {
        struct retired_batch *next = b->next;
        for (uint32_t i = 0; i < b->n; i++)
            object_free(b->objects[i]);
        atomic_fetch_sub_explicit(&r->bytes, b->bytes, memory_order_relaxed);
        atomic_fetch_sub_explicit(&r->count, b->n, memory_order_relaxed);
        free(b);
        b = next;
    }
}

/* r->mtx held. */
static void wait_a_second(struct reclaim *r)
{
    uint64_t until = fb_mono_ns() + UINT64_C(1000000000);
    struct timespec ts = {.tv_sec = (time_t)(until / 1000000000u),
                          .tv_nsec = (long)(until % 1000000000u)};

    fb_beat("waits for work");
    (void)pthread_cond_clockwait(&r->wake, &r->mtx, CLOCK_MONOTONIC, &ts);
}

static void *reclaim_main(void *arg)
{
    struct reclaim *r = arg;
    struct retired_batch *b;
    bool stop;

    fb_watch_thread("fb-reclaim");
    do {
        pthread_mutex_lock(&r->mtx);
        while (r->queue == NULL && !r->stop)
            wait_a_second(r);
        b = r->queue;
        r->queue = NULL;
        stop = r->stop;
        pthread_mutex_unlock(&r->mtx);
        if (b != NULL) {
            fb_beat("waits for readers to leave");
            synchronize_rcu();
            fb_beat("frees objects");
            FB_RCU_ACQUIRE(&store_grace);
            free_batches(r, b);
            pthread_mutex_lock(&r->mtx);
            pthread_cond_broadcast(&r->room);
            pthread_mutex_unlock(&r->mtx);
        }
    } while (!stop || b != NULL);
    fb_unwatch_thread();
    return NULL;
}

enum fb_status reclaim_start(struct reclaim **out, struct fb_err *err)
{
    struct reclaim *r = fb_xcalloc(1, sizeof *r);
    sigset_t all, old;
    int rc;

    pthread_mutex_init(&r->mtx, NULL);
    pthread_cond_init(&r->wake, NULL);
    pthread_cond_init(&r->room, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&r->thread, NULL, reclaim_main, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        free(r);
        *out = NULL;
        return fb_err_set(err, fb_status_of_errno(rc), "start the reclaim thread: %s",
                          strerror(rc));
    }
    (void)pthread_setname_np(r->thread, "fb-reclaim");
    *out = r;
    return FB_OK;
}

void reclaim_stop(struct reclaim *r)
{
    pthread_mutex_lock(&r->mtx);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->mtx);
    pthread_join(r->thread, NULL);
    fb_assert(r->queue == NULL);
    pthread_cond_destroy(&r->room);
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->mtx);
    free(r);
}

void reclaim_push(struct reclaim *r, struct retired_batch *b)
{
    atomic_fetch_add_explicit(&r->bytes, b->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->count, b->n, memory_order_relaxed);
    pthread_mutex_lock(&r->mtx);
    fb_assert(!r->stop);
    b->next = r->queue;
    r->queue = b;
    pthread_cond_signal(&r->wake);
    while (atomic_load_explicit(&r->count, memory_order_relaxed) > RETIRED_OBJECTS_MAX)
        pthread_cond_wait(&r->room, &r->mtx);
    pthread_mutex_unlock(&r->mtx);
}

uint64_t reclaim_bytes(const struct reclaim *r)
{
    return atomic_load_explicit(&r->bytes, memory_order_relaxed);
}

uint64_t reclaim_count(const struct reclaim *r)
{
    return atomic_load_explicit(&r->count, memory_order_relaxed);
}
