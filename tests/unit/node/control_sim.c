/* Goal: whatever the controllers and backups decide from old maps, wrong hints and
 * compare-and-swaps of unknown outcome, no partition has two primaries of one epoch, nothing
 * promised is lost, and when the faults stop every partition is served with all its copies.
 *
 * Method: deterministic simulation from a seed. Nodes with logs (entries are numbers), a
 * coordinator that answers old states, executes requests late and does not always say so, cut
 * links, kills, power losses, damaged logs. Controllers on any node, several at once, and backups
 * run the real control_plan and control_promote; the replica stream between the nodes is the
 * smallest that the protocol's sections 3 to 6 allow (tests/model/recover.pml and replica.pml are
 * its models). Seeded mutants of the code under test must be found.
 *
 * Operators begin rebalances (plans of the real planner), pause, go on with and cancel them all the
 * while. When the faults are over a last one is carried out, or cancelled half-way: it ends, with
 * no partition ever having fewer copies than it is to have.
 *
 *   control_sim [--seed N] [--count N] [--mutant NAME] [--mutants]
 */
#include "node/control/move.h"
#include "proto/base/mutant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NODES 5
#define PARTS 2
#define LOG 72
#define DELAYED 16
#define PAST 64
#define SECOND UINT64_C(1000000000)

struct entry {
    uint64_t ver;
    uint32_t id; /* 0 = EPOCH_START */
};

struct copy {
    struct entry log[LOG];
    uint32_t len, synced, com;
    bool damaged;
    uint32_t epoch, history;
    /* as primary */
    bool leads, open;
    struct fb_part_record known, pending;
    bool has_pending;
    uint64_t rev;          /* of `known`: what the pending one was compared with */
    uint32_t acked[NODES]; /* match of node i under acked_inc[i], in this epoch */
    uint64_t acked_inc[NODES];
    uint64_t heard_ns[NODES]; /* primary: from its members */
    uint64_t primary_ns;      /* backup: from the primary */
    bool held;                /* it is to hand over, and lets nothing in */
    uint64_t held_ns, given_up_rev;
    /* what was told at the start of this incarnation */
    struct control_report report;
    bool reported;
};

struct cas {
    uint16_t part;
    uint64_t rev;
    struct fb_part_record next;
};

#define MOVES 64

struct cursor {
    uint64_t id, rev, ended_ms;
    char state[MOVES + 1];
};

static struct sim {
    uint64_t seed, rng, now, next_inc;
    struct {
        char name[8];
        bool up, session;
        uint64_t inc, session_inc, gone_since;
        struct copy c[PARTS];
        struct fb_part_record map[PARTS]; /* as it knows it */
        uint64_t map_rev[PARTS];
        uint64_t successor_ns[PARTS]; /* since when its map names the successor it names */
        bool stubborn;                /* as primary it never hands over */
        uint32_t seen_epoch[PARTS];
        struct cursor cursor; /* as it knows it */
        uint64_t begin_not_ns;
    } n[NODES];
    bool cut[NODES][NODES];
    struct {
        struct fb_part_record past[PAST];
        uint64_t rev[PAST];
        uint32_t count;
    } part[PARTS];
    uint64_t rev;
    struct cas delayed[DELAYED];
    uint32_t delayed_count;
    struct {
        struct fb_run *run;
        struct fb_run_wish wish;
        struct cursor now, delayed[DELAYED], past[8];
        uint32_t delayed_count, past_count;
        bool calm; /* no faults: every partition keeps all its copies */
    } move;
    uint32_t replicas, zones;
    bool healed, refuse_power, damages;
    uint32_t powers, ids;
    struct {
        uint8_t level; /* 1 committed, 2 replicated, 3 durable */
    } promised[PARTS][4096];
    char leader[PARTS][512][8]; /* of epoch */
    uint64_t leader_inc[PARTS][512];
    uint64_t steps[16], plans, opened, moved, runs;
    jmp_buf end;
    char why[300];
} w;

static uint64_t rnd(void)
{
    w.rng ^= w.rng << 13;
    w.rng ^= w.rng >> 7;
    w.rng ^= w.rng << 17;
    return w.rng * UINT64_C(0x2545F4914F6CDD1D) >> 16;
}

static uint32_t below(uint32_t n)
{
    return (uint32_t)(rnd() % n);
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w.why, sizeof(w.why), fmt, ap);
    va_end(ap);
    longjmp(w.end, 1);
}

static int node_at(const char *name)
{
    for (int i = 0; i < NODES; i++)
        if (strcmp(w.n[i].name, name) == 0)
            return i;
    return -1;
}

static const struct fb_part_record *truth(uint32_t p)
{
    return &w.part[p].past[(w.part[p].count - 1) % PAST];
}

static bool valid(const struct fb_member *m)
{
    int i = node_at(m->node);
    return w.n[i].up && w.n[i].inc == m->inc;
}

/* --- the coordinator ------------------------------------------------------------------------- */

/* Without faults nobody is told of an unknown outcome: the old primary, which runs, has let nothing
 * in and has answered all. */
static void check_hand_over(uint32_t p, const struct fb_part_record *old)
{
    const struct copy *c = old->epoch == 0 ? NULL : &w.n[node_at(old->primary.node)].c[p];

    if (w.move.calm && c != NULL && !w.n[node_at(old->primary.node)].stubborn &&
        (!c->held || c->com < c->len))
        wrong("p%u: %s is led past without a fault, and %s", p, old->primary.node,
              c->held ? "has not answered all" : "does not hold it");
}

