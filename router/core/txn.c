/* MULTI, EXEC, DISCARD, WATCH: one TXN operation when all keys are in one partition. */
#include "router/core/state.h"

#include "proto/cluster/slot.h"

#include <stdlib.h>

static const char crossslot[] =
    "CROSSSLOT Keys in request don't hash to the same slot (nothing changed): give the keys of a "
    "transaction one {tag}, or send them without one (redis-py: transaction=False; cluster.conf: "
    "multi = relaxed)";

static struct router_txn *txn_of(struct router_session *s)
{
    if (s->txn == NULL)
        s->txn = fb_xcalloc(1, sizeof(*s->txn));
    return s->txn;
}

void txn_free(struct router_txn *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->qn; i++) {
        free((void *)(uintptr_t)t->q[i].shape.match.p);
        free((void *)(uintptr_t)t->q[i].ready.p);
    }
    free(t->q);
    free(t->watches);
    fb_buf_fini(&t->ops);
    free(t);
}

void txn_discard(struct router_session *s)
{
    txn_free(s->txn);
    s->txn = NULL;
    s->in_multi = s->multi_dirty = s->watch_failed = false;
    s->multi_count = s->watch_count = 0;
}

void txn_multi(struct router_session *s, struct fb_buf *out)
{
    (void)txn_of(s);
    s->in_multi = true;
    s->multi_dirty = false;
    s->multi_count = 0;
    resp_put_ok(out);
}

static struct fb_bytes bytes_copy(struct fb_bytes b)
{
    if (b.p == NULL)
        return b;
    return fb_bytes(memcpy(fb_xmalloc(b.n + 1), b.p, b.n), b.n); /* empty is not NULL */
}

static void txn_partition(const struct router *r, struct router_txn *t, uint16_t part)
{
    (void)r;
    if (t->has_part && t->part != part)
        t->spread = true;
    t->part = part;
    t->has_part = true;
}

static uint16_t part_of(const struct router *r, struct fb_bytes key)
{
    return fb_key_partition(key, r->partitions == 0 ? 1 : r->partitions);
}

/* --- queueing --- */

static void txn_queue_op(struct router_session *s, struct router_txn *t, struct fb_req *req)
{
    struct router *r = s->router;
    uint32_t at = (uint32_t)t->ops.n;
    req->part = part_of(r, req->key);
    req->seq = t->op_count++;
    txn_partition(r, t, req->part);
    fb_buf_put_u32(&t->ops, 0);
    fb_req_encode(&t->ops, req);
    fb_put_u32(t->ops.p + at, (uint32_t)t->ops.n - at - 4);
}

static void txn_queue(struct router_session *s, const struct resp_plan *plan,
                      const struct fb_bytes *argv, uint32_t argc)
{
    struct router_txn *t = txn_of(s);
    struct resp_queued *q;
    if (t->qn == t->qcap) {
        t->qcap = t->qcap == 0 ? 8 : t->qcap * 2;
        t->q = fb_xrealloc(t->q, t->qcap * sizeof(*t->q));
    }
    q = &t->q[t->qn++];
    *q = (struct resp_queued){.shape = plan->shape};
    if (plan->kind == RESP_PLAN_OPS) {
        q->nops = plan->nops;
        q->shape.match = bytes_copy(plan->shape.match);
        for (uint32_t i = 0; i < plan->nops; i++)
            txn_queue_op(s, t, &plan->ops[i]);
    } else if (plan->kind == RESP_PLAN_ERROR) {
        q->shape.match = fb_bytes(NULL, 0);
        q->refused = true;
        q->ready = bytes_copy(fb_buf_view(&s->router->args));
    } else {
        struct fb_buf list = {0};
        q->shape.match = fb_bytes(NULL, 0);
        q->shape.cmd = plan->cmd->id;
        for (uint32_t i = 0; i < argc; i++)
            fb_list_put(&list, argv[i]);
        q->ready = fb_buf_view(&list); /* the heap block changes hands */
        t->locals++;
    }
    s->multi_count = t->qn;
    resp_put_queued(session_reply(s, plan->cmd->id));
}

/* Why a command cannot be part of a transaction here; NULL when it can. */
static const char *txn_refusal(const struct router_txn *t, const struct resp_plan *plan,
                               size_t size)
{
    /* CLIENT REPLY in the middle of EXEC's reply would break that in two */
    if ((plan->cmd->flags & RESP_F_NO_MULTI) || plan->cmd->id == RESP_CMD_CLIENT_REPLY)
        return "ERR Command not allowed inside a transaction";
    if (plan->kind == RESP_PLAN_OPS &&
        (plan->shape.gather == RESP_GATHER_NODES_SUM ||
         plan->shape.gather == RESP_GATHER_NODES_ANY || plan->shape.gather == RESP_GATHER_SCAN ||
         (plan->nops > 0 && plan->ops[0].op == FB_OP_SYNC)))
        return "ERR Command not allowed inside a transaction";
    if (t != NULL && (t->qn >= FB_TXN_OPS_MAX || t->op_count + plan->nops > FB_TXN_OPS_MAX))
        return "ERR transaction has too many commands (limit 10000)";
    if ((t != NULL ? t->ops.n : 0) + size > TXN_BYTES_MAX)
        return "ERR transaction is too large (limit 16 MiB)";
    return NULL;
}

