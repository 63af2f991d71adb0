/* Commands on keys of any kind, on the whole keyspace, and on versions. */
#include "proto/base/bounds.h"
#include "proto/base/number.h"
#include "router/resp/translate_priv.h"
#include "router/resp/writer.h"

#define SYNC_WAIT_MAX_MS 3600000

/* The same operation on each key; the sum of the answers. */
static void each_key_sum(struct tr *t, enum fb_op op)
{
    t->plan->shape.gather = t->argc == 2 ? RESP_GATHER_SINGLE : RESP_GATHER_SUM;
    if (!tr_ops_reserve(t, t->argc - 1, t->argc))
        return;
    for (uint32_t i = 1; i < t->argc; i++) {
        if (tr_op(t, op, t->argv[i]) == NULL)
            return;
    }
}

static bool expire_flags(struct tr *t, uint16_t *flags)
{
    for (uint32_t i = 3; i < t->argc; i++) {
        struct fb_bytes arg = t->argv[i];
        if (tr_word(arg, "NX")) {
            *flags |= FB_REQ_NX;
        } else if (tr_word(arg, "XX")) {
            *flags |= FB_REQ_XX;
        } else if (tr_word(arg, "GT")) {
            *flags |= FB_REQ_GT;
        } else if (tr_word(arg, "LT")) {
            *flags |= FB_REQ_LT;
        } else {
            resp_put_errorf(t->out, "ERR Unsupported option %.*s", (int)(arg.n < 128 ? arg.n : 128),
                            arg.n ? (const char *)arg.p : "");
            t->plan->kind = RESP_PLAN_ERROR;
            return false;
        }
    }
    if ((*flags & FB_REQ_NX) && (*flags & (FB_REQ_XX | FB_REQ_GT | FB_REQ_LT))) {
        tr_refuse(t, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*flags & FB_REQ_GT) && (*flags & FB_REQ_LT)) {
        tr_refuse(t, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* A time in the past is allowed here: it deletes. */
static void tr_expire(struct tr *t, unsigned units)
{
    uint16_t flags = 0;
    int64_t at;
    struct fb_req *r;
    if (!expire_flags(t, &flags) || !tr_i64(t, t->argv[2], &at))
        return;
    if (((units & TR_SECONDS) && __builtin_mul_overflow(at, 1000, &at)) ||
        ((units & TR_RELATIVE) && __builtin_add_overflow(at, t->now_ms, &at))) {
        tr_refuse_expire(t);
        return;
    }
    r = tr_single(t, FB_OP_EXPIREAT, RESP_FORM_AS_IS);
    if (r == NULL)
        return;
    r->flags = flags;
    r->b = at;
}

/* One operation for a node as a whole. */
static struct fb_req *node_wide(struct tr *t, enum fb_op op, enum resp_gather gather,
                                enum resp_form form)
{
    struct fb_req *r;
    t->plan->shape.gather = (uint8_t)gather;
    t->plan->shape.form = (uint8_t)form;
    if (!tr_ops_reserve(t, 1, 1))
        return NULL;
    r = tr_op(t, op, fb_bytes(NULL, 0));
    if (r != NULL)
        r->part = FB_PART_NONE;
    return r;
}

static void tr_scan(struct tr *t)
{
    uint64_t cursor;
    int64_t count = 10;
    struct fb_bytes match = {NULL, 0}, type = {NULL, 0};
    struct fb_req *r;
    if (!tr_scan_cursor(t, t->argv[1], &cursor) || !tr_scan_options(t, 2, &count, &match, &type))
        return;
    r = node_wide(t, FB_OP_SCAN, RESP_GATHER_SCAN, RESP_FORM_SCAN);
    if (r == NULL)
        return;
    t->plan->shape.node = (uint16_t)(cursor % FB_NODES_MAX);
    r->a = (int64_t)(cursor / FB_NODES_MAX);
    r->b = count;
    (void)fb_buf_reserve(&t->arena->args, 16 + match.n + sizeof("string"));
    if (type.p != NULL) /* in any case; of what nobody has there is nothing */
        type = fb_bytes_str(tr_word(type, "STRING") ? "string"
                            : tr_word(type, "HASH") ? "hash"
                                                    : "none");
    tr_arg(t, r, match);
    tr_arg(t, r, type);
    if (match.p != NULL && match.n == 0)
        tr_arg(t, r, match); /* a third one: the empty pattern is meant */
}

static void tr_flush(struct tr *t)
{
    if (t->argc > 2 ||
        (t->argc == 2 && !tr_word(t->argv[1], "SYNC") && !tr_word(t->argv[1], "ASYNC"))) {
        tr_refuse_syntax(t);
        return;
    }
    (void)node_wide(t, FB_OP_FLUSHALL, RESP_GATHER_NODES_SUM, RESP_FORM_OK);
}

/* FB.SYNC key [ms]; without, the node has a time-out of its own. */
static void tr_sync(struct tr *t)
{
    int64_t ms = 0;
    struct fb_req *r;
    if (t->argc > 3) {
        tr_refuse_arity(t);
        return;
    }
    if (t->argc == 3 && !fb_parse_i64(t->argv[2], &ms)) {
        tr_refuse(t, "ERR timeout is not an integer or out of range");
        return;
    }
    if (ms < 0) {
        tr_refuse(t, "ERR timeout is negative");
        return;
    }
    if (ms > SYNC_WAIT_MAX_MS) /* the node waits no longer either */
        ms = SYNC_WAIT_MAX_MS;
    r = tr_single(t, FB_OP_SYNC, RESP_FORM_AS_IS);
    if (r != NULL)
        r->a = ms;
}

bool tr_key(struct tr *t, enum resp_cmd id)
{
    switch (id) {
    case RESP_CMD_DEL:
    case RESP_CMD_UNLINK:
        each_key_sum(t, FB_OP_DEL);
        break;
    case RESP_CMD_EXISTS:
    case RESP_CMD_TOUCH:
        each_key_sum(t, FB_OP_EXISTS);
        break;
    case RESP_CMD_TYPE:
        (void)tr_single(t, FB_OP_TYPE, RESP_FORM_SIMPLE);
        break;
    case RESP_CMD_EXPIRE:
        tr_expire(t, TR_SECONDS | TR_RELATIVE);
        break;
    case RESP_CMD_PEXPIRE:
        tr_expire(t, TR_MS | TR_RELATIVE);
        break;
    case RESP_CMD_EXPIREAT:
        tr_expire(t, TR_SECONDS);
        break;
    case RESP_CMD_PEXPIREAT:
        tr_expire(t, TR_MS);
        break;
    case RESP_CMD_TTL:
        (void)tr_single(t, FB_OP_EXPIRETIME, RESP_FORM_TTL_S);
        break;
    case RESP_CMD_PTTL:
        (void)tr_single(t, FB_OP_EXPIRETIME, RESP_FORM_TTL_MS);
        break;
    case RESP_CMD_EXPIRETIME:
        (void)tr_single(t, FB_OP_EXPIRETIME, RESP_FORM_AT_S);
        break;
    case RESP_CMD_PEXPIRETIME:
        (void)tr_single(t, FB_OP_EXPIRETIME, RESP_FORM_AT_MS);
        break;
    case RESP_CMD_PERSIST:
        (void)tr_single(t, FB_OP_PERSIST, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_SCAN:
        tr_scan(t);
        break;
    case RESP_CMD_RANDOMKEY:
        (void)node_wide(t, FB_OP_RANDOMKEY, RESP_GATHER_NODES_ANY, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_DBSIZE:
        (void)node_wide(t, FB_OP_DBSIZE, RESP_GATHER_NODES_SUM, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_FLUSHALL:
    case RESP_CMD_FLUSHDB:
        tr_flush(t);
        break;
    case RESP_CMD_FB_GET:
        (void)tr_single(t, FB_OP_FBGET, RESP_FORM_FBGET);
        break;
    case RESP_CMD_FB_EVICT:
        (void)tr_single(t, FB_OP_EVICT, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_FB_SYNC:
        tr_sync(t);
        break;
    default:
        return false;
    }
    return true;
}