static void check_change(uint32_t p, const struct fb_part_record *old,
                         const struct fb_part_record *new)
{
    uint32_t e = new->epoch;
    bool same =
        strcmp(old->primary.node, new->primary.node) == 0 && old->primary.inc == new->primary.inc;
    if (fb_part_record_broken(new) != NULL)
        wrong("p%u: a broken record: %s", p, fb_part_record_broken(new));
    if (e < old->epoch || new->history < old->history)
        wrong("I2: p%u goes back from epoch %u to %u", p, old->epoch, e);
    if (!same)
        check_hand_over(p, old);
    if (!same && e == old->epoch)
        wrong("I1: p%u has a second primary in epoch %u", p, e);
    if (old->epoch != 0 && !same && !fb_part_record_has(old, &new->primary))
        for (uint32_t i = 0; i < old->isr_count; i++)
            if (valid(&old->isr[i]))
                wrong("I8: p%u: %s leads though %s of the set lives", p, new->primary.node,
                      old->isr[i].node);
    if (e < 512 && w.leader[p][e][0] != '\0' &&
        (strcmp(w.leader[p][e], new->primary.node) != 0 || w.leader_inc[p][e] != new->primary.inc))
        wrong("I1: epoch %u of p%u had another primary before", e, p);
    if (e < 512) {
        memcpy(w.leader[p][e], new->primary.node, 8);
        w.leader_inc[p][e] = new->primary.inc;
    }
}

static bool execute(const struct cas *c)
{
    uint32_t at = (w.part[c->part].count - 1) % PAST, next = w.part[c->part].count % PAST;
    if (w.part[c->part].rev[at] != c->rev)
        return false;
    check_change(c->part, &w.part[c->part].past[at], &c->next);
    w.part[c->part].past[next] = c->next;
    w.part[c->part].rev[next] = ++w.rev;
    w.part[c->part].count++;
    return true;
}

/* Asks for a change; what became of it is only learned from the record. */
static void ask(uint16_t part, uint64_t rev, const struct fb_part_record *next)
{
    struct cas c = {.part = part, .rev = rev, .next = *next};
    uint32_t how = w.healed ? 0 : below(10);
    if (how < 6)
        (void)execute(&c);
    else if (how < 9 && w.delayed_count < DELAYED)
        w.delayed[w.delayed_count++] = c;
}

static void deliver(void)
{
    uint32_t i;
    if (w.delayed_count == 0)
        return;
    i = below(w.delayed_count);
    (void)execute(&w.delayed[i]);
    w.delayed[i] = w.delayed[--w.delayed_count];
}

/* --- the logs -------------------------------------------------------------------------------- */

static uint32_t match(const struct copy *a, const struct copy *b)
{
    uint32_t k = 0;
    while (k < a->len && k < b->len && a->log[k].ver == b->log[k].ver)
        k++;
    return k;
}

static void append(struct copy *c, uint64_t ver, uint32_t id)
{
    c->log[c->len++] = (struct entry){ver, id};
}

static bool has_id(const struct copy *c, uint32_t id)
{
    for (uint32_t i = 0; i < c->len; i++)
        if (c->log[i].id == id)
            return true;
    return false;
}

static void all_promised(uint32_t p, int i, const char *when)
{
    for (uint32_t id = 1; id <= w.ids; id++) {
        uint8_t level = w.promised[p][id].level;
        /* what only is replicated survives one power loss, of one node */
        if (level >= (w.powers <= 1 ? 2 : 3) && !has_id(&w.n[i].c[p], id))
            wrong("%s: p%u at %s lacks %u, which was promised at level %u", when, p, w.n[i].name,
                  id, level);
    }
}

static bool counts(const struct copy *c, const struct fb_member *m)
{
    for (uint32_t i = 0; i < c->known.isr_count; i++)
        if (c->known.isr[i].inc == m->inc)
            return true;
    for (uint32_t i = 0; c->has_pending && i < c->pending.isr_count; i++)
        if (c->pending.isr[i].inc == m->inc)
            return true;
    return false;
}

static bool in_set(const struct copy *c, const char *node)
{
    for (uint32_t i = 0; i < c->known.isr_count; i++)
        if (strcmp(c->known.isr[i].node, node) == 0)
            return true;
    for (uint32_t i = 0; c->has_pending && i < c->pending.isr_count; i++)
        if (strcmp(c->pending.isr[i].node, node) == 0)
            return true;
    return false;
}

/* S_eff as positions: what all of it has; and synced. */
static void commit(uint32_t p, int me)
{
    struct copy *c = &w.n[me].c[p];
    uint32_t com = c->len, dur = c->synced, sure = 0;
    for (uint32_t k = 0; k < 2; k++) {
        const struct fb_part_record *r = k ? &c->pending : &c->known;
        if (k && !c->has_pending)
            break;
        for (uint32_t i = 0; i < r->isr_count; i++) {
            int at = node_at(r->isr[i].node);
            uint32_t acked = w.n[at].inc == r->isr[i].inc && c->acked_inc[at] == r->isr[i].inc
                                 ? c->acked[at]
                                 : 0;
            if (at == me)
                continue;
            if (acked < com)
                com = acked;
            if (dur > w.n[at].c[p].synced || dur > acked)
                dur = acked < w.n[at].c[p].synced ? acked : w.n[at].c[p].synced;
        }
    }
    for (uint32_t i = 0; i < c->known.isr_count; i++)
        sure += !c->has_pending || fb_part_record_has(&c->pending, &c->known.isr[i]);
    if (com > c->com)
        c->com = com;
    if (!c->open) {
        for (uint32_t i = 0; i < c->com; i++)
            if (c->log[i].ver == (uint64_t)c->epoch << 40) {
                c->open = true;
                w.opened++;
                all_promised(p, me, "opened");
            }
        if (!c->open)
            return;
    }
    for (uint32_t i = 0; i < c->com; i++) {
        uint8_t *level = &w.promised[p][c->log[i].id].level;
        uint8_t now = i < dur ? 3 : sure >= c->known.min_isr ? 2 : 1;
        if (c->log[i].id != 0 && now > *level)
            *level = now;
    }
}

