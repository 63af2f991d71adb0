/* Admission by dirty bytes and memory (PROTOCOL 17): growth is refused, reads and deletes go on
 * (I33). */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

bool op_grows(uint16_t op)
{
    switch (op) {
    case FB_OP_SET:
    case FB_OP_APPEND:
    case FB_OP_SETRANGE:
    case FB_OP_INCRBY:
    case FB_OP_INCRBYFLOAT:
    case FB_OP_SETIF:
    case FB_OP_HSET:
    case FB_OP_HINCRBY:
    case FB_OP_HINCRBYFLOAT:
    case FB_OP_TXN:
        return true;
    default:
        return false;
    }
}

/* Looked at this often: a namespace that is synced again is written to again within this time. */
#define AGE_PERIOD_NS (UINT64_C(100) * 1000 * 1000)

void ages_tick(struct lane *l)
{
    bool any = false;

    if (l->mono_ns < l->next_age_ns)
        return;
    l->next_age_ns = l->mono_ns + AGE_PERIOD_NS;
    for (uint16_t n = 0; n < l->ns_n; n++) {
        l->ns[n].oldest_ms = 0;
        any = any || (l->ns[n].conf != NULL && l->ns[n].conf->max_dirty_age_ms != 0);
    }
    for (uint32_t i = 0; any && i < l->config.partitions; i++) {
        const struct part *p = l->parts[i];
        for (uint32_t n = 0; p != NULL && p->open && n < p->feed_cap; n++) {
            uint64_t at = p->feeds[n] != NULL ? p->feeds[n]->oldest_ms : 0;
            if (at != 0 && (l->ns[n].oldest_ms == 0 || at < l->ns[n].oldest_ms))
                l->ns[n].oldest_ms = at;
        }
    }
}

static uint64_t dirty_age_ms(const struct lane *l, const struct ns_state *ns)
{
    return ns->oldest_ms != 0 && l->wall_ms > ns->oldest_ms ? l->wall_ms - ns->oldest_ms : 0;
}

/* Above three quarters of the limit clients slow down in proportion, so that few of them ever meet
 * the refusal. */
#define SOFT_LIMIT_QUARTERS 3
#define THROTTLE_NS_MAX (UINT64_C(100) * 1000 * 1000)

static uint64_t delay_ns(uint64_t have, uint64_t limit)
{
    uint64_t soft = limit / 4 * SOFT_LIMIT_QUARTERS;
    if (limit == 0 || have <= soft)
        return 0;
    if (have > limit)
        have = limit;
    return (uint64_t)((double)THROTTLE_NS_MAX * (double)(have - soft) / (double)(limit - soft));
}

uint64_t admission_delay_ns(const struct lane *l, const struct ns_state *ns)
{
    uint64_t node = delay_ns(store_dirty_bytes(l->store), l->config.dirty_limit), bytes = 0,
             age = 0;

    if (ns != NULL && ns->conf != NULL) {
        bytes = delay_ns(ns->dirty_bytes, ns->conf->max_dirty_bytes / l->config.lanes);
        age = delay_ns(dirty_age_ms(l, ns), ns->conf->max_dirty_age_ms);
    }
    if (bytes > node)
        node = bytes;
    return age > node ? age : node;
}

bool admission_refuses(struct lane *l, const struct ns_state *ns, struct fb_buf *why)
{
    uint64_t dirty = store_dirty_bytes(l->store), limit = l->config.dirty_limit,
             memory = l->config.memory_limit;

    if (l->disk_low) {
        fb_buf_put_str(why, "OVERLOADED the disk of this node is nearly full; nothing happened, "
                            "free space and try again");
    } else if (limit != 0 && dirty >= limit && !FB_MUTANT(node_unlimited)) {
        fb_buf_printf(why,
                      "OVERLOADED %llu bytes wait to be written to PostgreSQL, the limit is %llu; "
                      "nothing happened, try "
                      "again later",
                      (unsigned long long)dirty, (unsigned long long)limit);
    } else if (ns->conf != NULL && ns->conf->max_dirty_bytes != 0 &&
               ns->dirty_bytes >= ns->conf->max_dirty_bytes / l->config.lanes &&
               !FB_MUTANT(dirty_unlimited)) {
        fb_buf_printf(why,
                      "OVERLOADED namespace \"%s\" has reached its max_dirty_bytes of %llu; "
                      "nothing happened, try again "
                      "later",
                      ns->name, (unsigned long long)ns->conf->max_dirty_bytes);
    } else if (ns->conf != NULL && ns->conf->max_dirty_age_ms != 0 &&
               dirty_age_ms(l, ns) > ns->conf->max_dirty_age_ms) {
        fb_buf_printf(why,
                      "OVERLOADED the oldest change of namespace \"%s\" waits for PostgreSQL since "
                      "%llu ms, its max_dirty_age is %llu ms; nothing happened, try again later",
                      ns->name, (unsigned long long)dirty_age_ms(l, ns),
                      (unsigned long long)ns->conf->max_dirty_age_ms);
    } else if (memory != 0 && store_memory_bytes(l->store) > memory + memory / 4) {
        fb_buf_printf(why,
                      "OVERLOADED memory is above its limit of %llu bytes and nothing can be "
                      "evicted now; nothing "
                      "happened, try again later",
                      (unsigned long long)memory);
    } else {
        return false;
    }
    STAT_ADD(l, rejected_overload, 1);
    return true;
}

void lane_set_dirty_limit(struct lane *l, uint64_t bytes)
{
    lane_check_writer(l);
    l->config.dirty_limit = bytes;
}

void lane_set_memory_limit(struct lane *l, uint64_t bytes)
{
    lane_check_writer(l);
    l->config.memory_limit = bytes;
}

void lane_set_disk_low(struct lane *l, bool low)
{
    lane_check_writer(l);
    l->disk_low = low;
}
