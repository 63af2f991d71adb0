/* Replies of nodes as a client reads them. */
#include "router/resp/render.h"

#include "proto/base/glob.h"
#include "proto/base/mutant.h"
#include "proto/base/number.h"
#include "router/resp/writer.h"

#define INDETERMINATE "INDETERMINATE the write may or may not have happened:"

/* Replies of one command: an array, or encoded items in the payload of a TXN's reply. */
struct source {
    const struct fb_rep *reps;
    struct fb_reader rest;
    size_t n;
};

static bool source_next(struct source *s, struct fb_rep *rep)
{
    if (s->n == 0)
        return false;
    s->n--;
    if (s->reps != NULL) {
        *rep = *s->reps++;
        return true;
    }
    if (fb_rep_decode(&s->rest, rep) == FB_OK)
        return true;
    *rep = (struct fb_rep){.type = FB_REP_ERR,
                           .num = FB_REP_ERR_UNKNOWN,
                           .payload = fb_bytes_str("the reply of a node is malformed")};
    return true;
}

static void put_malformed(struct fb_buf *out)
{
    resp_put_error(out, fb_bytes_str("ERR the reply of a node is malformed"));
}

void resp_render_err(struct fb_buf *out, const struct fb_rep *rep)
{
    size_t at;
    switch (rep->num) {
    case FB_REP_ERR_UNKNOWN:
        fb_buf_put_str(out, "-" INDETERMINATE);
        at = out->n;
        resp_put_error(out, rep->payload.n > 0 ? rep->payload
                                               : fb_bytes_str("its node did not answer; read the "
                                                              "key to know"));
        out->p[at] = ' '; /* its '-' would begin a line */
        break;
    case FB_REP_ERR_NOT_PRIMARY:
    case FB_REP_ERR_RETRY:
        resp_put_error(
            out, fb_bytes_str("CLUSTERDOWN no primary serves this key now (nothing changed)"));
        break;
    default:
        resp_put_error(out,
                       rep->payload.n > 0 ? rep->payload : fb_bytes_str("ERR refused by the node"));
    }
}

static void put_list(struct fb_buf *out, int proto, struct fb_bytes list)
{
    struct fb_bytes item;
    size_t at = out->n;
    resp_put_array(out, fb_list_count(list));
    while (fb_list_next(&list, &item)) {
        if (item.p == NULL)
            resp_put_null(out, proto);
        else
            resp_put_bulk(out, item);
    }
    if (list.n != 0) {
        out->n = at;
        put_malformed(out);
    }
}

static void put_map(struct fb_buf *out, int proto, struct fb_bytes list)
{
    struct fb_bytes item;
    size_t at = out->n, n = fb_list_count(list);
    resp_put_map(out, proto, n / 2);
    while (fb_list_next(&list, &item))
        resp_put_bulk(out, item);
    if (list.n != 0 || n % 2 != 0) {
        out->n = at;
        put_malformed(out);
    }
}

static void put_as_is(struct fb_buf *out, int proto, const struct fb_rep *rep)
{
    switch (rep->type) {
    case FB_REP_BULK:
        resp_put_bulk(out, rep->payload);
        break;
    case FB_REP_OK:
        resp_put_ok(out);
        break;
    case FB_REP_NIL:
        resp_put_null(out, proto);
        break;
    case FB_REP_INT:
        resp_put_int(out, rep->num);
        break;
    case FB_REP_LIST:
        put_list(out, proto, rep->payload);
        break;
    case FB_REP_MAP:
        put_map(out, proto, rep->payload);
        break;
    case FB_REP_ERR:
        resp_render_err(out, rep);
        break;
    default:
        put_malformed(out);
    }
}

/* Time of expiry in one of four presentations; -1 and -2 stay what they are. */
static int64_t expiry_number(enum resp_form form, int64_t at_ms, int64_t now_ms)
{
    int64_t v = at_ms;
    if (at_ms < 0)
        return at_ms;
    if (form == RESP_FORM_TTL_S || form == RESP_FORM_TTL_MS)
        v = at_ms > now_ms ? at_ms - now_ms : 0;
    if (form == RESP_FORM_TTL_S || form == RESP_FORM_AT_S)
        v = (v / 1000) + (v % 1000 >= 500);
    return v;
}

