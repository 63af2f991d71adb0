/* The text of a plan. */
#include "proto/cluster/json.h"
#include "proto/cluster/rebalance_impl.h"

#include <jansson.h>

#include <stdlib.h>

#define FORMAT 1

static const char *const goals[] = {"balance", "needed", "replace"};
static const char *const states[] = {"up", "drain", "gone"};

/* JSON's readers end at 2^63. */
static unsigned long long number(uint64_t n)
{
    return n > INT64_MAX ? INT64_MAX : n;
}

static void put_text(struct fb_buf *out, const char *before, const char *text)
{
    fb_buf_put_str(out, before);
    if (text == NULL)
        fb_buf_put_str(out, "null");
    else
        fb_json_put_text(out, text);
}

static void put_load(struct fb_buf *out, const char *name, const struct fb_plan_load *l)
{
    fb_buf_printf(out, ",\"%s\":{\"primaries\":%u,\"copies\":%u,\"bytes\":%llu}", name,
                  l->primaries, l->copies, number(l->bytes));
}

static const char *name_of(const struct fb_plan *p, uint8_t node)
{
    return node == FB_PLAN_NO_NODE ? NULL : p->node[node].place.name;
}

void fb_plan_encode(struct fb_buf *out, const struct fb_plan *p)
{
    fb_buf_printf(out, "{\"format\":%d,\"cluster\":\"", FORMAT);
    for (int i = 0; i < 16; i++)
        fb_buf_printf(out, "%02x", p->cluster[i]);
    fb_buf_printf(out,
                  "\",\"revision\":%llu,\"goal\":\"%s\",\"partitions\":%u,\"copies\":%u,"
                  "\"lost\":%u,\"left\":%u,\n\"nodes\":[",
                  number(p->rev), goals[p->goal], p->partitions, p->copies, p->lost, p->left);
    for (uint32_t i = 0; i < p->node_count; i++) {
        const struct fb_plan_node *n = &p->node[i];
        put_text(out, i ? ",\n{\"name\":" : "\n{\"name\":", n->place.name);
        put_text(out, ",\"zone\":", n->place.zone);
        fb_buf_printf(out, ",\"weight\":%u,\"state\":\"%s\"", n->place.weight, states[n->state]);
        put_load(out, "before", &n->before);
        put_load(out, "after", &n->after);
        fb_buf_put_str(out, "}");
    }
    fb_buf_put_str(out, "],\n\"moves\":[");
    for (uint32_t i = 0; i < p->move_count; i++) {
        const struct fb_move *m = &p->move[i];
        fb_buf_printf(out, "%s\n{\"partition\":%u,\"epoch\":%u", i ? "," : "", m->part, m->epoch);
        put_text(out, ",\"from\":", name_of(p, m->from));
        put_text(out, ",\"to\":", name_of(p, m->to));
        put_text(out, ",\"lead\":", name_of(p, m->lead));
        fb_buf_printf(out,
                      ",\"reason\":\"%s\",\"objects\":%llu,\"bytes\":%llu,\"dirty_bytes\":%llu}",
                      fb_move_reason_name(m->reason), number(m->size.objects),
                      number(m->size.bytes), number(m->size.dirty_bytes));
    }
    fb_buf_put_str(out, "]}\n");
}

static enum fb_status fields(const json_t *obj, size_t count, struct fb_err *err)
{
    if (!json_is_object(obj))
        return fb_err_set(err, FB_EPROTO, "not an object");
    return json_object_size(obj) <= count
               ? FB_OK
               : fb_err_set(err, FB_EPROTO, "unknown fields; was it written by a later release?");
}

static enum fb_status take_u32(const json_t *obj, const char *field, uint32_t max, uint32_t *out,
                               struct fb_err *err)
{
    uint64_t v = 0;
    enum fb_status st = fb_json_uint(obj, field, max, &v, err);
    *out = (uint32_t)v;
    return st;
}

/* One of a list of names. */
static enum fb_status take_choice(const json_t *obj, const char *field, const char *const *names,
                                  uint32_t count, uint32_t *out, struct fb_err *err)
{
    char text[16];
    enum fb_status st = fb_json_text(obj, field, sizeof(text) - 1, text, err);
    for (*out = 0; st == FB_OK && *out < count; (*out)++)
        if (strcmp(names[*out], text) == 0)
            return FB_OK;
    *out = 0;
    return st != FB_OK ? st
                       : fb_err_set(err, FB_EPROTO,
                                    "field \"%s\" is \"%s\", which is none of "
                                    "those there are",
                                    field, text);
}

