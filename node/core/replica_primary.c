/* A primary: opening, sending, acknowledgements, commits, reads (PROTOCOL 3 to 5). */
#include "node/core/replica_impl.h"
#include "proto/base/mutant.h"

void primary_begin(struct replica *r, uint64_t now_ns)
{
    fb_assert(r->role < REPLICA_CLOSED && r->epoch > fb_ver_epoch(r->runs.last)); /* I2, I3 */
    r->role = REPLICA_CLOSED;
    r->start_ver = fb_ver(r->epoch, 0);
    r->cas = (struct cas){0};
    r->probe = false;
    memset(r->slots, 0, sizeof r->slots); /* acknowledgements of other epochs count for nothing */
    set_fill(r, now_ns);
    replica_touch(r, REPLICA_FX_LEAD);
}

/* Tells the node that nothing is read under this primary's lease any more. */
static void goodbye(struct replica *r, uint16_t node)
{
    struct fb_append m = {
        .part = r->part, .flags = FB_APPEND_GOODBYE, .epoch = r->epoch, .history = r->history};
    struct replica_node *n = replica_node_at(r->rl, node);

    if (n->inc == 0)
        return;
    fb_append_encode(&n->appends, &m);
    n->append_n++;
}

void primary_end(struct replica *r)
{
    fb_assert(replica_leads(r));
    /* all: who told of the newer epoch need not be the one that leads it */
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if (r->slots[i].used)
            goodbye(r, r->slots[i].node);
    r->role = REPLICA_BACKUP;
    r->known = 0;
    r->cas = (struct cas){0};
    r->probe = false;
    memset(r->slots, 0, sizeof r->slots);
    r->fx &= ~(uint32_t)(REPLICA_FX_LEAD | REPLICA_FX_OPENED | REPLICA_FX_CAS | REPLICA_FX_SYNC);
    replica_touch(r, REPLICA_FX_DOWN);
}

/* Where this may be the only copy that counts, what is read must survive its loss of power. */
static uint64_t own_ver(struct replica *r)
{
    if (set_sure(r) > 1 || r->rec.min_isr <= 1 || FB_MUTANT(replica_local_unsynced))
        return r->written_ver;
    if (r->synced_ver < r->written_ver)
        replica_touch(r, REPLICA_FX_SYNC);
    return r->synced_ver;
}

/* Not before its own promise to the primaries before it has run out. */
static bool may_open(const struct replica *r, uint64_t now_ns)
{
    if (FB_MUTANT(replica_open_early))
        return true;
    if (r->com_ver < r->start_ver)
        return false;
    return FB_MUTANT(replica_promise) ||
           (now_ns >= r->promise_ns && now_ns >= r->promise_before_ns);
}

void primary_commit(struct replica *r, uint64_t now_ns)
{
    uint16_t set = set_effective(r);
    uint64_t v = own_ver(r);

    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((set >> i & 1) != 0 && r->slots[i].acked_ver < v)
            v = r->slots[i].acked_ver;
    if (v > r->com_ver) {
        r->com_ver = v;
        replica_touch(r, REPLICA_FX_COMMITTED);
        replica_heat(r); /* the members hear of it */
    }
    if (r->role == REPLICA_CLOSED && may_open(r, now_ns)) {
        r->role = REPLICA_OPEN;
        replica_touch(r, REPLICA_FX_OPENED);
    }
}

void replica_appended(struct replica *r, uint64_t ver, uint64_t prev, struct fb_bytes record)
{
    fb_assert(replica_leads(r));
    fb_assert(fb_ver_epoch(ver) == r->epoch);
    runs_append(&r->runs, ver, prev);
    tail_put(&r->rl->tail, r->part, ver, prev, record);
    replica_unwritten(r);
    replica_heat(r);
}

static void send_records(struct replica *r, struct slot *s, struct replica_node *n,
                         struct fb_append *m)
{
    uint64_t at = s->sent_at;
    const struct tail_entry *e;
    uint32_t count = 0;
    size_t mark;

    m->prev = s->sent_ver;
    mark = fb_append_begin(&n->appends, m);
    while (s->sent_ver < r->runs.last && n->appends.n < REPLICA_SEND_BYTES) {
        e = tail_after(&r->rl->tail, r->part, s->sent_ver, &at);
        if (e == NULL) { /* it made room for newer ones */
            s->matched = false;
            s->lost = true;
            break;
        }
        fb_buf_put(&n->appends, e + 1, e->n);
        s->sent_ver = e->ver;
        s->sent_at = at;
        count++;
    }
    fb_append_end(&n->appends, mark, count);
    n->append_n++;
}

void primary_flush(struct replica *r, uint64_t now_ns)
{
    struct fb_append m = {.part = r->part,
                          .epoch = r->epoch,
                          .history = r->history,
                          .com_ver = r->com_ver,
                          .token = r->rl->token,
                          .sent_ns = now_ns};
    bool all = true;

    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *s = &r->slots[i];
        struct replica_node *n = s->used ? replica_node_at(r->rl, s->node) : NULL;
        bool due;
        if (n == NULL || s->inc == 0 || n->inc == 0 ||
            (n->inc != s->inc && !FB_MUTANT(replica_inc)))
            continue; /* nobody there, or another process */
        if (n->busy || n->appends.n >= REPLICA_SEND_BYTES) {
            all = false;
            continue;
        }
        due = s->beat_ns == 0 || now_ns - s->beat_ns >= r->rl->config.beat_ns || r->probe;
        if (s->matched && (due || s->sent_ver < r->runs.last || s->told_com_ver < r->com_ver)) {
            send_records(r, s, n, &m);
        } else if (!s->matched && !s->copying && due) {
            m.prev = 0;
            fb_append_encode(&n->appends, &m);
            n->append_n++;
        } else {
            continue;
        }
        s->beat_ns = now_ns;
        s->told_com_ver = r->com_ver;
    }
    if (all)
        r->probe = false;
}

