/* The object table on liburcu's cds_lfht. */
#include "node/store/reclaim.h"
#include "node/store/slab.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/rt/rcu.h"

#include <stdlib.h>

_Static_assert(sizeof(struct cds_lfht_node) == 2 * sizeof(void *),
               "object.link holds a table node");

char store_grace;

struct store {
    struct cds_lfht *table;
    struct store_part *parts;
    uint32_t partitions;
    struct reclaim *reclaim;
    _Atomic uint64_t resident_bytes, resident_count, dirty_bytes;
    _Atomic uint64_t now_ms;
    _Atomic uint64_t peak_count; /* a thread that asks for the memory */
    uint64_t buckets_first;      /* const */
};

struct store_writer {
    struct store *store;
    struct retired_batch *batch;
};

#define TABLE_BUCKETS_MIN (1ul << 10)
#define TABLE_BUCKETS_INIT_MAX                                                                     \
    (1ul << 16) /* it grows by itself; a sparse table costs a cache miss a lookup */

enum fb_status store_new(uint32_t partitions, uint64_t capacity_hint, struct store **out,
                         struct fb_err *err)
{
    struct store *s = fb_xcalloc(1, sizeof *s);
    unsigned long buckets = TABLE_BUCKETS_MIN;

    *out = NULL;
    while (buckets < capacity_hint && buckets < TABLE_BUCKETS_INIT_MAX)
        buckets *= 2;
    s->partitions = partitions;
    s->buckets_first = buckets;
    s->parts = fb_xcalloc(partitions, sizeof *s->parts);
    for (uint32_t i = 0; i < partitions; i++)
        slab_init(&s->parts[i]);
    /* Accounting: without it the table grows by chain length, without end, as some chain is always
     * long. */
    s->table = cds_lfht_new(buckets, TABLE_BUCKETS_MIN, 0,
                            CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING, NULL);
    if (s->table == NULL) {
        free(s->parts);
        free(s);
        return fb_err_set(err, FB_ENOMEM, "no memory for the object table, of %lu buckets",
                          buckets);
    }
    if (reclaim_start(&s->reclaim, err) != FB_OK) {
        cds_lfht_destroy(s->table, NULL);
        free(s->parts);
        free(s);
        return fb_err_wrap(err, FB_EFULL, "object table");
    }
    *out = s;
    return FB_OK;
}

/* Calls fn for each resident object. No writer is left. */
static void each_object(struct store *s, void (*fn)(struct store *s, struct object *o))
{
    for (uint32_t i = 0; i < s->partitions; i++) {
        struct store_part *p = &s->parts[i];
        uint32_t used = atomic_load_explicit(&p->used, memory_order_relaxed);
        for (uint32_t n = 0; n < used; n++) {
            struct object *o = slab_object(p, n);
            if (o != NULL)
                fn(s, o);
        }
    }
}

static void take_out(struct store *s, struct object *o)
{
    fb_rcu_lock();
    cds_lfht_del(s->table, (struct cds_lfht_node *)o->link);
    rcu_read_unlock();
}

static void give_back(struct store *s, struct object *o)
{
    (void)s;
    object_free(o);
}

/* No reader of ours is left, but liburcu's thread may be resizing the table (removing objects makes
 * it do so) and walks the nodes: as ever, a grace period lies between taking out and freeing. */
void store_free(struct store *s)
{
    if (s == NULL)
        return;
    reclaim_stop(s->reclaim);
    each_object(s, take_out);
    synchronize_rcu();
    FB_RCU_ACQUIRE(&store_grace);
    each_object(s, give_back);
    for (uint32_t i = 0; i < s->partitions; i++)
        for (uint32_t k = 0; k < SLAB_CHUNKS; k++)
            free(atomic_load_explicit(&s->parts[i].chunks[k], memory_order_relaxed));
    cds_lfht_destroy(s->table, NULL);
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
    fb_rcu_lock();
}

