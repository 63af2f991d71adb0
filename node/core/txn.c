/* Transactions: WATCH comparisons, then all operations as one GROUP of records (PROTOCOL 2.4). */
#include "node/core/lane_impl.h"

#include "node/core/read_value.h"
#include "proto/base/mutant.h"

#include "proto/cluster/slot.h"

static void refuse(struct lane *l, struct reply_dest *dest, const struct fb_req *req,
                   const char *text)
{
    reply_error(l, dest, req->seq, FB_REP_ERR_PLAIN, text);
}

/* The most that an operation may log: the value it leaves. Values that grow within the transaction
 * are followed by key, keys that share a bucket count for more. */
#define GROWTH_BUCKETS 1024u
static uint64_t log_bytes_max(struct lane *l, const struct fb_req *req,
                              uint64_t growth[GROWTH_BUCKETS])
{
    uint64_t hash = object_hash(req->key), bytes = req->args.n, limit = FB_VALUE_BYTES_MAX;
    uint8_t ns_len;
    const struct ns_state *ns = &l->ns[nsid_of_key(l, req->key, &ns_len)];
    const struct object *o = newest_object(l, req->key, hash);

    if (ns->conf != NULL && ns->conf->max_value != 0 && ns->conf->max_value < limit)
        limit = ns->conf->max_value;
    if (fb_op_class(req->op) == FB_OP_READ)
        return 128 + req->key.n; /* it may expire the object */
    if (req->op != FB_OP_SET && req->op != FB_OP_DEL) {
        bytes += 64 + (req->op == FB_OP_SETRANGE && req->a > 0 ? (uint64_t)req->a : 0);
        growth[hash % GROWTH_BUCKETS] += bytes;
        bytes = growth[hash % GROWTH_BUCKETS] + (o != NULL ? o->vlen : 0);
    } else {
        growth[hash % GROWTH_BUCKETS] += bytes;
    }
    return 128 + req->key.n + (bytes < limit ? bytes : limit);
}

static bool txn_lacks_copies(struct lane *l, const struct part *p, const struct fb_req *req,
                             const struct fb_req *sub)
{
    uint8_t ns_len;
    const struct ns_state *ns = &l->ns[nsid_of_key(l, sub->key, &ns_len)];
    uint8_t level = req->level;

    if (level == FB_LEVEL_NONE && ns->conf != NULL)
        level = ns->conf->durability;
    return copy_refuses(p, ns, level, req->level != FB_LEVEL_NONE);
}

/* Everything that must refuse the whole before anything is written. True: refused and answered. */
static bool txn_refused(struct lane *l, struct reply_dest *dest, struct part *p,
                        const struct fb_req *req)
{
    struct fb_bytes rest = req->args, item;
    uint64_t growth[GROWTH_BUCKETS] = {0}, bytes = 0;
    uint32_t n = 0;

    if (req->a < 0 || (uint64_t)req->a > req->nargs || req->nargs > FB_TXN_OPS_MAX) {
        refuse(l, dest, req, "ERR malformed transaction");
        return true;
    }
    for (; fb_list_next(&rest, &item); n++) {
        struct fb_reader r = fb_reader(item);
        struct fb_req sub;
        if (fb_req_decode(&r, &sub) != FB_OK || r.n != 0 || sub.op == FB_OP_TXN ||
            sub.op == FB_OP_SYNC || sub.op == FB_OP_COPIES || fb_op_class(sub.op) == FB_OP_NODE ||
            (n < (uint64_t)req->a && sub.op != FB_OP_VERSION)) {
            refuse(l, dest, req, "ERR malformed transaction");
            return true;
        }
        if (fb_key_partition(sub.key, l->config.partitions) != p->id) {
            refuse(l, dest, req, "CROSSSLOT Keys in request don't hash to the same partition");
            return true;
        }
        bytes += log_bytes_max(l, &sub, growth);
        if (bytes > LANE_TXN_LOG_BYTES) {
            refuse(
                l, dest, req,
                "ERR the values this transaction writes are too large together (nothing changed)");
            return true;
        }
        if (p->copy != NULL && fb_op_class(sub.op) == FB_OP_WRITE &&
            txn_lacks_copies(l, p, req, &sub)) {
            refuse(l, dest, req, COPIES_MISSING);
            return true;
        }
        if (op_grows(sub.op) && !FB_MUTANT(txn_unlimited)) {
            uint8_t ns_len;
            fb_buf_clear(&l->payload);
            if (admission_refuses(l, &l->ns[nsid_of_key(l, sub.key, &ns_len)], &l->payload)) {
                struct fb_rep rep = rep_new(l, req->seq, FB_REP_ERR);
                rep.payload = fb_buf_view(&l->payload);
                reply_now(l, dest, &rep);
                return true;
            }
        }
    }
    return false;
}

