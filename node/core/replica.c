/* Replicas of a lane: making, nodes, the ends of a tick, what must always hold. */
#include "node/core/replica_impl.h"
#include "proto/base/mutant.h"

#include <stdlib.h>

struct replica_lane *replica_lane_new(const struct replica_config *config)
{
    struct replica_lane *rl = fb_xcalloc(1, sizeof *rl);

    fb_assert(config->inc != 0 && config->node[0] != '\0');
    fb_assert(config->partitions > 0 && config->partitions <= FB_PARTITIONS_MAX);
    fb_assert(config->beat_ns > 0 && config->beat_ns * 3 <= config->lease_ns &&
              config->beat_ns * 3 <= config->silence_ns);
    rl->config = *config;
    rl->parts = fb_xcalloc(config->partitions, sizeof(struct replica *));
    tail_init(&rl->tail, config->tail_bytes, config->partitions);
    return rl;
}

void replica_lane_free(struct replica_lane *rl)
{
    if (rl == NULL)
        return;
    for (uint32_t i = 0; i < rl->config.partitions; i++)
        free(rl->parts[i]);
    for (uint32_t i = 0; i < rl->node_n; i++) {
        fb_buf_fini(&rl->nodes[i].appends);
        fb_buf_fini(&rl->nodes[i].acks);
        fb_buf_fini(&rl->nodes[i].hellos);
    }
    tail_fini(&rl->tail);
    free(rl->parts);
    free(rl);
}

size_t replica_tail_bytes(const struct replica_lane *rl)
{
    return rl->tail.cap;
}

uint16_t replica_node_of(struct replica_lane *rl, const char *name)
{
    for (uint16_t i = 0; i < rl->node_n; i++)
        if (strcmp(rl->nodes[i].name, name) == 0)
            return i;
    if (rl->node_n == FB_NODES_MAX || strcmp(name, rl->config.node) == 0 ||
        strlen(name) > FB_NAME_BYTES_MAX)
        return REPLICA_NODE_NONE;
    memcpy(rl->nodes[rl->node_n].name, name, strlen(name) + 1);
    return (uint16_t)rl->node_n++;
}

struct replica_node *replica_node_at(struct replica_lane *rl, uint16_t node)
{
    fb_assert(node < rl->node_n);
    return &rl->nodes[node];
}

uint32_t replica_node_count(const struct replica_lane *rl)
{
    return rl->node_n;
}

const struct replica_config *replica_lane_config(const struct replica_lane *rl)
{
    return &rl->config;
}

static void node_reset(struct replica_lane *rl, uint16_t node, uint64_t inc)
{
    struct replica_node *n = replica_node_at(rl, node);

    n->inc = inc;
    n->busy = false;
    fb_buf_clear(&n->appends);
    fb_buf_clear(&n->acks);
    fb_buf_clear(&n->hellos);
    n->append_n = n->ack_n = n->hello_n = 0;
    for (uint32_t i = 0; i < rl->config.partitions; i++) {
        struct replica *r = rl->parts[i];
        if (r == NULL || !replica_leads(r))
            continue;
        for (uint32_t s = 0; s < SLOTS_MAX; s++) {
            struct slot *slot = &r->slots[s];
            if (!slot->used || slot->node != node)
                continue;
            slot->copying = false;
            slot->matched = false; /* nothing that was sent is taken for received */
            slot->beat_ns = 0;
            if (slot->learner && slot->inc != inc) {
                bool counted = r->cas.open && (r->cas.pending >> s & 1) != 0;
                if (!counted) /* another process: nothing of it is known */
                    *slot = (struct slot){.used = true, .learner = true, .node = node, .inc = inc};
            }
        }
        replica_heat(r);
    }
}

void replica_node_up(struct replica_lane *rl, uint16_t node, uint64_t inc)
{
    fb_assert(inc != 0);
    node_reset(rl, node, inc);
}

void replica_node_down(struct replica_lane *rl, uint16_t node)
{
    node_reset(rl, node, 0);
}

