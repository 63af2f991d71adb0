/* Admission by dirty bytes and memory (PROTOCOL 17): growth is refused, reads and deletes go on
 * (I33). */
#include "node/core/lane_impl.h"

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

/* Above three quarters of the limit clients slow down in proportion, so that few of them ever meet
 * the refusal. */
#define SOFT_LIMIT_QUARTERS 3
#define THROTTLE_NS_MAX (UINT64_C(100) * 1000 * 1000)

uint64_t admission_delay_ns(const struct lane *l)
{
    uint64_t limit = l->config.dirty_limit, soft = limit / 4 * SOFT_LIMIT_QUARTERS, dirty;
    if (limit == 0)
        return 0;
    dirty = store_dirty_bytes(l->store);
    if (dirty <= soft)
        return 0;
    if (dirty > limit)
        dirty = limit;
    return (uint64_t)((double)THROTTLE_NS_MAX * (double)(dirty - soft) / (double)(limit - soft));
}

bool admission_refuses(struct lane *l, const struct ns_state *ns, struct fb_buf *why)
{
    uint64_t dirty = store_dirty_bytes(l->store), limit = l->config.dirty_limit,
             memory = l->config.memory_limit;

    if (l->disk_low) {
        fb_buf_put_str(why, "OVERLOADED the disk of this node is nearly full; nothing happened, "
                            "free space and try again");
    } else if (limit != 0 && dirty >= limit) {
        fb_buf_printf(why,
                      "OVERLOADED %llu bytes wait to be written to PostgreSQL, the limit is %llu; "
                      "nothing happened, try "
                      "again later",
                      (unsigned long long)dirty, (unsigned long long)limit);
    } else if (ns->conf != NULL && ns->conf->max_dirty_bytes != 0 &&
               ns->dirty_bytes >= ns->conf->max_dirty_bytes / l->config.lanes) {
        fb_buf_printf(why,
                      "OVERLOADED namespace \"%s\" has reached its max_dirty_bytes of %llu; "
                      "nothing happened, try again "
                      "later",
                      ns->name, (unsigned long long)ns->conf->max_dirty_bytes);
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
    l->config.dirty_limit = bytes;
}

void lane_set_memory_limit(struct lane *l, uint64_t bytes)
{
    l->config.memory_limit = bytes;
}

void lane_set_disk_low(struct lane *l, bool low)
{
    l->disk_low = low;
}
