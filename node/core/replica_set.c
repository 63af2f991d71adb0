/* The set of a partition: what the record says, changes of it by its primary (PROTOCOL 2.2, 6). */
#include "node/core/replica_impl.h"
#include "proto/base/mutant.h"

bool set_is_self(const struct replica *r, const struct fb_member *m)
{
    return m->inc == r->rl->config.inc && strcmp(m->node, r->rl->config.node) == 0;
}

struct slot *set_slot(struct replica *r, uint16_t node, uint64_t inc)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if (r->slots[i].used && r->slots[i].node == node &&
            (r->slots[i].inc == inc || FB_MUTANT(replica_inc)))
            return &r->slots[i];
    return NULL;
}

/* What a commit needs, besides this node: the recorded set whichever way an open compare-and-swap
 * went or goes. */
uint16_t set_effective(const struct replica *r)
{
    if (!r->cas.open || FB_MUTANT(replica_union))
        return r->known;
    return r->known | r->cas.pending;
}

static bool known_node(const struct replica *r, uint16_t node)
{
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((r->known >> i & 1) != 0 && r->slots[i].node == node)
            return true;
    return false;
}

/* Copies that are in the recorded set in any case, this one counted. */
uint32_t set_sure(const struct replica *r)
{
    uint16_t sure = r->known;

    if (r->cas.open && !FB_MUTANT(replica_certain))
        sure &= r->cas.pending;
    return 1 + (uint32_t)__builtin_popcount(sure);
}

static uint32_t slot_put(struct replica *r, struct slot *old, uint16_t node, uint64_t inc,
                         bool learner, uint64_t now_ns)
{
    uint32_t i = 0;

    while (i < SLOTS_MAX && r->slots[i].used)
        i++;
    fb_assert(i < SLOTS_MAX);
    r->slots[i] = (struct slot){.used = true, .node = node, .inc = inc, .heard_ns = now_ns};
    for (uint32_t j = 0; j < SLOTS_MAX; j++)
        if (old[j].used && old[j].node == node && old[j].inc == inc)
            r->slots[i] = old[j]; /* what it acknowledged in this epoch stays true */
    r->slots[i].learner = learner;
    return i;
}

void set_fill(struct replica *r, uint64_t now_ns)
{
    struct slot old[SLOTS_MAX];

    memcpy(old, r->slots, sizeof old);
    memset(r->slots, 0, sizeof r->slots);
    r->known = 0;
    for (uint32_t i = 0; i < r->rec.isr_count; i++) {
        const struct fb_member *m = &r->rec.isr[i];
        if (set_is_self(r, m))
            continue;
        uint16_t node = replica_node_of(r->rl, m->node);
        r->known |= (uint16_t)(1u << slot_put(r, old, node, m->inc, false, now_ns));
    }
    for (uint32_t i = 0; i < r->rec.learner_count; i++) {
        uint16_t node = replica_node_of(r->rl, r->rec.learners[i]);
        if (node != REPLICA_NODE_NONE)
            slot_put(r, old, node, replica_node_at(r->rl, node)->inc, true, now_ns);
    }
    replica_heat(r);
}

static enum replica_role role_of(const struct replica *r)
{
    for (uint32_t i = 0; i < r->rec.isr_count; i++)
        if (set_is_self(r, &r->rec.isr[i]))
            return REPLICA_BACKUP;
    for (uint32_t i = 0; i < r->rec.learner_count; i++)
        if (strcmp(r->rec.learners[i], r->rl->config.node) == 0)
            return REPLICA_LEARNER;
    return REPLICA_NONE;
}

