/* When a batch leaves: it may wait a moment for company, and it takes half of the clients at most.
 *
 * A frame costs the same wake-ups of threads on both sides whether it carries one operation or
 * fifty, and when cores are short these are most of what a lone command costs. Clients that were
 * answered together ask again together, within the time the machine needs to run them, so a batch
 * that leaves at the first of them leaves nearly empty. The rule: where the batch before was of
 * some size, the next one stays open
 *   - until half of the clients that are active now are in it (the other half is being served), or
 *     their share where there are several nodes,
 *   - or nobody came for HOLD_GAP_NS,
 *   - or batch_hold has passed since it could have left.
 * Lone clients therefore never wait, and neither does anybody where commands come in faster than
 * the loop takes them.
 *
 * The other way round, when all clients ask at once, everybody in one batch would make router and
 * node wait for each other in turn: a batch of some size with half of the active clients leaves
 * while the commands of the others are still being read. */
#include "router/core/state.h"

#define HOLD_GAP_NS UINT64_C(25000)
#define HOLD_SEEN_MIN 4u      /* operations of the batch before */
#define SHARE_MIN 8u          /* clients; what smaller batches gain, their frames cost */
#define SHARE_BYTES_MIN 8192u /* less work than that is not worth a frame of its own */
#define ACTIVE_PERIOD_NS UINT64_C(2000000)

void hold_count(struct router_session *s)
{
    struct router *r = s->router;
    if (r->now_ns >= r->active_until_ns) {
        bool idle = r->now_ns - r->active_until_ns >= ACTIVE_PERIOD_NS;
        r->active_before = idle ? 0 : r->active_now;
        r->active_now = 0;
        r->active_period++;
        r->active_until_ns = r->now_ns + ACTIVE_PERIOD_NS;
    }
    if (s->active_period == r->active_period)
        return;
    s->active_period = r->active_period;
    r->active_now++;
}

static uint32_t enough(const struct router *r)
{
    uint32_t active = r->active_now > r->active_before ? r->active_now : r->active_before;
    return active / 2 / (r->order_count > 0 ? r->order_count : 1);
}

bool hold_batch(const struct router *r, struct router_node *n)
{
    fb_assert(n->collecting != NULL);
    if (n->last_count < HOLD_SEEN_MIN || n->collecting->count >= enough(r))
        return false;
    if (n->hold_since_ns == 0)
        n->hold_since_ns = r->now_ns;
    n->hold_until_ns = n->last_op_ns + HOLD_GAP_NS;
    if (n->hold_until_ns > n->hold_since_ns + r->config.hold_ns)
        n->hold_until_ns = n->hold_since_ns + r->config.hold_ns;
    return r->now_ns < n->hold_until_ns;
}

bool hold_share_reached(const struct router *r, const struct router_batch *b)
{
    uint32_t share = enough(r);
    return share >= SHARE_MIN && b->clients >= share && b->items.n >= SHARE_BYTES_MIN;
}