void store_read_unlock(void)
{
    FB_RCU_RELEASE(&store_grace);
    rcu_read_unlock();
}

static int match(struct cds_lfht_node *node, const void *arg)
{
    const struct object *o = FB_CONTAINER_OF(node, struct object, link);
    const struct fb_bytes *key = arg;
    FB_RCU_ACQUIRE(node);
    return o->klen == key->n && memcmp(o->bytes, key->p, key->n) == 0;
}

struct object *store_find(struct store *s, struct fb_bytes key, uint64_t hash)
{
    struct cds_lfht_iter it;
    struct cds_lfht_node *node;
    cds_lfht_lookup(s->table, hash, match, &key, &it);
    node = cds_lfht_iter_get_node(&it);
    return node == NULL ? NULL : FB_CONTAINER_OF(node, struct object, link);
}

struct object *store_find_own(struct store *s, struct fb_bytes key, uint64_t hash)
{
    struct object *o;
    fb_rcu_lock();
    o = store_find(s, key, hash);
    rcu_read_unlock();
    return o;
}

struct store_writer *store_writer_new(struct store *s)
{
    struct store_writer *w = fb_xcalloc(1, sizeof *w);
    w->store = s;
    return w;
}

void store_writer_flush(struct store_writer *w)
{
    if (w->batch != NULL)
        reclaim_push(w->store->reclaim, w->batch);
    w->batch = NULL;
}

void store_writer_free(struct store_writer *w)
{
    if (w == NULL)
        return;
    store_writer_flush(w);
    free(w);
}

static void retire(struct store_writer *w, struct object *o)
{
    if (w->batch == NULL)
        w->batch = retired_batch_new();
    if (retired_batch_add(w->batch, o, object_bytes(o)))
        store_writer_flush(w);
}

void store_publish(struct store_writer *w, struct object *next, uint64_t hash)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, next->part);
    struct fb_bytes key = object_key(next);
    struct object *old;
    struct cds_lfht_iter it;
    struct cds_lfht_node *node = (struct cds_lfht_node *)next->link, *was;
    struct slot *slot;
    int failed = 0;

    fb_owner_assert(&p->owner);
    fb_assert(next->slot == SLOT_NONE);
    fb_rcu_lock();
    cds_lfht_lookup(s->table, hash, match, &key, &it);
    was = cds_lfht_iter_get_node(&it);
    old = was == NULL ? NULL : FB_CONTAINER_OF(was, struct object, link);
    next->slot = old != NULL ? old->slot : slab_take(p);
    cds_lfht_node_init(node);
    FB_RCU_RELEASE(node);
    if (was != NULL)
        failed = cds_lfht_replace(s->table, &it, hash, match, &key, node);
    else
        cds_lfht_add(s->table, hash, node);
    rcu_read_unlock();
    fb_assert(failed == 0); /* one writer a partition: nobody else takes the node out */

    slot = slab_slot(p, next->slot);
    fb_assert(atomic_load_explicit(&slot->obj, memory_order_relaxed) == old);
    atomic_store_explicit(&slot->obj, next, memory_order_release); /* pairs with slab_object */
    atomic_fetch_add_explicit(&s->resident_bytes, object_bytes(next), memory_order_relaxed);
    atomic_store_explicit(&p->live,
                          atomic_load_explicit(&p->live, memory_order_relaxed) + (next->kind != 0) -
                              (old != NULL && old->kind != 0),
                          memory_order_relaxed);
    if (old != NULL) {
        atomic_fetch_sub_explicit(&s->resident_bytes, object_bytes(old), memory_order_relaxed);
        retire(w, old); /* last: it may be freed at once */
    } else {
        atomic_fetch_add_explicit(&s->resident_count, 1, memory_order_relaxed);
    }
}

