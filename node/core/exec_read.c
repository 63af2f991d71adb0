/* Reads that came to the writer: on the newest version, whose reply leaves after it is published.
 */
#include "node/core/lane_impl.h"
#include "node/core/read_value.h"

void exec_read(struct op *op)
{
    if (!read_value(op->live ? op->cur : NULL, op->req, &op->l->payload, &op->rep))
        op_err(op, "ERR operation %u is not a read", op->req->op);
}
