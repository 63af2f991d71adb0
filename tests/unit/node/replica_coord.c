/* The coordinator's record, and who changes it besides the primary: promotions, placement. */
#include "tests/unit/node/replica_world.h"

static void changed(struct world *w, const struct fb_part_record *next)
{
    w->old_rec[w->rev % FB_COUNT_OF(w->old_rec)] = w->rec;
    w->rec = *next;
    w->rev++;
}

static struct fb_member member(const struct world *w, uint32_t i)
{
    struct fb_member m = {.inc = w->node[i].inc};
    memcpy(m.node, w->node[i].name, sizeof w->node[i].name);
    return m;
}

bool coord_event(struct world *w, const struct fb_record_event *ev)
{
    struct fb_part_record next;
    if (w->rec.epoch + 2 >= EPOCHS_MAX || fb_record_next(&w->rec, ev, &next, NULL) != FB_OK)
        return false;
    changed(w, &next);
    return true;
}

void coord_init(struct world *w)
{
    struct fb_record_event ev = {.kind = FB_REC_ASSIGN, .member = member(w, 0), .min_isr = 2};
    w->rev = 1;
    if (!coord_event(w, &ev))
        abort();
}

/* A primary asks for a change of its set; when, and whether it hears of it, is open. */
void coord_request(struct world *w, uint32_t i)
{
    struct cas_request *c = &w->cas[w->cas_n];
    const struct fb_record_event *ev;

    if (w->cas_n == CAS_MAX)
        return; /* lost on its way */
    ev = replica_cas_event(node_replica(w, i), &c->rev);
    if (c->rev != w->node[i].rev)
        violation(w, "node %u compares with revision %llu, not with the one it has read", i,
                  (unsigned long long)c->rev);
    if (fb_record_next(&w->node[i].rec, ev, &c->next, NULL) != FB_OK) {
        violation(w, "node %u asks for a change that the record does not allow", i);
        return;
    }
    w->cas_n++;
}

void coord_execute(struct world *w)
{
    uint32_t i;

    if (w->cas_n == 0)
        return;
    i = below(w, w->cas_n);
    if (w->cas[i].rev == w->rev) {
        w->casses++;
        changed(w, &w->cas[i].next);
    }
    if (chance(w, 85)) /* else it comes once more */
        w->cas[i] = w->cas[--w->cas_n];
}

/* Anybody may take any member for dead at any time. */
void coord_promote(struct world *w)
{
    struct fb_record_event ev = {.kind = FB_REC_PROMOTE};

    ev.member = w->rec.isr[below(w, w->rec.isr_count)];
    /* never down to one: that one may not have synced what they all acknowledged */
    ev.drop_old = w->rec.isr_count >= 3 && chance(w, 30);
    if (w->healed && !member_is_alive(w, &ev.member))
        return;
    coord_event(w, &ev);
}

void coord_take_over(struct world *w)
{
    struct fb_record_event ev = {.kind = FB_REC_PROMOTE};

    ev.member = w->rec.isr[below(w, w->rec.isr_count)];
    ev.drop_old = w->rec.isr_count >= 3 && chance(w, 50);
    if (ev.member.inc != w->rec.primary.inc)
        coord_event(w, &ev);
}

static void last_set(struct world *w)
{
    struct fb_record_event ev = {.kind = FB_REC_LAST_SET};
    uint64_t best = 0;
    bool found = false;

    for (uint32_t k = 0; k < w->rec.isr_count; k++) {
        const struct fb_member *m = &w->rec.isr[k];
        uint32_t i = node_index(m->node);
        if (w->node[i].rl == NULL || w->node[i].inc == m->inc)
            return; /* not back yet, or one that may go on */
        if (!found || w->node[i].n == 0 || w->node[i].log[w->node[i].n - 1].ver > best) {
            uint64_t last = w->node[i].n == 0 ? 0 : w->node[i].log[w->node[i].n - 1].ver;
            if (found && last <= best)
                continue;
            best = last;
            ev.member = member(w, i);
            found = true;
        }
    }
    if (found)
        coord_event(w, &ev);
}

void coord_control(struct world *w)
{
    last_set(w);
    if (!w->healed && w->seed % 4 == 3 && chance(w, 15)) { /* a move ends */
        struct fb_record_event ev = {.kind = FB_REC_LEAVE};
        ev.member = w->rec.isr[below(w, w->rec.isr_count)];
        if (ev.member.inc != w->rec.primary.inc && w->rec.leaving[0] == '\0')
            coord_event(w, &ev);
    }
    for (uint32_t i = 0; i < NODES; i++) {
        struct fb_record_event ev = {.kind = FB_REC_LEARNER_ADD, .member = member(w, i)};
        bool there = false;
        for (uint32_t k = 0; k < w->rec.isr_count; k++)
            there |= strcmp(w->rec.isr[k].node, w->node[i].name) == 0;
        for (uint32_t k = 0; k < w->rec.learner_count; k++)
            there |= strcmp(w->rec.learners[k], w->node[i].name) == 0;
        if (!there)
            coord_event(w, &ev);
    }
}