static enum fb_status take_load(const json_t *node, const char *name, struct fb_plan_load *l,
                                struct fb_err *err)
{
    const json_t *obj = json_object_get(node, name);
    enum fb_status st = fields(obj, 3, err);
    if (st == FB_OK)
        st = take_u32(obj, "primaries", FB_PARTITIONS_MAX, &l->primaries, err);
    if (st == FB_OK)
        st = take_u32(obj, "copies", FB_PARTITIONS_MAX, &l->copies, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "bytes", INT64_MAX, &l->bytes, err);
    return st == FB_OK ? st : fb_err_wrap(err, st, "%s", name);
}

static enum fb_status take_node(const json_t *obj, struct fb_plan *p, struct fb_err *err)
{
    struct fb_plan_node *n = &p->node[p->node_count];
    uint32_t state = 0;
    enum fb_status st = fields(obj, 6, err);

    if (st == FB_OK)
        st = fb_json_text(obj, "name", FB_NAME_BYTES_MAX, n->place.name, err);
    if (st == FB_OK)
        st = fb_json_text(obj, "zone", FB_NAME_BYTES_MAX, n->place.zone, err);
    if (st == FB_OK)
        st = take_u32(obj, "weight", FB_PLAN_WEIGHT_MAX, &n->place.weight, err);
    if (st == FB_OK)
        st = take_choice(obj, "state", states, FB_COUNT_OF(states), &state, err);
    if (st == FB_OK)
        st = take_load(obj, "before", &n->before, err);
    if (st == FB_OK)
        st = take_load(obj, "after", &n->after, err);
    if (st != FB_OK)
        return st;
    n->state = (enum fb_plan_state)state;
    if (n->place.name[0] == '\0' ||
        (p->node_count > 0 && strcmp(n[-1].place.name, n->place.name) >= 0))
        return fb_err_set(err, FB_EPROTO, "nodes must have names, each after the one before");
    p->node_count++;
    return FB_OK;
}

static enum fb_status take_node_of(const json_t *obj, const char *field, const struct fb_plan *p,
                                   uint8_t *out, struct fb_err *err)
{
    char name[FB_NAME_BYTES_MAX + 1];
    enum fb_status st;

    *out = FB_PLAN_NO_NODE;
    if (json_is_null(json_object_get(obj, field)))
        return FB_OK;
    st = fb_json_text(obj, field, FB_NAME_BYTES_MAX, name, err);
    if (st != FB_OK)
        return st;
    *out = fb_plan_find(p, name);
    return *out != FB_PLAN_NO_NODE
               ? FB_OK
               : fb_err_set(err, FB_EPROTO, "field \"%s\": there is no node %s in the plan", field,
                            name);
}

static enum fb_status take_move_size(const json_t *obj, struct fb_plan_size *s, struct fb_err *err)
{
    enum fb_status st = fb_json_uint(obj, "objects", INT64_MAX, &s->objects, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "bytes", INT64_MAX, &s->bytes, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "dirty_bytes", INT64_MAX, &s->dirty_bytes, err);
    return st;
}

/* What holds for every move a planner makes. */
static const char *broken(const struct fb_plan *p, const struct fb_move *m)
{
    if (m->from == FB_PLAN_NO_NODE && m->to == FB_PLAN_NO_NODE && m->lead == FB_PLAN_NO_NODE)
        return "it does nothing";
    if (m->from != FB_PLAN_NO_NODE && (m->from == m->to || m->from == m->lead))
        return "it drops the copy that it makes or that is to lead";
    if (m->to != FB_PLAN_NO_NODE && p->node[m->to].state != FB_PLAN_UP)
        return "the node it copies to drains or is gone";
    if (m->lead != FB_PLAN_NO_NODE && p->node[m->lead].state == FB_PLAN_GONE)
        return "the node that is to lead is gone";
    return NULL;
}

static enum fb_status take_move(const json_t *obj, struct fb_plan *p, struct fb_err *err)
{
    const char *reasons[FB_MOVE_REASONS];
    struct fb_move *m = &p->move[p->move_count];
    uint32_t part = 0, reason = 0;
    const char *what;
    enum fb_status st = fields(obj, 9, err);

    for (uint32_t i = 0; i < FB_MOVE_REASONS; i++)
        reasons[i] = fb_move_reason_name((enum fb_move_reason)i);
    if (st == FB_OK)
        st = take_u32(obj, "partition", p->partitions - 1, &part, err);
    if (st == FB_OK)
        st = take_u32(obj, "epoch", UINT32_MAX, &m->epoch, err);
    if (st == FB_OK)
        st = take_node_of(obj, "from", p, &m->from, err);
    if (st == FB_OK)
        st = take_node_of(obj, "to", p, &m->to, err);
    if (st == FB_OK)
        st = take_node_of(obj, "lead", p, &m->lead, err);
    if (st == FB_OK)
        st = take_choice(obj, "reason", reasons, FB_MOVE_REASONS, &reason, err);
    if (st == FB_OK)
        st = take_move_size(obj, &m->size, err);
    if (st != FB_OK)
        return st;
    m->part = (uint16_t)part;
    m->reason = (enum fb_move_reason)reason;
    what = broken(p, m);
    if (what != NULL)
        return fb_err_set(err, FB_EPROTO, "%s", what);
    p->move_count++;
    return FB_OK;
}

