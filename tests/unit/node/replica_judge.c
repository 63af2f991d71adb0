/* What must hold, judged from outside with a memory that no process has. */
#include "tests/unit/node/replica_world.h"

#define ULL(v) ((unsigned long long)(v))

/* I3, I4: a version names one record for ever, and what it follows. */
void judge_append(struct world *w, uint32_t i, const struct entry *e, bool by_primary)
{
    uint32_t epoch = fb_ver_epoch(e->ver);
    uint64_t counter = fb_ver_counter(e->ver);

    if (by_primary) {
        if (w->content[epoch][counter] != 0)
            violation(w, "I3: node %u gives version %u.%llu a second time", i, epoch, ULL(counter));
        w->content[epoch][counter] = e->content;
        w->prev[epoch][counter] = e->prev;
        return;
    }
    if (w->content[epoch][counter] != e->content || w->prev[epoch][counter] != e->prev)
        violation(w, "I4: node %u has another record %u.%llu than was written", i, epoch,
                  ULL(counter));
}

void judge_ack(struct world *w, uint32_t i, const struct fb_append_ack *a)
{
    const struct anode *n = &w->node[i];
    struct ack_seen *s;
    uint32_t k = 0;

    if (a->status != FB_APPEND_OK)
        return;
    if (a->acked_ver > 0) {
        int64_t at = log_find(n, a->acked_ver);
        if (at < 0 || (uint32_t)at >= n->written)
            violation(w, "I18: node %u acknowledges %llx, which it has not written", i,
                      ULL(a->acked_ver));
    }
    if (a->synced_ver > 0) {
        int64_t at = log_find(n, a->synced_ver);
        if (at < 0 || (uint32_t)at >= n->synced)
            violation(w, "I18: node %u says that %llx is synced", i, ULL(a->synced_ver));
    }
    while (k < w->ack_n &&
           !(w->acks[k].node == i && w->acks[k].inc == n->inc && w->acks[k].epoch == a->epoch))
        k++;
    if (k == ACKS_MAX)
        return;
    s = &w->acks[k];
    if (k == w->ack_n) {
        w->ack_n++;
        *s = (struct ack_seen){.node = i, .epoch = a->epoch, .inc = n->inc};
    }
    if (a->acked_ver > s->acked)
        s->acked = a->acked_ver;
    if (a->synced_ver > s->synced)
        s->synced = a->synced_ver;
}

static const struct ack_seen *ack_of(const struct world *w, const struct fb_member *m,
                                     uint32_t epoch)
{
    for (uint32_t k = 0; k < w->ack_n; k++)
        if (w->acks[k].inc == m->inc && w->acks[k].epoch == epoch)
            return &w->acks[k];
    return NULL;
}

/* P1: what was committed is in the log of whoever leads. But where a whole set lost power, what was
 * not synced everywhere is gone, as promised. */
static void lost(struct world *w, uint32_t i)
{
    uint64_t com = replica_com_ver(node_replica(w, i));

    if (w->committed == 0 || com <= w->committed || log_find(&w->node[i], w->committed) >= 0)
        return;
    if (!w->blackouts)
        violation(w, "P1: node %u leads epoch %u without %llx, which was committed", i,
                  replica_epoch(node_replica(w, i)), ULL(w->committed));
    w->committed = com;
    if (w->visible > w->kept)
        w->visible = w->kept;
}

/* I5, I16: each process of the set has acknowledged it in this epoch. */
void judge_commit(struct world *w, uint32_t i)
{
    const struct replica *r = node_replica(w, i);
    struct fb_member set[FB_REPLICAS_MAX * 2];
    uint32_t n = replica_members(r, set);
    uint64_t com = replica_com_ver(r);
    int64_t at = log_find(&w->node[i], com);

    if (com != 0 && (at < 0 || (uint32_t)at >= w->node[i].written))
        violation(w, "I5: node %u commits %llx, which its own log has not", i, ULL(com));
    for (uint32_t k = 0; k < n; k++) {
        const struct ack_seen *s = ack_of(w, &set[k], replica_epoch(r));
        if (s == NULL || s->acked < com)
            violation(w, "I5, I16: node %u commits %llx without %s/%llu", i, ULL(com), set[k].node,
                      ULL(set[k].inc));
    }
    lost(w, i);
    if (com > w->committed)
        w->committed = com;
}

void judge_open(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    const struct replica *r = node_replica(w, i);
    uint64_t com = replica_com_ver(r);

    w->opened++;
    if (com < fb_ver(replica_epoch(r), 0))
        violation(w, "I9: node %u is open and its first record is not committed", i);
    /* one that is replaced already may still open; it has nothing to commit and to read (I12) */
    if (w->kept != 0 && replica_epoch(r) == w->rec.epoch &&
        (log_find(n, w->kept) < 0 || com < w->kept))
        violation(w, "P1: node %u opens epoch %u without %llx, which was answered", i,
                  replica_epoch(r), ULL(w->kept));
    lost(w, i);
}