void store_remove(struct store_writer *w, struct object *o)
{
    struct store *s = w->store;
    struct store_part *p = store_part(s, o->part);
    struct slot *slot = slab_slot(p, o->slot);
    int gone;

    fb_owner_assert(&p->owner);
    fb_assert(atomic_load_explicit(&slot->obj, memory_order_relaxed) == o);
    fb_rcu_lock();
    gone = cds_lfht_del(s->table, (struct cds_lfht_node *)o->link);
    rcu_read_unlock();
    fb_assert(gone == 0);
    atomic_store_explicit(&slot->obj, NULL, memory_order_release); /* pairs with slab_object */
    slab_give(p, o->slot);
    atomic_fetch_sub_explicit(&s->resident_bytes, object_bytes(o), memory_order_relaxed);
    atomic_fetch_sub_explicit(&s->resident_count, 1, memory_order_relaxed);
    if (o->kind != 0)
        atomic_store_explicit(&p->live, atomic_load_explicit(&p->live, memory_order_relaxed) - 1,
                              memory_order_relaxed);
    retire(w, o);
}

uint64_t store_memory_bytes(const struct store *s)
{
    return store_resident_bytes(s) + reclaim_bytes(s->reclaim);
}

/* liburcu resizes to the number of nodes when that is a power of two and eight to a bucket. It also
 * shrinks, by the same rule; its memory comes back then. */
static uint64_t table_buckets(uint64_t first, uint64_t count)
{
    uint64_t buckets = first;
    for (uint64_t c = 1; c <= count && c != 0; c *= 2)
        if (c >> 3 >= buckets)
            buckets = c;
    return buckets;
}

void store_memory(const struct store *s, struct store_memory *m)
{
    struct store *mine = (struct store *)(uintptr_t)s;
    uint64_t count = store_object_count(s), retired = reclaim_count(s->reclaim),
             peak = atomic_load_explicit(&s->peak_count, memory_order_relaxed);

    if (count > peak) {
        peak = count;
        atomic_store_explicit(&mine->peak_count, peak, memory_order_relaxed);
    }
    *m = (struct store_memory){
        .objects = store_resident_bytes(s) - count * OBJECT_PLACE_BYTES,
        .retired = reclaim_bytes(s->reclaim) - retired * OBJECT_PLACE_BYTES,
        .table = table_buckets(s->buckets_first, peak) * sizeof(struct cds_lfht_node),
    };
    /* three counters that are read one after the other */
    if (m->objects > store_resident_bytes(s))
        m->objects = 0;
    if (m->retired > reclaim_bytes(s->reclaim))
        m->retired = 0;
    for (uint32_t i = 0; i < s->partitions; i++) {
        for (uint32_t k = 0; k < SLAB_CHUNKS; k++)
            if (atomic_load_explicit(&s->parts[i].chunks[k], memory_order_relaxed) != NULL)
                m->slots += sizeof(struct slot) << (k + SLAB_FIRST_SHIFT);
        m->slots += sizeof(struct store_part);
    }
}

uint64_t store_resident_bytes(const struct store *s)
{
    return atomic_load_explicit(&s->resident_bytes, memory_order_relaxed);
}

uint64_t store_object_count(const struct store *s)
{
    return atomic_load_explicit(&s->resident_count, memory_order_relaxed);
}

uint64_t store_retired_count(const struct store *s)
{
    return reclaim_count(s->reclaim);
}

void store_dirty_add(struct store *s, int64_t bytes)
{
    atomic_fetch_add_explicit(&s->dirty_bytes, (uint64_t)bytes, memory_order_relaxed);
}

uint64_t store_dirty_bytes(const struct store *s)
{
    return atomic_load_explicit(&s->dirty_bytes, memory_order_relaxed);
}

void store_now_set(struct store *s, uint64_t wall_ms)
{
    uint64_t now = atomic_load_explicit(&s->now_ms, memory_order_relaxed);
    while (wall_ms > now &&
           !atomic_compare_exchange_weak_explicit(&s->now_ms, &now, wall_ms, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

uint64_t store_now(const struct store *s)
{
    return atomic_load_explicit(&s->now_ms, memory_order_relaxed);
}