enum fb_status replica_record(struct replica *r, const struct fb_part_record *rec, uint64_t rev,
                              uint64_t now_ns)
{
    if (rev <= r->rev)
        return FB_OK;
    if (fb_part_record_broken(rec) != NULL)
        return FB_EINVAL;
    /* I34; and a node has seen a higher epoch only because it is in the record */
    if (rec->epoch < r->rec.epoch || rec->history < r->rec.history || rec->history < r->history)
        return FB_ESTALE;
    if (rec->epoch == r->epoch && replica_leads(r) && !set_is_self(r, &rec->primary))
        return FB_ESTALE; /* an epoch has one primary (I1) */
    if (set_is_self(r, &rec->primary) && !replica_leads(r) && rec->epoch == r->epoch &&
        rec->epoch == fb_ver_epoch(r->runs.last))
        return FB_ESTALE; /* its versions are given out already */
    for (uint32_t i = 0; i < rec->isr_count && r->dropped && r->runs.last == 0; i++)
        if (set_is_self(r, &rec->isr[i]))
            return FB_ESTALE; /* what it counts for is gone */
    for (uint32_t i = 0; i < rec->isr_count; i++)
        if (strcmp(rec->isr[i].node, r->rl->config.node) != 0 &&
            replica_node_of(r->rl, rec->isr[i].node) == REPLICA_NODE_NONE)
            return FB_EFULL;
    r->rev = rev;
    r->rec = *rec;
    if (rec->epoch < r->epoch)
        return FB_OK; /* older than what its next primary has told already */
    if (rec->epoch > r->epoch)
        replica_adopt(r, rec->epoch);
    if (replica_leads(r)) {
        r->cas.open = false; /* another revision: it was executed, or never will be */
        r->fx &= ~(uint32_t)REPLICA_FX_CAS;
        set_fill(r, now_ns);
        primary_commit(r, now_ns);
    } else {
        if (set_is_self(r, &rec->primary) || r->runs.last == 0)
            r->history = rec->history; /* else this log is of another history: copied anew */
        r->role = role_of(r);
        /* others may have told of the epoch before: it is this node's all the same */
        if (set_is_self(r, &rec->primary))
            primary_begin(r, now_ns);
    }
    replica_check(r);
    return FB_OK;
}

static void cas_open(struct replica *r, enum fb_record_event_kind kind, uint32_t slot,
                     uint64_t now_ns)
{
    struct slot *s = &r->slots[slot];
    struct cas *c = &r->cas;
    uint16_t bit = (uint16_t)(1u << slot);

    *c = (struct cas){.open = true, .rev = r->rev, .next_ns = now_ns};
    c->pending = kind == FB_REC_SHRINK ? r->known & (uint16_t)~bit : r->known | bit;
    c->event.kind = kind;
    c->event.member.inc = s->inc;
    memcpy(c->event.member.node, r->rl->nodes[s->node].name, sizeof c->event.member.node);
    /* The others may only be cut off, and once their copies do not count, one node's loss of power
     * must not take what they have acknowledged: all there is, as a new primary does not know how
     * far its inherited tail was acknowledged. */
    if (c->pending == 0 && !FB_MUTANT(replica_shrink_unsynced))
        c->goal_ver = r->runs.last;
}

/* Is better not waited for. */
static bool silent(const struct replica *r, const struct slot *s, uint64_t now_ns)
{
    return s->lost || now_ns - s->heard_ns >= r->rl->config.silence_ns ||
           (s->inc != 0 && r->rl->nodes[s->node].leaving_inc == s->inc); /* it stops soon */
}

/* Wished by the record, and possible: the others are there, and as many as level `replicated` needs
 * (PROTOCOL 9, H5). */
static bool may_leave(const struct replica *r, uint32_t slot, uint64_t now_ns)
{
    const struct slot *s = &r->slots[slot];
    uint32_t rest = 1;

    if (r->role != REPLICA_OPEN || r->rec.leaving[0] == '\0' ||
        strcmp(r->rl->nodes[s->node].name, r->rec.leaving) != 0)
        return false;
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        rest += (r->known >> i & 1) != 0 && i != slot && !silent(r, &r->slots[i], now_ns);
    return rest + 1 == r->rec.isr_count && rest >= r->rec.min_isr;
}

