/* Memory of received frames. Boxes for small frames go back to the connection they came from:
 * pushed on a stack by whoever frees them, taken whole by the receiver (so no ABA), with a bound on
 * how many are kept. */
#include "proto/net/conn.h"

#include <stdlib.h>

#define BOX_SMALL_BYTES 4096u
#define BOXES_KEPT_MAX 128u

static _Atomic uint64_t boxes_bytes; /* an allocation's cost, not a frame's: most go round */

static struct frame_box *box_alloc(size_t cap)
{
    struct frame_box *b = fb_try_malloc(sizeof(*b) + cap);
    if (b == NULL)
        return NULL;
    b->cap = cap;
    atomic_fetch_add_explicit(&boxes_bytes, sizeof(*b) + cap, memory_order_relaxed);
    return b;
}

static void box_free(struct frame_box *b)
{
    if (b == NULL)
        return;
    atomic_fetch_sub_explicit(&boxes_bytes, sizeof(*b) + b->cap, memory_order_relaxed);
    free(b);
}

uint64_t frame_pool_bytes(void)
{
    return atomic_load_explicit(&boxes_bytes, memory_order_relaxed);
}

struct frame_box *frame_box_new(struct fb_conn *c, size_t n)
{
    struct frame_box *b;

    if (n > BOX_SMALL_BYTES) {
        b = box_alloc(n);
    } else {
        /* Acquire: pairs with the release of the push; the box's last reader is done with it. */
        if (c->free_local == NULL)
            c->free_local = atomic_exchange_explicit(&c->free_returned, NULL, memory_order_acquire);
        b = c->free_local;
        if (b != NULL) {
            c->free_local = b->next_free;
            atomic_fetch_sub_explicit(&c->free_count, 1, memory_order_relaxed);
        } else {
            b = box_alloc(BOX_SMALL_BYTES);
        }
    }
    if (b == NULL)
        return NULL;
    b->n = n;
    b->frame.next = NULL;
    b->frame.conn = NULL;
    return b;
}

void frame_box_drop(struct frame_box *b)
{
    box_free(b);
}

void fb_net_frame_free(struct fb_net_frame *f)
{
    struct frame_box *b = FB_CONTAINER_OF(f, struct frame_box, frame);
    struct fb_conn *c;

    if (f == NULL)
        return;
    c = f->conn;
    if (b->cap != BOX_SMALL_BYTES) {
        box_free(b);
    } else if (atomic_fetch_add_explicit(&c->free_count, 1, memory_order_relaxed) >=
               BOXES_KEPT_MAX) {
        atomic_fetch_sub_explicit(&c->free_count, 1, memory_order_relaxed);
        box_free(b);
    } else {
        b->next_free = atomic_load_explicit(&c->free_returned, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&c->free_returned, &b->next_free, b,
                                                      memory_order_release, memory_order_relaxed))
            ;
    }
    fb_conn_put(c);
}

static void list_free(struct frame_box *b)
{
    while (b != NULL) {
        struct frame_box *next = b->next_free;
        box_free(b);
        b = next;
    }
}

void frame_pool_fini(struct fb_conn *c)
{
    list_free(c->free_local);
    list_free(atomic_load(&c->free_returned));
}
