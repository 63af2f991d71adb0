/* The object table for simulated nodes: the headers of node/store, without liburcu and its threads.
 *
 * Readers and writers of a simulated node never run at the same moment, so an object that is
 * retired can be made unreadable at once: whoever still looks at it finds nonsense (or
 * AddressSanitizer). */
#include "node/store/object.h"
#include "node/store/slab.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"

#include <stdlib.h>

#define BUCKETS 1024u

struct store {
    struct store_part *parts;
    uint32_t partitions;
    uint64_t resident_bytes, resident_count, dirty_bytes, now_ms;
    struct object *buckets[BUCKETS];
};

struct store_writer {
    struct store *store;
};

static struct object **next_of(struct object *o)
{
    return (struct object **)&o->link[0];
}

enum fb_status store_new(uint32_t partitions, uint64_t capacity_hint, struct store **out,
                         struct fb_err *err)
{
    struct store *s = fb_xcalloc(1, sizeof *s);
    (void)capacity_hint;
    (void)err;
    s->partitions = partitions;
    s->parts = fb_xcalloc(partitions, sizeof *s->parts);
    for (uint32_t i = 0; i < partitions; i++)
        slab_init(&s->parts[i]);
    *out = s;
    return FB_OK;
}

void store_free(struct store *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++)
        for (struct object *o = s->buckets[i]; o != NULL;) {
            struct object *next = *next_of(o);
            object_free(o);
            o = next;
        }
    for (uint32_t i = 0; i < s->partitions; i++)
        for (uint32_t k = 0; k < SLAB_CHUNKS; k++)
            free(atomic_load_explicit(&s->parts[i].chunks[k], memory_order_relaxed));
    free(s->parts);
    free(s);
}

struct store_part *store_part(struct store *s, uint16_t part)
{
    fb_assert(part < s->partitions);
    return &s->parts[part];
}

uint32_t store_partitions(const struct store *s)
{
    return s->partitions;
}

void store_read_lock(void)
{
}

void store_read_unlock(void)
{
}

struct object *store_find(struct store *s, struct fb_bytes key, uint64_t hash)
{
    struct object *o = s->buckets[hash % BUCKETS];
    while (o != NULL && !fb_bytes_equal(object_key(o), key))
        o = *next_of(o);
    return o;
}

struct object *store_find_own(struct store *s, struct fb_bytes key, uint64_t hash)
{
    return store_find(s, key, hash);
}

struct store_writer *store_writer_new(struct store *s)
{
    struct store_writer *w = fb_xcalloc(1, sizeof *w);
    w->store = s;
    return w;
}

void store_writer_free(struct store_writer *w)
{
    free(w);
}

void store_writer_flush(struct store_writer *w)
{
    (void)w;
}

static void retire(struct object *o)
{
    memset(o->bytes, 0xdb, (size_t)o->klen + o->vlen);
    o->ver = UINT64_MAX;
    o->klen = UINT16_MAX;
    o->slot = SLOT_NONE - 1;
    free(o);
}

static void take_out(struct store *s, struct object *o, uint64_t hash)
{
    struct object **at = &s->buckets[hash % BUCKETS];
    while (*at != o) {
        fb_assert(*at != NULL);
        at = next_of(*at);
    }
    *at = *next_of(o);
}

void store_publish(struct store_writer *w, struct object *next, uint64_t hash)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, next->part);
    struct object *old = store_find(s, object_key(next), hash);
    struct slot *slot;

    fb_assert(next->slot == SLOT_NONE && hash == object_hash(object_key(next)));
    next->slot = old != NULL ? old->slot : slab_take(p);
    if (old != NULL)
        take_out(s, old, hash);
    *next_of(next) = s->buckets[hash % BUCKETS];
    s->buckets[hash % BUCKETS] = next;
    slot = slab_slot(p, next->slot);
    fb_assert(atomic_load_explicit(&slot->obj, memory_order_relaxed) == old);
    atomic_store_explicit(&slot->obj, next, memory_order_relaxed);
    s->resident_bytes += object_bytes(next);
    atomic_store_explicit(&p->live,
                          atomic_load_explicit(&p->live, memory_order_relaxed) + (next->kind != 0) -
                              (old != NULL && old->kind != 0),
                          memory_order_relaxed);
    if (old != NULL) {
        s->resident_bytes -= object_bytes(old);
        retire(old);
    } else {
        s->resident_count++;
    }
}

void store_remove(struct store_writer *w, struct object *o)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, o->part);
    struct slot *slot = slab_slot(p, o->slot);

    fb_assert(atomic_load_explicit(&slot->obj, memory_order_relaxed) == o);
    take_out(s, o, object_hash(object_key(o)));
    atomic_store_explicit(&slot->obj, NULL, memory_order_relaxed);
    slab_give(p, o->slot);
    s->resident_bytes -= object_bytes(o);
    s->resident_count--;
    if (o->kind != 0)
        atomic_store_explicit(&p->live, atomic_load_explicit(&p->live, memory_order_relaxed) - 1,
                              memory_order_relaxed);
    retire(o);
}

uint64_t store_memory_bytes(const struct store *s)
{
    return s->resident_bytes;
}

void store_memory(const struct store *s, struct store_memory *m)
{
    *m = (struct store_memory){.objects = s->resident_bytes};
}

uint64_t store_resident_bytes(const struct store *s)
{
    return s->resident_bytes;
}

uint64_t store_object_count(const struct store *s)
{
    return s->resident_count;
}

uint64_t store_retired_count(const struct store *s)
{
    (void)s;
    return 0;
}

void store_dirty_add(struct store *s, int64_t bytes)
{
    s->dirty_bytes += (uint64_t)bytes;
}

uint64_t store_dirty_bytes(const struct store *s)
{
    return s->dirty_bytes;
}

void store_now_set(struct store *s, uint64_t wall_ms)
{
    if (wall_ms > s->now_ms)
        s->now_ms = wall_ms;
}

uint64_t store_now(const struct store *s)
{
    return s->now_ms;
}