/* --- what a node does ------------------------------------------------------------------------ */

static void step_down(struct copy *c)
{
    c->leads = c->open = c->has_pending = c->held = false;
}

static void start(int i)
{
    w.n[i].up = true;
    w.n[i].inc = ++w.next_inc;
    w.n[i].session = true;
    w.n[i].session_inc = w.n[i].inc;
    for (uint32_t p = 0; p < PARTS; p++) {
        struct copy *c = &w.n[i].c[p];
        step_down(c);
        c->primary_ns = w.now;
        c->com = 0;
        c->reported = false;
        memset(&w.n[i].map[p], 0, sizeof(w.n[i].map[p]));
        w.n[i].map_rev[p] = 0;
    }
}

static void stop(int i, bool power)
{
    if (!w.n[i].up || (power && w.refuse_power && w.powers >= 1))
        return;
    w.n[i].up = false;
    w.n[i].gone_since = w.now;
    w.powers += power;
    for (uint32_t p = 0; p < PARTS; p++) {
        struct copy *c = &w.n[i].c[p];
        step_down(c);
        if (power)
            c->len = c->synced + below(c->len - c->synced + 1);
        if (c->synced > c->len)
            c->synced = c->len;
        if (w.damages && c->len > 0 && below(8) == 0) {
            c->damaged = true;
            c->len = below(c->len);
            c->synced = c->synced < c->len ? c->synced : c->len;
        }
    }
}

/* A record that is newer than the one it knew. */
static void learn(int i, uint32_t p, const struct fb_part_record *r, uint64_t rev)
{
    struct copy *c = &w.n[i].c[p];
    bool mine = r->primary.inc == w.n[i].inc;
    if (strcmp(w.n[i].map[p].successor, r->successor) != 0)
        w.n[i].successor_ns[p] = w.now;
    w.n[i].map[p] = *r;
    w.n[i].map_rev[p] = rev;
    if (r->epoch < c->epoch)
        return;
    if (!mine && r->epoch != w.n[i].seen_epoch[p])
        c->primary_ns = w.now; /* a new primary has its time */
    w.n[i].seen_epoch[p] = r->epoch;
    if (c->leads && (!mine || r->epoch != c->epoch))
        step_down(c);
    if (!mine)
        return;
    if (!c->leads) {
        if (c->len >= LOG - 1)
            wrong("the log of the simulation is full");
        if (r->epoch == c->epoch && c->len > 0 && c->log[c->len - 1].ver >> 40 == r->epoch)
            return;
        c->leads = true;
        c->epoch = r->epoch;
        append(c, (uint64_t)r->epoch << 40, 0);
        memset(c->acked, 0, sizeof(c->acked));
        for (int k = 0; k < NODES; k++)
            c->heard_ns[k] = w.now;
    }
    c->has_pending = false;
    c->known = *r;
    c->rev = rev;
    commit(p, i);
}

static void look(int i)
{
    uint32_t cursors = w.move.past_count, old = w.healed ? 0 : below(3);
    if (cursors > old && w.move.past[(cursors - 1 - old) % 8].rev > w.n[i].cursor.rev)
        w.n[i].cursor = w.move.past[(cursors - 1 - old) % 8];
    for (uint32_t p = 0; p < PARTS; p++) {
        uint32_t newest = w.part[p].count - 1, back = w.healed ? 0 : below(4), at;
        back = back > newest ? newest : back;
        at = (newest - back) % PAST;
        if (w.part[p].rev[at] > w.n[i].map_rev[p])
            learn(i, p, &w.part[p].past[at], w.part[p].rev[at]);
    }
}

/* One exchange of the stream: primary i with node m. */
static void replicate(int i, int m, uint32_t p)
{
    struct copy *c = &w.n[i].c[p], *d = &w.n[m].c[p];
    struct fb_member member = {.inc = w.n[m].inc};
    bool learner = false;
    if (!w.n[i].up || !w.n[m].up || i == m || !c->leads || w.cut[i][m] || w.cut[m][i] ||
        c->epoch < d->epoch)
        return;
    memcpy(member.node, w.n[m].name, sizeof(w.n[m].name));
    for (uint32_t k = 0; k < c->known.learner_count; k++)
        learner = learner || strcmp(c->known.learners[k], w.n[m].name) == 0;
    /* what a node told of its copy stays true while the set has the incarnation before: it is
     * filled when that is out */
    learner = learner && !in_set(c, w.n[m].name);
    if (!counts(c, &member) && !learner)
        return;
    if (d->leads)
        step_down(d);
    d->epoch = c->epoch;
    d->primary_ns = c->heard_ns[m] = w.now;
    if (d->damaged && learner) {
        d->len = d->synced = d->com = 0; /* a full copy heals it */
        d->damaged = false;
    }
    for (uint32_t steps = 1 + below(3); steps > 0; steps--) {
        uint32_t k = match(c, d);
        if (k < d->len && k < c->len) {
            if (k < d->com && counts(c, &member))
                wrong("I10: p%u: %s cuts what it knew to be committed", p, w.n[m].name);
            d->len = k;
        }
        if (d->len > c->len && k == c->len)
            d->len = k;
        d->synced = d->synced < k ? d->synced : k;
        if (k < c->len)
            append(d, c->log[k].ver, c->log[k].id);
    }
    c->acked[m] = match(c, d);
    c->acked_inc[m] = w.n[m].inc;
    commit(p, i);
    d->com = c->com < c->acked[m] ? c->com : c->acked[m];
}

