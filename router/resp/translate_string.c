/* Commands on strings. */
#include "proto/base/bounds.h"
#include "proto/base/number.h"
#include "router/resp/translate_priv.h"

/* Options that SET and GETEX share; each excludes the others. */
enum {
    OPT_EX = 1 << 0,
    OPT_PX = 1 << 1,
    OPT_EXAT = 1 << 2,
    OPT_PXAT = 1 << 3,
    OPT_KEEPTTL = 1 << 4,
    OPT_PERSIST = 1 << 5
};

struct options {
    unsigned ttl;   /* OPT_* */
    uint16_t flags; /* enum fb_req_flag */
    struct fb_bytes expire;
};

static unsigned ttl_option(struct fb_bytes arg)
{
    static const struct {
        const char *name;
        unsigned bit;
    } names[] = {{"EX", OPT_EX}, {"PX", OPT_PX}, {"EXAT", OPT_EXAT}, {"PXAT", OPT_PXAT}};
    for (size_t i = 0; i < FB_COUNT_OF(names); i++) {
        if (tr_word(arg, names[i].name))
            return names[i].bit;
    }
    return 0;
}

/* From argv[from]; false when refused. As in Redis the same option twice is allowed and the last
 * one counts. */
static bool parse_options(struct tr *t, uint32_t from, bool is_set, struct options *o)
{
    for (uint32_t i = from; i < t->argc; i++) {
        struct fb_bytes arg = t->argv[i];
        unsigned ttl = ttl_option(arg);
        if (is_set && tr_word(arg, "NX") && !(o->flags & FB_REQ_XX)) {
            o->flags |= FB_REQ_NX;
        } else if (is_set && tr_word(arg, "XX") && !(o->flags & FB_REQ_NX)) {
            o->flags |= FB_REQ_XX;
        } else if (is_set && tr_word(arg, "GET")) {
            o->flags |= FB_REQ_GET;
        } else if (is_set && tr_word(arg, "KEEPTTL") && !(o->ttl & ~(unsigned)OPT_KEEPTTL)) {
            o->ttl |= OPT_KEEPTTL;
            o->flags |= FB_REQ_KEEPTTL;
        } else if (!is_set && tr_word(arg, "PERSIST") && !(o->ttl & ~(unsigned)OPT_PERSIST)) {
            o->ttl |= OPT_PERSIST;
            o->flags |= FB_REQ_PERSIST;
        } else if (ttl != 0 && !(o->ttl & ~ttl) && i + 1 < t->argc) {
            o->ttl |= ttl;
            o->expire = t->argv[++i];
        } else {
            tr_refuse_syntax(t);
            return false;
        }
    }
    return true;
}

static bool options_expiry(struct tr *t, const struct options *o, int64_t *at_ms)
{
    unsigned units = (o->ttl & (OPT_EX | OPT_EXAT)) ? TR_SECONDS : TR_MS;
    *at_ms = 0;
    if (o->expire.p == NULL)
        return true;
    if (o->ttl & (OPT_EX | OPT_PX))
        units |= TR_RELATIVE;
    return tr_expiry(t, o->expire, units, at_ms);
}

/* One operation on argv[1] with the single argument argv[arg]. */
static struct fb_req *single_arg(struct tr *t, enum fb_op op, enum resp_form form, uint32_t arg)
{
    struct fb_req *r = tr_value_fits(t, t->argv[arg]) ? tr_single(t, op, form) : NULL;
    if (r != NULL) {
        (void)fb_buf_reserve(&t->arena->args, t->argv[arg].n + 4);
        tr_arg(t, r, t->argv[arg]);
    }
    return r;
}

static void put_set(struct tr *t, uint32_t value, uint16_t flags, int64_t at_ms,
                    enum resp_form form)
{
    struct fb_req *r = single_arg(t, FB_OP_SET, form, value);
    if (r == NULL)
        return;
    r->flags = flags;
    r->b = at_ms;
}

static void tr_set(struct tr *t)
{
    struct options o = {0};
    int64_t at_ms = 0;
    if (t->argc > 3 && (!parse_options(t, 3, true, &o) || !options_expiry(t, &o, &at_ms)))
        return;
    put_set(t, 2, o.flags, at_ms, RESP_FORM_AS_IS);
}

static void tr_setex(struct tr *t, unsigned units)
{
    int64_t at_ms;
    if (tr_expiry(t, t->argv[2], units | TR_RELATIVE, &at_ms))
        put_set(t, 3, 0, at_ms, RESP_FORM_AS_IS);
}

static void tr_getex(struct tr *t)
{
    struct options o = {0};
    struct fb_req *r;
    int64_t at_ms;
    size_t mark = t->out->n;
    if (!parse_options(t, 2, false, &o))
        return;
    r = tr_single(t, o.ttl == 0 ? FB_OP_GET : FB_OP_GETEX, RESP_FORM_AS_IS);
    if (r == NULL)
        return;
    if (!options_expiry(t, &o, &at_ms)) {
        r->op = FB_OP_GET;
        tr_refuse_late(t, mark, RESP_FORM_LATE_ERROR);
        return;
    }
    r->flags = o.flags;
    r->b = at_ms;
}

