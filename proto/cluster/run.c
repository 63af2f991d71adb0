/* The texts of a rebalance in the coordinator. */
#include "proto/cluster/run.h"

#include "proto/cluster/json.h"

#include <jansson.h>

#include <stdlib.h>

#define FORMAT 1
#define SMALL_BYTES_MAX 4096u

static const char *const wishes[] = {"go", "pause", "cancel"};

const char *fb_run_wish_name(enum fb_run_wish_kind k)
{
    return wishes[k];
}

const char *fb_move_state_name(char state)
{
    switch (state) {
    case FB_MOVE_WAITS:
        return "waits";
    case FB_MOVE_BEGUN:
        return "under way";
    case FB_MOVE_DONE:
        return "done";
    case FB_MOVE_CANCELLED:
        return "cancelled";
    case FB_MOVE_NO_NODE:
        return "left out: a node is gone";
    case FB_MOVE_MOOT:
        return "left out: not needed any more";
    default:
        return NULL;
    }
}

struct fb_run_count fb_run_counts(const char *state)
{
    struct fb_run_count n = {0};

    for (; *state != '\0'; state++) {
        n.waiting += *state == FB_MOVE_WAITS;
        n.begun += *state == FB_MOVE_BEGUN;
        n.done += *state == FB_MOVE_DONE;
        n.cancelled += *state == FB_MOVE_CANCELLED;
        n.left_out += *state == FB_MOVE_NO_NODE || *state == FB_MOVE_MOOT;
    }
    return n;
}

void fb_run_free(struct fb_run *r)
{
    if (r == NULL)
        return;
    free(r->node);
    free(r->move);
    free(r);
}

static int index_of(uint8_t node)
{
    return node == FB_PLAN_NO_NODE ? -1 : node;
}

void fb_run_encode(struct fb_buf *out, const struct fb_plan *p, uint64_t id)
{
    fb_buf_printf(out, "{\"format\":%d,\"id\":%llu,\"cluster\":\"", FORMAT, (unsigned long long)id);
    for (int i = 0; i < 16; i++)
        fb_buf_printf(out, "%02x", p->cluster[i]);
    fb_buf_printf(out, "\",\"goal\":%d,\"copies\":%u,\"nodes\":[", (int)p->goal, p->copies);
    for (uint32_t i = 0; i < p->node_count; i++) {
        fb_buf_put_str(out, i ? "," : "");
        fb_json_put_text(out, p->node[i].place.name);
    }
    fb_buf_put_str(out, "],\"moves\":[");
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        uint64_t bytes = m->to == FB_PLAN_NO_NODE     ? 0
                         : m->size.bytes <= INT64_MAX ? m->size.bytes
                                                      : INT64_MAX;
        fb_buf_printf(out, "%s[%u,%d,%d,%d,%d,%llu]", i ? ",\n" : "\n", m->part, index_of(m->from),
                      index_of(m->to), index_of(m->lead), (int)m->reason,
                      (unsigned long long)bytes);
    }
    fb_buf_put_str(out, "]}\n");
}

static enum fb_status take_cluster(const json_t *obj, uint8_t *cluster, struct fb_err *err)
{
    char text[33], half[17] = {0};
    enum fb_status st = fb_json_text(obj, "cluster", 32, text, err);

    if (st != FB_OK)
        return st;
    if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return fb_err_set(err, FB_EPROTO, "field \"cluster\" is not 32 hexadecimal digits");
    for (int i = 0; i < 2; i++) {
        memcpy(half, text + (size_t)i * 16, 16);
        uint64_t v = strtoull(half, NULL, 16);
        for (int k = 0; k < 8; k++)
            cluster[i * 8 + k] = (uint8_t)(v >> (56 - 8 * k));
    }
    return FB_OK;
}

