/* What is published and in which list it stands: every change of table, slots and lists goes
 * through here. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

void extra_free(struct object_extra *x)
{
    if (x == NULL)
        return;
    free(x->park);
    free(x);
}

struct object_extra *slot_extra(struct part *p, const struct object *o)
{
    return o->slot == SLOT_NONE ? NULL : slab_slot(p->sp, o->slot)->extra;
}

static bool expires(const struct object *o)
{
    return o->kind != FB_KIND_NONE && !(object_flags(o) & OBJECT_MAPPED) && object_expires(o) != 0;
}

static void count(struct lane *l, struct part *p, const struct object *o,
                  const struct object_extra *x, int by)
{
    uint8_t flags = object_flags(o);
    uint64_t n = (uint64_t)(int64_t)by;

    if (flags & OBJECT_NEGATIVE)
        STAT_ADD(l, objects_negative, n);
    else if (o->kind == FB_KIND_NONE)
        STAT_ADD(l, objects_tombstone, n);
    else if (x != NULL)
        STAT_ADD(l, objects_dirty, n);
    else
        STAT_ADD(l, objects_clean, n);
    if (flags & OBJECT_PARKED)
        STAT_ADD(l, objects_parked, n);
    STAT_ADD(l, memory_bytes, n * object_bytes(o));
    if (expires(o))
        p->ttl_count += n;
}

static void dirty_count(struct lane *l, const struct object *o, struct object_extra *x,
                        uint32_t bytes)
{
    int64_t delta = (int64_t)bytes - x->bytes;
    x->bytes = bytes;
    l->ns[o->ns].dirty_bytes += (uint64_t)delta;
    STAT_ADD(l, dirty_bytes, delta);
    store_dirty_add(l->store, delta);
}

struct slot_list *feed_list_of(struct feed *f, const struct object_extra *x)
{
    return x->list == LIST_PARKED ? &f->parked : x->list == LIST_GRAVES ? &f->graves : &f->dirty;
}

/* Out of whatever list the slot is in. */
static void unlink_slot(struct part *p, const struct object *o, const struct object_extra *x)
{
    if (x == NULL) {
        sieve_remove(p->sp, o->slot);
    } else {
        struct feed *f = feed_find(p, o->ns);
        slot_list_remove(p->sp, feed_list_of(f, x), o->slot);
    }
}

void part_install(struct lane *l, struct part *p, struct object *next, struct object_extra *extra,
                  uint64_t hash)
{
    struct object *old = store_find_own(l->store, object_key(next), hash);
    struct slot *slot;

    fb_assert(((object_flags(next) & OBJECT_DIRTY) != 0) == (extra != NULL));
    if (old != NULL) {
        struct object_extra *was = slot_extra(p, old);
        count(l, p, old, was, -1);
        unlink_slot(p, old, was);
        if (was != NULL && next->ver > old->ver)
            feed_get(p, old->ns)->replaced_ver = next->ver;
        if (was != NULL && (was != extra || old->ns != next->ns))
            dirty_count(l, old, was, 0);
        if (was != extra)
            extra_free(was);
        slab_slot(p->sp, old->slot)->extra = NULL;
    }
    store_publish(l->writer, next, hash);
    slot = slab_slot(p->sp, next->slot);
    slot->extra = extra;
    if (extra != NULL) {
        struct feed *f = feed_get(p, next->ns);
        extra->list = LIST_DIRTY;
        slot_list_append(p->sp, &f->dirty, next->slot);
        if (f->oldest_ms == 0)
            f->oldest_ms = extra->changed_at_ms ? extra->changed_at_ms : 1;
        dirty_count(l, next, extra, (uint32_t)object_bytes(next) + (uint32_t)sizeof *extra);
    } else {
        sieve_add(p->sp, next->slot);
    }
    count(l, p, next, extra, 1);
}

void part_remove(struct lane *l, struct part *p, struct object *o)
{
    struct object_extra *x = slot_extra(p, o);
    count(l, p, o, x, -1);
    unlink_slot(p, o, x);
    if (x != NULL) {
        if (!FB_MUTANT(dirty_kept))
            dirty_count(l, o, x, 0);
        slab_slot(p->sp, o->slot)->extra = NULL;
        extra_free(x);
    }
    store_remove(l->writer, o);
}

void part_clean(struct lane *l, struct part *p, struct object *o)
{
    struct object_extra *x = slot_extra(p, o);
    fb_assert(x != NULL && o->kind != FB_KIND_NONE);
    count(l, p, o, x, -1);
    unlink_slot(p, o, x);
    dirty_count(l, o, x, 0);
    slab_slot(p->sp, o->slot)->extra = NULL;
    extra_free(x);
    atomic_store_explicit(
        &o->flags, object_flags(o) & (uint8_t) ~(OBJECT_DIRTY | OBJECT_PARKED | OBJECT_BLIND),
        memory_order_relaxed);
    sieve_add(p->sp, o->slot);
    count(l, p, o, NULL, 1);
    mapped_deadline(l, p, o);
}

void mapped_deadline(struct lane *l, struct part *p, struct object *o)
{
    const struct fb_namespace *conf = l->ns[o->ns].conf;
    if (!(object_flags(o) & OBJECT_MAPPED))
        return;
    atomic_store_explicit(
        &o->expires_ms, conf != NULL && conf->ttl_ms ? (int64_t)(part_now(l, p) + conf->ttl_ms) : 0,
        memory_order_relaxed);
}

void feed_list_move(struct part *p, struct feed *f, const struct object *o, enum feed_list to)
{
    struct object_extra *x = slot_extra(p, o);
    fb_assert(x != NULL && x->list == LIST_DIRTY && to != LIST_DIRTY);
    slot_list_remove(p->sp, &f->dirty, o->slot);
    x->list = (uint8_t)to;
    slot_list_append(p->sp, feed_list_of(f, x), o->slot);
}