/* Only the primary changes the set within its epoch. */
static void change_set(int i, uint32_t p)
{
    struct copy *c = &w.n[i].c[p];
    struct fb_record_event ev = {.kind = FB_REC_SHRINK};
    struct fb_part_record next;
    if (!w.n[i].up || !c->leads)
        return;
    if (c->has_pending) {
        ask((uint16_t)p, c->rev, &c->pending);
        return;
    }
    for (uint32_t k = 0; k < c->known.isr_count && ev.member.inc == 0; k++) {
        int at = node_at(c->known.isr[k].node);
        if (at != i &&
            (w.now - c->heard_ns[at] > 3 * SECOND / 2 || c->acked_inc[at] != c->known.isr[k].inc) &&
            w.now - c->heard_ns[at] > SECOND)
            ev.member = c->known.isr[k];
        if (at != i && ev.member.inc == 0 && w.n[at].inc != c->known.isr[k].inc && below(2))
            ev.member = c->known.isr[k];
    }
    if (ev.member.inc == 0 && c->open) {
        ev.kind = FB_REC_EXPAND;
        for (uint32_t k = 0; k < c->known.learner_count && ev.member.inc == 0; k++) {
            int at = node_at(c->known.learners[k]);
            if (c->acked[at] < c->com || c->acked_inc[at] != w.n[at].inc || c->acked[at] == 0)
                continue;
            memcpy(ev.member.node, w.n[at].name, sizeof(w.n[at].name));
            ev.member.inc = w.n[at].inc;
        }
    }
    if (ev.member.inc == 0 && c->open && c->known.leaving[0] != '\0') {
        uint32_t rest = 0;
        ev.kind = FB_REC_SHRINK;
        for (uint32_t k = 0; k < c->known.isr_count; k++) {
            int at = node_at(c->known.isr[k].node);
            if (strcmp(c->known.isr[k].node, c->known.leaving) == 0)
                ev.member = c->known.isr[k];
            else
                rest += at == i || w.now - c->heard_ns[at] < SECOND;
        }
        if (rest + 1 != c->known.isr_count || rest < c->known.min_isr)
            return;
    }
    if (ev.member.inc == 0 || fb_record_next(&c->known, &ev, &next, NULL) != FB_OK)
        return;
    if (next.isr_count == 1)
        c->synced = c->len; /* before the set falls to one, that one syncs all it has */
    c->pending = next;
    c->has_pending = true;
    ask((uint16_t)p, c->rev, &next);
}

/* What node/core/copy_hold.c does, and what it may come to: a hold of any length, given up or not.
 */
static void hand_over(int i, uint32_t p)
{
    struct copy *c = &w.n[i].c[p];
    struct fb_record_event ev = {.kind = FB_REC_PROMOTE};
    struct fb_part_record next;
    for (uint32_t k = 0; k < c->known.isr_count; k++)
        if (strcmp(c->known.isr[k].node, c->known.successor) == 0)
            ev.member = c->known.isr[k];
    if (!w.n[i].up || w.n[i].stubborn || !c->open || ev.member.inc == 0 ||
        w.n[node_at(ev.member.node)].inc != ev.member.inc || c->given_up_rev == c->rev) {
        c->held = false;
        return;
    }
    if (!c->held)
        c->held_ns = w.now;
    c->held = true;
    if (w.now - c->held_ns > 7 * SECOND / 2) {
        c->given_up_rev = c->rev;
        c->held = false;
    } else if (!c->has_pending && (c->com == c->len || w.now - c->held_ns > 2 * SECOND) &&
               fb_record_next(&c->known, &ev, &next, NULL) == FB_OK) {
        ask((uint16_t)p, c->rev, &next);
    }
}

static void client(int i, uint32_t p)
{
    struct copy *c = &w.n[i].c[p];
    if (!w.n[i].up || !c->open || c->held || c->len >= LOG - 18 || w.ids >= 4000 || w.healed)
        return;
    append(c,
           c->log[c->len - 1].ver >> 40 == c->epoch ? c->log[c->len - 1].ver + 1
                                                    : ((uint64_t)c->epoch << 40) + 1,
           ++w.ids);
    commit(p, i);
}

static void sync_one(int i, uint32_t p)
{
    struct copy *c = &w.n[i].c[p];
    if (w.n[i].up)
        c->synced = c->len;
}

