/* Requests: checks, evaluation, replies at the level wanted. */
#include "node/core/lane_impl.h"

#include "proto/cluster/slot.h"

#include "proto/base/mutant.h"

void dest_touch(struct lane *l, struct reply_dest *dest)
{
    if (dest->touched)
        return;
    dest->touched = true;
    dest->next_touched = l->fx.touched;
    l->fx.touched = dest;
}

void feed_dest_touch(struct lane *l, struct feed_dest *dest)
{
    if (dest->touched)
        return;
    dest->touched = true;
    dest->next_touched = l->fx.feeds_touched;
    l->fx.feeds_touched = dest;
}

void reply_now(struct lane *l, struct reply_dest *dest, const struct fb_rep *rep)
{
    if (dest->closed)
        return;
    fb_rep_encode(&dest->out, rep);
    dest->items++;
    dest_touch(l, dest);
}

#define QUEUE_TOLD_US 1000u /* less is not worth the bytes; the frame tells the longest anyway */

void lane_queued(struct lane *l, uint32_t queue_us)
{
    lane_check_writer(l);
    l->queue_us = queue_us < QUEUE_TOLD_US ? 0 : queue_us;
}

struct fb_rep rep_new(const struct lane *l, uint32_t seq, uint8_t type)
{
    return (struct fb_rep){.seq = seq,
                           .type = type,
                           .queue_us = l->queue_us,
                           .wait_us = l->load_us,
                           .wait_on = l->load_us != 0 ? FB_WAIT_LOAD : FB_WAIT_NOTHING};
}

void reply_error(struct lane *l, struct reply_dest *dest, uint32_t seq, uint8_t err,
                 const char *text)
{
    struct fb_rep rep = rep_new(l, seq, FB_REP_ERR);
    rep.num = err;
    rep.payload = fb_bytes_str(text);
    reply_now(l, dest, &rep);
}

void op_refresh(struct op *op)
{
    op->cur = newest_object(op->l, op->key, op->hash);
    if (op->cur != NULL && object_expired(op->cur, op->now)) {
        expire_object(op->l, op->p, op->cur, op->hash);
        op->cur = newest_object(op->l, op->key, op->hash);
    }
    op->live = op->cur != NULL && op->cur->kind != FB_KIND_NONE;
}

bool op_init(struct op *op, struct lane *l, struct part *p, const struct fb_req *req)
{
    *op = (struct op){.l = l, .p = p, .req = req, .key = req->key};
    op->rep = rep_new(l, req->seq, FB_REP_NIL);
    op->hash = object_hash(req->key);
    op->now = part_now(l, p);
    op->nsid = nsid_of_key(l, req->key, &op->ns_len);
    op->ns = &l->ns[op->nsid];
    if (req->key.n > FB_KEY_BYTES_MAX || req->key.n == 0) {
        op_err(op, "ERR a key of %zu bytes is not possible: 1 to %u bytes", req->key.n,
               FB_KEY_BYTES_MAX);
        return false;
    }
    if (fb_key_partition(req->key, l->config.partitions) != p->id) {
        op_err(op, "ERR the key does not belong to partition %u", p->id);
        return false;
    }
    if (op->ns->conf == NULL) {
        op_err(op, "DBDOWN the namespaces of the cluster are not known here yet; nothing was "
                   "changed, try again");
        return false;
    }
    return !row_refuses_op(op);
}

uint8_t level_wanted(const struct op *op)
{
    uint8_t level = op->req->level != FB_LEVEL_NONE ? op->req->level : op->ns->conf->durability;
    return level == FB_LEVEL_NONE ? FB_LEVEL_LOCAL : level;
}

/* An answer about the present state that changed nothing. With several copies it waits until what
 * it saw is committed and this node is sure to be the one that serves. */
static void reply_seen(struct reply_dest *dest, struct op *op)
{
    struct pending *e;

    if (op->p->copy == NULL) {
        reply_now(op->l, dest, &op->rep);
        return;
    }
    e = pending_find(op->l, op->key, op->hash);
    copy_reply(
        op->l, op->p, dest, &op->rep,
        &(struct copy_want){.need = e != NULL && !FB_MUTANT(copy_seen_early) ? e->next->ver : 0,
                            .reads = op->ns->conf->reads});
}

/* With one copy what the log write satisfies is answered with this tick, the rest waits for fsync
 * or PostgreSQL. */
static void reply_write(struct reply_dest *dest, struct op *op, uint8_t level)
{
    struct lane *l = op->l;
    op->rep.ver = op->wrote_ver;
    op->rep.level = FB_LEVEL_LOCAL;
    if (op->p->copy != NULL && level <= FB_LEVEL_DURABLE) {
        copy_reply(l, op->p, dest, &op->rep,
                   &(struct copy_want){
                       .wrote_ver = op->wrote_ver,
                       .level = level,
                       .asked = op->req->level != FB_LEVEL_NONE,
                       .delay_ns = op_grows(op->req->op) ? admission_delay_ns(l, op->ns) : 0});
    } else if (level <= FB_LEVEL_REPLICATED) {
        uint64_t delay_ns = op_grows(op->req->op) ? admission_delay_ns(l, op->ns) : 0;
        if (delay_ns > 0)
            wait_throttled(l, dest, &op->rep, delay_ns);
        else
            reply_now(l, dest, &op->rep);
    } else if (level == FB_LEVEL_DURABLE && FB_MUTANT(durable_unsynced)) {
        op->rep.level = FB_LEVEL_DURABLE;
        reply_now(l, dest, &op->rep);
    } else if (level == FB_LEVEL_DURABLE) {
        wait_durable(l, dest, &op->rep);
    } else {
        struct feed *f = feed_get(op->p, op->nsid);
        wait_database(l, op->p, f, dest, &op->rep, op->wrote_ver, op->hash, DATABASE_WAIT_NS,
                      false);
    }
}

