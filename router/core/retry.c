/* Operations that no node took: tried again with a newer map until the command's deadline.
 *
 * Order. A client must see its commands on one partition happen in the order it sent them. So
 *   1. while a session has an operation waiting, it takes no further commands (they could not be
 *      answered before it anyway: replies leave in order);
 *   2. its waiting operations are sent again only when none of its others is on the way, in the
 *      order of the commands;
 *   3. after a map with another primary or epoch, a session takes no further commands until the
 *      operations sent under the old map are answered (session_may_take).
 * What this cannot promise: of two writes already on the way to one partition, a node that opens
 * between them may refuse the first and run the second. MULTI is for those who need both or none.
 */
#include "router/core/state.h"

#define RETRY_MIN_NS UINT64_C(2000000)
#define RETRY_MAX_NS UINT64_C(100000000)

static uint64_t op_deadline(const struct router *r, struct router_session *s,
                            const struct router_op *op)
{
    return (s->dead ? 0 : slot_at(s, op->slot)->start_ns) + r->config.retry_deadline_ns;
}

static bool op_before(const struct router_op *a, const struct router_op *b)
{
    if (a->slot != b->slot)
        return (int32_t)(a->slot - b->slot) < 0;
    return a->index < b->index;
}

void retry_add(struct router *r, uint32_t i, enum router_retry_reason why)
{
    struct router_op *op = &r->ops[i];
    struct router_session *s = op->s;
    uint32_t *at = &s->retry_first;
    if (op->state == OP_ON_NODE) {
        fb_assert(s->sent > 0);
        s->sent--;
    }
    r->stats.retries[why]++;
    if (op->retries < UINT8_MAX)
        op->retries++;
    op->state = OP_WAITING;
    op->node = ROUTER_NODE_NONE;
    if (s->retry_last != OP_NONE && op_before(&r->ops[s->retry_last], op))
        at = &r->ops[s->retry_last].next;
    else
        while (*at != OP_NONE && op_before(&r->ops[*at], op))
            at = &r->ops[*at].next;
    op->next = *at;
    *at = i;
    if (op->next == OP_NONE)
        s->retry_last = i;
    s->waiting++;
    if (!s->on_retry) {
        s->on_retry = true;
        s->next_retry = r->retry;
        r->retry = s;
        s->retry_wait_ns = RETRY_MIN_NS;
    }
    /* the same node is not asked again at once with the same map; a new map cuts this short */
    if (s->retry_due_ns < r->now_ns + RETRY_MIN_NS)
        s->retry_due_ns = r->now_ns + RETRY_MIN_NS;
}

/* Send again what can be sent, give up what is too old. False: nothing is waiting any more. */
static bool session_retry(struct router *r, struct router_session *s)
{
    bool due = s->sent == 0 && r->now_ns >= s->retry_due_ns;
    uint32_t next = s->retry_first, *keep = &s->retry_first;
    struct fb_reader in;
    struct fb_req req;

    s->retry_last = OP_NONE;
    s->ops++; /* keeps a session that is gone while its operations end here */
    while (next != OP_NONE) {
        uint32_t i = next;
        struct router_op *op = &r->ops[i];
        uint8_t node = due ? node_for(r, op) : ROUTER_NODE_NONE;
        next = op->next;
        if (r->now_ns >= op_deadline(r, s, op)) {
            s->waiting--;
            r->stats.rejected[ROUTER_REJECT_DEADLINE]++;
            *keep = next;
            op_fail(r, i, FB_REP_ERR_NOT_PRIMARY);
            continue;
        }
        if (node == ROUTER_NODE_NONE) {
            *keep = i;
            keep = &op->next;
            s->retry_last = i;
            continue;
        }
        struct router_batch *old = op->batch;
        in = fb_reader(fb_bytes(old->items.p + op->offset, op->size));
        /* our own encoding: it cannot be malformed */
        enum fb_status st = fb_req_decode(&in, &req);
        fb_assert(st == FB_OK);
        req.epoch = op->part == FB_PART_NONE ? 0 : r->epoch[op->part];
        s->waiting--;
        op->next = OP_NONE;
        node_enqueue(r, i, &req, node);
        batch_unref(r, old);
    }
    *keep = OP_NONE;
    s->ops--;
    if (due) {
        s->retry_wait_ns =
            s->retry_wait_ns * 2 > RETRY_MAX_NS ? RETRY_MAX_NS : s->retry_wait_ns * 2;
        s->retry_due_ns =
            r->now_ns + s->retry_wait_ns / 2 + router_random(r) % (s->retry_wait_ns / 2 + 1);
    }
    return s->waiting > 0;
}

void retry_run(struct router *r)
{
    struct router_session **at = &r->retry, *s;
    while ((s = *at) != NULL) {
        if (session_retry(r, s)) {
            at = &s->next_retry;
            continue;
        }
        *at = s->next_retry;
        s->next_retry = NULL;
        s->on_retry = false;
        if (s->dead && s->ops == 0)
            session_free(s);
        else
            session_unstall(s);
    }
}

uint64_t retry_deadline(const struct router *r)
{
    uint64_t least = ROUTER_TIME_NEVER;
    for (struct router_session *s = r->retry; s != NULL; s = s->next_retry) {
        uint64_t give_up = op_deadline(r, s, &r->ops[s->retry_first]);
        uint64_t at = s->sent == 0 && s->retry_due_ns < give_up ? s->retry_due_ns : give_up;
        if (at < least)
            least = at;
    }
    return least;
}

void retry_wake(struct router *r)
{
    for (struct router_session *s = r->retry; s != NULL; s = s->next_retry) {
        s->retry_due_ns = r->now_ns;
        s->retry_wait_ns = RETRY_MIN_NS;
    }
}