/* Is the message from a process that this primary knows, about its epoch? A higher epoch ends it.
 */
struct slot *primary_sender(struct replica_lane *rl, uint16_t node, uint64_t src_inc, uint16_t part,
                            uint32_t epoch, uint64_t history)
{
    struct replica *r = part < rl->config.partitions ? rl->parts[part] : NULL;

    if (r == NULL || history != r->history)
        return NULL;
    if (epoch > r->epoch) {
        replica_adopt(r, epoch);
        replica_check(r);
        return NULL;
    }
    return replica_leads(r) ? set_slot(r, node, src_inc) : NULL;
}

enum fb_status replica_recv_ack(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                                const struct fb_append_ack *m, uint64_t now_ns)
{
    struct slot *s = primary_sender(rl, node, src_inc, m->part, m->epoch, m->history);
    struct replica *r;

    if (s == NULL)
        return FB_OK;
    r = rl->parts[m->part];
    if (m->epoch < r->epoch || m->status != FB_APPEND_OK)
        return FB_OK; /* late */
    if (m->acked_ver > r->runs.last || m->synced_ver > m->acked_ver || m->token > rl->token ||
        m->sent_ns > now_ns ||
        (m->acked_ver > r->com_ver && !runs_may_have(&r->runs, m->acked_ver)))
        return replica_bad(rl);
    s->heard_ns = now_ns;
    if (m->acked_ver > s->acked_ver)
        s->acked_ver = m->acked_ver;
    if (m->synced_ver > s->synced_ver) {
        s->synced_ver = m->synced_ver;
        replica_touch(r, 0);
    }
    if (m->token > s->token) {
        s->token = m->token;
        s->lease_from_ns = FB_MUTANT(replica_lease_arrival) ? now_ns : m->sent_ns;
        replica_touch(r, 0);
    }
    primary_commit(r, now_ns);
    replica_check(r);
    return FB_OK;
}

enum fb_status replica_recv_hello(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                                  const struct fb_replica_hello *m, uint64_t now_ns)
{
    struct slot *s = primary_sender(rl, node, src_inc, m->part, m->epoch, m->history);
    const struct tail_entry *e;
    struct replica *r;
    uint64_t match;

    if (s == NULL)
        return FB_OK;
    r = rl->parts[m->part];
    s->heard_ns = now_ns;
    if (s->copying)
        return FB_OK; /* what it had does not matter any more */
    match = runs_match(&r->runs, m->runs);
    if (m->com_ver > match && m->com_ver <= r->runs.last)
        match = m->com_ver; /* committed: in every log that may lead (I7) */
    if (m->com_ver > match)
        return replica_bad(rl);
    s->sent_ver = match;
    s->sent_at = 0;
    e = tail_after(&rl->tail, r->part, match, &s->sent_at);
    s->sent_at = 0; /* of what was sent, not of what follows */
    s->lost = e == NULL && match != r->runs.last;
    s->matched = !s->lost;
    replica_heat(r);
    return FB_OK;
}

enum fb_level replica_level(const struct replica *r, uint64_t ver)
{
    uint16_t set = set_effective(r);
    uint64_t synced = r->synced_ver;

    if (!replica_leads(r) || r->com_ver < ver)
        return FB_LEVEL_NONE;
    if (replica_degraded(r) || set_sure(r) < 2) {
        bool alone = r->rec.min_isr <= 1; /* one copy is what was asked for */
        return alone || synced >= ver || FB_MUTANT(replica_local_unsynced) ? FB_LEVEL_LOCAL
                                                                           : FB_LEVEL_NONE;
    }
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((set >> i & 1) != 0 && r->slots[i].synced_ver < synced)
            synced = r->slots[i].synced_ver;
    return synced >= ver ? FB_LEVEL_DURABLE : FB_LEVEL_REPLICATED;
}

uint32_t replica_copies(const struct replica *r, uint64_t ver, bool synced)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        n += (r->known >> i & 1) != 0 &&
             (synced ? r->slots[i].synced_ver : r->slots[i].acked_ver) >= ver;
    return n;
}

bool replica_degraded(const struct replica *r)
{
    return set_sure(r) < r->rec.min_isr;
}

uint64_t replica_lease_until(const struct replica *r)
{
    uint64_t lease_ns = r->rl->config.lease_ns / 1000 * REPLICA_LEASE_PERMILLE, until = UINT64_MAX;
    uint16_t set = set_effective(r);

    if (r->role != REPLICA_OPEN)
        return 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        const struct slot *s = &r->slots[i];
        if ((set >> i & 1) == 0)
            continue;
        if (s->token == 0)
            return 0;
        if (s->lease_from_ns + lease_ns < until)
            until = s->lease_from_ns + lease_ns;
    }
    return until;
}

bool replica_lease_holds(const struct replica *r, uint64_t now_ns)
{
    return now_ns < replica_lease_until(r);
}

uint64_t replica_read_begin(struct replica *r)
{
    r->probe = true;
    replica_heat(r);
    return r->rl->token + (FB_MUTANT(replica_token_old) ? 0 : 1);
}

bool replica_read_done(const struct replica *r, uint32_t epoch, uint64_t token)
{
    uint16_t set = set_effective(r);

    if (r->role != REPLICA_OPEN || r->epoch != epoch)
        return false;
    for (uint32_t i = 0; i < SLOTS_MAX; i++)
        if ((set >> i & 1) != 0 && r->slots[i].token < token)
            return false;
    return true;
}