/* A client is answered as soon as its write has reached a level. */
void judge_answers(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    const struct replica *r = node_replica(w, i);
    uint64_t com = replica_com_ver(r);
    struct fb_member set[FB_REPLICAS_MAX * 2];

    if (replica_role(r) != REPLICA_OPEN)
        return;
    for (int64_t k = log_find(n, com); k >= 0; k--) {
        uint64_t ver = n->log[k].ver;
        enum fb_level level;
        if (ver <= w->kept && !w->blackouts)
            break;
        level = replica_level(r, ver);
        if (level == FB_LEVEL_NONE)
            continue;
        w->answered++;
        w->durable += level == FB_LEVEL_DURABLE;
        w->degraded += level == FB_LEVEL_LOCAL;
        if (ver > w->visible)
            w->visible = ver;
        /* I13 */
        if (level >= FB_LEVEL_REPLICATED && w->rec.epoch == replica_epoch(r) &&
            w->rec.isr_count < 2)
            violation(w, "I13: node %u says replicated, and the set is one node", i);
        if (level == FB_LEVEL_DURABLE) {
            uint32_t m = replica_members(r, set);
            for (uint32_t s = 0; s < m; s++) {
                const struct ack_seen *a = ack_of(w, &set[s], replica_epoch(r));
                if (a == NULL || a->synced < ver)
                    violation(w, "I13: node %u says durable, and %s has not synced", i,
                              set[s].node);
            }
        }
        if ((level != FB_LEVEL_REPLICATED || !w->blackouts) && ver > w->kept)
            w->kept = ver;
        if (!w->blackouts || level != FB_LEVEL_REPLICATED)
            break; /* all before it has reached it, too */
    }
}

static void returned(struct world *w, uint32_t i, const char *how, uint64_t must)
{
    uint64_t com = replica_com_ver(node_replica(w, i));

    if (com < must)
        violation(w, "I12: a %s read at node %u returns %llx after %llx was known", how, i,
                  ULL(com), ULL(must));
    if (com > w->visible)
        w->visible = com;
}

void judge_reads(struct world *w, uint32_t i)
{
    struct anode *n = &w->node[i];
    struct replica *r = node_replica(w, i);

    for (uint32_t k = 0; k < n->read_n;) {
        struct a_read *a = &n->reads[k];
        bool done = replica_read_done(r, a->epoch, a->token);
        if (done) {
            w->confirmed_reads++;
            /* a loss of power of all lowers what was known */
            returned(w, i, "confirmed", a->must < w->visible ? a->must : w->visible);
        }
        if (done || replica_epoch(r) != a->epoch)
            *a = n->reads[--n->read_n];
        else
            k++;
    }
    if (replica_role(r) == REPLICA_OPEN && n->read_n < READS_MAX && chance(w, 30)) {
        struct a_read *a = &n->reads[n->read_n++];
        *a = (struct a_read){.must = w->visible, .epoch = replica_epoch(r)};
        a->token = replica_read_begin(r);
    }
    if (replica_lease_holds(r, node_clock(w, i))) {
        w->lease_reads++;
        returned(w, i, "lease", w->visible);
    }
}

/* I6, I7, and that messages of correct nodes are taken. */
void judge_always(struct world *w)
{
    for (uint32_t i = 0; i < NODES; i++) {
        const struct anode *n = &w->node[i];
        const struct replica *r;
        struct fb_member set[FB_REPLICAS_MAX * 2];
        uint32_t m;
        if (n->rl == NULL)
            continue;
        r = node_replica(w, i);
        if (replica_bad_messages(n->rl) != 0)
            violation(w, "node %u takes a message of a correct node for a wrong one", i);
        for (uint32_t k = 0; k < w->rec.isr_count && w->committed != 0 && !w->blackouts; k++)
            if (w->rec.isr[k].inc == n->inc && log_find(n, w->committed) < 0)
                violation(w, "I7: member %u has not committed %llx", i, ULL(w->committed));
        if (replica_role(r) < REPLICA_CLOSED || replica_epoch(r) != w->rec.epoch)
            continue;
        if (w->rec.primary.inc != n->inc)
            violation(w, "I1: node %u leads epoch %u of another", i, w->rec.epoch);
        m = replica_members(r, set);
        for (uint32_t k = 0; k < w->rec.isr_count; k++) {
            bool in = w->rec.isr[k].inc == n->inc;
            for (uint32_t s = 0; s < m; s++)
                in |= set[s].inc == w->rec.isr[k].inc;
            if (!in)
                violation(w, "I6: node %u commits without %s of the recorded set", i,
                          w->rec.isr[k].node);
        }
    }
}
