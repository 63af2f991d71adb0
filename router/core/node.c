/* Nodes and the map: who takes an operation, batches on their way, connections that come and go. */
#include "router/core/state.h"

#include "proto/base/mutant.h"

#include <stdio.h>

/* --- the map --- */

static uint32_t node_of_name(struct router *r, const char *name)
{
    for (uint32_t i = 0; i < r->node_count; i++)
        if (strcmp(r->nodes[i].name, name) == 0)
            return i;
    return ROUTER_NODE_NONE;
}

static uint32_t node_add(struct router *r, const char *name)
{
    uint32_t i = 0;
    while (i < r->node_count && r->nodes[i].name[0] != 0)
        i++;
    if (i == FB_NODES_MAX)
        return ROUTER_NODE_NONE;
    if (i == r->node_count)
        r->node_count++;
    snprintf(r->nodes[i].name, sizeof(r->nodes[i].name), "%s", name);
    r->nodes[i].url[0] = 0;
    return i;
}

static void map_members(struct router *r, const struct fb_map *map)
{
    bool seen[FB_NODES_MAX] = {false};
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        uint32_t n;
        if (m->kind != FB_MEMBER_NODE || m->name[0] == 0)
            continue;
        n = node_of_name(r, m->name);
        if (n == ROUTER_NODE_NONE)
            n = node_add(r, m->name);
        if (n == ROUTER_NODE_NONE)
            continue;
        seen[n] = true;
        snprintf(r->nodes[n].url, sizeof(r->nodes[n].url), "%s", m->listen);
    }
    for (uint32_t i = 0; i < r->node_count; i++) {
        if (seen[i] || r->nodes[i].name[0] == 0)
            continue;
        r->nodes[i].url[0] = 0;
        if (!r->nodes[i].up) /* else its name stays until the connection is gone */
            r->nodes[i].name[0] = 0;
    }
}

static void map_order(struct router *r)
{
    r->order_count = 0;
    for (uint32_t i = 0; i < r->node_count; i++) {
        bool owner = false;
        uint32_t at;
        for (uint32_t p = 0; p < r->partitions && !owner; p++)
            owner = r->primary[p] == i;
        if (!owner)
            continue;
        at = r->order_count++;
        while (at > 0 && strcmp(r->nodes[r->order[at - 1]].name, r->nodes[i].name) > 0) {
            r->order[at] = r->order[at - 1];
            at--;
        }
        r->order[at] = (uint8_t)i;
    }
}

void router_map(struct router *r, const struct fb_map *map, bool relaxed)
{
    bool changed;
    fb_assert(map->partitions <= FB_PARTITIONS_MAX);
    changed = r->partitions != map->partitions;
    r->map_rev = map->rev;
    r->relaxed = relaxed;
    r->partitions = map->partitions;
    r->assigned = 0;
    map_members(r, map);
    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        uint8_t node = ROUTER_NODE_NONE;
        if (rec->epoch != 0) {
            node = (uint8_t)node_of_name(r, rec->primary.node);
            r->assigned++;
        }
        changed |= node != r->primary[p] || rec->epoch != r->epoch[p];
        r->primary[p] = node;
        r->epoch[p] = rec->epoch;
    }
    if (!changed)
        return;
    map_order(r);
    r->map_gen++;
    retry_wake(r);
}

uint64_t router_map_rev(const struct router *r)
{
    return r->map_rev;
}

bool router_map_complete(const struct router *r)
{
    return r->partitions > 0 && r->assigned == r->partitions;
}

uint32_t router_node_count(const struct router *r)
{
    return r->node_count;
}

const char *router_node_name(const struct router *r, uint32_t node)
{
    return r->nodes[node].name;
}

const char *router_node_url(const struct router *r, uint32_t node)
{
    return r->nodes[node].url;
}

/* --- connections --- */

bool router_node_is_up(const struct router *r, uint32_t node)
{
    return r->nodes[node].up;
}

void router_node_up(struct router *r, uint32_t node, uint64_t peer_inc)
{
    struct router_node *n = &r->nodes[node];
    fb_assert(!n->up);
    n->up = true;
    n->peer_inc = peer_inc;
    n->unanswered = 0;
    retry_wake(r);
}