/* [field, value, ...] -> ["0", [those whose field matches]] */
static void put_hscan(struct fb_buf *out, struct fb_bytes map, struct fb_bytes match)
{
    struct fb_bytes rest = map, field, value;
    size_t n = 0, at = out->n;
    while (fb_list_next(&rest, &field) && fb_list_next(&rest, &value))
        n += match.p == NULL || fb_glob_match(match, field);
    if (rest.n != 0 || fb_list_count(map) % 2 != 0) {
        out->n = at;
        put_malformed(out);
        return;
    }
    resp_put_array(out, 2);
    resp_put_bulk_str(out, "0");
    resp_put_array(out, n * 2);
    while (fb_list_next(&map, &field) && fb_list_next(&map, &value)) {
        if (match.p != NULL && !fb_glob_match(match, field))
            continue;
        resp_put_bulk(out, field);
        resp_put_bulk(out, value);
    }
}

static void put_scan_page(struct fb_buf *out, uint64_t cursor, struct fb_bytes keys)
{
    char text[FB_NUMBER_BYTES_MAX];
    resp_put_array(out, 2);
    resp_put_bulk(out, fb_bytes(text, fb_format_u64(cursor, text)));
    put_list(out, 2, keys);
}

/* [next cursor of the node, key, ...]: at a node's end the scan goes on with the next node. */
static void put_scan(struct fb_buf *out, const struct resp_shape *shape,
                     const struct resp_render_ctx *ctx, struct fb_bytes list)
{
    struct fb_bytes item;
    uint64_t next;
    if (!fb_list_valid(list) || !fb_list_next(&list, &item) || !fb_parse_u64(item, &next)) {
        put_malformed(out);
        return;
    }
    if (next != 0)
        next = resp_scan_cursor(next, shape->node);
    else if (shape->node + 1u < ctx->nodes)
        next = resp_scan_cursor(0, shape->node + 1u);
    put_scan_page(out, next, list);
}

static void put_hash(struct fb_buf *out, int proto, struct fb_bytes hash)
{
    struct fb_field f;
    resp_put_map(out, proto, fb_hash_count(hash));
    while (fb_hash_next(&hash, &f)) {
        resp_put_bulk(out, f.name);
        resp_put_bulk(out, f.value);
    }
}

/* [value, version, dirty, expiry, kind] -> the first four; a hash as a map. */
static void put_fbget(struct fb_buf *out, int proto, struct fb_bytes list)
{
    struct fb_bytes item[5];
    int64_t number[3];
    for (size_t i = 0; i < 5; i++) {
        if (!fb_list_next(&list, &item[i])) {
            put_malformed(out);
            return;
        }
    }
    for (size_t i = 0; i < 3; i++) {
        if (!fb_parse_i64(item[i + 1], &number[i])) {
            put_malformed(out);
            return;
        }
    }
    resp_put_array(out, 4);
    if (item[0].p == NULL)
        resp_put_null(out, proto);
    else if (fb_bytes_is(item[4], "hash"))
        put_hash(out, proto, item[0]);
    else
        resp_put_bulk(out, item[0]);
    for (size_t i = 0; i < 3; i++)
        resp_put_int(out, number[i]);
}

static void put_simple_bytes(struct fb_buf *out, struct fb_bytes text)
{
    size_t at = out->n;
    resp_put_error(out, text); /* the same framing and the same care about line ends */
    out->p[at] = '+';
}

/* One reply in the form its command wants. Errors, and types a form does not know, go as they are.
 */
