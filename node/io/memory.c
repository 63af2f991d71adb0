/* Memory of a node by kind: each worker counts its own once a second, the rest is asked. */
#include "node/io/worker.h"

#include "node/io/snapshotter.h"
#include "node/store/store.h"
#include "proto/rt/memory.h"
#include "proto/rt/metrics.h"

static uint64_t get(const _Atomic uint64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static struct lane_memory of_workers(const struct node *n)
{
    struct lane_memory m = {0};

    for (uint32_t i = 0; i < n->worker_count; i++) {
        const struct worker_memory *w = &n->workers[i]->memory;
        m.dirty += get(&w->dirty);
        m.feeds += get(&w->feeds);
        m.loads += get(&w->loads);
        m.log += get(&w->log);
        m.replies += get(&w->replies);
    }
    return m;
}

uint64_t node_memory_beside(struct node *n)
{
    struct lane_memory m = of_workers(n);

    return m.dirty + m.feeds + m.loads + m.log + m.replies + fb_net_memory_bytes(n->net);
}

void node_memory_emit(struct node *n, struct fb_buf *out)
{
    struct lane_memory m = of_workers(n);
    struct store_memory s;
    struct fb_memory_kind kinds[] = {
        {"objects", 0},         {"retired", 0},     {"slots", 0},       {"table", 0},
        {"dirty", m.dirty},     {"feeds", m.feeds}, {"loads", m.loads}, {"log_buffers", m.log},
        {"replies", m.replies}, {"connections", 0}, {"snapshots", 0},
    };

    store_memory(n->store, &s);
    kinds[0].bytes = s.objects;
    kinds[1].bytes = s.retired;
    kinds[2].bytes = s.slots;
    kinds[3].bytes = s.table;
    kinds[9].bytes = fb_net_memory_bytes(n->net);
    kinds[10].bytes = snapshotter_memory_bytes(n->snapshotter);
    fb_memory_emit(out, kinds, FB_COUNT_OF(kinds));
}
