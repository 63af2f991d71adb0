/* The object table without threads, for fuzzers (the seam of node/store): one chained hash table.
 * A retired object is freed at once, so that a lane that still looks at it is caught.
 */
#include "node/store/object.h"
#include "node/store/slab.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"

#include <stdlib.h>

#define BUCKETS 64u

struct store {
    struct object *buckets[BUCKETS]; /* chained by link[0] */
    struct store_part *parts;
    uint32_t partitions;
    uint64_t bytes, count, dirty, now_ms;
};

struct store_writer {
    struct store *store;
};

static int reading;

enum fb_status store_new(uint32_t partitions, uint64_t capacity_hint, struct store **out,
                         struct fb_err *err)
{
    struct store *s = fb_xcalloc(1, sizeof(*s));
    (void)capacity_hint;
    (void)err;
    s->partitions = partitions;
    s->parts = fb_xcalloc(partitions, sizeof(*s->parts));
    for (uint32_t i = 0; i < partitions; i++)
        slab_init(&s->parts[i]);
    *out = s;
    return FB_OK;
}

void store_free(struct store *s)
{
    for (uint32_t i = 0; i < s->partitions; i++) {
        struct store_part *p = &s->parts[i];
        for (uint32_t n = 0; n < p->used; n++)
            free(slab_object(p, n));
        for (uint32_t k = 0; k < SLAB_CHUNKS; k++)
            free(p->chunks[k]);
    }
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
    reading++;
}

void store_read_unlock(void)
{
    fb_assert(reading > 0);
    reading--;
}

static struct object **place(struct store *s, struct fb_bytes key, uint64_t hash)
{
    struct object **at = &s->buckets[hash % BUCKETS];
    while (*at != NULL && !fb_bytes_equal(object_key(*at), key))
        at = (struct object **)&(*at)->link[0];
    return at;
}

struct object *store_find(struct store *s, struct fb_bytes key, uint64_t hash)
{
    fb_assert(reading > 0);
    return *place(s, key, hash);
}

struct object *store_find_own(struct store *s, struct fb_bytes key, uint64_t hash)
{
    return *place(s, key, hash);
}

struct store_writer *store_writer_new(struct store *s)
{
    struct store_writer *w = fb_xcalloc(1, sizeof(*w));
    w->store = s;
    return w;
}

void store_writer_flush(struct store_writer *w)
{
    (void)w;
}

void store_writer_free(struct store_writer *w)
{
    free(w);
}

static void retire(struct store *s, struct object *o)
{
    fb_assert(reading == 0);
    s->bytes -= object_bytes(o);
    object_free(o);
}

void store_publish(struct store_writer *w, struct object *next, uint64_t hash)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, next->part);
    struct object **at = place(s, object_key(next), hash), *old = *at;
    struct slot *slot;

    fb_assert(next->slot == SLOT_NONE && object_hash(object_key(next)) == hash);
    next->slot = old != NULL ? old->slot : slab_take(p);
    next->link[0] = old != NULL ? old->link[0] : NULL;
    *at = next;
    slot = slab_slot(p, next->slot);
    fb_assert(slot->obj == old);
    slot->obj = next;
    s->bytes += object_bytes(next);
    s->count += old == NULL;
    p->live = p->live + (next->kind != 0) - (old != NULL && old->kind != 0);
    if (old != NULL)
        retire(s, old);
}

void store_remove(struct store_writer *w, struct object *o)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, o->part);
    struct slot *slot = slab_slot(p, o->slot);
    struct object **at = place(s, object_key(o), object_hash(object_key(o)));

    fb_assert(*at == o && slot->obj == o);
    *at = o->link[0];
    slot->obj = NULL;
    slab_give(p, o->slot);
    s->count--;
    p->live -= o->kind != 0;
    retire(s, o);
}

uint64_t store_memory_bytes(const struct store *s)
{
    return s->bytes;
}

uint64_t store_resident_bytes(const struct store *s)
{
    return s->bytes;
}

uint64_t store_object_count(const struct store *s)
{
    return s->count;
}

uint64_t store_retired_count(const struct store *s)
{
    (void)s;
    return 0;
}

void store_dirty_add(struct store *s, int64_t bytes)
{
    s->dirty += (uint64_t)bytes;
    fb_assert((int64_t)s->dirty >= 0);
}

uint64_t store_dirty_bytes(const struct store *s)
{
    return s->dirty;
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
