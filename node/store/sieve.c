/* Eviction order: SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi: "SIEVE is Simpler than LRU", NSDI
 * 2024). */
#include "node/store/object.h"

void sieve_add(struct store_part *p, uint32_t index)
{
    fb_owner_assert(&p->owner);
    slot_list_prepend(p, &p->clean, index);
}

void sieve_remove(struct store_part *p, uint32_t index)
{
    fb_owner_assert(&p->owner);
    if (p->hand == index)
        p->hand = slab_slot(p, index)->prev;
    slot_list_remove(p, &p->clean, index);
}

struct object *sieve_victim(struct store_part *p, bool (*ok)(void *arg, const struct object *o),
                            void *arg, uint32_t steps)
{
    uint32_t at = p->hand;

    fb_owner_assert(&p->owner);
    while (steps-- > 0 && p->clean.count > 0) {
        struct object *o;
        if (at == SLOT_NONE)
            at = p->clean.tail;
        o = atomic_load_explicit(&slab_slot(p, at)->obj, memory_order_relaxed);
        if (!atomic_load_explicit(&o->visited, memory_order_relaxed) && ok(arg, o)) {
            p->hand = at;
            return o;
        }
        atomic_store_explicit(&o->visited, 0, memory_order_relaxed);
        at = slab_slot(p, at)->prev;
    }
    p->hand = at;
    return NULL;
}
