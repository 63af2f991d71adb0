/* Copies for learners that need more than is kept to be sent (PROTOCOL 8). */
#include "node/core/replica_impl.h"
#include "proto/base/mutant.h"

static struct slot *learner(const struct replica *r, uint16_t node, uint64_t inc)
{
    struct slot *slots = (struct slot *)r->slots;

    for (uint32_t i = 0; i < SLOTS_MAX && replica_leads(r); i++)
        if (slots[i].used && slots[i].learner && slots[i].node == node && slots[i].inc == inc)
            return &slots[i];
    return NULL;
}

/* Is a process of the node in the set, recorded or asked for? */
static bool node_counts(const struct replica *r, uint16_t node)
{
    uint16_t set = set_effective(r);

    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((set >> i & 1) != 0 && r->slots[i].node == node && !FB_MUTANT(copy_fill_member))
            return true;
    return false;
}

bool replica_copy_wanted(const struct replica *r, uint16_t *node, uint64_t *inc)
{
    if (r->role != REPLICA_OPEN)
        return false;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        const struct slot *s = &r->slots[i];
        if (!s->used || !s->learner || !s->lost || s->copying || s->inc == 0 ||
            node_counts(r, s->node))
            continue;
        const struct replica_node *n = replica_node_at(r->rl, s->node);
        if (n->inc != s->inc || n->busy)
            continue;
        *node = s->node;
        *inc = s->inc;
        return true;
    }
    return false;
}

void replica_copy_begin(struct replica *r, uint16_t node, uint64_t inc)
{
    struct slot *s = learner(r, node, inc);

    fb_assert(s != NULL && !node_counts(r, node));
    s->copying = true;
    s->matched = false;
}

void replica_copy_end(struct replica *r, uint16_t node, uint64_t inc, uint64_t ver)
{
    struct slot *s = learner(r, node, inc);

    fb_assert(s != NULL && s->copying && ver <= r->com_ver);
    s->copying = s->lost = false;
    s->matched = true;
    s->sent_ver = ver;
    s->sent_at = 0;
    replica_heat(r);
}

void replica_copy_stop(struct replica *r, uint16_t node, uint64_t inc)
{
    struct slot *s = learner(r, node, inc);

    if (s != NULL)
        s->copying = false;
}

bool replica_copying(const struct replica *r, uint16_t node, uint64_t inc)
{
    const struct slot *s = learner(r, node, inc);

    return s != NULL && s->copying && r->role == REPLICA_OPEN && !node_counts(r, node);
}

void replica_copy_send(struct replica *r, uint16_t node, uint64_t slice, uint64_t ver, bool last,
                       struct fb_bytes items, uint32_t count)
{
    struct replica_node *n = replica_node_at(r->rl, node);
    struct fb_append m = {.part = r->part,
                          .flags = (uint8_t)(FB_APPEND_COPY | (last ? FB_APPEND_COPY_END : 0)),
                          .epoch = r->epoch,
                          .history = r->history,
                          .prev = slice,
                          .com_ver = ver,
                          .count = count,
                          .records = items};

    fb_append_encode(&n->appends, &m);
    n->append_n++;
}

bool replica_recv_copied(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                         const struct fb_append_ack *m, uint64_t now_ns)
{
    struct slot *s = primary_sender(rl, node, src_inc, m->part, m->epoch, m->history);

    if (s == NULL || m->epoch < rl->parts[m->part]->epoch || !s->copying)
        return false;
    s->heard_ns = now_ns;
    return true;
}

enum fb_status replica_recv_copy(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                                 const struct fb_append *m, uint64_t now_ns, bool *take)
{
    struct replica *r = replica_get(rl, m->part);
    uint64_t history = r->history;
    enum fb_status st;

    *take = false;
    if ((m->flags & FB_APPEND_GOODBYE) != 0 || m->prev == 0 || m->com_ver == 0 ||
        fb_ver_epoch(m->com_ver) == 0 || fb_ver_epoch(m->com_ver) > m->epoch)
        return replica_bad(rl);
    if (m->history > r->history && m->epoch >= r->epoch && r->role == REPLICA_LEARNER)
        r->history = m->history; /* what it has is of one that ended, and goes */
    if (!backup_accept(r, node, src_inc, m, &st)) {
        r->history = history;
        return st;
    }
    r->heard_ns = now_ns;
    /* what the record says that was read here last: no member of a set is replaced */
    *take = r->role == REPLICA_LEARNER;
    return FB_OK;
}

bool replica_unneeded(const struct replica *r, uint64_t since_ns)
{
    /* a record that is older than this log says nothing about it (I34) */
    return r->role == REPLICA_NONE && r->rec.epoch != 0 && r->rec.epoch >= r->epoch &&
           r->rec.isr_count >= r->rec.min_isr && r->heard_ns <= since_ns;
}

void replica_dropped(struct replica *r)
{
    fb_assert(r->role == REPLICA_NONE);
    r->dropped = true;
    replica_wiped(r);
}

void replica_wiped(struct replica *r)
{
    fb_assert(r->role <= REPLICA_LEARNER);
    r->runs = (struct runs){0};
    tail_cut(&r->rl->tail, r->part, 0);
    r->com_ver = r->written_ver = r->synced_ver = 0;
    r->match_ver = r->lead_com_ver = 0;
    r->ack_due = false;
    replica_check(r);
}

void replica_installed(struct replica *r, uint64_t ver)
{
    fb_assert(r->role == REPLICA_LEARNER && r->runs.last == 0);
    r->dropped = false;
    r->runs.last = ver;
    r->com_ver = r->written_ver = r->match_ver = ver; /* acknowledged when it is written */
    replica_check(r);
}

void replica_copy_ack(struct replica *r, uint64_t slice)
{
    struct fb_append_ack a = {.part = r->part,
                              .status = FB_APPEND_COPIED,
                              .epoch = r->epoch,
                              .history = r->history,
                              .acked_ver = slice};
    struct replica_node *n;

    if (r->lead == REPLICA_NODE_NONE)
        return;
    n = replica_node_at(r->rl, r->lead);
    if (n->inc != r->lead_inc)
        return;
    fb_append_ack_encode(&n->acks, &a);
    n->ack_n++;
}