static void report(int i)
{
    for (uint32_t p = 0; p < PARTS; p++) {
        struct copy *c = &w.n[i].c[p];
        if (c->reported || !w.n[i].up || c->leads || below(2) == 0)
            continue;
        if (below(16) == 0 || w.healed)
            c->synced = c->len;
        c->report = (struct control_report){
            .part = (uint16_t)p,
            .member = {.inc = w.n[i].inc},
            .epoch = c->len > 0 ? (uint32_t)(c->log[c->len - 1].ver >> 40) : 0,
            .last_ver = c->len > 0 ? c->log[c->len - 1].ver : 0,
            .synced_ver = c->synced > 0 ? c->log[c->synced - 1].ver : 0,
            .damaged = c->damaged};
        memcpy(c->report.member.node, w.n[i].name, sizeof(w.n[i].name));
        c->reported = c->report.synced_ver == c->report.last_ver;
    }
}

static void to_map(int i, struct fb_map *map, struct fb_part_record *parts, uint64_t *revs)
{
    *map = (struct fb_map){.partitions = PARTS, .hash_seed = 7, .parts = parts, .part_revs = revs};
    memcpy(parts, w.n[i].map, sizeof(w.n[i].map));
    memcpy(revs, w.n[i].map_rev, sizeof(w.n[i].map_rev));
}

static void run_steps(const struct control_step *steps, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        w.steps[steps[k].kind]++;
        ask(steps[k].part, steps[k].rev, &steps[k].next);
    }
}

/* --- the moves of a rebalance ---------------------------------------------------------------- */

static bool under_way(void)
{
    return w.move.run != NULL && w.move.now.ended_ms == 0;
}

static void cursor_execute(const struct cursor *c)
{
    if (c->rev != w.move.now.rev)
        return;
    for (uint32_t i = 0; w.move.now.state[i] != '\0' && c->id == w.move.now.id; i++)
        if (w.move.now.state[i] != c->state[i]) {
            w.moved += c->state[i] == FB_MOVE_DONE;
            if (w.move.now.state[i] != FB_MOVE_WAITS && w.move.now.state[i] != FB_MOVE_BEGUN)
                wrong("move %u was over ('%c') and is '%c'", i, w.move.now.state[i], c->state[i]);
        }
    w.move.now = *c;
    w.move.now.rev = ++w.rev;
    w.move.past[w.move.past_count++ % 8] = w.move.now;
}

static void cursor_ask(const struct cursor *c)
{
    uint32_t how = w.healed ? 0 : below(10);
    if (how < 6)
        cursor_execute(c);
    else if (how < 9 && w.move.delayed_count < DELAYED)
        w.move.delayed[w.move.delayed_count++] = *c;
}

static void cursor_deliver(void)
{
    uint32_t i;
    if (w.move.delayed_count == 0)
        return;
    i = below(w.move.delayed_count);
    cursor_execute(&w.move.delayed[i]);
    w.move.delayed[i] = w.move.delayed[--w.move.delayed_count];
}

/* A new plan, made from the records as they are. False: nothing is to be moved. */
static bool begin_run(bool drain)
{
    struct fb_plan_node nodes[NODES] = {0};
    uint64_t revs[PARTS] = {0};
    struct fb_part_record parts[PARTS];
    struct fb_map map = {.partitions = PARTS, .parts = parts, .part_revs = revs};
    struct fb_rebalance_in in = {
        .map = &map, .nodes = nodes, .node_count = NODES, .copies = w.replicas + 1};
    struct fb_plan *plan = NULL;
    struct fb_buf text = {0};
    struct fb_err err;
    struct cursor c = {.id = w.move.now.id + 1, .rev = w.move.now.rev};
    bool moves;

    for (uint32_t p = 0; p < PARTS; p++)
        parts[p] = *truth(p);
    for (int k = 0; k < NODES; k++) {
        snprintf(nodes[k].place.name, sizeof(nodes[k].place.name), "%s", w.n[k].name);
        if (w.zones > 0)
            snprintf(nodes[k].place.zone, sizeof(nodes[k].place.zone), "z%u",
                     (uint32_t)k % w.zones);
        nodes[k].place.weight = 100;
        nodes[k].state = w.n[k].up || w.healed ? FB_PLAN_UP : FB_PLAN_GONE;
    }
    if (drain)
        nodes[below(NODES)].state = FB_PLAN_DRAIN;
    if (fb_rebalance(&in, &plan, &err) != FB_OK)
        return false;
    moves = plan->move_count > 0 && plan->move_count <= MOVES;
    if (moves) {
        memset(c.state, FB_MOVE_WAITS, plan->move_count);
        fb_run_encode(&text, plan, c.id);
        fb_run_free(w.move.run);
        if (fb_run_decode(fb_buf_view(&text), &w.move.run, &err) != FB_OK)
            wrong("a run does not read back: %s", err.msg);
        fb_buf_fini(&text);
        cursor_execute(&c);
        w.move.wish = (struct fb_run_wish){
            .id = c.id, .parallel = 1 + below(3), .rate = below(2) ? 1000000 : 0};
        w.runs++;
    }
    fb_plan_free(plan);
    return moves;
}

static void operator_acts(void)
{
    if (!under_way())
        (void)begin_run(below(2));
    else if (w.move.wish.kind != FB_WISH_CANCEL)
        w.move.wish.kind = below(8) == 0   ? FB_WISH_CANCEL
                           : below(3) == 0 ? FB_WISH_PAUSE
                                           : FB_WISH_GO;
}