static bool take_index(const json_t *item, size_t at, uint32_t nodes, uint8_t *out)
{
    const json_t *v = json_array_get(item, at);
    json_int_t n = json_integer_value(v);

    *out = n < 0 ? FB_PLAN_NO_NODE : (uint8_t)n;
    return json_is_integer(v) && n >= -1 && n < (json_int_t)nodes;
}

static enum fb_status take_move(const json_t *item, struct fb_run *r, struct fb_err *err)
{
    struct fb_run_move *m = &r->move[r->move_count];
    json_int_t part = json_integer_value(json_array_get(item, 0));
    json_int_t reason = json_integer_value(json_array_get(item, 4));
    json_int_t bytes = json_integer_value(json_array_get(item, 5));
    bool fine =
        json_array_size(item) == 6 && json_is_integer(json_array_get(item, 0)) &&
        json_is_integer(json_array_get(item, 4)) && json_is_integer(json_array_get(item, 5)) &&
        part >= 0 && part < (json_int_t)FB_PARTITIONS_MAX && reason >= 0 &&
        reason < FB_MOVE_REASONS && bytes >= 0 && take_index(item, 1, r->node_count, &m->from) &&
        take_index(item, 2, r->node_count, &m->to) && take_index(item, 3, r->node_count, &m->lead);

    if (!fine)
        return fb_err_set(err, FB_EPROTO,
                          "it is not [partition, from, to, lead, reason, bytes] within bounds");
    if ((m->from == FB_PLAN_NO_NODE && m->to == FB_PLAN_NO_NODE && m->lead == FB_PLAN_NO_NODE) ||
        (m->from != FB_PLAN_NO_NODE && (m->from == m->to || m->from == m->lead)))
        return fb_err_set(err, FB_EPROTO,
                          "it does nothing, or drops the copy that it makes or that is to lead");
    m->part = (uint16_t)part;
    m->reason = (uint8_t)reason;
    m->bytes = (uint64_t)bytes;
    r->move_count++;
    return FB_OK;
}

static enum fb_status take_lists(const json_t *obj, struct fb_run *r, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = fb_json_array(obj, "nodes", FB_NODES_MAX, &list, err);

    if (st != FB_OK)
        return st;
    r->node = fb_xcalloc(FB_NODES_MAX, sizeof(*r->node));
    json_array_foreach(list, i, item)
    {
        size_t n = json_string_length(item);
        if (!json_is_string(item) || n == 0 || n > FB_NAME_BYTES_MAX)
            return fb_err_set(err, FB_EPROTO, "node %zu is no name of a node", i);
        memcpy(r->node[r->node_count++], json_string_value(item), n);
    }
    st = fb_json_array(obj, "moves", FB_PLAN_MOVES_MAX, &list, err);
    if (st != FB_OK)
        return st;
    r->move = fb_xcalloc(json_array_size(list) + 1, sizeof(*r->move));
    json_array_foreach(list, i, item)
    {
        st = take_move(item, r, err);
        if (st != FB_OK)
            return fb_err_wrap(err, st, "move %zu", i);
    }
    return FB_OK;
}

static enum fb_status take_run(const json_t *obj, struct fb_run *r, struct fb_err *err)
{
    uint64_t format = 0, goal = 0, copies = 0;
    enum fb_status st = fb_json_uint(obj, "format", UINT32_MAX, &format, err);

    if (st == FB_OK && format != FORMAT)
        return fb_err_set(err, FB_EPROTO, "format %llu; this release knows %d",
                          (unsigned long long)format, FORMAT);
    if (st == FB_OK)
        st = fb_json_uint(obj, "id", INT64_MAX, &r->id, err);
    if (st == FB_OK)
        st = take_cluster(obj, r->cluster, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "goal", FB_PLAN_REPLACE, &goal, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "copies", FB_REPLICAS_MAX + 1, &copies, err);
    if (st != FB_OK)
        return st;
    r->goal = (enum fb_plan_goal)goal;
    r->copies = (uint32_t)copies;
    return take_lists(obj, r, err);
}