struct replica *replica_get(struct replica_lane *rl, uint16_t part)
{
    fb_assert(part < rl->config.partitions);
    if (rl->parts[part] == NULL) {
        struct replica *r = fb_xcalloc(1, sizeof *r);
        r->rl = rl;
        r->part = part;
        r->lead = REPLICA_NODE_NONE;
        rl->parts[part] = r;
    }
    return rl->parts[part];
}

void replica_recovered(struct replica *r, uint64_t ver, uint64_t prev)
{
    fb_assert(r->role == REPLICA_NONE && r->rev == 0);
    if (r->runs.n == 0 && r->runs.last == 0)
        r->runs.last = prev; /* a log may have been trimmed */
    runs_append(&r->runs, ver, prev);
}

void replica_recovered_record(struct replica *r, uint64_t ver, uint64_t prev,
                              struct fb_bytes record)
{
    if (r->runs.last != prev) {
        if (prev < r->runs.last)
            runs_cut(&r->runs, prev);
        else
            r->runs = (struct runs){.last = prev}; /* a log may have been trimmed */
        tail_cut(&r->rl->tail, r->part, r->runs.n == 0 ? 0 : prev);
    }
    replica_recovered(r, ver, prev);
    tail_put(&r->rl->tail, r->part, ver, prev, record);
}

void replica_recovered_end(struct replica *r, uint64_t ver)
{
    fb_assert(r->role == REPLICA_NONE && r->rev == 0);
    if (r->runs.last == ver)
        return;
    r->runs = (struct runs){.last = ver};
    tail_cut(&r->rl->tail, r->part, 0);
}

void replica_start(struct replica *r, uint64_t history, uint64_t com_ver)
{
    fb_assert(com_ver <= r->runs.last);
    r->history = history;
    r->epoch = fb_ver_epoch(r->runs.last);
    r->com_ver = com_ver;
    r->written_ver = r->synced_ver = r->runs.last;
    r->heard_ns = r->rl->tick_ns;
    replica_check(r);
}

void replica_touch(struct replica *r, uint32_t fx)
{
    r->fx |= fx;
    if (r->touched)
        return;
    r->touched = true;
    r->next_touched = r->rl->touched;
    r->rl->touched = r;
}

void replica_heat(struct replica *r)
{
    if (r->hot)
        return;
    r->hot = true;
    r->next_hot = r->rl->hot;
    r->rl->hot = r;
}

void replica_unwritten(struct replica *r)
{
    if (r->unwritten)
        return;
    r->unwritten = true;
    r->next_unwritten = r->rl->unwritten;
    r->rl->unwritten = r;
}

enum fb_status replica_bad(struct replica_lane *rl)
{
    rl->bad++;
    return FB_EPROTO;
}

void replica_adopt(struct replica *r, uint32_t epoch)
{
    fb_assert(epoch > r->epoch); /* I2 */
    if (replica_leads(r))
        primary_end(r);
    r->epoch = epoch;
    r->lead = REPLICA_NODE_NONE;
    r->lead_inc = 0;
    r->match_ver = r->lead_com_ver = 0;
    r->token = r->sent_ns = 0;
    r->ack_due = false;
    r->heard_ns = r->rl->tick_ns;
}

void replica_check(const struct replica *r)
{
    fb_assert(r->com_ver <= r->written_ver);
    fb_assert(r->written_ver <= r->runs.last);
    fb_assert(r->synced_ver <= r->written_ver); /* I18 */
    fb_assert(r->match_ver <= r->runs.last);
    if (!replica_leads(r))
        return;
    fb_assert(r->rec.epoch == r->epoch && set_is_self(r, &r->rec.primary)); /* I1 */
    fb_assert(r->role != REPLICA_OPEN || r->com_ver >= r->start_ver ||
              FB_MUTANT(replica_open_early)); /* I9 */
    fb_assert(fb_ver_epoch(r->start_ver) == r->epoch);
    fb_assert((r->known & ~set_effective(r)) == 0 || FB_MUTANT(replica_union)); /* I6 */
}