/* The moves of one partition follow each other. */
static enum fb_status check_order(const struct fb_plan *p, struct fb_err *err)
{
    bool seen[FB_PARTITIONS_MAX] = {false};
    for (uint32_t i = 0; i < p->move_count; i++) {
        if (seen[p->move[i].part] && p->move[i - 1].part != p->move[i].part)
            return fb_err_set(err, FB_EPROTO, "moves of partition %u are apart", p->move[i].part);
        seen[p->move[i].part] = true;
    }
    return FB_OK;
}

static enum fb_status take_cluster(const json_t *obj, uint8_t *cluster, struct fb_err *err)
{
    static const char digits[] = "0123456789abcdef";
    char text[33];
    enum fb_status st = fb_json_text(obj, "cluster", 32, text, err);
    if (st != FB_OK)
        return st;
    if (strlen(text) != 32 || strspn(text, digits) != 32)
        return fb_err_set(err, FB_EPROTO, "field \"cluster\" is not 32 hexadecimal digits");
    for (size_t i = 0; i < 16; i++)
        cluster[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
                               (strchr(digits, text[2 * i + 1]) - digits));
    return FB_OK;
}

static enum fb_status take_head(const json_t *obj, struct fb_plan *p, struct fb_err *err)
{
    uint32_t format = 0, goal = 0;
    enum fb_status st = take_u32(obj, "format", UINT32_MAX, &format, err);

    if (st == FB_OK && format != FORMAT)
        return fb_err_set(err, FB_EPROTO, "format %u; this release knows %d", format, FORMAT);
    if (st == FB_OK)
        st = fields(obj, 10, err);
    if (st == FB_OK)
        st = take_cluster(obj, p->cluster, err);
    if (st == FB_OK)
        st = fb_json_uint(obj, "revision", INT64_MAX, &p->rev, err);
    if (st == FB_OK)
        st = take_choice(obj, "goal", goals, FB_COUNT_OF(goals), &goal, err);
    if (st == FB_OK)
        st = take_u32(obj, "partitions", FB_PARTITIONS_MAX, &p->partitions, err);
    if (st == FB_OK)
        st = take_u32(obj, "copies", FB_REPLICAS_MAX + 1, &p->copies, err);
    if (st == FB_OK)
        st = take_u32(obj, "lost", p->partitions, &p->lost, err);
    if (st == FB_OK)
        st = take_u32(obj, "left", (uint32_t)FB_PLAN_MOVES_MAX, &p->left, err);
    if (st == FB_OK && (p->partitions == 0 || p->copies == 0))
        return fb_err_set(err, FB_EPROTO, "no partitions or no copies");
    p->goal = (enum fb_plan_goal)goal;
    return st;
}

static enum fb_status take_plan(const json_t *obj, struct fb_plan *p, struct fb_err *err)
{
    json_t *list, *item;
    size_t i;
    enum fb_status st = take_head(obj, p, err);

    if (st == FB_OK)
        st = fb_json_array(obj, "nodes", FB_NODES_MAX, &list, err);
    if (st != FB_OK)
        return st;
    p->node = fb_xcalloc(FB_NODES_MAX, sizeof(*p->node));
    json_array_foreach(list, i, item)
    {
        st = take_node(item, p, err);
        if (st != FB_OK)
            return fb_err_wrap(err, st, "node %zu", i);
    }
    st = fb_json_array(obj, "moves", FB_PLAN_MOVES_MAX, &list, err);
    if (st != FB_OK)
        return st;
    p->move = fb_xcalloc(json_array_size(list) + 1, sizeof(*p->move));
    json_array_foreach(list, i, item)
    {
        st = take_move(item, p, err);
        if (st != FB_OK)
            return fb_err_wrap(err, st, "move %zu", i);
    }
    return check_order(p, err);
}

enum fb_status fb_plan_decode(struct fb_bytes in, struct fb_plan **out, struct fb_err *err)
{
    json_t *obj;
    struct fb_plan *p = NULL;
    enum fb_status st = fb_json_parse_object(in, FB_PLAN_BYTES_MAX, &obj, err);

    *out = NULL;
    if (st == FB_OK) {
        p = fb_xcalloc(1, sizeof(*p));
        st = take_plan(obj, p, err);
        json_decref(obj);
    }
    if (st != FB_OK) {
        fb_plan_free(p);
        return fb_err_wrap(err, st, "plan");
    }
    *out = p;
    return FB_OK;
}