static void sync_run(struct op *op, struct reply_dest *dest)
{
    struct feed *f = feed_find(op->p, op->nsid);
    const struct object *o = op->cur;

    if (o != NULL && (object_flags(o) & OBJECT_PARKED)) {
        const struct object_extra *x = slot_extra(op->p, o);
        const struct park_info *park = x != NULL ? x->park : NULL;
        op_err(op, "REJECTED %s %.*s (version %llu is parked)", park ? park->sqlstate : "",
               park ? (int)park->n : 0, park ? park->message : "", (unsigned long long)o->ver);
        reply_seen(dest, op);
    } else if (o == NULL || f == NULL || (object_flags(o) & OBJECT_NEGATIVE) ||
               fb_ver_epoch(o->ver) == 0 || o->ver <= f->dsafe) {
        op_int(op, o == NULL ? 0 : (int64_t)o->ver);
        op->rep.level = FB_LEVEL_DATABASE;
        op->rep.ver = o == NULL ? 0 : o->ver;
        reply_seen(dest, op);
    } else {
        uint64_t ms = op->req->a > 0 ? (uint64_t)op->req->a : DATABASE_WAIT_NS / 1000000;
        if (ms > 3600000)
            ms = 3600000;
        op_int(op, (int64_t)o->ver);
        op->rep.ver = o->ver;
        wait_database(op->l, op->p, f, dest, &op->rep, o->ver, op->hash, ms * 1000000, true);
    }
}

/* One key, op->cur is its newest version. */
static void op_run(struct op *op, struct reply_dest *dest)
{
    struct lane *l = op->l;

    if (op->req->op == FB_OP_SYNC) {
        sync_run(op, dest);
        return;
    }
    if (op_grows(op->req->op)) {
        fb_buf_clear(&l->payload);
        if (admission_refuses(l, op->ns, &l->payload)) {
            if (FB_MUTANT(refused_after_append)) {
                struct fb_buf why = l->payload;
                l->payload = (struct fb_buf){0};
                exec_op(op);
                fb_buf_fini(&l->payload);
                l->payload = why;
            }
            op->rep.type = FB_REP_ERR;
            op->rep.num = FB_REP_ERR_PLAIN;
            op->rep.payload = fb_buf_view(&l->payload);
            reply_now(l, dest, &op->rep);
            return;
        }
    }
    if (fb_op_class(op->req->op) == FB_OP_WRITE &&
        copy_refuses(op->p, op->ns, level_wanted(op), op->req->level != FB_LEVEL_NONE)) {
        op_err(op, COPIES_MISSING);
        reply_now(l, dest, &op->rep);
        return;
    }
    exec_op(op);
    op->rep.hit = !op->loaded && op->cur != NULL;
    if (op->wrote) {
        reply_write(dest, op, level_wanted(op));
    } else {
        /* Nothing was written, so nothing can be lost. An error with a level would be about a
         * write. */
        if (fb_op_class(op->req->op) == FB_OP_WRITE && op->rep.type != FB_REP_ERR)
            op->rep.level = level_wanted(op);
        reply_seen(dest, op);
    }
}

void request_run(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req,
                 bool loaded)
{
    struct op op;

    if (req->op == FB_OP_TXN) {
        txn_run(l, dest, p, req, loaded);
        return;
    }
    if (!op_init(&op, l, p, req)) {
        reply_now(l, dest, &op.rep);
        return;
    }
    op.loaded = loaded;
    op_refresh(&op);
    op_run(&op, dest);
}

/* The common case, looked up once: one key that nothing is being loaded for. False: not that case.
 */
static bool request_run_resident(struct lane *l, struct reply_dest *dest, struct part *p,
                                 const struct fb_req *req)
{
    struct op op;

    if (req->op == FB_OP_TXN || l->loads.count > 0)
        return false;
    if (!op_init(&op, l, p, req)) {
        reply_now(l, dest, &op.rep);
        return true;
    }
    op.cur = newest_object(l, op.key, op.hash);
    if (op.cur != NULL && op.cur->slot != SLOT_NONE) /* publishing will need it */
        __builtin_prefetch(slab_slot(p->sp, op.cur->slot), 1);
    if (load_needed(&op))
        return false;
    if (op.cur != NULL && object_expired(op.cur, op.now))
        op_refresh(&op);
    op.live = op.cur != NULL && op.cur->kind != FB_KIND_NONE;
    op_run(&op, dest);
    return true;
}

void lane_request(struct lane *l, struct reply_dest *dest, const struct fb_req *req)
{
    struct part *p = req->part < l->config.partitions ? l->parts[req->part] : NULL;

    lane_check_writer(l);
    if (p == NULL || !p->open || (p->epoch != req->epoch && !FB_MUTANT(epoch_unchecked))) {
        reply_error(l, dest, req->seq, FB_REP_ERR_NOT_PRIMARY, "");
        return;
    }
    if (copy_held(p)) {
        reply_error(l, dest, req->seq, FB_REP_ERR_RETRY, "");
        return;
    }
    if (fb_op_class(req->op) == FB_OP_NODE) {
        reply_error(l, dest, req->seq, FB_REP_ERR_PLAIN,
                    "ERR this command is about a node, not about a partition");
        return;
    }
    if (req->op == FB_OP_COPIES) {
        count_request(l, dest, p, req);
        return;
    }
    if (copy_full(l, p) && fb_op_class(req->op) != FB_OP_READ) {
        reply_error(l, dest, req->seq, FB_REP_ERR_RETRY, "");
        return;
    }
    if (request_run_resident(l, dest, p, req) || load_defer(l, dest, p, req))
        return;
    request_run(l, dest, p, req, false);
}