void replica_tick(struct replica_lane *rl, uint64_t now_ns)
{
    /* a pause of this process is not the silence of others */
    bool paused = rl->tick_ns != 0 && now_ns - rl->tick_ns > rl->config.silence_ns / 2;

    rl->tick_ns = now_ns;
    for (uint32_t i = 0; i < rl->config.partitions; i++) {
        struct replica *r = rl->parts[i];
        if (r == NULL || !replica_leads(r))
            continue;
        for (uint32_t s = 0; s < SLOTS_MAX; s++) {
            struct slot *slot = &r->slots[s];
            if (!slot->used)
                continue;
            if (paused)
                slot->heard_ns = now_ns;
            if (now_ns - slot->beat_ns >= rl->config.beat_ns ||
                (slot->matched && slot->sent_ver < r->runs.last))
                replica_heat(r);
        }
        set_tick(r, now_ns);
        primary_commit(r, now_ns); /* a promise may have run out */
        replica_check(r);
    }
}

void replica_flush(struct replica_lane *rl, uint64_t now_ns)
{
    struct replica *r = rl->hot;

    if (r == NULL)
        return;
    rl->token++;
    rl->hot = NULL;
    while (r != NULL) {
        struct replica *next = r->next_hot;
        r->hot = false;
        if (replica_leads(r))
            primary_flush(r, now_ns);
        r = next;
    }
}

void replica_written(struct replica_lane *rl, uint64_t now_ns)
{
    struct replica *r = rl->unwritten;

    rl->unwritten = NULL;
    while (r != NULL) {
        struct replica *next = r->next_unwritten;
        r->unwritten = false;
        r->written_ver = r->runs.last;
        if (replica_leads(r)) {
            primary_commit(r, now_ns);
        } else {
            backup_commit(r);
            backup_ack(r, now_ns);
        }
        replica_check(r);
        r = next;
    }
}

void replica_synced(struct replica *r, uint64_t ver)
{
    fb_assert(ver <= r->written_ver && runs_may_have(&r->runs, ver)); /* I18 */
    if (ver <= r->synced_ver)
        return;
    r->synced_ver = ver;
    if (replica_leads(r)) {
        replica_touch(r, 0);
        primary_commit(r, r->rl->tick_ns);
        replica_check(r);
    } else if (r->lead != REPLICA_NODE_NONE && r->match_ver != 0) {
        r->ack_due = true; /* level durable waits for it */
        replica_unwritten(r);
    }
}

struct replica *replica_touched(struct replica_lane *rl, struct replica *r)
{
    return r == NULL ? rl->touched : r->next_touched;
}

uint32_t replica_fx(const struct replica *r)
{
    return r->fx;
}

uint32_t replica_fx_take(struct replica *r, uint32_t bits)
{
    uint32_t fx = r->fx & bits;

    r->fx &= ~bits;
    return fx;
}

void replica_fx_clear(struct replica_lane *rl)
{
    while (rl->touched != NULL) {
        struct replica *r = rl->touched;
        rl->touched = r->next_touched;
        r->touched = false;
        fb_assert((r->fx & REPLICA_FX_LEAD) == 0 || !replica_leads(r) ||
                  r->runs.last >= r->start_ver);
        r->fx = 0;
    }
}

uint16_t replica_part(const struct replica *r)
{
    return r->part;
}

enum replica_role replica_role(const struct replica *r)
{
    return r->role;
}

uint32_t replica_epoch(const struct replica *r)
{
    return r->epoch;
}

uint64_t replica_history(const struct replica *r)
{
    return r->history;
}

uint64_t replica_rev(const struct replica *r)
{
    return r->rev;
}

uint64_t replica_heard_ns(const struct replica *r)
{
    return r->heard_ns;
}

uint64_t replica_com_ver(const struct replica *r)
{
    return r->com_ver;
}

uint64_t replica_last_ver(const struct replica *r)
{
    return r->runs.last;
}

uint64_t replica_synced_ver(const struct replica *r)
{
    return r->synced_ver;
}

uint64_t replica_cut_to(const struct replica *r)
{
    return r->cut_to;
}

bool replica_has(const struct replica *r, uint64_t ver)
{
    return runs_has(&r->runs, ver);
}

uint64_t replica_bad_messages(const struct replica_lane *rl)
{
    return rl->bad;
}
