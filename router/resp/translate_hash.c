/* Commands on hashes. */
#include "router/resp/translate_priv.h"

/* One operation on argv[1] whose arguments are argv[from..to). Every `value_step`-th of them may be
 * a value, the others are names of fields; 0: all are names.
 */
static struct fb_req *with_args(struct tr *t, enum fb_op op, enum resp_form form, uint32_t from,
                                uint32_t to, uint32_t value_step)
{
    struct fb_req *r;
    for (uint32_t i = from; i < to; i++) {
        bool value = value_step > 0 && (i - from) % value_step == value_step - 1;
        if (!(value ? tr_value_fits(t, t->argv[i]) : tr_field_fits(t, t->argv[i])))
            return NULL;
    }
    t->plan->shape.form = (uint8_t)form;
    r = tr_ops_reserve(t, 1, from) ? tr_op(t, op, t->argv[1]) : NULL;
    for (uint32_t i = from; r != NULL && i < to; i++)
        tr_arg(t, r, t->argv[i]);
    return r;
}

static void tr_hset(struct tr *t, enum resp_form form)
{
    if (t->argc % 2 == 1) {
        tr_refuse_arity(t);
        return;
    }
    (void)with_args(t, FB_OP_HSET, form, 2, t->argc, 2);
}

static void tr_hsetnx(struct tr *t)
{
    struct fb_req *r = with_args(t, FB_OP_HSET, RESP_FORM_AS_IS, 2, 4, 2);
    if (r != NULL)
        r->flags = FB_REQ_NX;
}

static void tr_hincrby(struct tr *t)
{
    int64_t delta;
    struct fb_req *r;
    if (!tr_i64(t, t->argv[3], &delta))
        return;
    r = with_args(t, FB_OP_HINCRBY, RESP_FORM_AS_IS, 2, 3, 0);
    if (r != NULL)
        r->a = delta;
}

/* The whole hash comes back and is filtered when rendered; COUNT is a hint, and all fit. */
static void tr_hscan(struct tr *t)
{
    uint64_t cursor;
    int64_t count = 10;
    size_t mark = t->out->n;
    if (!tr_scan_cursor(t, t->argv[2], &cursor) ||
        tr_single(t, FB_OP_HGETALL, RESP_FORM_HSCAN) == NULL)
        return;
    if (!tr_scan_options(t, 3, &count, &t->plan->shape.match, NULL))
        tr_refuse_late(t, mark, RESP_FORM_HSCAN_LATE_ERROR);
}

bool tr_hash(struct tr *t, enum resp_cmd id)
{
    switch (id) {
    case RESP_CMD_HGET:
        (void)with_args(t, FB_OP_HGET, RESP_FORM_AS_IS, 2, 3, 0);
        break;
    case RESP_CMD_HSET:
        tr_hset(t, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_HMSET:
        tr_hset(t, RESP_FORM_OK);
        break;
    case RESP_CMD_HSETNX:
        tr_hsetnx(t);
        break;
    case RESP_CMD_HMGET:
        (void)with_args(t, FB_OP_HMGET, RESP_FORM_AS_IS, 2, t->argc, 0);
        break;
    case RESP_CMD_HGETALL:
        (void)tr_single(t, FB_OP_HGETALL, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_HDEL:
        (void)with_args(t, FB_OP_HDEL, RESP_FORM_AS_IS, 2, t->argc, 0);
        break;
    case RESP_CMD_HEXISTS:
        (void)with_args(t, FB_OP_HEXISTS, RESP_FORM_AS_IS, 2, 3, 0);
        break;
    case RESP_CMD_HLEN:
        (void)tr_single(t, FB_OP_HLEN, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_HKEYS:
        (void)tr_single(t, FB_OP_HKEYS, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_HVALS:
        (void)tr_single(t, FB_OP_HVALS, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_HSTRLEN:
        (void)with_args(t, FB_OP_HSTRLEN, RESP_FORM_AS_IS, 2, 3, 0);
        break;
    case RESP_CMD_HINCRBY:
        tr_hincrby(t);
        break;
    case RESP_CMD_HINCRBYFLOAT:
        if (tr_float(t, t->argv[3], "ERR value is NaN or Infinity"))
            (void)with_args(t, FB_OP_HINCRBYFLOAT, RESP_FORM_AS_IS, 2, 4, 2);
        break;
    case RESP_CMD_HSCAN:
        tr_hscan(t);
        break;
    default:
        return false;
    }
    return true;
}
