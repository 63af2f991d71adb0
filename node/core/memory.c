/* What a lane holds beside the objects themselves. */
#include "node/core/load_impl.h"

/* What malloc takes for n bytes. */
static uint64_t chunk(size_t n)
{
    return n < 24 ? 32 : ((uint64_t)n + 8 + 15) & ~UINT64_C(15);
}

static void of_feed(const struct feed *f, struct lane_memory *m)
{
    m->feeds += chunk(sizeof(*f)) + chunk(f->rewritten_cap * sizeof(*f->rewritten));
    m->dirty += ((uint64_t)f->dirty.count + f->parked.count) * chunk(sizeof(struct object_extra));
    m->replies += waits_bytes(&f->waits);
}

void lane_memory(const struct lane *l, struct lane_memory *m)
{
    const struct pending_set *s = &l->pending;
    const struct loads *q = &l->loads;

    *m = (struct lane_memory){0};
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        const struct part *p = l->parts[i];
        if (p == NULL)
            continue;
        m->feeds += chunk(sizeof(*p)) + chunk(p->feed_cap * sizeof(struct feed *));
        for (uint32_t k = 0; k < p->feed_cap; k++)
            if (p->feeds[k] != NULL)
                of_feed(p->feeds[k], m);
    }
    m->feeds += l->held_bytes;
    m->log = l->fx.log.cap + l->txn_log.cap + l->txn_reps.cap + l->payload.cap + l->value.cap +
             l->mark_cap * sizeof(*l->marks) + s->cap * sizeof(*s->e) +
             s->table_cap * sizeof(*s->table) + copies_log_bytes(l);
    m->loads = q->count * chunk(sizeof(struct load_entry) + 32) +
               q->waiters * (chunk(sizeof(struct waiter)) + chunk(sizeof(struct place)) +
                             chunk(64)) + /* key and arguments, about */
               q->table_cap * sizeof(*q->table) +
               q->index_cap * sizeof(*q->by_index) + l->fx.load_cap * sizeof(*l->fx.loads) +
               l->fx.load_bytes.cap + l->fx.notes.cap;
    m->replies += waits_bytes(&l->durable) + waits_bytes(&l->throttled) + copies_wait_bytes(l);
}
