/* Eviction: clean copies only, and only what the database is sure to have (I25). */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

bool evictable(struct lane *l, const struct object *o)
{
    const struct part *p = l->parts[o->part];
    const struct feed *f = feed_find(l->parts[o->part], o->ns);
    bool dirty = slot_extra(l->parts[p->id], o) != NULL || (object_flags(o) & OBJECT_DIRTY);

    if (dirty && !FB_MUTANT(evict_dirty))
        return false;
    if (feed_frozen(f))
        return false;
    if (fb_ver_epoch(o->ver) != 0 && (f == NULL || o->ver > f->dsafe) &&
        !(dirty ? FB_MUTANT(evict_dirty) : FB_MUTANT(evict_unsafe)))
        return false;
    if (key_is_loading(l, object_key(o), object_hash(object_key(o))))
        return false;
    return pending_find(l, object_key(o), object_hash(object_key(o))) == NULL;
}

static bool victim_ok(void *arg, const struct object *o)
{
    return evictable(arg, o);
}

void evict_object(struct lane *l, struct part *p, struct object *o)
{
    fb_assert(slot_extra(p, o) == NULL || FB_MUTANT(evict_dirty));
    if (fb_ver_epoch(o->ver) != 0) {
        struct feed *f = feed_get(p, o->ns);
        fb_assert(o->ver <= f->dsafe || FB_MUTANT(evict_unsafe) || /* I25, I28 */
                  FB_MUTANT(evict_dirty));
        feed_purged(f, o->ver);
        /* it may expire while it is not here, and is then absent without a record of ours */
        if (object_expires(o) != 0 && !(object_flags(o) & OBJECT_MAPPED) && o->ver > f->gone_ver)
            f->gone_ver = o->ver;
    }
    part_remove(l, p, o);
    STAT_ADD(l, evictions, 1);
}

void evict_tick(struct lane *l, uint32_t steps)
{
    uint64_t limit = l->config.memory_limit;
    uint32_t idle = 0;

    if (limit == 0)
        return;
    while (steps > 0 && idle < l->config.partitions && store_resident_bytes(l->store) > limit) {
        struct part *p = l->parts[l->evict_part];
        struct object *o = NULL;
        l->evict_part = (l->evict_part + 1) % l->config.partitions;
        if (p != NULL && p->sp->clean.count > 0) {
            o = sieve_victim(p->sp, victim_ok, l, 64);
            steps--;
        }
        if (o != NULL) {
            evict_object(l, p, o);
            idle = 0;
        } else {
            idle++;
        }
    }
}

uint64_t lane_flush_clean(struct lane *l)
{
    lane_check_writer(l);
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        uint32_t used = p == NULL ? 0 : atomic_load_explicit(&p->sp->used, memory_order_relaxed);
        for (uint32_t s = 0; s < used; s++) {
            struct object *o = slab_object(p->sp, s);
            if (o == NULL || !evictable(l, o))
                continue;
            evict_object(l, p, o);
            dropped++;
        }
    }
    return dropped;
}