static void put_form(struct fb_buf *out, const struct resp_shape *shape,
                     const struct resp_render_ctx *ctx, const struct fb_rep *rep)
{
    enum resp_form form = (enum resp_form)shape->form;
    if (FB_LIKELY(form == RESP_FORM_AS_IS) || rep->type == FB_REP_ERR) {
        put_as_is(out, ctx->proto, rep);
        return;
    }
    if (form == RESP_FORM_OK_INT && (rep->type == FB_REP_OK || rep->type == FB_REP_NIL)) {
        resp_put_int(out, rep->type == FB_REP_OK);
    } else if (form == RESP_FORM_OK && rep->type != FB_REP_NIL) {
        resp_put_ok(out);
    } else if (form == RESP_FORM_SIMPLE && rep->type == FB_REP_BULK) {
        put_simple_bytes(out, rep->payload);
    } else if (form >= RESP_FORM_TTL_S && form <= RESP_FORM_AT_MS && rep->type == FB_REP_INT) {
        resp_put_int(out, expiry_number(form, rep->num, ctx->now_ms));
    } else if (form == RESP_FORM_HSCAN && (rep->type == FB_REP_MAP || rep->type == FB_REP_LIST)) {
        put_hscan(out, rep->payload, shape->match);
    } else if (form == RESP_FORM_HSCAN && rep->type == FB_REP_NIL) {
        put_hscan(out, fb_bytes(NULL, 0), shape->match);
    } else if (form == RESP_FORM_SCAN && rep->type == FB_REP_LIST) {
        put_scan(out, shape, ctx, rep->payload);
    } else if (form == RESP_FORM_LATE_ERROR && rep->type != FB_REP_NIL && rep->type != FB_REP_ERR) {
        fb_buf_put_bytes(out, shape->match);
    } else if (form == RESP_FORM_HSCAN_LATE_ERROR && rep->type != FB_REP_ERR) {
        if (rep->payload.n > 0)
            fb_buf_put_bytes(out, shape->match);
        else
            put_hscan(out, fb_bytes(NULL, 0), fb_bytes(NULL, 0));
    } else if (form == RESP_FORM_AOF && rep->type == FB_REP_INT) {
        resp_put_array(out, 2);
        resp_put_int(out, rep->level >= FB_LEVEL_DURABLE);
        resp_put_int(out, rep->num);
    } else if (form == RESP_FORM_FBGET && rep->type == FB_REP_LIST) {
        put_fbget(out, ctx->proto, rep->payload);
    } else {
        put_as_is(out, ctx->proto, rep);
    }
}

static bool is_wrong_type(const struct fb_rep *rep)
{
    return rep->type == FB_REP_ERR && rep->num == FB_REP_ERR_PLAIN && rep->payload.n >= 10 &&
           memcmp(rep->payload.p, "WRONGTYPE ", 10) == 0;
}

/* The error that stands for all: one that says "unknown", else the first. */
static bool find_error(struct source s, bool wrong_type_counts, struct fb_rep *err)
{
    struct fb_rep rep;
    bool found = false;
    while (source_next(&s, &rep)) {
        if (rep.type != FB_REP_ERR || (!wrong_type_counts && is_wrong_type(&rep)))
            continue;
        if (!found || rep.num == FB_REP_ERR_UNKNOWN)
            *err = rep;
        found = true;
        if (rep.num == FB_REP_ERR_UNKNOWN)
            break;
    }
    return found;
}

static void put_sum(struct fb_buf *out, const struct resp_shape *shape,
                    const struct resp_render_ctx *ctx, struct source s)
{
    struct fb_rep rep, total = {.type = FB_REP_INT};
    while (source_next(&s, &rep))
        total.num = (int64_t)((uint64_t)total.num + (uint64_t)rep.num);
    put_form(out, shape, ctx, &total);
}

static void put_least(struct fb_buf *out, const struct resp_shape *shape,
                      const struct resp_render_ctx *ctx, struct source s)
{
    struct fb_rep rep, least = {.type = FB_REP_INT, .num = INT64_MAX, .level = FB_LEVEL_DATABASE};
    while (source_next(&s, &rep)) {
        if (rep.num < least.num)
            least.num = rep.num;
        if (rep.level < least.level)
            least.level = rep.level;
    }
    put_form(out, shape, ctx, &least);
}

static void put_any(struct fb_buf *out, const struct resp_render_ctx *ctx, struct source s)
{
    struct source again = s;
    struct fb_rep rep;
    uint32_t n = 0, at;
    while (source_next(&again, &rep))
        n += rep.type == FB_REP_BULK;
    if (n == 0) {
        resp_put_null(out, ctx->proto);
        return;
    }
    at = ctx->pick % n;
    while (source_next(&s, &rep)) {
        if (rep.type == FB_REP_BULK && at-- == 0) {
            resp_put_bulk(out, rep.payload);
            return;
        }
    }
}

