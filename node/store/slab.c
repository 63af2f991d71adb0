/* The slab index of a partition: slots that never move, in chunks that double. */
#include "node/store/slab.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"

static void place(uint32_t index, uint32_t *chunk, uint32_t *offset)
{
    uint32_t n = index + (1u << SLAB_FIRST_SHIFT);
    *chunk = (uint32_t)(31 - __builtin_clz(n)) - SLAB_FIRST_SHIFT;
    *offset = n - (1u << (*chunk + SLAB_FIRST_SHIFT));
}

struct slot *slab_slot(struct store_part *p, uint32_t index)
{
    uint32_t k, off;
    struct slot *chunk;
    place(index, &k, &off);
    fb_assert(k < SLAB_CHUNKS);
    chunk = atomic_load_explicit(&p->chunks[k], memory_order_acquire); /* pairs with slab_take */
    fb_assert(chunk != NULL);
    return &chunk[off];
}

struct object *slab_object(struct store_part *p, uint32_t index)
{
    if (index >= atomic_load_explicit(&p->used, memory_order_acquire)) /* pairs with slab_take */
        return NULL;
    return atomic_load_explicit(&slab_slot(p, index)->obj,
                                memory_order_acquire); /* pairs with store_publish */
}

uint32_t slab_take(struct store_part *p)
{
    uint32_t index, k, off;
    struct slot *slot;

    fb_owner_assert(&p->owner);
    if (p->free_head != SLOT_NONE) {
        index = p->free_head;
        slot = slab_slot(p, index);
        p->free_head = slot->next;
    } else {
        index = atomic_load_explicit(&p->used, memory_order_relaxed);
        place(index, &k, &off);
        fb_assert(k < SLAB_CHUNKS);
        if (off == 0) {
            struct slot *chunk = fb_xcalloc((size_t)1 << (k + SLAB_FIRST_SHIFT), sizeof *chunk);
            atomic_store_explicit(&p->chunks[k], chunk,
                                  memory_order_release); /* pairs with slab_slot */
        }
        slot = slab_slot(p, index);
        atomic_store_explicit(&p->used, index + 1,
                              memory_order_release); /* pairs with slab_object */
    }
    slot->extra = NULL;
    slot->prev = slot->next = SLOT_NONE;
    return index;
}

void slab_give(struct store_part *p, uint32_t index)
{
    struct slot *slot = slab_slot(p, index);
    fb_owner_assert(&p->owner);
    fb_assert(slot->extra == NULL);
    fb_assert(atomic_load_explicit(&slot->obj, memory_order_relaxed) == NULL);
    slot->next = p->free_head;
    p->free_head = index;
}

void slab_init(struct store_part *p)
{
    p->free_head = SLOT_NONE;
    p->clean = SLOT_LIST_EMPTY;
    p->hand = SLOT_NONE;
}

void slot_list_append(struct store_part *p, struct slot_list *l, uint32_t index)
{
    struct slot *s = slab_slot(p, index);
    fb_owner_assert(&p->owner);
    s->prev = l->tail;
    s->next = SLOT_NONE;
    if (l->tail != SLOT_NONE)
        slab_slot(p, l->tail)->next = index;
    else
        l->head = index;
    l->tail = index;
    l->count++;
}

void slot_list_prepend(struct store_part *p, struct slot_list *l, uint32_t index)
{
    struct slot *s = slab_slot(p, index);
    fb_owner_assert(&p->owner);
    s->prev = SLOT_NONE;
    s->next = l->head;
    if (l->head != SLOT_NONE)
        slab_slot(p, l->head)->prev = index;
    else
        l->tail = index;
    l->head = index;
    l->count++;
}

void slot_list_remove(struct store_part *p, struct slot_list *l, uint32_t index)
{
    struct slot *s = slab_slot(p, index);
    fb_owner_assert(&p->owner);
    fb_assert(l->count > 0);
    if (s->prev != SLOT_NONE) {
        slab_slot(p, s->prev)->next = s->next;
    } else {
        fb_assert(l->head == index);
        l->head = s->next;
    }
    if (s->next != SLOT_NONE) {
        slab_slot(p, s->next)->prev = s->prev;
    } else {
        fb_assert(l->tail == index);
        l->tail = s->prev;
    }
    s->prev = s->next = SLOT_NONE;
    l->count--;
}