static void group_mark(struct lane *l, struct part *p, uint64_t first, uint64_t last)
{
    struct pending_set *s = &l->pending;
    for (uint32_t i = s->n == 0 ? UINT32_MAX : s->newest; i != UINT32_MAX; i = s->e[i].older) {
        if (s->e[i].log_seq != l->fx.log_seq)
            break;
        if (s->e[i].next->part != p->id)
            continue;
        if (s->e[i].next->ver < first)
            break;
        s->e[i].group_last = last;
    }
}

/* confirmed, then lease, then stale */
static uint8_t stricter(uint8_t a, uint8_t b)
{
    return a == FB_READS_CONFIRMED || b == FB_READS_STALE ? a : b;
}

static void reply_txn(struct lane *l, struct reply_dest *dest, struct part *p,
                      const struct fb_rep *rep, uint8_t level, bool asked, uint8_t reads,
                      uint64_t first)
{
    uint64_t delay_ns = rep->ver != 0 ? admission_delay_ns(l, NULL) : 0;

    if (p->copy != NULL && (rep->ver == 0 || level <= FB_LEVEL_DURABLE))
        copy_reply(l, p, dest, rep,
                   &(struct copy_want){.wrote_ver = rep->ver,
                                       .need = p->pending_n > 0 ? p->last_ver : 0,
                                       .level = level,
                                       .asked = asked,
                                       .reads = reads,
                                       .delay_ns = delay_ns});
    else if (level <= FB_LEVEL_REPLICATED && delay_ns > 0)
        wait_throttled(l, dest, rep, delay_ns);
    else if (rep->ver == 0 || level <= FB_LEVEL_REPLICATED)
        reply_now(l, dest, rep);
    else if (level == FB_LEVEL_DURABLE)
        wait_durable(l, dest, rep);
    else
        wait_database_group(l, p, dest, rep, first, DATABASE_WAIT_NS);
}

void txn_run(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req,
             bool loaded)
{
    struct fb_bytes rest = req->args, item;
    struct fb_rep rep = rep_new(l, req->seq, FB_REP_REPS);
    uint64_t before = p->last_ver, watches = (uint64_t)req->a, n = 0;
    uint8_t level = req->level, reads = FB_READS_STALE;

    if (txn_refused(l, dest, p, req))
        return;
    rep.level = FB_LEVEL_LOCAL;
    rep.hit = !loaded;
    fb_buf_clear(&l->txn_reps);
    fb_buf_clear(&l->txn_log);
    l->log_to = &l->txn_log;
    p->last_ver++; /* the GROUP record's */
    for (; fb_list_next(&rest, &item); n++) {
        struct fb_reader r = fb_reader(item);
        struct fb_req sub;
        struct op op;
        enum fb_status st = fb_req_decode(&r, &sub);
        fb_assert(st == FB_OK); /* txn_refused decoded it */
        if (op_init(&op, l, p, &sub)) {
            op.admitted = true;
            op.loaded = loaded;
            op_refresh(&op);
            reads = stricter(reads, op.ns->conf->reads);
            exec_op(&op);
            if (op.wrote && req->level == FB_LEVEL_NONE && level_wanted(&op) > level)
                level = level_wanted(&op);
            if (op.wrote) {
                op.rep.ver = op.wrote_ver;
                op.rep.level = FB_LEVEL_LOCAL;
            }
        }
        if (n < watches) {
            if (op.rep.type != FB_REP_INT ||
                (op.rep.num != sub.a && !FB_MUTANT(watch_uncompared))) {
                rep.type = FB_REP_NIL;
                break;
            }
            continue;
        }
        if (l->txn_reps.n + op.rep.payload.n > READ_REPLY_BYTES_MAX) { /* one reply, one frame */
            op.rep.type = FB_REP_ERR;
            op.rep.num = FB_REP_ERR_PLAIN;
            op.rep.payload = fb_bytes_str(
                "ERR the replies of this transaction are too large together; the command was "
                "carried out");
        }
        fb_rep_encode(&l->txn_reps, &op.rep);
    }
    l->log_to = &l->fx.log;
    if (p->last_ver == before + 1) {
        p->last_ver = before; /* nothing was written: no GROUP */
        rep.level = level == FB_LEVEL_NONE ? FB_LEVEL_LOCAL : level;
    } else {
        uint64_t last = p->last_ver;
        struct fb_record g = {.type = FB_RECORD_GROUP, .count = (uint32_t)(last - before - 1)};
        p->last_ver = before;
        log_record(l, p, &g);
        fb_assert(g.ver == before + 1);
        p->last_ver = last;
        fb_buf_put_bytes(&l->fx.log, fb_buf_view(&l->txn_log));
        if (p->copy != NULL)
            copy_logged_all(l, p, fb_buf_view(&l->txn_log));
        group_mark(l, p, before + 2, last);
        rep.ver = last;
    }
    if (rep.type == FB_REP_REPS)
        rep.payload = fb_buf_view(&l->txn_reps);
    reply_txn(l, dest, p, &rep, level, req->level != FB_LEVEL_NONE, reads, before + 2);
}
