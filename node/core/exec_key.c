/* Operations on whole keys: delete, expiry, eviction. */
#include "node/core/lane_impl.h"

static void expireat(struct op *op)
{
    int64_t old, at = op->req->b;
    uint16_t flags = op->req->flags;

    op_int(op, 0);
    if (!op->live)
        return;
    old = object_expires(op->cur); /* 0 = never, which is later than everything */
    if (((flags & FB_REQ_NX) && old != 0) || ((flags & FB_REQ_XX) && old == 0) ||
        ((flags & FB_REQ_GT) && (old == 0 || at <= old)) ||
        ((flags & FB_REQ_LT) && old != 0 && at >= old))
        return;
    if (at <= (int64_t)op->now ? op_del(op)
                               : op_put(op, op->cur->kind, object_value(op->cur), at, 0))
        op_int(op, 1);
}

static void persist(struct op *op)
{
    op_int(op, 0);
    if (!op->live || op->ns->conf->mapped || object_expires(op->cur) == 0)
        return;
    if (op_put(op, op->cur->kind, object_value(op->cur), 0, 0))
        op_int(op, 1);
}

static void evict(struct op *op)
{
    struct object *o = store_find_own(op->l->store, op->key, op->hash);
    bool had;

    op_int(op, 0);
    if (o == NULL || !evictable(op->l, o))
        return;
    had = o->kind != FB_KIND_NONE;
    evict_object(op->l, op->p, o);
    op->cur = NULL;
    op->live = false;
    op_int(op, had);
}

void exec_key(struct op *op)
{
    switch (op->req->op) {
    case FB_OP_DEL:
        op_int(op, 0);
        if (op->live && op_del(op))
            op_int(op, 1);
        return;
    case FB_OP_EXPIREAT:
        expireat(op);
        return;
    case FB_OP_PERSIST:
        persist(op);
        return;
    case FB_OP_EVICT:
        evict(op);
        return;
    default:
        op_err(op, "ERR operation %s cannot be done here", fb_op_name(op->req->op));
        return;
    }
}
