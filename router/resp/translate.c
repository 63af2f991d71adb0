/* Entry of the translator, and its helpers. */
#include "router/resp/translate.h"

#include <math.h>
#include <stdlib.h>

#include "proto/base/bounds.h"
#include "proto/base/glob.h"
#include "proto/base/number.h"
#include "router/resp/translate_priv.h"
#include "router/resp/writer.h"

/* Memory of an arena that is kept after use. */
#define OPS_KEEP 1024u
#define ARGS_BYTES_KEEP (256u << 10)
#define SCAN_COUNT_MAX 100000

void resp_arena_fini(struct resp_arena *a)
{
    free(a->ops);
    fb_buf_fini(&a->args);
    *a = (struct resp_arena){0};
}

static void arena_reset(struct resp_arena *a)
{
    fb_buf_clear(&a->args);
    fb_buf_shrink(&a->args, ARGS_BYTES_KEEP);
    if (a->ops_cap > OPS_KEEP) {
        free(a->ops);
        a->ops = NULL;
        a->ops_cap = 0;
    }
}

void tr_refuse(struct tr *t, const char *text)
{
    resp_put_error(t->out, fb_bytes_str(text));
    t->plan->kind = RESP_PLAN_ERROR;
}

void tr_refuse_arity(struct tr *t)
{
    resp_put_errorf(t->out, "ERR wrong number of arguments for '%s' command", t->plan->cmd->name);
    t->plan->kind = RESP_PLAN_ERROR;
}

void tr_refuse_expire(struct tr *t)
{
    resp_put_errorf(t->out, "ERR invalid expire time in '%s' command", t->plan->cmd->name);
    t->plan->kind = RESP_PLAN_ERROR;
}

void tr_refuse_syntax(struct tr *t)
{
    tr_refuse(t, "ERR syntax error");
}

void tr_refuse_late(struct tr *t, size_t mark, enum resp_form form)
{
    fb_assert(t->plan->kind == RESP_PLAN_ERROR && t->plan->nops == 1);
    t->plan->kind = RESP_PLAN_OPS;
    t->plan->shape.form = (uint8_t)form;
    t->plan->shape.match = fb_bytes(t->out->p + mark, t->out->n - mark);
}

bool tr_word(struct fb_bytes arg, const char *upper)
{
    size_t n = strlen(upper);
    if (arg.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = arg.p[i];
        if ((c >= 'a' && c <= 'z' ? c - 32 : c) != upper[i])
            return false;
    }
    return true;
}

bool tr_i64(struct tr *t, struct fb_bytes arg, int64_t *out)
{
    if (fb_parse_i64(arg, out))
        return true;
    tr_refuse(t, "ERR value is not an integer or out of range");
    return false;
}

bool tr_float(struct tr *t, struct fb_bytes arg, const char *infinite)
{
    long double v;
    if (!fb_parse_long_double(arg, &v)) {
        tr_refuse(t, "ERR value is not a valid float");
        return false;
    }
    if (isinf(v)) {
        tr_refuse(t, infinite);
        return false;
    }
    return true;
}

bool tr_value_fits(struct tr *t, struct fb_bytes value)
{
    if (FB_LIKELY(value.n <= FB_VALUE_BYTES_MAX))
        return true;
    resp_put_errorf(t->out, "ERR value is longer than %u bytes (nothing changed)",
                    FB_VALUE_BYTES_MAX);
    t->plan->spoils = true;
    t->plan->kind = RESP_PLAN_ERROR;
    return false;
}

bool tr_field_fits(struct tr *t, struct fb_bytes field)
{
    if (FB_LIKELY(field.n <= FB_FIELD_BYTES_MAX))
        return true;
    resp_put_errorf(t->out, "ERR field is longer than %u bytes (nothing changed)",
                    FB_FIELD_BYTES_MAX);
    t->plan->spoils = true;
    t->plan->kind = RESP_PLAN_ERROR;
    return false;
}

bool tr_expiry(struct tr *t, struct fb_bytes arg, unsigned units, int64_t *at_ms)
{
    int64_t v;
    if (!tr_i64(t, arg, &v))
        return false;
    if (v <= 0 || ((units & TR_SECONDS) && __builtin_mul_overflow(v, 1000, &v)) ||
        ((units & TR_RELATIVE) && __builtin_add_overflow(v, t->now_ms, &v))) {
        tr_refuse_expire(t);
        return false;
    }
    *at_ms = v;
    return true;
}

