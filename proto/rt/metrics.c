/* Counters and histograms: a registry under a lock, and one shard of plain slots per thread that
 * only its thread writes.
 *
 * A shard is never freed: when its thread ends it waits for the next new thread, which goes on
 * counting on top. So sums never go back and a reader needs no more than relaxed loads.
 */
#include "proto/rt/metrics_registry.h"

#include "proto/base/assert.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_SLOTS 512u
#define CHUNKS_MAX 256u

struct chunk {
    _Atomic uint64_t slot[CHUNK_SLOTS];
};

struct shard {
    struct shard *next_all;                     /* registry_mtx, then const */
    bool in_use;                                /* registry_mtx */
    _Atomic(struct chunk *) chunks[CHUNKS_MAX]; /* owner thread stores, any loads */
};

static pthread_mutex_t registry_mtx = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics; /* registry_mtx */
static uint32_t slots_used;    /* registry_mtx */
static struct shard *shards;   /* registry_mtx */
static pthread_key_t shard_key;
static pthread_once_t shard_once = PTHREAD_ONCE_INIT;
static _Thread_local struct shard *my_shard;

static const uint64_t seconds_bounds[] = {
    50000,     100000,     250000,     500000,     1000000,     2500000,
    5000000,   10000000,   25000000,   50000000,   100000000,   250000000,
    500000000, 1000000000, 2500000000, 5000000000, 10000000000,
};
static const uint64_t rows_bounds[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                       500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

static void shard_release_cb(void *p)
{
    struct shard *s = p;
    pthread_mutex_lock(&registry_mtx);
    s->in_use = false;
    pthread_mutex_unlock(&registry_mtx);
    my_shard = NULL;
}

static void shard_key_init(void)
{
    int rc = pthread_key_create(&shard_key, shard_release_cb);
    fb_assert(rc == 0);
}

static struct shard *shard_acquire(void)
{
    struct shard *s;

    pthread_once(&shard_once, shard_key_init);
    pthread_mutex_lock(&registry_mtx);
    for (s = shards; s != NULL && s->in_use; s = s->next_all)
        ;
    if (s == NULL) {
        s = fb_xcalloc(1, sizeof(*s));
        s->next_all = shards;
        shards = s;
    }
    s->in_use = true;
    pthread_mutex_unlock(&registry_mtx);
    pthread_setspecific(shard_key, s);
    my_shard = s;
    return s;
}

static void slot_add(uint32_t slot, uint64_t n)
{
    struct shard *s = FB_LIKELY(my_shard != NULL) ? my_shard : shard_acquire();
    struct chunk *c = atomic_load_explicit(&s->chunks[slot / CHUNK_SLOTS], memory_order_relaxed);
    _Atomic uint64_t *at;

    if (FB_UNLIKELY(c == NULL)) {
        c = fb_xcalloc(1, sizeof(*c));
        /* Release: pairs with the acquire in slot_sum, which must see zeroes. */
        atomic_store_explicit(&s->chunks[slot / CHUNK_SLOTS], c, memory_order_release);
    }
    at = &c->slot[slot % CHUNK_SLOTS];
    /* One writer: load and store, no locked instruction. */
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static uint64_t slot_sum_locked(uint32_t slot)
{
    uint64_t sum = 0;
    for (struct shard *s = shards; s != NULL; s = s->next_all) {
        struct chunk *c =
            atomic_load_explicit(&s->chunks[slot / CHUNK_SLOTS], memory_order_acquire);
        if (c != NULL)
            sum += atomic_load_explicit(&c->slot[slot % CHUNK_SLOTS], memory_order_relaxed);
    }
    return sum;
}

void fb_metrics_lock(void)
{
    pthread_mutex_lock(&registry_mtx);
}

void fb_metrics_unlock(void)
{
    pthread_mutex_unlock(&registry_mtx);
}

struct metric *fb_metrics_first_locked(void)
{
    return metrics;
}

uint64_t fb_metric_slot_locked(const struct metric *m, uint32_t index)
{
    return slot_sum_locked(m->slot + index);
}

static struct metric *metric_find_locked(enum metric_kind kind, const char *name,
                                         const char *labels)
{
    for (struct metric *m = metrics; m != NULL; m = m->next)
        if (m->kind == kind && strcmp(m->name, name) == 0 && strcmp(m->labels, labels) == 0)
            return m;
    return NULL;
}

static struct metric *metric_new_locked(enum metric_kind kind, const char *name, const char *labels,
                                        const char *help, uint32_t slots)
{
    struct metric *m = fb_xcalloc(1, sizeof(*m));
    m->kind = kind;
    m->name = fb_xstrdup(name);
    m->labels = fb_xstrdup(labels);
    m->help = fb_xstrdup(help);
    /* A metric's slots share a chunk, so that a histogram touches neighbouring memory. */
    if (slots > 0 && slots_used % CHUNK_SLOTS + slots > CHUNK_SLOTS)
        slots_used += CHUNK_SLOTS - slots_used % CHUNK_SLOTS;
    m->slot = slots_used;
    slots_used += slots;
    fb_assert(slots_used <= CHUNK_SLOTS * CHUNKS_MAX);
    m->next = metrics;
    metrics = m;
    return m;
}

static struct metric *metric_register(enum metric_kind kind, const char *name, const char *labels,
                                      const char *help, const uint64_t *bounds,
                                      uint32_t bound_count)
{
    char full[METRIC_NAME_BYTES];
    struct metric *m;

    fb_metric_full_name(full, name);
    labels = labels == NULL ? "" : labels;
    pthread_mutex_lock(&registry_mtx);
    m = metric_find_locked(kind, full, labels);
    if (m == NULL) {
        m = metric_new_locked(kind, full, labels, help, bounds == NULL ? 1 : bound_count + 2);
        m->bounds = bounds;
        m->bound_count = bound_count;
    }
    pthread_mutex_unlock(&registry_mtx);
    return m;
}

void fb_metric_full_name(char out[METRIC_NAME_BYTES], const char *name)
{
    static const char prefix[] = "forebay_";
    int n;
    if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
        name += sizeof(prefix) - 1;
    n = snprintf(out, METRIC_NAME_BYTES, "%s%s", prefix, name);
    fb_assert(n > 0 && n < METRIC_NAME_BYTES);
}

struct fb_counter *fb_counter_register(const char *name, const char *labels, const char *help)
{
    return (struct fb_counter *)metric_register(METRIC_COUNTER, name, labels, help, NULL, 0);
}

void fb_counter_add(struct fb_counter *c, uint64_t n)
{
    slot_add(((struct metric *)c)->slot, n);
}

uint64_t fb_counter_value(const struct fb_counter *c)
{
    uint64_t v;
    pthread_mutex_lock(&registry_mtx);
    v = slot_sum_locked(((const struct metric *)c)->slot);
    pthread_mutex_unlock(&registry_mtx);
    return v;
}

struct fb_histogram *fb_histogram_register(const char *name, const char *labels, const char *help,
                                           bool rows)
{
    struct metric *m =
        metric_register(rows ? METRIC_HISTOGRAM_ROWS : METRIC_HISTOGRAM_SECONDS, name, labels, help,
                        rows ? rows_bounds : seconds_bounds,
                        rows ? FB_COUNT_OF(rows_bounds) : FB_COUNT_OF(seconds_bounds));
    return (struct fb_histogram *)m;
}

static void histogram_observe(const struct metric *m, uint64_t v, uint64_t times)
{
    uint32_t b = 0;
    if (times == 0)
        return;
    while (b < m->bound_count && v > m->bounds[b])
        b++;
    slot_add(m->slot + b, times);
    slot_add(m->slot + m->bound_count + 1, v * times);
}

void fb_histogram_observe_ns(struct fb_histogram *h, uint64_t ns, uint64_t times)
{
    const struct metric *m = (const struct metric *)h;
    fb_assert(m->kind == METRIC_HISTOGRAM_SECONDS);
    histogram_observe(m, ns, times);
}

void fb_histogram_observe_rows(struct fb_histogram *h, uint64_t rows)
{
    const struct metric *m = (const struct metric *)h;
    fb_assert(m->kind == METRIC_HISTOGRAM_ROWS);
    histogram_observe(m, rows, 1);
}

uint64_t fb_metrics_memory_bytes(void)
{
    uint64_t n = 0;

    pthread_mutex_lock(&registry_mtx);
    for (const struct shard *s = shards; s != NULL; s = s->next_all) {
        n += sizeof(*s);
        for (uint32_t i = 0; i < CHUNKS_MAX; i++)
            if (atomic_load_explicit(&s->chunks[i], memory_order_relaxed) != NULL)
                n += sizeof(struct chunk);
    }
    for (const struct metric *m = metrics; m != NULL; m = m->next)
        n += sizeof(*m) + strlen(m->name) + strlen(m->labels) + strlen(m->help) + 3 * 16;
    pthread_mutex_unlock(&registry_mtx);
    return n;
}

void fb_gauge_register(const char *name, const char *help, fb_gauge_fn fn, void *arg)
{
    char full[METRIC_NAME_BYTES];
    struct metric *m;

    fb_metric_full_name(full, name);
    pthread_mutex_lock(&registry_mtx);
    m = metric_new_locked(METRIC_GAUGE, full, "", help, 0);
    m->fn = fn;
    m->arg = arg;
    pthread_mutex_unlock(&registry_mtx);
}