void txn_command(struct router_session *s, const struct resp_plan *plan,
                 const struct fb_bytes *argv, uint32_t argc)
{
    const char *refusal;
    size_t size = 0;
    if (plan->kind == RESP_PLAN_ERROR && plan->spoils) {
        s->multi_dirty = true;
        fb_buf_put_bytes(session_reply(s, s->last_cmd), fb_buf_view(&s->router->args));
        return;
    }
    if (plan->kind == RESP_PLAN_LOCAL) {
        switch ((enum resp_cmd)plan->cmd->id) {
        case RESP_CMD_EXEC:
            txn_exec(s);
            return;
        case RESP_CMD_MULTI:
            resp_put_error(session_reply(s, plan->cmd->id),
                           fb_bytes_str("ERR MULTI calls can not be nested"));
            return;
        case RESP_CMD_WATCH:
            resp_put_error(session_reply(s, plan->cmd->id),
                           fb_bytes_str("ERR WATCH inside MULTI is not allowed"));
            return;
        case RESP_CMD_DISCARD:
        case RESP_CMD_QUIT:
        case RESP_CMD_RESET:
            local_run(s, (enum resp_cmd)plan->cmd->id, argv, argc, session_reply(s, plan->cmd->id));
            return;
        default:
            break;
        }
    }
    for (uint32_t i = 0; i < argc; i++)
        size += argv[i].n + 64;
    refusal = txn_refusal(s->txn, plan, size);
    if (refusal != NULL) {
        s->multi_dirty = true;
        resp_put_error(session_reply(s, plan->cmd->id), fb_bytes_str(refusal));
        return;
    }
    txn_queue(s, plan, argv, argc);
}

/* --- EXEC --- */

/* Argv was kept as a list until its turn in EXEC. */
static void txn_run_local(struct router_session *s, const struct resp_queued *q, struct fb_buf *out)
{
    struct fb_bytes rest = q->ready;
    struct fb_bytes *argv = fb_xcalloc(fb_list_count(rest), sizeof(*argv));
    uint32_t argc = 0;
    while (rest.n > 0 && fb_list_next(&rest, &argv[argc]))
        argc++;
    local_run(s, (enum resp_cmd)q->shape.cmd, argv, argc, out);
    free(argv);
}

static int txn_local_cb(void *arg, const struct resp_queued *q, struct fb_buf *out)
{
    struct router_session *s = arg;
    txn_run_local(s, q, out);
    return s->proto;
}

/* A pipeline's commands of ours are answered as if they ran before the others. */
static void txn_run_locals(struct router_session *s, struct router_txn *t)
{
    for (uint32_t i = 0; i < t->qn; i++) {
        struct resp_queued *q = &t->q[i];
        struct fb_buf out = {0};
        if (q->nops > 0 || q->refused)
            continue;
        txn_run_local(s, q, &out);
        free((void *)(uintptr_t)q->ready.p);
        q->ready = fb_buf_view(&out);
    }
}

void txn_exec_done(struct router_session *s, struct router_slot *slot,
                   const struct resp_render_ctx *ctx, struct fb_buf *out)
{
    struct resp_render_ctx c = *ctx;
    c.local = txn_local_cb;
    c.local_arg = s;
    resp_render_exec(out, slot->txn->q, slot->txn->qn, &c, &slot->rep);
    if (slot->txn->locals > 0) {
        fb_assert(s->exec_pending > 0);
        s->exec_pending--;
    }
}

/* WATCH's versions as leading VERSION items, then the queued operations. */
static void txn_encode(struct router *r, const struct router_txn *t)
{
    fb_buf_clear(&r->args);
    for (uint32_t i = 0; i < t->watch_n; i++) {
        const struct router_watch *w = &t->watches[i];
        struct fb_req req = {
            .op = FB_OP_VERSION, .part = w->part, .a = w->ver, .key = fb_bytes(w->key, w->key_n)};
        size_t at = r->args.n;
        fb_buf_put_u32(&r->args, 0);
        fb_req_encode(&r->args, &req);
        fb_put_u32(r->args.p + at, (uint32_t)(r->args.n - at - 4));
    }
    fb_buf_put_bytes(&r->args, fb_buf_view(&t->ops));
}

static void txn_send(struct router_session *s, struct router_txn *t)
{
    struct router *r = s->router;
    uint32_t number = slot_push(s, SLOT_TXN, RESP_CMD_EXEC, 1);
    struct fb_req req = {
        .op = FB_OP_TXN, .part = t->part, .a = t->watch_n, .nargs = t->watch_n + t->op_count};
    slot_at(s, number)->txn = t;
    txn_encode(r, t);
    req.args = fb_buf_view(&r->args);
    dispatch_op(s, number, 0, &req, ROUTER_NODE_NONE);
}

