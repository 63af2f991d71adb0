/* WAIT and WAITAOF: each partition that the connection wrote to is asked how many copies have it,
 * and the fewest is the answer. */
#include "router/core/state.h"

#include "proto/base/number.h"

static int64_t number(struct fb_bytes arg)
{
    int64_t v = 0;
    bool ok = fb_parse_i64(arg, &v);
    fb_assert(ok); /* resp_translate has looked */
    return v;
}

void local_wait(struct router_session *s, const struct resp_plan *plan, const struct fb_bytes *argv)
{
    bool aof = plan->cmd->id == RESP_CMD_WAITAOF;
    struct fb_req req = {
        .op = FB_OP_COPIES, .a = number(argv[aof ? 2 : 1]), .b = number(argv[aof ? 3 : 2])};
    struct router *r = s->router;
    uint32_t count = 0, at = 0, slot;

    for (uint32_t p = 0; p < r->partitions; p++)
        count += s->wrote[p / 8] >> p % 8 & 1;
    if (aof)
        req.flags = FB_REQ_DISK | (number(argv[1]) > 0 ? FB_REQ_HERE : 0);
    slot = slot_push(s, SLOT_OPS, plan->cmd->id, count > 0 ? count : 1);
    slot_at(s, slot)->shape = (struct resp_shape){.gather = RESP_GATHER_LEAST,
                                                  .form = aof ? RESP_FORM_AOF : RESP_FORM_AS_IS,
                                                  .cmd = plan->cmd->id};
    for (uint32_t p = 0; p < r->partitions && at < count; p++) {
        if ((s->wrote[p / 8] >> p % 8 & 1) == 0)
            continue;
        req.part = (uint16_t)p;
        dispatch_op(s, slot, at++, &req, ROUTER_NODE_NONE);
    }
    if (count == 0) /* it wrote nothing: any partition tells how many copies there are */
        dispatch_op(s, slot, 0, &req, ROUTER_NODE_NONE);
}