void router_node_down(struct router *r, uint32_t node)
{
    struct router_node *n = &r->nodes[node];
    if (!n->up)
        return;
    n->up = false;
    n->unanswered = 0;
    fb_buf_clear(&n->out);
    /* rare: walking the pool beats keeping lists on the hot path */
    for (uint32_t i = 0; i < r->ops_cap; i++) {
        struct router_op *op = &r->ops[i];
        if (op->state != OP_ON_NODE || op->node != node)
            continue;
        op->batch->answered = true;
        if (op->cls == FB_OP_WRITE && op->batch->sent && !FB_MUTANT(write_resent)) {
            r->stats.rejected[ROUTER_REJECT_INDETERMINATE]++;
            op_fail(r, i, FB_REP_ERR_UNKNOWN);
        } else {
            retry_add(r, i, ROUTER_RETRY_LOST);
        }
    }
    if (n->collecting != NULL) {
        batch_unref(r, n->collecting);
        n->collecting = NULL;
        n->hold_since_ns = 0;
    }
    if (n->url[0] == 0)
        n->name[0] = 0;
}

struct fb_buf *router_node_output(struct router *r, uint32_t node)
{
    return r->nodes[node].up ? &r->nodes[node].out : NULL;
}

/* --- batches --- */

uint8_t node_for(const struct router *r, const struct router_op *op)
{
    uint8_t node = op->fixed;
    if (op->part != FB_PART_NONE)
        node = op->part < r->partitions ? r->primary[op->part] : ROUTER_NODE_NONE;
    if (node == ROUTER_NODE_NONE || !r->nodes[node].up)
        return ROUTER_NODE_NONE;
    return node;
}

void node_enqueue(struct router *r, uint32_t i, struct fb_req *req, uint8_t node)
{
    struct router_op *op = &r->ops[i];
    struct router_batch **at = node == ROUTER_NODE_NONE ? &r->limbo : &r->nodes[node].collecting;
    struct router_batch *b = *at;
    if (b != NULL && node != ROUTER_NODE_NONE && b->last != op->s && hold_share_reached(r, b)) {
        node_flush(r, node);
        r->output_due = true;
        b = NULL;
    }
    if (b == NULL)
        b = *at = batch_new(r);
    req->seq = op_seq(r, i);
    op->batch = b;
    op->offset = (uint32_t)b->items.n;
    fb_req_encode(&b->items, req);
    op->size = (uint32_t)b->items.n - op->offset;
    b->refs++;
    b->count++;
    b->clients += b->last != op->s;
    b->last = op->s;
    if (node == ROUTER_NODE_NONE) {
        if (b->items.n >= BATCH_BYTES_CLOSE) {
            batch_unref(r, b);
            r->limbo = NULL;
        }
        return;
    }
    r->nodes[node].last_op_ns = r->now_ns;
    op->state = OP_ON_NODE;
    op->node = node;
    op->s->sent++;
    op->s->map_gen = r->map_gen;
    if (b->items.n >= BATCH_BYTES_CLOSE)
        node_flush(r, node);
}

void node_flush(struct router *r, uint32_t node)
{
    struct router_node *n = &r->nodes[node];
    struct router_batch *b = n->collecting;
    struct fb_frame f = {.kind = FB_FRAME_REQ, .src_inc = r->config.inc, .dst_inc = n->peer_inc};
    size_t mark;
    if (b == NULL)
        return;
    f.id = ++n->frame_id;
    mark = fb_frame_begin(&n->out, &f);
    fb_buf_put_bytes(&n->out, fb_buf_view(&b->items));
    fb_frame_end(&n->out, mark, b->count);
    b->sent = true;
    b->counted = sizeof(*b) + b->items.cap;
    r->batch_bytes += b->counted;
    b->sent_ns = r->now_ns;
    n->collecting = NULL;
    n->unanswered++;
    n->last_sent_ns = r->now_ns;
    n->last_count = b->count;
    n->hold_since_ns = 0;
    r->stats.frames_out++;
    r->stats.ops_out += b->count;
    batch_unref(r, b);
}