bool tr_scan_cursor(struct tr *t, struct fb_bytes arg, uint64_t *out)
{
    /* as strtoul reads it, and Redis with it: it ends at a NUL, nothing is 0, zeros and a sign in
     * front are taken */
    const uint8_t *nul = arg.n > 0 ? memchr(arg.p, 0, arg.n) : NULL;
    bool negative = arg.n > 0 && arg.p[0] == '-';
    size_t i = arg.n > 0 && (arg.p[0] == '-' || arg.p[0] == '+');
    if (nul != NULL)
        arg.n = (size_t)(nul - arg.p);
    if (arg.n == 0) {
        *out = 0;
        return true;
    }
    while (arg.n - i > 1 && arg.p[i] == '0')
        i++;
    if (!fb_parse_u64(fb_bytes(arg.p + i, arg.n - i), out)) {
        tr_refuse(t, "ERR invalid cursor");
        return false;
    }
    if (negative)
        *out = 0 - *out;
    return true;
}

bool tr_scan_options(struct tr *t, uint32_t from, int64_t *count, struct fb_bytes *match,
                     struct fb_bytes *type)
{
    for (uint32_t i = from; i < t->argc; i += 2) {
        bool more = i + 1 < t->argc;
        if (more && tr_word(t->argv[i], "COUNT")) {
            if (!tr_i64(t, t->argv[i + 1], count))
                return false;
            if (*count < 1) {
                tr_refuse_syntax(t);
                return false;
            }
        } else if (more && tr_word(t->argv[i], "MATCH")) {
            *match = fb_glob_is_all(t->argv[i + 1]) ? fb_bytes(NULL, 0) : t->argv[i + 1];
        } else if (more && type != NULL && tr_word(t->argv[i], "TYPE")) {
            *type = t->argv[i + 1];
        } else {
            tr_refuse_syntax(t);
            return false;
        }
    }
    if (*count > SCAN_COUNT_MAX)
        *count = SCAN_COUNT_MAX;
    return true;
}

bool tr_ops_reserve(struct tr *t, uint32_t n, uint32_t from)
{
    struct resp_arena *a = t->arena;
    size_t bytes = 0;
    if (n > RESP_KEYS_MAX) {
        resp_put_errorf(t->out, "ERR more than %u keys in one command (nothing changed)",
                        RESP_KEYS_MAX);
        t->plan->spoils = true;
        t->plan->kind = RESP_PLAN_ERROR;
        return false;
    }
    if (n > a->ops_cap) {
        a->ops_cap = n > 16 ? n : 16;
        a->ops = fb_xrealloc(a->ops, a->ops_cap * sizeof(*a->ops));
    }
    for (uint32_t i = from; i < t->argc; i++)
        bytes += 4 + t->argv[i].n;
    (void)fb_buf_reserve(&a->args, bytes + 1);
    t->plan->kind = RESP_PLAN_OPS;
    t->plan->ops = a->ops;
    return true;
}

struct fb_req *tr_op(struct tr *t, enum fb_op op, struct fb_bytes key)
{
    struct fb_req *r = &t->plan->ops[t->plan->nops];
    fb_assert(t->plan->nops < t->arena->ops_cap);
    if (FB_UNLIKELY(key.n > FB_KEY_BYTES_MAX)) {
        resp_put_errorf(t->out, "ERR key is longer than %u bytes (nothing changed)",
                        FB_KEY_BYTES_MAX);
        t->plan->spoils = true;
        t->plan->kind = RESP_PLAN_ERROR;
        return NULL;
    }
    t->plan->nops++;
    *r = (struct fb_req){.op = (uint16_t)op, .key = key};
    return r;
}

void tr_arg(struct tr *t, struct fb_req *r, struct fb_bytes arg)
{
    struct fb_buf *b = &t->arena->args;
    fb_assert(b->cap - b->n >= 4 + arg.n); /* reserved, so that views stay where they are */
    if (r->nargs == 0)
        r->args.p = b->p + b->n;
    fb_list_put(b, arg);
    r->args.n += 4 + arg.n;
    r->nargs++;
}

struct fb_req *tr_single(struct tr *t, enum fb_op op, enum resp_form form)
{
    t->plan->shape.form = (uint8_t)form;
    return tr_ops_reserve(t, 1, t->argc) ? tr_op(t, op, t->argv[1]) : NULL;
}