static void txn_send_relaxed(struct router_session *s, struct router_txn *t)
{
    uint32_t number = slot_push(s, SLOT_RELAXED, RESP_CMD_EXEC, t->op_count), index = 0;
    struct fb_bytes rest = fb_buf_view(&t->ops), item;
    slot_at(s, number)->txn = t;
    while (fb_list_next(&rest, &item)) {
        struct fb_reader in = fb_reader(item);
        struct fb_req req;
        enum fb_status st = fb_req_decode(&in, &req);
        fb_assert(st == FB_OK); /* our own encoding */
        dispatch_op(s, number, index++, &req, ROUTER_NODE_NONE);
    }
    if (t->op_count == 0)
        session_drain(s);
}

/* Transactions without a word for a node. */
static void txn_finish_here(struct router_session *s, struct router_txn *t)
{
    uint32_t number = slot_push(s, SLOT_TXN, RESP_CMD_EXEC, 0);
    struct router_slot *slot = slot_at(s, number);
    slot->txn = t;
    slot->rep = (struct fb_rep){.type = FB_REP_REPS};
    session_drain(s);
}

void txn_exec(struct router_session *s)
{
    struct router_txn *t = s->txn;
    bool dirty = s->multi_dirty, watch_failed = s->watch_failed, in_multi = s->in_multi;
    if (!in_multi) {
        resp_put_error(session_reply(s, RESP_CMD_EXEC), fb_bytes_str("ERR EXEC without MULTI"));
        return;
    }
    /* commands in the queue may change the session: it is out of MULTI from here */
    s->txn = NULL;
    txn_discard(s);
    if (dirty || watch_failed || (t->spread && !s->router->relaxed) ||
        (t->watch_n > 0 && t->spread)) {
        struct fb_buf *out = session_reply(s, RESP_CMD_EXEC);
        if (dirty)
            resp_put_error(out, fb_bytes_str("EXECABORT Transaction discarded because of previous "
                                             "errors."));
        else if (watch_failed)
            resp_put_null_array(out, s->proto);
        else
            resp_put_error(out, fb_bytes_str(crossslot));
        txn_free(t);
        return;
    }
    if (t->watch_n == 0 && s->router->relaxed && t->spread) {
        txn_run_locals(s, t);
        txn_send_relaxed(s, t);
        return;
    }
    /* they may change the session, when it is known that they run: no command before that */
    s->exec_pending += t->locals > 0;
    if (t->op_count == 0 && t->watch_n == 0)
        txn_finish_here(s, t);
    else
        txn_send(s, t);
}

/* --- WATCH --- */

void txn_watch(struct router_session *s, const struct resp_plan *plan)
{
    struct router *r = s->router;
    struct router_txn *t = txn_of(s);
    uint32_t number;
    if (t->watch_n + plan->nops > WATCH_KEYS_MAX) {
        resp_put_errorf(session_reply(s, RESP_CMD_WATCH), "ERR too many watched keys (limit %u)",
                        WATCH_KEYS_MAX);
        return;
    }
    if (t->watch_n + plan->nops > t->watch_cap) {
        t->watch_cap = (t->watch_n + plan->nops) * 2;
        t->watches = fb_xrealloc(t->watches, t->watch_cap * sizeof(*t->watches));
    }
    number = slot_push(s, SLOT_WATCH, RESP_CMD_WATCH, plan->nops);
    s->watch_pending++;
    for (uint32_t i = 0; i < plan->nops; i++) {
        struct router_watch *w = &t->watches[t->watch_n++];
        struct fb_bytes key = plan->ops[i].key;
        *w = (struct router_watch){.part = part_of(r, key), .key_n = (uint16_t)key.n};
        memcpy(w->key, key.p, key.n);
        txn_partition(r, t, w->part);
    }
    s->watch_count = t->watch_n;
    for (uint32_t i = 0; i < plan->nops; i++)
        dispatch_op(s, number, i, &plan->ops[i], ROUTER_NODE_NONE);
}

void txn_watch_done(struct router_session *s, struct router_slot *slot, struct fb_buf *out)
{
    const struct fb_rep *reps = slot->nops > 1 ? slot->reps : &slot->rep;
    struct router_txn *t = s->txn;
    const struct fb_rep *bad = NULL;
    s->watch_pending--;
    for (uint32_t i = 0; i < slot->nops; i++) {
        /* the session takes no command while this is pending, so the list cannot have changed */
        struct router_watch *w = &t->watches[t->watch_filled++];
        w->ver = reps[i].num;
        w->known = reps[i].type == FB_REP_INT;
        if (!w->known && bad == NULL)
            bad = &reps[i];
    }
    if (bad == NULL) {
        resp_put_ok(out);
        return;
    }
    s->watch_failed = true;
    if (bad->type == FB_REP_ERR)
        resp_render_err(out, bad);
    else
        resp_put_error(out, fb_bytes_str("ERR a node gave no version for a watched key"));
}

void txn_unwatch(struct router_session *s)
{
    struct router_txn *t = s->txn;
    s->watch_failed = false;
    s->watch_count = 0;
    if (t == NULL || s->in_multi)
        return;
    txn_discard(s);
}
