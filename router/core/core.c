/* The core as a whole: making, ending, time, ticks, figures. */
#include "router/core/core.h"

#include "router/core/state.h"

#include <stdlib.h>

#define TIMEOUT_SCAN_NS UINT64_C(1000000000)

const char *router_retry_reason_name(enum router_retry_reason r)
{
    static const char *const names[] = {"not_primary", "not_open", "no_node", "connection_lost"};
    _Static_assert(FB_COUNT_OF(names) == ROUTER_RETRIES, "one name each");
    return names[r];
}

const char *router_reject_reason_name(enum router_reject_reason r)
{
    static const char *const names[] = {"output_limit",  "protocol_error", "deadline",
                                        "indeterminate", "auth",           "max_clients"};
    _Static_assert(FB_COUNT_OF(names) == ROUTER_REJECTS, "one name each");
    return names[r];
}

/* A limit that is never reached stands for none, so that the hot path has one comparison. */
static void config_take(struct router *r, const struct router_config *config)
{
    fb_assert(config->inflight_max > 0 && config->inflight_max <= ROUTER_OPS_MAX);
    fb_assert(config->inflight_per_client > 0 && config->window > 0);
    r->config = *config;
    if (r->config.slow_ns == 0)
        r->config.slow_ns = UINT64_MAX;
}

void router_configure(struct router *r, const struct router_config *config)
{
    uint64_t seed = r->config.seed, inc = r->config.inc;

    config_take(r, config);
    r->config.seed = seed;
    r->config.inc = inc;
}

struct router *router_new(const struct router_config *config)
{
    struct router *r = fb_xcalloc(1, sizeof(*r));
    config_take(r, config);
    r->rng = config->seed | 1;
    r->ops_free = OP_NONE;
    memset(r->primary, ROUTER_NODE_NONE, sizeof(r->primary));
    return r;
}

void router_free(struct router *r)
{
    fb_assert(r->session_count == 0);
    /* operations of clients that are gone */
    for (uint32_t i = 0; i < r->ops_cap; i++)
        if (r->ops[i].state == OP_ON_NODE)
            op_fail(r, i, FB_REP_ERR_UNKNOWN);
    r->now_ns = ROUTER_TIME_NEVER;
    retry_run(r);
    fb_assert(r->ops_used == 0);
    for (uint32_t i = 0; i < r->node_count; i++) {
        if (r->nodes[i].collecting != NULL)
            batch_unref(r, r->nodes[i].collecting);
        fb_buf_fini(&r->nodes[i].out);
    }
    if (r->limbo != NULL)
        batch_unref(r, r->limbo);
    while (r->batch_free != NULL) {
        struct router_batch *b = r->batch_free;
        r->batch_free = b->next;
        fb_buf_fini(&b->items);
        free(b);
    }
    resp_arena_fini(&r->arena);
    fb_buf_fini(&r->scratch);
    fb_buf_fini(&r->args);
    free(r->ops);
    free(r);
}

const struct router_stats *router_stats(const struct router *r)
{
    return &r->stats;
}

void router_count_reject(struct router *r, enum router_reject_reason why)
{
    r->stats.rejected[why]++;
}

void router_time(struct router *r, uint64_t mono_ns, uint64_t wall_ms)
{
    fb_assert(mono_ns >= r->now_ns);
    r->now_ns = mono_ns;
    r->wall_ms = (int64_t)wall_ms;
}

/* Operations handed over so long ago that nobody should wait any more: a node that is connected
 * and silent. */
static void timeouts_run(struct router *r)
{
    if (r->ops_used == 0 || r->now_ns < r->timeouts_due_ns)
        return;
    r->timeouts_due_ns = r->now_ns + TIMEOUT_SCAN_NS;
    for (uint32_t i = 0; i < r->ops_cap; i++) {
        struct router_op *op = &r->ops[i];
        uint64_t limit;
        if (op->state != OP_ON_NODE || !op->batch->sent)
            continue;
        limit = r->config.request_timeout_ns;
        if (!op->s->dead) /* who is gone does not wait for an hour (FB.SYNC) */
            limit += (uint64_t)op->timeout_ms * 1000000u;
        if (r->now_ns - op->batch->sent_ns < limit)
            continue;
        if (!op->batch->answered) {
            op->batch->answered = true;
            r->nodes[op->node].unanswered--;
        }
        if (op->cls == FB_OP_WRITE) {
            r->stats.rejected[ROUTER_REJECT_INDETERMINATE]++;
            op_fail(r, i, FB_REP_ERR_UNKNOWN);
        } else {
            r->stats.rejected[ROUTER_REJECT_DEADLINE]++;
            op_fail(r, i, FB_REP_ERR_NOT_PRIMARY);
        }
    }
}

static bool window_open(const struct router *r, const struct router_node *n)
{
    return n->unanswered < r->config.window ||
           r->now_ns - n->last_sent_ns >= r->config.window_wait_ns;
}

void router_tick(struct router *r)
{
    timeouts_run(r);
    if (r->retry != NULL)
        retry_run(r);
    session_resume_stalled(r);
    for (uint32_t i = 0; i < r->node_count; i++)
        if (r->nodes[i].collecting != NULL && window_open(r, &r->nodes[i]) &&
            !hold_batch(r, &r->nodes[i]))
            node_flush(r, i);
}

bool router_output_due(struct router *r)
{
    bool due = r->output_due;
    r->output_due = false;
    return due;
}

bool router_holding(const struct router *r)
{
    for (uint32_t i = 0; i < r->node_count; i++)
        if (r->nodes[i].hold_since_ns != 0)
            return true;
    return false;
}

uint64_t router_deadline_ns(const struct router *r)
{
    uint64_t least = r->retry != NULL ? retry_deadline(r) : ROUTER_TIME_NEVER;
    for (uint32_t i = 0; i < r->node_count; i++) {
        const struct router_node *n = &r->nodes[i];
        if (n->hold_since_ns != 0 && n->hold_until_ns < least)
            least = n->hold_until_ns;
        if (n->collecting != NULL && n->last_sent_ns + r->config.window_wait_ns < least)
            least = n->last_sent_ns + r->config.window_wait_ns;
    }
    if (r->ops_used > 0 && r->timeouts_due_ns < least)
        least = r->timeouts_due_ns > r->now_ns ? r->timeouts_due_ns : r->now_ns;
    return least;
}

uint32_t router_ops_in_flight(const struct router *r)
{
    return r->ops_used;
}

uint32_t router_session_count(const struct router *r)
{
    return r->session_count;
}