bool resp_level_parse(struct fb_bytes text, enum fb_level *out)
{
    static const struct {
        const char *name;
        enum fb_level level;
    } levels[] = {{"NONE", FB_LEVEL_NONE},
                  {"LOCAL", FB_LEVEL_LOCAL},
                  {"REPLICATED", FB_LEVEL_REPLICATED},
                  {"DURABLE", FB_LEVEL_DURABLE},
                  {"DATABASE", FB_LEVEL_DATABASE}};
    for (size_t i = 0; i < FB_COUNT_OF(levels); i++) {
        if (tr_word(text, levels[i].name)) {
            *out = levels[i].level;
            return true;
        }
    }
    return false;
}

uint64_t resp_scan_cursor(uint64_t node_cursor, uint32_t node)
{
    return node_cursor * FB_NODES_MAX + node;
}

static void tr_timeout(struct tr *t, struct fb_bytes arg)
{
    int64_t v;
    if (!fb_parse_i64(arg, &v))
        tr_refuse(t, "ERR timeout is not an integer or out of range");
    else if (v < 0)
        tr_refuse(t, "ERR timeout is negative");
}

/* Checks of what the router answers itself. */
static void tr_local(struct tr *t, enum resp_cmd id)
{
    int64_t v;
    enum fb_level level;
    t->plan->kind = RESP_PLAN_LOCAL;
    switch (id) {
    case RESP_CMD_HELLO:
        if (t->argc > 1 && !fb_parse_i64(t->argv[1], &v))
            tr_refuse(t, "ERR Protocol version is not an integer or out of range");
        else if (t->argc > 1 && (v < 2 || v > 3))
            tr_refuse(t, "NOPROTO unsupported protocol version");
        break;
    case RESP_CMD_PING:
        if (t->argc > 2)
            tr_refuse_arity(t);
        break;
    case RESP_CMD_SELECT:
        if (!tr_i64(t, t->argv[1], &v))
            return;
        if (v < INT32_MIN || v > INT32_MAX)
            tr_refuse(t,
                      "ERR value is out of range, value must between -2147483648 and 2147483647");
        else if (v != 0)
            tr_refuse(t, "ERR DB index is out of range");
        break;
    case RESP_CMD_WAIT:
        if (tr_i64(t, t->argv[1], &v))
            tr_timeout(t, t->argv[2]);
        break;
    case RESP_CMD_WAITAOF: /* as Redis 7.2 checks it */
        if (!tr_i64(t, t->argv[1], &v))
            return;
        if (v < 0 || v > 1)
            tr_refuse(t, "ERR value is out of range, value must between 0 and 1");
        else if (tr_i64(t, t->argv[2], &v) && v < 0)
            tr_refuse(t, "ERR value is out of range, must be positive");
        else if (t->plan->kind == RESP_PLAN_LOCAL)
            tr_timeout(t, t->argv[3]);
        break;
    case RESP_CMD_FB_REQUIRE:
        if (!resp_level_parse(t->argv[1], &level))
            tr_refuse(t, "ERR unknown level; use NONE, LOCAL, REPLICATED, DURABLE or DATABASE");
        break;
    case RESP_CMD_WATCH:
        if (!tr_ops_reserve(t, t->argc - 1, t->argc))
            return;
        t->plan->kind = RESP_PLAN_LOCAL;
        for (uint32_t i = 1; i < t->argc; i++) {
            if (tr_op(t, FB_OP_VERSION, t->argv[i]) == NULL)
                return;
        }
        break;
    default:
        break;
    }
}

void resp_translate(struct resp_plan *plan, struct resp_arena *arena, struct fb_buf *out,
                    const struct fb_bytes *argv, uint32_t argc, int64_t now_ms)
{
    struct tr t = {plan, arena, out, argv, argc, now_ms};
    enum resp_cmd id;
    fb_assert(argc >= 1);
    arena_reset(arena);
    *plan = (struct resp_plan){.kind = RESP_PLAN_ERROR};
    plan->cmd = resp_command_find(argv[0]);
    if (FB_UNLIKELY(plan->cmd == NULL) && (tr_word(argv[0], "POST") || tr_word(argv[0], "HOST:"))) {
        plan->kind = RESP_PLAN_CLOSE;
        return;
    }
    plan->cmd = resp_command_resolve(out, argv, argc);
    if (plan->cmd == NULL) {
        plan->spoils = true;
        return;
    }
    id = (enum resp_cmd)plan->cmd->id;
    plan->shape.cmd = (uint16_t)id;
    if (!tr_string(&t, id) && !tr_hash(&t, id) && !tr_key(&t, id))
        tr_local(&t, id);
    if (plan->kind == RESP_PLAN_ERROR)
        plan->nops = 0;
}
