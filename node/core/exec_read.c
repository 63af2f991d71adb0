/* Reads that came to the writer: on the newest version, whose reply leaves after it is published.
 */
#include "node/core/lane_impl.h"

#include "node/core/read_value.h"
#include "proto/base/mutant.h"

uint64_t absent_ver(const struct op *op)
{
    const struct feed *f = feed_find(op->p, op->nsid);
    uint64_t ver = fb_ver(op->p->epoch, 0);
    if (op->cur != NULL && op->cur->ver > ver)
        ver = op->cur->ver;
    if (f != NULL && f->gone_ver > ver)
        ver = f->gone_ver;
    return ver;
}

void exec_read(struct op *op)
{
    if (op->req->op == FB_OP_VERSION && !op->live) {
        op_int(op, FB_MUTANT(watch_absent_zero) ? 0 : -(int64_t)absent_ver(op));
        return;
    }
    if (!read_value(op->live ? op->cur : NULL, op->req, &op->l->payload, &op->rep))
        op_err(op, "ERR operation %u is not a read", op->req->op);
}
