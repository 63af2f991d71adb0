/* Expiry of unmapped objects: an EXPIRE record when ptime reaches the deadline (PROTOCOL 14).
 * Access finds what is due at once; what nobody asks for is found by a walk over the slab index, a
 * bounded number of slots a tick. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#define EXPIRE_SLOTS_A_TICK 4096u

bool object_expired(const struct object *o, uint64_t now)
{
    return o->kind != FB_KIND_NONE && !(object_flags(o) & OBJECT_MAPPED) &&
           object_expires(o) != 0 && now >= (uint64_t)object_expires(o);
}

void expire_object(struct lane *l, struct part *p, const struct object *o, uint64_t hash)
{
    struct object *next = object_new(object_key(o), o->ns_len, o->ns, p->id, FB_KIND_NONE, 0);
    fb_assert(object_expired(o, part_now(l, p)));
    (void)write_object(l, p, next, hash, FB_RECORD_EXPIRE, o, 0, false);
    STAT_ADD(l, expired, 1);
}

void expire_tick(struct lane *l)
{
    uint32_t budget = EXPIRE_SLOTS_A_TICK;

    for (uint32_t tried = 0; tried <= l->config.partitions && budget > 0; tried++) {
        struct part *p = l->parts[l->expire_part];
        uint32_t used = p == NULL ? 0 : atomic_load_explicit(&p->sp->used, memory_order_relaxed);
        if (p != NULL && p->open && p->ttl_count > 0) {
            uint64_t now = part_now(l, p);
            for (; l->expire_slot < used && budget > 0; l->expire_slot++, budget--) {
                struct object *o = slab_object(p->sp, l->expire_slot);
                if (o != NULL && object_expired(o, now)) {
                    uint64_t hash = object_hash(object_key(o));
                    if (pending_find(l, object_key(o), hash) == NULL || /* a newer write decides */
                        FB_MUTANT(expire_pending))
                        expire_object(l, p, o, hash);
                }
            }
            if (budget == 0)
                return;
        }
        l->expire_slot = 0;
        l->expire_part = (l->expire_part + 1) % l->config.partitions;
    }
}
