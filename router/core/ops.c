/* Pools: operations in flight, and the batches that hold their bytes. */
#include "router/core/state.h"

#include <stdlib.h>

#define OPS_FIRST 1024u
#define BATCH_KEEP 32u
#define BATCH_BYTES_KEEP (256u << 10)

static void ops_grow(struct router *r)
{
    uint32_t cap = r->ops_cap == 0 ? OPS_FIRST : r->ops_cap * 2;
    fb_assert(cap <= OP_POOL_MAX);
    r->ops = fb_xrealloc(r->ops, cap * sizeof(*r->ops));
    memset(r->ops + r->ops_cap, 0, (cap - r->ops_cap) * sizeof(*r->ops));
    for (uint32_t i = cap; i-- > r->ops_cap;) {
        r->ops[i].next = r->ops_free;
        r->ops_free = i;
    }
    r->ops_cap = cap;
}

uint32_t op_new(struct router *r)
{
    uint32_t i;
    struct router_op *op;
    if (r->ops_free == OP_NONE)
        ops_grow(r);
    i = r->ops_free;
    op = &r->ops[i];
    fb_assert(op->state == OP_FREE);
    r->ops_free = op->next;
    r->ops_used++;
    op->gen = (uint16_t)((op->gen + 1u) & ((1u << (32 - OP_INDEX_BITS)) - 1));
    op->next = OP_NONE;
    return i;
}

void op_free(struct router *r, uint32_t i)
{
    struct router_op *op = &r->ops[i];
    fb_assert(op->batch == NULL);
    fb_assert(r->ops_used > 0);
    op->state = OP_FREE;
    op->s = NULL;
    op->next = r->ops_free;
    r->ops_free = i;
    r->ops_used--;
}

struct router_op *op_of_seq(struct router *r, uint32_t seq)
{
    uint32_t i = seq & (OP_POOL_MAX - 1);
    if (i >= r->ops_cap || r->ops[i].state == OP_FREE || op_seq(r, i) != seq)
        return NULL;
    return &r->ops[i];
}

struct router_batch *batch_new(struct router *r)
{
    struct router_batch *b = r->batch_free;
    if (b == NULL) {
        b = fb_xcalloc(1, sizeof(*b));
    } else {
        r->batch_free = b->next;
        r->batch_free_count--;
    }
    b->next = NULL;
    b->refs = 1;
    b->count = b->clients = 0;
    b->last = NULL;
    b->sent = b->answered = false;
    return b;
}

void batch_unref(struct router *r, struct router_batch *b)
{
    fb_assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    r->batch_bytes -= b->counted;
    b->counted = 0;
    fb_buf_clear(&b->items);
    fb_buf_shrink(&b->items, BATCH_BYTES_KEEP);
    if (r->batch_free_count >= BATCH_KEEP) {
        fb_buf_fini(&b->items);
        free(b);
        return;
    }
    b->next = r->batch_free;
    r->batch_free = b;
    r->batch_free_count++;
}
