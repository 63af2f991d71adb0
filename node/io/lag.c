/* Replication lag by node (lag.h). */
#include "node/io/lag.h"

#include "node/core/copies.h"
#include "proto/rt/metrics.h"

#include <stdio.h>
#include <stdlib.h>

struct worker_lag {
    _Atomic uint32_t count; /* worker writes; names below it are const */
    struct {
        char name[FB_NAME_BYTES_MAX + 1];
        _Atomic uint64_t bytes;
    } peer[FB_NODES_MAX]; /* by the lane's number of the node */
};

struct worker_lag *worker_lag_new(void)
{
    return fb_xcalloc(1, sizeof(struct worker_lag));
}

void worker_lag_free(struct worker_lag *g)
{
    free(g);
}

void worker_lag_look(struct worker *w)
{
    uint32_t known = atomic_load_explicit(&w->lag->count, memory_order_relaxed);
    uint32_t count = lane_node_count(w->lane);
    uint64_t bytes[FB_NODES_MAX];

    lane_copy_lag(w->lane, bytes);
    for (uint32_t i = 0; i < count; i++) {
        if (i >= known)
            memcpy(w->lag->peer[i].name, lane_node_at(w->lane, (uint16_t)i)->name,
                   sizeof(w->lag->peer[i].name));
        atomic_store_explicit(&w->lag->peer[i].bytes, bytes[i], memory_order_relaxed);
    }
    /* pairs with the acquire load below: who sees the number may read the names */
    atomic_store_explicit(&w->lag->count, count, memory_order_release);
}

struct sums {
    uint32_t count;
    struct {
        const char *name;
        uint64_t bytes;
    } of[FB_NODES_MAX];
};

static void add(struct sums *s, const char *name, uint64_t bytes)
{
    uint32_t i = 0;

    while (i < s->count && strcmp(s->of[i].name, name) != 0)
        i++;
    if (i == FB_NODES_MAX)
        return;
    if (i == s->count) {
        s->of[s->count++].name = name;
        s->of[i].bytes = 0;
    }
    s->of[i].bytes += bytes;
}

void node_lag_emit(struct node *n, struct fb_buf *out)
{
    struct sums s = {0};

    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct worker_lag *g = n->workers[i]->lag;
        uint32_t count = atomic_load_explicit(&g->count, memory_order_acquire);
        for (uint32_t k = 0; k < count; k++)
            add(&s, g->peer[k].name, atomic_load_explicit(&g->peer[k].bytes, memory_order_relaxed));
    }
    for (uint32_t i = 0; i < s.count; i++) {
        char label[FB_NAME_BYTES_MAX + 16];
        snprintf(label, sizeof(label), "peer=\"%s\"", s.of[i].name);
        fb_gauge_emit(out, "forebay_replication_lag_bytes", label, (double)s.of[i].bytes);
    }
}
