/* From a plan to operations on their way: slots of the session's ring, flags, partitions. */
#include "router/core/state.h"

#include "proto/base/mutant.h"
#include "proto/base/probe.h"
#include "proto/cluster/slot.h"

#include <stdlib.h>

#define RING_FIRST 8u

static void ring_grow(struct router_session *s)
{
    uint32_t cap = s->ring_cap == 0 ? RING_FIRST : s->ring_cap * 2;
    struct router_slot *ring = fb_xcalloc(cap, sizeof(*ring));
    for (uint32_t i = s->head; i != s->tail; i++)
        ring[i & (cap - 1)] = *slot_at(s, i);
    free(s->ring);
    s->ring = ring;
    s->ring_cap = cap;
}

uint32_t slot_push(struct router_session *s, enum slot_kind kind, uint16_t cmd, uint32_t nops)
{
    uint32_t number = s->tail;
    struct router_slot *slot;
    if (s->tail - s->head == s->ring_cap)
        ring_grow(s);
    s->tail++;
    slot = slot_at(s, number);
    *slot = (struct router_slot){.kind = (uint8_t)kind,
                                 .proto = s->proto,
                                 .mute = s->reply_off || s->reply_skip,
                                 .cmd = cmd,
                                 .nops = nops,
                                 .pending = nops,
                                 .start_ns = s->router->now_ns};
    if (nops > 1) {
        slot->reps = fb_xcalloc(nops, sizeof(*slot->reps));
        slot->frames = fb_xcalloc(nops, sizeof(*slot->frames));
    }
    return number;
}

void slot_release(struct router_slot *slot)
{
    if (slot->nops > 1) {
        for (uint32_t i = 0; i < slot->nops; i++)
            frame_unref(slot->frames[i]);
        free(slot->reps);
        free(slot->frames);
        slot->reps = NULL;
        slot->frames = NULL;
    }
    frame_unref(slot->frame);
    slot->frame = NULL;
    fb_buf_fini(&slot->text);
    txn_free(slot->txn);
    slot->txn = NULL;
}

/* How long its answer may take because that was asked for. */
static uint32_t wait_ms(const struct fb_req *req)
{
    int64_t ms = req->op == FB_OP_SYNC ? req->a : req->op == FB_OP_COPIES ? req->b : 0;

    if (req->op == FB_OP_COPIES && ms == 0)
        return UINT32_MAX; /* for ever, or nearly */
    return ms > 0 && ms < UINT32_MAX ? (uint32_t)ms : ms > 0 ? UINT32_MAX : 0;
}

void dispatch_op(struct router_session *s, uint32_t slot, uint32_t index, struct fb_req *req,
                 uint8_t fixed)
{
    struct router *r = s->router;
    uint32_t i = op_new(r);
    struct router_op *op = &r->ops[i];
    uint8_t node;

    op->s = s;
    op->slot = slot;
    op->index = index;
    op->timeout_ms = wait_ms(req);
    op->cls = (uint8_t)(req->op == FB_OP_COPIES ? FB_OP_READ : fb_op_class(req->op));
    op->fixed = fixed;
    op->retries = 0;
    op->waits = req->op == FB_OP_SYNC || req->op == FB_OP_COPIES;
    if (fixed == ROUTER_NODE_NONE && req->op != FB_OP_TXN && req->op != FB_OP_COPIES)
        req->part = fb_key_partition(req->key, r->partitions == 0 ? 1 : r->partitions);
    op->part = req->part;
    req->epoch = req->part == FB_PART_NONE || req->part >= r->partitions ? 0 : r->epoch[req->part];
    if (op->cls == FB_OP_WRITE) {
        req->level = s->level;
        s->writes++;
        s->wrote[op->part / 8] |= (uint8_t)(1u << op->part % 8);
    } else if (op->cls == FB_OP_READ) {
        /* a read must see the writes this client has in flight; which partition they are on is not
           worth keeping: a pipeline that mixes both is served by the writer as a whole */
        if (s->writes > 0 && !FB_MUTANT(read_unordered))
            req->flags |= FB_REQ_ORDERED;
        if (s->no_touch)
            req->flags |= FB_REQ_IDLE;
    }
    s->ops++;
    node = node_for(r, op);
    FB_PROBE3(route, s->id, req->part, node);
    node_enqueue(r, i, req, node);
    if (node == ROUTER_NODE_NONE)
        retry_add(r, i, ROUTER_RETRY_NO_NODE);
}

/* Complete slot without operations: `num` as an error of ours, or nothing to gather. */
static void slot_settle(struct router_session *s, uint32_t number, bool failed)
{
    struct router_slot *slot = slot_at(s, number);
    if (failed) {
        slot->nops = 1;
        slot->rep = (struct fb_rep){.type = FB_REP_ERR, .num = FB_REP_ERR_NOT_PRIMARY};
    }
    slot->pending = 0;
    session_drain(s);
}

static void slot_shape(struct router_slot *slot, const struct resp_shape *shape)
{
    slot->shape = *shape;
    if (shape->match.p != NULL) {
        (void)fb_buf_reserve(&slot->text, 1); /* an empty pattern is one too */
        fb_buf_put_bytes(&slot->text, shape->match);
        slot->shape.match = fb_buf_view(&slot->text);
    }
}

static void dispatch_nodes(struct router_session *s, const struct resp_plan *plan)
{
    struct router *r = s->router;
    uint32_t number;
    if (plan->shape.gather == RESP_GATHER_SCAN) {
        bool end = plan->nops == 0 || plan->shape.node >= r->order_count;
        number = slot_push(s, SLOT_OPS, plan->shape.cmd, end ? 0 : 1);
        slot_shape(slot_at(s, number), &plan->shape);
        if (end)
            slot_settle(s, number, r->order_count == 0);
        else
            dispatch_op(s, number, 0, &plan->ops[0], r->order[plan->shape.node]);
        return;
    }
    number = slot_push(s, SLOT_OPS, plan->shape.cmd, r->order_count);
    slot_shape(slot_at(s, number), &plan->shape);
    if (r->order_count == 0)
        slot_settle(s, number, true);
    for (uint32_t i = 0; i < r->order_count; i++) {
        struct fb_req req = plan->ops[0];
        dispatch_op(s, number, i, &req, r->order[i]);
    }
}

void dispatch_plan(struct router_session *s, const struct resp_plan *plan)
{
    uint32_t number;
    switch ((enum resp_gather)plan->shape.gather) {
    case RESP_GATHER_NODES_SUM:
    case RESP_GATHER_NODES_ANY:
    case RESP_GATHER_SCAN:
        dispatch_nodes(s, plan);
        return;
    case RESP_GATHER_SINGLE:
    case RESP_GATHER_SUM:
    case RESP_GATHER_ARRAY:
    case RESP_GATHER_ALL_OK:
    case RESP_GATHER_LEAST:
        break;
    }
    if (FB_UNLIKELY(plan->nops > ROUTER_OPS_MAX)) {
        resp_put_errorf(session_reply(s, plan->shape.cmd),
                        "ERR too many keys in one command (%u, limit %u); nothing changed",
                        plan->nops, ROUTER_OPS_MAX);
        return;
    }
    number = slot_push(s, SLOT_OPS, plan->shape.cmd, plan->nops);
    slot_shape(slot_at(s, number), &plan->shape);
    if (plan->nops == 0)
        slot_settle(s, number, false);
    for (uint32_t i = 0; i < plan->nops; i++)
        dispatch_op(s, number, i, &plan->ops[i], ROUTER_NODE_NONE);
}