/* Node i carries the run out, from what it knows. */
static void mover(int i, const struct fb_map *map, struct control_in *control, uint8_t *moves)
{
    struct control_step steps[PARTS];
    struct cursor *c = &w.n[i].cursor, next;
    struct fb_run_cursor cursor = {.id = c->id, .ended_ms = c->ended_ms, .state = c->state};
    struct moves_in in = {.map = map,
                          .run = w.move.run,
                          .wish = &w.move.wish,
                          .cursor = &cursor,
                          .control = control,
                          .now_ns = w.now,
                          .now_ms = w.now / 1000000};
    struct moves_out out = {.steps = steps, .moves = moves, .state = next.state};

    if (w.move.run == NULL)
        return;
    out.begin_not_ns = w.n[i].begin_not_ns;
    moves_plan(&in, &out);
    w.n[i].begin_not_ns = out.begin_not_ns;
    control->moves = moves;
    run_steps(steps, out.count);
    if (out.changed) {
        next.id = c->id;
        next.rev = c->rev;
        next.ended_ms = out.ended_ms;
        cursor_ask(&next);
    }
}

/* Node i believes that it is the controller. */
static void controller(int i)
{
    struct fb_part_record parts[PARTS];
    uint64_t revs[PARTS];
    struct control_node nodes[NODES] = {0};
    struct control_report reports[NODES * PARTS];
    struct control_step steps[PARTS];
    struct control_plan plan = {.steps = steps};
    struct control_in in = {.replicas = w.replicas,
                            .settled = true,
                            .nodes = nodes,
                            .node_count = NODES,
                            .reports = reports,
                            .heal_after_ns = w.healed ? 0 : below(3) * SECOND};
    uint8_t moves[PARTS] = {0};
    uint64_t successor_ns[PARTS];
    struct fb_map map;
    struct fb_err err;
    if (!w.n[i].up)
        return;
    to_map(i, &map, parts, revs);
    for (int k = 0; k < NODES; k++) {
        snprintf(nodes[k].place.name, sizeof(nodes[k].place.name), "%s", w.n[k].name);
        if (w.zones > 0)
            snprintf(nodes[k].place.zone, sizeof(nodes[k].place.zone), "z%u",
                     (uint32_t)k % w.zones);
        nodes[k].place.weight = !w.healed && below(12) == 0 ? 0 : 100;
        nodes[k].inc = w.n[k].session_inc;
        nodes[k].alive = w.healed ? w.n[k].up : w.n[k].session;
        nodes[k].leaving = !w.healed && below(12) == 0;
        nodes[k].gone_ns = w.now - w.n[k].gone_since;
        nodes[k].silent = w.cut[i][k];
        for (uint32_t p = 0; p < PARTS; p++)
            if (w.n[k].c[p].report.last_ver != 0 || w.n[k].c[p].report.member.inc != 0)
                reports[in.report_count++] = w.n[k].c[p].report;
    }
    nodes[i].place.weight = 100;
    for (uint32_t p = 0; p < PARTS; p++)
        successor_ns[p] = w.now - w.n[i].successor_ns[p];
    in.successor_ns = successor_ns;
    mover(i, &map, &in, moves);
    w.plans++;
    if (control_plan(&map, &in, &plan, &err) != FB_OK)
        wrong("control_plan: %s", err.msg);
    run_steps(steps, plan.count);
}

static void backup(int i)
{
    struct fb_part_record parts[PARTS];
    uint64_t revs[PARTS], silent[PARTS];
    uint32_t epochs[PARTS];
    struct control_step steps[PARTS];
    struct control_self self = {.me = {.inc = w.n[i].inc},
                                .t_primary_ns = 2 * SECOND,
                                .rank_ns = SECOND / 2,
                                .silent_ns = silent,
                                .last_epoch = epochs};
    struct fb_map map;
    uint32_t count;
    if (!w.n[i].up)
        return;
    memcpy(self.me.node, w.n[i].name, sizeof(w.n[i].name));
    to_map(i, &map, parts, revs);
    for (uint32_t p = 0; p < PARTS; p++) {
        int at = parts[p].epoch ? node_at(parts[p].primary.node) : -1;
        epochs[p] = w.n[i].c[p].epoch;
        silent[p] = at >= 0 && w.n[at].session_inc != parts[p].primary.inc
                        ? UINT64_MAX
                        : w.now - w.n[i].c[p].primary_ns;
    }
    control_promote(&map, &self, steps, &count);
    run_steps(steps, count);
}

static void sessions(int i)
{
    /* late, and now and then wrong: only a hint */
    w.n[i].session = below(20) != 0 && w.n[i].up;
    if (w.n[i].up && below(3))
        w.n[i].session_inc = w.n[i].inc;
}

/* --- checks over all ------------------------------------------------------------------------- */

static void check_all(void)
{
    for (uint32_t p = 0; p < PARTS; p++) {
        const struct fb_part_record *r = truth(p);
        uint32_t valid_count = 0;
        for (uint32_t i = 0; i < r->isr_count; i++)
            valid_count += valid(&r->isr[i]);
        if (w.move.calm && valid_count < w.replicas + 1)
            wrong("p%u has %u copies, without any fault", p, valid_count);
        for (uint32_t i = 0; i < r->isr_count; i++) { /* I7 */
            int at = node_at(r->isr[i].node);
            if (valid(&r->isr[i]))
                for (uint32_t id = 1; id <= w.ids; id++)
                    if (w.promised[p][id].level >= 2 && w.powers <= 1 && !has_id(&w.n[at].c[p], id))
                        wrong("I7: p%u: %s is in the set and lacks %u", p, w.n[at].name, id);
        }
    }
}

