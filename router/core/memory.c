/* What a core holds. */
#include "router/core/state.h"

static uint64_t of_session(const struct router_session *s)
{
    return sizeof(*s) + s->ring_cap * sizeof(*s->ring) + s->out.cap + s->parser.unquoted.cap +
           s->parser.argv_cap * sizeof(*s->parser.argv) +
           (s->txn != NULL ? sizeof(*s->txn) + s->txn->bytes : 0);
}

static uint64_t of_batch(const struct router_batch *b)
{
    return b == NULL ? 0 : sizeof(*b) + b->items.cap;
}

void router_memory(const struct router *r, struct router_memory *m)
{
    *m = (struct router_memory){.operations = r->ops_cap * sizeof(*r->ops),
                                .batches = r->batch_bytes + of_batch(r->limbo),
                                .core = sizeof(*r) + r->scratch.cap + r->args.cap};
    for (const struct router_session *s = r->all; s != NULL; s = s->next_all)
        m->clients += of_session(s);
    for (uint32_t i = 0; i < r->node_count; i++)
        m->batches += of_batch(r->nodes[i].collecting) + r->nodes[i].out.cap;
    for (const struct router_batch *b = r->batch_free; b != NULL; b = b->next)
        m->batches += of_batch(b);
}
