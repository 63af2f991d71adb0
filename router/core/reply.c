/* Replies of nodes: into the slots of their commands, and in order into the clients' buffers. */
#include "router/core/state.h"

#include "proto/base/mutant.h"
#include "proto/base/probe.h"

void frame_unref(struct router_frame *f)
{
    if (f == NULL)
        return;
    fb_assert(f->refs > 0);
    if (--f->refs == 0)
        f->free(f);
}

static void session_count(struct router *r, const struct router_slot *slot, bool failed)
{
    uint64_t ns = r->now_ns - slot->start_ns, us = ns / 1000;
    unsigned b = us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(us);
    if (b >= ROUTER_LATENCY_BUCKETS)
        b = ROUTER_LATENCY_BUCKETS - 1;
    r->stats.latency_count[b]++;
    r->stats.latency_ns[b] += ns;
    (failed ? r->stats.err : r->stats.ok)[slot->cmd]++;
}

static void render_relaxed(struct fb_buf *out, const struct router_slot *slot,
                           const struct resp_render_ctx *ctx, const struct fb_rep *reps)
{
    const struct router_txn *t = slot->txn;
    uint32_t at = 0;
    resp_put_array(out, t->qn);
    for (uint32_t i = 0; i < t->qn; i++) {
        if (t->q[i].nops == 0)
            fb_buf_put_bytes(out, t->q[i].ready);
        else
            resp_render(out, &t->q[i].shape, ctx, reps + at, t->q[i].nops);
        at += t->q[i].nops;
    }
}

static void render_slot(struct router_session *s, struct router_slot *slot, struct fb_buf *out)
{
    struct router *r = s->router;
    const struct fb_rep *reps = slot->nops > 1 ? slot->reps : &slot->rep;
    struct resp_render_ctx ctx = {.proto = slot->proto,
                                  .now_ms = r->wall_ms,
                                  .nodes = r->order_count,
                                  .pick = (uint32_t)r->now_ns};
    switch ((enum slot_kind)slot->kind) {
    case SLOT_TEXT:
        fb_buf_put_bytes(out, fb_buf_view(&slot->text));
        break;
    case SLOT_OPS:
        resp_render(out, &slot->shape, &ctx, reps, slot->nops);
        break;
    case SLOT_TXN:
        txn_exec_done(s, slot, &ctx, out);
        break;
    case SLOT_RELAXED:
        render_relaxed(out, slot, &ctx, reps);
        break;
    case SLOT_WATCH:
        txn_watch_done(s, slot, out);
        break;
    }
}

void session_drain(struct router_session *s)
{
    struct router *r = s->router;
    bool wrote = false;
    while (s->head != s->tail) {
        struct router_slot *slot = slot_at(s, s->head);
        struct fb_buf *out = &s->out;
        size_t before;
        if (slot->pending > 0 && !FB_MUTANT(reply_unawaited))
            break;
        if (slot->mute || s->close) {
            fb_buf_clear(&r->scratch);
            out = &r->scratch;
        }
        before = out->n;
        render_slot(s, slot, out);
        session_count(r, slot, out->n > before && out->p[before] == '-');
        FB_PROBE3(ack, s->id, slot->cmd, r->now_ns - slot->start_ns);
        s->close |= slot->last;
        slot_release(slot);
        s->head++;
        wrote = true;
    }
    if (!wrote)
        return;
    if (FB_UNLIKELY(s->out.n + s->out_pending > r->config.output_bytes_max) && !s->cut) {
        r->stats.rejected[ROUTER_REJECT_OUTPUT]++;
        s->cut = true;
    }
    session_mark_ready(s);
}

/* Must come before the operation lets go of its batch. */
static void slow_check(struct router *r, const struct router_op *op, const struct fb_rep *rep,
                       bool answered)
{
    struct router_session *s = op->s;
    const struct router_slot *slot;

    if (s->dead)
        return;
    slot = slot_at(s, op->slot);
    if (FB_UNLIKELY(r->now_ns - slot->start_ns >= r->config.slow_ns) && slot->pending == 1 &&
        !op->waits)
        slow_tell(r, op, slot, rep, answered);
}

void op_complete(struct router *r, uint32_t i, const struct fb_rep *rep, struct router_frame *frame)
{
    struct router_op *op = &r->ops[i];
    struct router_session *s = op->s;
    uint32_t number = op->slot, index = op->index;
    struct router_slot *slot;

    slow_check(r, op, rep, frame != NULL);
    if (op->state == OP_ON_NODE)
        s->sent--;
    if (op->cls == FB_OP_WRITE)
        s->writes--;
    s->ops--;
    batch_unref(r, op->batch);
    op->batch = NULL;
    op_free(r, i);
    if (FB_UNLIKELY(s->dead)) {
        if (s->ops == 0 && !s->on_retry)
            session_free(s);
        return;
    }
    slot = slot_at(s, number);
    fb_assert(slot->pending > 0 && index < slot->nops);
    if (frame != NULL)
        frame->refs++;
    if (slot->nops > 1) {
        slot->reps[index] = *rep;
        slot->frames[index] = frame;
    } else {
        slot->rep = *rep;
        slot->frame = frame;
    }
    if (--slot->pending == 0 && number == s->head)
        session_drain(s);
    if (s->stalled)
        session_unstall(s);
}

void op_fail(struct router *r, uint32_t op, enum fb_rep_err code)
{
    struct fb_rep rep = {.type = FB_REP_ERR, .num = code};
    op_complete(r, op, &rep, NULL);
}

static void reply_one(struct router *r, struct router_op *op, const struct fb_rep *rep,
                      struct router_frame *owner)
{
    uint32_t i = (uint32_t)(op - r->ops);
    if (!op->batch->answered) {
        op->batch->answered = true;
        fb_assert(r->nodes[op->node].unanswered > 0);
        r->nodes[op->node].unanswered--;
    }
    if (rep->type == FB_REP_ERR) {
        if (rep->num == FB_REP_ERR_NOT_PRIMARY || rep->num == FB_REP_ERR_RETRY) {
            retry_add(r, i,
                      rep->num == FB_REP_ERR_RETRY ? ROUTER_RETRY_NOT_OPEN
                                                   : ROUTER_RETRY_NOT_PRIMARY);
            return;
        }
        if (rep->num == FB_REP_ERR_UNKNOWN)
            r->stats.rejected[ROUTER_REJECT_INDETERMINATE]++;
    } else if (op->cls == FB_OP_READ) {
        if (rep->hit)
            r->stats.hits++;
        else
            r->stats.misses++;
    }
    op_complete(r, i, rep, owner);
}

enum fb_status router_node_frame(struct router *r, uint32_t node, const struct fb_frame *f,
                                 struct router_frame *owner)
{
    struct fb_reader in = fb_reader(f->tail);
    enum fb_status st = FB_OK;
    struct fb_rep rep;

    fb_assert(owner->refs == 1);
    r->stats.frames_in++;
    r->frame_queue_us = f->queue_us;
    r->frame_busy_us = f->busy_us;
    if (f->kind != FB_FRAME_REP || !r->nodes[node].up)
        goto out;
    for (uint32_t i = 0; i < f->count; i++) {
        struct router_op *op;
        st = fb_rep_decode(&in, &rep);
        if (st != FB_OK)
            goto out;
        op = op_of_seq(r, rep.seq);
        /* answers that came too late (time-out) and repetitions are dropped */
        if (op == NULL || op->state != OP_ON_NODE || op->node != node || !op->batch->sent)
            continue;
        reply_one(r, op, &rep, owner);
    }
out:
    frame_unref(owner);
    return st;
}
