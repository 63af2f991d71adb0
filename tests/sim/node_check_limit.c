/* I33: dirty bytes stay at max_dirty_bytes, of a namespace and of the node, and what was on its
 * way. A write or a transaction that came while one of them was at its limit, and was carried out
 * with it at the limit ever since, had to be refused: so above the limit is at most what had been
 * received below it. */
#include "tests/sim/node_check_impl.h"

#include "node/io/worker.h"

void node_check_limits(struct node_check *c)
{
    for (uint32_t lane = 0; lane < NODE_WORKERS_MAX; lane++) {
        c->node_below_ns[lane] = sim_now_ns(c->sim);
        for (uint32_t ns = 0; ns < FB_COUNT_OF(c->below_ns[0]); ns++)
            c->below_ns[lane][ns] = sim_now_ns(c->sim);
    }
}

static bool node_at_limit(const struct lane *l)
{
    return l->config.dirty_limit != 0 && store_dirty_bytes(l->store) >= l->config.dirty_limit;
}

static bool at_limit(const struct lane *l, uint16_t ns)
{
    const struct ns_state *n = &l->ns[ns];
    return n->conf != NULL && n->conf->max_dirty_bytes != 0 &&
           n->dirty_bytes >= n->conf->max_dirty_bytes / l->config.lanes;
}

static void look(struct node_check *c)
{
    for (uint32_t i = 0; c->node != NULL && i < c->node->worker_count; i++) {
        const struct worker *w = c->node->workers[i];
        if (w != NULL && w->lane != NULL && !node_at_limit(w->lane))
            c->node_below_ns[i] = sim_now_ns(c->sim);
        for (uint16_t ns = 0; w != NULL && w->lane != NULL && ns < w->lane->ns_n; ns++)
            if (!at_limit(w->lane, ns))
                c->below_ns[i][ns] = sim_now_ns(c->sim);
    }
}

/* Called with each change, before or after the namespace's own count: a moment below the limit is
 * seen here or by the next call, at the latest by that for the record. */
void __wrap_store_dirty_add(struct store *s, int64_t bytes);
void __real_store_dirty_add(struct store *s, int64_t bytes);
void __wrap_store_dirty_add(struct store *s, int64_t bytes)
{
    struct node_check *c = node_check_mine();
    if (node_check_node(c) != NULL)
        look(c);
    __real_store_dirty_add(s, bytes);
    if (node_check_node(c) != NULL)
        look(c);
}

uint64_t node_check_below_ns(struct node_check *c, const struct fb_record *r)
{
    uint8_t ns_len;
    uint32_t lane;
    struct lane *l;
    uint16_t ns;
    uint64_t since = UINT64_MAX;

    if (ledger_copies(c->ledger) || node_check_node(c) == NULL || r->type != FB_RECORD_PUT)
        return UINT64_MAX;
    lane = node_check_lane_of(c->node, r->part);
    l = c->node->workers[lane]->lane;
    ns = nsid_of_key(l, r->key, &ns_len);
    look(c);
    if (at_limit(l, ns))
        since = c->below_ns[lane][ns];
    if (node_at_limit(l) && c->node_below_ns[lane] < since)
        since = c->node_below_ns[lane];
    return since;
}

static bool is_plain_set(const struct fb_req *req)
{
    return req->op == FB_OP_SET && (req->flags & (FB_REQ_NX | FB_REQ_XX)) == 0;
}

/* Always write when they succeed, so that the reply's version is their own. A transaction's is that
 * of its last record, and a plain SET does not fail. */
bool node_check_grows(const struct fb_req *req)
{
    struct fb_bytes rest = req->args, item;
    bool last = false;

    if (req->op != FB_OP_TXN)
        return is_plain_set(req) || req->op == FB_OP_INCRBY || req->op == FB_OP_HINCRBY;
    while (fb_list_next(&rest, &item)) {
        struct fb_reader r = fb_reader(item);
        struct fb_req sub;
        last = fb_req_decode(&r, &sub) == FB_OK && is_plain_set(&sub);
    }
    return last;
}

void node_check_grown(const struct node_check *c, const struct asked *a, uint64_t ver)
{
    const struct seen *s = node_check_seen(&c->parts[a->part], ver);
    if (s != NULL && !ledger_copies(c->ledger) && a->grows && s->below_ns < a->received_ns)
        sim_violation(
            c->sim, "I33",
            "partition %u: a write that came at %llu us is carried out as %u/%llu, and its "
            "namespace or the node is at max_dirty_bytes since %llu us",
            a->part, (unsigned long long)(a->received_ns / SIM_US), fb_ver_epoch(ver),
            (unsigned long long)fb_ver_counter(ver), (unsigned long long)(s->below_ns / SIM_US));
}
