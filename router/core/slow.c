/* Where a slow command spent its time: told to the process around, which logs and keeps it. */
#include "router/core/state.h"

/* The key of an operation, from its encoded bytes; of a transaction there is none. */
static struct fb_bytes key_of(const struct router_op *op)
{
    struct fb_reader in = fb_reader(fb_bytes(op->batch->items.p + op->offset, op->size));
    struct fb_req req;

    return fb_req_decode(&in, &req) == FB_OK ? req.key : fb_bytes("", 0);
}

static uint64_t us_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;
}

/* The router's clock tells the total, and when the batch left; the node's clock tells its own
 * times; what is left was on the way. */
static void split(struct router_slow *w, const struct router *r, const struct fb_rep *rep,
                  bool answered, uint64_t sent_ns, uint64_t start_ns)
{
    uint64_t left;

    w->total_us = us_between(start_ns, r->now_ns);
    w->router_us = us_between(start_ns, sent_ns);
    left = w->total_us - (w->router_us < w->total_us ? w->router_us : w->total_us);
    if (!answered) {
        w->unanswered_us = left;
        return;
    }
    w->wait_us = rep->wait_us < left ? rep->wait_us : left;
    w->wait_on = rep->wait_on;
    left -= w->wait_us;
    w->queue_us = rep->queue_us != 0 ? rep->queue_us : rep->wait_us != 0 ? 0 : r->frame_queue_us;
    if (w->queue_us > left)
        w->queue_us = left;
    left -= w->queue_us;
    w->work_us = r->frame_busy_us < left ? r->frame_busy_us : left;
    w->network_us = left - w->work_us;
}

void slow_tell(struct router *r, const struct router_op *op, const struct router_slot *slot,
               const struct fb_rep *rep, bool answered)
{
    const struct router_hooks *h = &r->config.hooks;
    bool sent = op->state == OP_ON_NODE && op->batch->sent;
    struct router_slow w = {.session = op->s,
                            .cmd = slot->cmd,
                            .operations = slot->nops,
                            .part = op->part,
                            .retries = op->retries,
                            .failed = rep->type == FB_REP_ERR,
                            .node = op->state == OP_ON_NODE ? r->nodes[op->node].name : ""};

    if (h->slow == NULL)
        return;
    w.key = key_of(op);
    split(&w, r, rep, answered, sent ? op->batch->sent_ns : r->now_ns, slot->start_ns);
    h->slow(h->arg, &w);
}
