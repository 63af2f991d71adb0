/* Objects against the present configuration: after a recovery and after a change of namespaces.
 *
 * Clean copies that no longer fit are dropped, they are loaded when asked for. Dirty objects are
 * never dropped (I26): they stay in the feed of the namespace they were written in until PostgreSQL
 * has them. */
#include "node/core/lane_impl.h"

static void fit_object(struct lane *l, struct part *p, struct object *o, bool drop_mapped)
{
    const struct fb_namespace *conf = l->ns[o->ns].conf;
    uint8_t ns_len, flags = object_flags(o);
    bool mapped = conf != NULL && conf->mapped, was = flags & OBJECT_MAPPED;

    drop_mapped = drop_mapped || l->ns[o->ns].moved;
    if (slot_extra(p, o) == NULL) {
        bool misfit =
            conf == NULL || mapped != was || nsid_of_key(l, object_key(o), &ns_len) != o->ns;
        if (!misfit && !(mapped && drop_mapped))
            return;
        if (evictable(l, o)) {
            evict_object(l, p, o);
            return;
        }
    }
    if (conf == NULL)
        return;
    if (mapped && !was) { /* recovered before the namespaces were known: what looked like an expiry
                             cannot be one */
        if (o->kind != FB_KIND_NONE && object_expires(o) != 0)
            p->ttl_count--;
        atomic_store_explicit(&o->expires_ms, 0, memory_order_relaxed);
        atomic_store_explicit(&o->flags, flags | OBJECT_MAPPED, memory_order_relaxed);
    }
    if (mapped && slot_extra(p, o) == NULL && drop_mapped)
        atomic_store_explicit(&o->expires_ms, 1,
                              memory_order_relaxed); /* outdated: load at the next access */
}

static void reconcile_partition(struct lane *l, struct part *p)
{
    uint32_t used = atomic_load_explicit(&p->sp->used, memory_order_relaxed);

    for (uint32_t i = 0; i < used; i++) {
        struct object *o = slab_object(p->sp, i);
        if (o != NULL)
            fit_object(l, p, o, p->drop_mapped);
    }
    p->reconcile = p->drop_mapped = false;
}

void reconcile_soon(struct lane *l)
{
    l->reconcile_due = l->pending.n > l->pending.copies_n;
    if (l->reconcile_due)
        return; /* lane_written calls again */
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        if (l->nsset == NULL || p == NULL || !p->reconcile)
            continue;
        if (p->pending_n > 0)
            l->reconcile_due = true; /* not committed yet: lane_copies_written calls again */
        else
            reconcile_partition(l, p);
    }
    for (uint16_t i = 0; !l->reconcile_due && i < l->ns_n; i++)
        l->ns[i].moved = false;
}