static void tr_mget(struct tr *t)
{
    t->plan->shape.gather = RESP_GATHER_ARRAY;
    if (!tr_ops_reserve(t, t->argc - 1, t->argc))
        return;
    for (uint32_t i = 1; i < t->argc; i++) {
        if (tr_op(t, FB_OP_GET, t->argv[i]) == NULL)
            return;
    }
}

static void tr_mset(struct tr *t)
{
    t->plan->shape.gather = RESP_GATHER_ALL_OK;
    if (t->argc % 2 == 0) {
        tr_refuse_arity(t);
        return;
    }
    if (!tr_ops_reserve(t, (t->argc - 1) / 2, 1))
        return;
    for (uint32_t i = 1; i < t->argc; i += 2) {
        struct fb_req *r =
            tr_value_fits(t, t->argv[i + 1]) ? tr_op(t, FB_OP_SET, t->argv[i]) : NULL;
        if (r == NULL)
            return;
        tr_arg(t, r, t->argv[i + 1]);
    }
}

static void tr_getrange(struct tr *t)
{
    int64_t start, end;
    struct fb_req *r;
    if (!tr_i64(t, t->argv[2], &start) || !tr_i64(t, t->argv[3], &end))
        return;
    r = tr_single(t, FB_OP_GETRANGE, RESP_FORM_AS_IS);
    if (r == NULL)
        return;
    r->a = start;
    r->b = end;
}

static void tr_setrange(struct tr *t)
{
    int64_t offset;
    struct fb_req *r;
    if (!tr_i64(t, t->argv[2], &offset))
        return;
    if (offset < 0) {
        tr_refuse(t, "ERR offset is out of range");
        return;
    }
    r = single_arg(t, FB_OP_SETRANGE, RESP_FORM_AS_IS, 3);
    if (r != NULL)
        r->a = offset;
}

static void put_incr(struct tr *t, int64_t delta)
{
    struct fb_req *r = tr_single(t, FB_OP_INCRBY, RESP_FORM_AS_IS);
    if (r != NULL)
        r->a = delta;
}

static void tr_incrby(struct tr *t, bool down)
{
    int64_t delta;
    if (!tr_i64(t, t->argv[2], &delta))
        return;
    if (down && delta == INT64_MIN) {
        tr_refuse(t, "ERR decrement would overflow");
        return;
    }
    put_incr(t, down ? -delta : delta);
}

/* FB.SETIF key version value [EX seconds | PX milliseconds] */
static void tr_setif(struct tr *t)
{
    struct options o = {0};
    int64_t version, at_ms;
    struct fb_req *r;
    if (!fb_parse_i64(t->argv[2], &version) || version < 0) {
        tr_refuse(t, "ERR version is not an integer or out of range");
        return;
    }
    if (!parse_options(t, 4, true, &o))
        return;
    if (o.flags != 0 || (o.ttl & (OPT_EXAT | OPT_PXAT))) {
        tr_refuse_syntax(t);
        return;
    }
    if (!options_expiry(t, &o, &at_ms))
        return;
    r = single_arg(t, FB_OP_SETIF, RESP_FORM_AS_IS, 3);
    if (r == NULL)
        return;
    r->a = version;
    r->b = at_ms;
}

bool tr_string(struct tr *t, enum resp_cmd id)
{
    switch (id) {
    case RESP_CMD_GET:
        (void)tr_single(t, FB_OP_GET, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_SET:
        tr_set(t);
        break;
    case RESP_CMD_SETNX:
        put_set(t, 2, FB_REQ_NX, 0, RESP_FORM_OK_INT);
        break;
    case RESP_CMD_SETEX:
        tr_setex(t, TR_SECONDS);
        break;
    case RESP_CMD_PSETEX:
        tr_setex(t, TR_MS);
        break;
    case RESP_CMD_GETSET:
        put_set(t, 2, FB_REQ_GET, 0, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_GETDEL:
        (void)tr_single(t, FB_OP_GETDEL, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_GETEX:
        tr_getex(t);
        break;
    case RESP_CMD_MGET:
        tr_mget(t);
        break;
    case RESP_CMD_MSET:
        tr_mset(t);
        break;
    case RESP_CMD_STRLEN:
        (void)tr_single(t, FB_OP_STRLEN, RESP_FORM_AS_IS);
        break;
    case RESP_CMD_APPEND:
        (void)single_arg(t, FB_OP_APPEND, RESP_FORM_AS_IS, 2);
        break;
    case RESP_CMD_GETRANGE:
    case RESP_CMD_SUBSTR:
        tr_getrange(t);
        break;
    case RESP_CMD_SETRANGE:
        tr_setrange(t);
        break;
    case RESP_CMD_INCR:
        put_incr(t, 1);
        break;
    case RESP_CMD_DECR:
        put_incr(t, -1);
        break;
    case RESP_CMD_INCRBY:
        tr_incrby(t, false);
        break;
    case RESP_CMD_DECRBY:
        tr_incrby(t, true);
        break;
    case RESP_CMD_INCRBYFLOAT:
        /* Redis looks at the key and its value first, so the node judges the argument */
        (void)single_arg(t, FB_OP_INCRBYFLOAT, RESP_FORM_AS_IS, 2);
        break;
    case RESP_CMD_FB_SETIF:
        tr_setif(t);
        break;
    default:
        return false;
    }
    return true;
}