static void put_array(struct fb_buf *out, int proto, struct source s)
{
    struct fb_rep rep;
    resp_put_array(out, s.n);
    while (source_next(&s, &rep)) {
        if (rep.type == FB_REP_ERR)
            resp_put_null(out, proto); /* of a wrong type: others were found before */
        else
            put_as_is(out, proto, &rep);
    }
}

/* Of a write on several keys some were refused: definite errors, but not for the whole (I14). True:
 * answered. */
static bool put_partial(struct fb_buf *out, const struct resp_shape *shape, struct source s,
                        const struct fb_rep *err)
{
    struct fb_rep rep;
    bool changed = false, refused = false;
    size_t at;
    if (err->num == FB_REP_ERR_UNKNOWN ||
        (shape->gather != RESP_GATHER_ALL_OK && shape->gather != RESP_GATHER_SUM))
        return false;
    while (source_next(&s, &rep)) {
        /* reads have no level; an error that has one is about something that was written */
        bool written = rep.level != FB_LEVEL_NONE;
        changed |= written && (rep.type == FB_REP_OK || rep.type == FB_REP_ERR ||
                               (rep.type == FB_REP_INT && rep.num != 0));
        refused |= !written && rep.type == FB_REP_ERR;
    }
    if (!changed || !refused || FB_MUTANT(partial_definite))
        return false;
    fb_buf_put_str(out, "-INDETERMINATE some of the keys were changed and some were not:");
    at = out->n;
    resp_render_err(out, err);
    out->p[at] = ' '; /* its '-' would begin a line */
    return true;
}

static void gather(struct fb_buf *out, const struct resp_shape *shape,
                   const struct resp_render_ctx *ctx, struct source s)
{
    struct fb_rep rep;
    if (shape->gather == RESP_GATHER_SCAN && s.n == 0) {
        put_scan_page(out, 0, fb_bytes(NULL, 0)); /* past the last node */
        return;
    }
    if (shape->gather == RESP_GATHER_SINGLE || shape->gather == RESP_GATHER_SCAN) {
        fb_assert(s.n == 1);
        (void)source_next(&s, &rep);
        put_form(out, shape, ctx, &rep);
        return;
    }
    if (find_error(s, shape->gather != RESP_GATHER_ARRAY, &rep)) {
        if (!put_partial(out, shape, s, &rep))
            resp_render_err(out, &rep);
        return;
    }
    switch ((enum resp_gather)shape->gather) {
    case RESP_GATHER_ARRAY:
        put_array(out, ctx->proto, s);
        break;
    case RESP_GATHER_ALL_OK:
        resp_put_ok(out);
        break;
    case RESP_GATHER_NODES_ANY:
        put_any(out, ctx, s);
        break;
    case RESP_GATHER_LEAST:
        put_least(out, shape, ctx, s);
        break;
    default:
        put_sum(out, shape, ctx, s);
    }
}

void resp_render(struct fb_buf *out, const struct resp_shape *shape,
                 const struct resp_render_ctx *ctx, const struct fb_rep *reps, size_t n)
{
    if (FB_LIKELY(shape->gather == RESP_GATHER_SINGLE && n == 1)) {
        put_form(out, shape, ctx, reps);
        return;
    }
    gather(out, shape, ctx, (struct source){.reps = reps, .n = n});
}

void resp_render_exec(struct fb_buf *out, const struct resp_queued *q, size_t n,
                      const struct resp_render_ctx *ctx, const struct fb_rep *txn)
{
    struct fb_reader rest = fb_reader(txn->payload);
    struct resp_render_ctx now = *ctx;
    if (txn->type == FB_REP_NIL) {
        resp_put_null_array(out, ctx->proto);
        return;
    }
    if (txn->type != FB_REP_REPS) {
        put_as_is(out, ctx->proto, txn);
        return;
    }
    resp_put_array(out, n);
    for (size_t i = 0; i < n; i++) {
        struct fb_rep skip;
        struct source s = {.rest = rest, .n = q[i].nops};
        if (q[i].nops == 0) {
            if (q[i].refused || now.local == NULL)
                fb_buf_put_bytes(out, q[i].ready);
            else
                now.proto = now.local(now.local_arg, &q[i], out);
            continue;
        }
        gather(out, &q[i].shape, &now, s);
        while (source_next(&s, &skip))
            continue;
        rest = s.rest;
    }
}