enum fb_status fb_run_decode(struct fb_bytes in, struct fb_run **out, struct fb_err *err)
{
    json_t *obj;
    struct fb_run *r = NULL;
    enum fb_status st = fb_json_parse_object(in, FB_RUN_BYTES_MAX, &obj, err);

    *out = NULL;
    if (st == FB_OK) {
        r = fb_xcalloc(1, sizeof(*r));
        st = take_run(obj, r, err);
        json_decref(obj);
    }
    if (st != FB_OK) {
        fb_run_free(r);
        return fb_err_wrap(err, st, FB_RUN_KEY);
    }
    *out = r;
    return FB_OK;
}

void fb_run_wish_encode(struct fb_buf *out, const struct fb_run_wish *w)
{
    fb_buf_printf(out, "{\"id\":%llu,\"wish\":\"%s\",\"parallel\":%u,\"rate\":%llu}",
                  (unsigned long long)w->id, wishes[w->kind], w->parallel,
                  (unsigned long long)w->rate);
}

enum fb_status fb_run_wish_decode(struct fb_bytes in, struct fb_run_wish *out, struct fb_err *err)
{
    json_t *obj;
    char wish[16];
    uint64_t parallel = 0;
    enum fb_status st = fb_json_parse_object(in, SMALL_BYTES_MAX, &obj, err);

    *out = (struct fb_run_wish){0};
    if (st != FB_OK)
        return fb_err_wrap(err, st, FB_RUN_WISH_KEY);
    st = fb_json_uint(obj, "id", INT64_MAX, &out->id, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "wish", sizeof(wish) - 1, wish, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "parallel", FB_RUN_PARALLEL_MAX, &parallel, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "rate", INT64_MAX, &out->rate, err);
    json_decref(obj);
    if (st != FB_OK)
        return fb_err_wrap(err, st, FB_RUN_WISH_KEY);
    out->parallel = (uint32_t)parallel;
    for (uint32_t i = 0; i < FB_COUNT_OF(wishes); i++)
        if (strcmp(wishes[i], wish) == 0) {
            out->kind = (enum fb_run_wish_kind)i;
            return FB_OK;
        }
    return fb_err_set(err, FB_EPROTO, FB_RUN_WISH_KEY ": wish \"%s\" is none that there is", wish);
}

void fb_run_cursor_encode(struct fb_buf *out, const struct fb_run_cursor *c)
{
    fb_buf_printf(out, "{\"id\":%llu,\"began_ms\":%llu,\"ended_ms\":%llu,\"states\":\"",
                  (unsigned long long)c->id, (unsigned long long)c->began_ms,
                  (unsigned long long)c->ended_ms);
    fb_buf_put_str(out, c->state);
    fb_buf_put_str(out, "\"}");
}

enum fb_status fb_run_cursor_decode(struct fb_bytes in, struct fb_run_cursor *out,
                                    struct fb_err *err)
{
    json_t *obj;
    char *state;
    enum fb_status st = fb_json_parse_object(in, FB_RUN_BYTES_MAX, &obj, err);

    *out = (struct fb_run_cursor){0};
    if (st != FB_OK)
        return fb_err_wrap(err, st, FB_RUN_CURSOR_KEY);
    state = fb_xcalloc(1, FB_PLAN_MOVES_MAX + 1);
    st = fb_json_uint(obj, "id", INT64_MAX, &out->id, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "began_ms", INT64_MAX, &out->began_ms, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "ended_ms", INT64_MAX, &out->ended_ms, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "states", FB_PLAN_MOVES_MAX, state, err);
    json_decref(obj);
    for (const char *s = state; st == FB_OK && *s != '\0'; s++)
        if (fb_move_state_name(*s) == NULL)
            st = fb_err_set(err, FB_EPROTO, "\"%c\" is no state of a move", *s);
    if (st != FB_OK) {
        free(state);
        return fb_err_wrap(err, st, FB_RUN_CURSOR_KEY);
    }
    out->state = state;
    return FB_OK;
}