static bool blocked(uint32_t p)
{
    const struct fb_part_record *r = truth(p);
    bool damaged = false;
    for (uint32_t i = 0; i < r->isr_count; i++) {
        if (valid(&r->isr[i]))
            return false;
        damaged = damaged || w.n[node_at(r->isr[i].node)].c[p].damaged;
    }
    return damaged;
}

static bool served(uint32_t p)
{
    const struct fb_part_record *r = truth(p);
    int at = r->epoch ? node_at(r->primary.node) : -1;
    if (blocked(p))
        return true; /* an operator has to choose */
    if (at < 0 || !w.n[at].c[p].open || r->isr_count < w.replicas + 1)
        return false;
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (!valid(&r->isr[i]))
            return false;
    return true;
}

static void round_of_all(void)
{
    w.now += SECOND / 4;
    for (int i = 0; i < NODES; i++) {
        w.n[i].session_inc = w.n[i].inc;
        look(i);
        report(i);
        backup(i);
        for (uint32_t p = 0; p < PARTS; p++) {
            for (int m = 0; m < NODES; m++)
                replicate(i, m, p);
            change_set(i, p);
            hand_over(i, p);
            sync_one(i, p);
        }
    }
    controller((int)below(NODES));
    check_all();
}

/* A node that leads p, if there is one; any node. */
static int leader_of(uint32_t p)
{
    int first = (int)below(NODES);
    for (int k = 0; k < NODES; k++)
        if (w.n[(first + k) % NODES].up && w.n[(first + k) % NODES].c[p].leads)
            return (first + k) % NODES;
    return first;
}

/* Power goes where it hurts, if it may go once only: a copy that leads alone and is not synced. */
static void power_loss(void)
{
    for (int i = 0; i < NODES; i++)
        for (uint32_t p = 0; p < PARTS; p++) {
            const struct copy *c = &w.n[i].c[p];
            if (w.n[i].up && c->open && c->known.isr_count == 1 && c->synced < c->len) {
                stop(i, true);
                return;
            }
        }
    if (!w.refuse_power)
        stop((int)below(NODES), true);
}

static void one_event(void)
{
    int i = (int)below(NODES), m = (int)below(NODES);
    uint32_t p = below(PARTS), what = below(1000);
    w.now += below(100) * UINT64_C(1000000);
    if (what < 6)
        stop(i, false);
    else if (what < 16)
        power_loss();
    else if (what < 18)
        for (int k = 0; k < NODES; k++)
            stop(k, false);
    else if (what < 60)
        w.n[i].up ? (void)0 : start(i);
    else if (what < 75)
        w.cut[i][m] = below(4) == 0;
    else if (what < 90)
        below(3) ? deliver() : cursor_deliver();
    else if (what < 95)
        operator_acts();
    else if (what < 140)
        sessions(i);
    else if (what < 260)
        w.n[i].up ? look(i) : (void)0;
    else if (what < 300)
        controller(i);
    else if (what < 360)
        backup(i);
    else if (what < 400)
        report(i);
    else if (what < 450)
        client(leader_of(p), p);
    else if (what < 455)
        sync_one(i, p);
    else if (what < 520)
        change_set(leader_of(p), p);
    else if (what < 550)
        hand_over(leader_of(p), p);
    else
        replicate(leader_of(p), m, p);
}

static bool all_served(void)
{
    bool all = true;
    for (uint32_t p = 0; p < PARTS; p++)
        all = all && served(p);
    return all;
}

static bool any_blocked(void)
{
    bool any = false;
    for (uint32_t p = 0; p < PARTS; p++)
        any = any || blocked(p);
    return any;
}

/* Without faults: what was begun ends, then one more is carried out or cancelled. */
static void calm_moves(void)
{
    uint32_t cancel_at = below(2) ? below(30) : UINT32_MAX;
    bool fresh = false;

    w.move.wish.kind = w.move.wish.kind == FB_WISH_PAUSE ? FB_WISH_GO : w.move.wish.kind;
    for (uint32_t k = 0; k < 400; k++) {
        if (!under_way() && fresh)
            break;
        if (!under_way() && all_served()) {
            if (any_blocked() || !begin_run(below(2)))
                return;
            fresh = w.move.calm = true;
        }
        if (fresh && k == cancel_at)
            w.move.wish.kind = FB_WISH_CANCEL;
        round_of_all();
    }
    if (under_way() && any_blocked())
        return; /* an operator has to choose first */
    if (under_way()) {
        const uint32_t at = (uint32_t)strcspn(w.move.now.state, ">-");
        const struct fb_run_move *m = &w.move.run->move[at];
        const struct fb_part_record *r = truth(m->part);
        wrong("a rebalance has not ended 100 s after the faults: %s, wish %s; move %u of p%u from "
              "%d to %d lead %d: %u in the set, led by %s, %u learners, leaving '%s', epoch %u",
              w.move.now.state, fb_run_wish_name(w.move.wish.kind), at, m->part, m->from + 1,
              m->to + 1, m->lead + 1, r->isr_count, r->primary.node, r->learner_count, r->leaving,
              r->epoch);
    }
    for (uint32_t k = 0; k < 4 && fresh && !all_served(); k++)
        round_of_all(); /* who was let lead at the very end opens */
    for (uint32_t p = 0; p < PARTS && fresh; p++)
        if (!blocked(p) && (!served(p) || truth(p)->leaving[0] != '\0'))
            wrong(
                "p%u is not as it was or is to be after a rebalance: %s, led by %s, %u in the set, "
                "leaving '%s', successor '%s', epoch %u",
                p, w.move.now.state, truth(p)->primary.node, truth(p)->isr_count, truth(p)->leaving,
                truth(p)->successor, truth(p)->epoch);
    if (fresh && w.move.wish.kind != FB_WISH_CANCEL) {
        for (const char *s = w.move.now.state; *s != '\0'; s++)
            if (*s != FB_MOVE_DONE) {
                const struct fb_run_move *m = &w.move.run->move[s - w.move.now.state];
                wrong("without faults a move ended as %s: %s p%u from %d to %d lead %d",
                      fb_move_state_name(*s), w.move.now.state, m->part, m->from + 1, m->to + 1,
                      m->lead + 1);
            }
        for (uint32_t p = 0; p < PARTS; p++)
            if (truth(p)->isr_count != w.replicas + 1)
                wrong("p%u has %u copies after a rebalance", p, truth(p)->isr_count);
    }
    w.move.calm = false;
}