static void cas_tick(struct replica *r, uint64_t now_ns)
{
    struct cas *c = &r->cas;

    if (!c->asked && c->event.kind == FB_REC_SHRINK) {
        uint16_t gone = r->known & (uint16_t)~c->pending;
        uint32_t slot = gone == 0 ? 0 : (uint32_t)__builtin_ctz(gone);
        if (gone != 0 && !silent(r, &r->slots[slot], now_ns) && !may_leave(r, slot, now_ns)) {
            c->open = false; /* it is back before anybody was asked */
            return;
        }
    }
    if (r->synced_ver < c->goal_ver) {
        replica_touch(r, REPLICA_FX_SYNC);
        return;
    }
    if (now_ns < c->next_ns)
        return;
    if (FB_MUTANT(replica_cas_forget) && c->asked) {
        c->open = false;
        return;
    }
    c->asked = true; /* from here only another revision ends it */
    c->next_ns = now_ns + r->rl->config.cas_retry_ns;
    replica_touch(r, REPLICA_FX_CAS);
}

void set_tick(struct replica *r, uint64_t now_ns)
{
    if (r->cas.open) {
        cas_tick(r, now_ns);
        return;
    }
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((r->known >> i & 1) != 0 && silent(r, &r->slots[i], now_ns)) {
            cas_open(r, FB_REC_SHRINK, i, now_ns);
            cas_tick(r, now_ns);
            return;
        }
    for (uint32_t i = 0; i < SLOTS_MAX && r->rec.leaving[0] != '\0'; i++)
        if ((r->known >> i & 1) != 0 && may_leave(r, i, now_ns)) {
            cas_open(r, FB_REC_SHRINK, i, now_ns);
            cas_tick(r, now_ns);
            return;
        }
    for (uint32_t i = 0; i < SLOTS_MAX && r->role == REPLICA_OPEN; i++) {
        const struct slot *s = &r->slots[i];
        if (s->used && s->learner && s->inc != 0 && s->matched &&
            r->rec.isr_count <= FB_REPLICAS_MAX && s->acked_ver >= r->com_ver &&
            s->acked_ver >= r->start_ver && !silent(r, s, now_ns) && !known_node(r, s->node)) {
            cas_open(r, FB_REC_EXPAND, i, now_ns);
            cas_tick(r, now_ns);
            return;
        }
    }
}

bool replica_successor(const struct replica *r, uint64_t now_ns, struct fb_member *out)
{
    for (uint32_t i = 0; i < SLOTS_MAX && r->role == REPLICA_OPEN && r->rec.successor[0] != '\0';
         i++) {
        const struct slot *s = &r->slots[i];
        if ((r->known >> i & 1) == 0 || silent(r, s, now_ns) ||
            strcmp(r->rl->nodes[s->node].name, r->rec.successor) != 0)
            continue;
        *out = (struct fb_member){.inc = s->inc};
        memcpy(out->node, r->rec.successor, sizeof out->node);
        return r->rl->nodes[s->node].inc == s->inc;
    }
    return false;
}

bool replica_changing(const struct replica *r)
{
    return r->cas.open;
}

const struct fb_record_event *replica_cas_event(const struct replica *r, uint64_t *rev)
{
    fb_assert(r->cas.open && r->cas.asked);
    *rev = r->cas.rev;
    return &r->cas.event;
}

bool replica_peer(const struct replica *r, uint32_t i, struct replica_peer *out)
{
    for (uint32_t k = 0; k < SLOTS_MAX; k++) {
        const struct slot *s = &r->slots[k];
        if (!s->used || i-- > 0)
            continue;
        *out = (struct replica_peer){.node = s->node,
                                     .learner = s->learner,
                                     .lost = s->lost,
                                     .inc = s->inc,
                                     .acked_ver = s->acked_ver,
                                     .synced_ver = s->synced_ver,
                                     .heard_ns = s->heard_ns};
        return true;
    }
    return false;
}

uint32_t replica_members(const struct replica *r, struct fb_member *out)
{
    uint16_t set = set_effective(r);
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((set >> i & 1) != 0) {
            out[n].inc = r->slots[i].inc;
            memcpy(out[n].node, r->rl->nodes[r->slots[i].node].name, sizeof out[n].node);
            n++;
        }
    return n;
}