/* 0 = nothing found. */
static int run(uint64_t seed)
{
    fb_run_free(w.move.run);
    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.rng = seed * UINT64_C(0x9E3779B97F4A7C15) | 1;
    for (int i = 0; i < 8; i++)
        (void)rnd();
    w.now = 100 * SECOND;
    w.replicas = 1 + below(2);
    w.zones = below(2) * 3;
    w.refuse_power = below(2);
    w.damages = below(4) == 0;
    for (uint32_t p = 0; p < PARTS; p++) {
        w.part[p].count = 1;
        w.part[p].rev[0] = 0;
    }
    if (setjmp(w.end) != 0)
        return 1;
    for (int i = 0; i < NODES; i++) {
        snprintf(w.n[i].name, sizeof(w.n[i].name), "n%d", i + 1);
        w.n[i].stubborn = below(8) == 0;
        start(i);
    }
    for (uint32_t k = 0; k < 900; k++) {
        one_event();
        check_all();
    }
    w.healed = true;
    memset(w.cut, 0, sizeof(w.cut));
    while (w.delayed_count > 0)
        deliver();
    for (int i = 0; i < NODES; i++)
        if (!w.n[i].up)
            start(i);
    while (w.move.delayed_count > 0)
        cursor_deliver();
    for (uint32_t k = 0; k < 200; k++) {
        round_of_all();
        if (all_served()) {
            calm_moves();
            return 0;
        }
    }
    for (uint32_t p = 0; p < PARTS; p++)
        if (!served(p))
            wrong(
                "I36: p%u is not served with all its copies 50 s after the faults ended: epoch %u, "
                "primary %s, %u in the set, %u learners",
                p, truth(p)->epoch, truth(p)->primary.node, truth(p)->isr_count,
                truth(p)->learner_count);
    return 0;
}

static uint64_t total[16], opened, moved, runs;

static int run_many(uint64_t first, uint64_t count, bool quiet)
{
    for (uint64_t s = first; s < first + count; s++) {
        if (run(s) != 0) {
            if (!quiet)
                printf("seed %llu: %s\n", (unsigned long long)s, w.why);
            else
                printf("found by seed %llu: %s\n", (unsigned long long)s, w.why);
            return 1;
        }
        for (int k = 0; k < 16; k++)
            total[k] += w.steps[k];
        opened += w.opened;
        moved += w.moved;
        runs += w.runs;
    }
    return 0;
}

static int mutants(uint64_t count)
{
    const char *name, *text;
    int missed = 0, tried = 0;
    for (unsigned i = 0; fb_mutant_at(i, &name, &text); i++) {
        if (strncmp(name, "control_", 8) != 0 || !fb_mutant_choose(name))
            continue;
        tried++;
        printf("%s: ", name);
        if (run_many(1, count, true) == 0) {
            printf("NOT FOUND in %llu seeds: %s\n", (unsigned long long)count, text);
            missed++;
        }
    }
    printf("%d of %d mutants found\n", tried - missed, tried);
    return missed > 0 || tried < 6;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, count = 1000;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutants") == 0)
            return mutants(20000);
        if (i + 1 == argc) {
            fprintf(stderr,
                    "usage: control_sim [--seed N] [--count N] [--mutant NAME] [--mutants]\n");
            return 2;
        }
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--mutant") != 0 || !fb_mutant_choose(argv[++i])) {
            fprintf(stderr, "%s: not understood\n", argv[i]);
            return 2;
        }
    }
    if (run_many(seed, count, false) != 0)
        return 1;
    printf(
        "%llu seeds, %llu openings; changes asked for: %llu placements, %llu promotions, %llu "
        "hand-overs, %llu fills, "
        "%llu drops, %llu recoveries of a set; %llu rebalances, %llu moves done\n",
        (unsigned long long)count, (unsigned long long)opened,
        (unsigned long long)total[FB_REC_ASSIGN], (unsigned long long)total[FB_REC_PROMOTE],
        (unsigned long long)total[FB_REC_HAND_OVER], (unsigned long long)total[FB_REC_LEARNER_ADD],
        (unsigned long long)total[FB_REC_LEARNER_DROP], (unsigned long long)total[FB_REC_LAST_SET],
        (unsigned long long)runs, (unsigned long long)moved);
    return 0;
}
