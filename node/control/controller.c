/* The controller's decisions, partition by partition. */
#include "node/control/controller.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

/* Nodes that went within this time went at once. */
#define AT_ONCE_NS UINT64_C(60000000000)

struct planner {
    const struct fb_map *map;
    const struct control_in *in;
    struct control_plan *plan;
    /* By index of the placement; those that drain come behind those, they are no place. */
    const struct control_node *usable[FB_NODES_MAX];
    uint32_t usable_count, place_count;
    uint32_t load[FB_NODES_MAX]; /* copies on usable[i], those planned here included */
    struct fb_placement *place;
};

static const struct control_node *node_of(const struct control_in *in, const char *name)
{
    for (uint32_t i = 0; i < in->node_count; i++)
        if (strcmp(in->nodes[i].place.name, name) == 0)
            return &in->nodes[i];
    return NULL;
}

/* A member whose process seems to run: its node is there under this incarnation. */
static bool lives(const struct control_in *in, const struct fb_member *m)
{
    const struct control_node *n = node_of(in, m->node);
    return n != NULL && n->alive && n->inc == m->inc;
}

/* Sessions of most nodes can end for one reason (the coordinator was away): they are asked directly
 * before anything is moved because of it. */
static bool hold_back(const struct control_in *in)
{
    uint32_t total = 0, vanished = 0;
    for (uint32_t i = 0; i < in->node_count; i++) {
        const struct control_node *n = &in->nodes[i];
        bool lately = !n->alive && n->gone_ns < AT_ONCE_NS;
        total += n->alive || lately;
        vanished += lately && !n->silent;
    }
    return vanished * 2 > total;
}

/* May hold copies: there, or expected back. */
static int usable_index(const struct planner *p, const char *name)
{
    for (uint32_t i = 0; i < p->usable_count; i++)
        if (strcmp(p->usable[i]->place.name, name) == 0)
            return (int)i;
    return -1;
}

/* Takes what is new: there, and not about to stop. */
static bool stays(const struct control_node *n)
{
    return n->alive && !n->leaving;
}

static void add_step(struct planner *p, uint16_t part, const struct fb_record_event *ev)
{
    struct control_step *step = &p->plan->steps[p->plan->count];
    struct fb_err err;

    *step = (struct control_step){.part = part, .kind = ev->kind, .rev = p->map->part_revs[part]};
    /* an event that is not legal is no step: the record is not what the hints made it seem */
    if (fb_record_next(&p->map->parts[part], ev, &step->next, &err) == FB_OK)
        p->plan->count++;
}

static struct fb_record_event event(enum fb_record_event_kind kind, const struct control_node *n)
{
    struct fb_record_event ev = {.kind = kind, .member = {.inc = n->inc}};
    memcpy(ev.member.node, n->place.name, sizeof(ev.member.node));
    return ev;
}

/* An empty partition: the first of its places that is there leads, the others are filled. */
static void first_placement(struct planner *p, uint16_t part)
{
    const uint16_t *place = p->place->node[part];
    uint32_t copies = p->place->count[part], lead = 0;
    struct control_step *step = &p->plan->steps[p->plan->count];
    struct fb_record_event ev;

    while (lead < copies && !stays(p->usable[place[lead]]))
        lead++;
    if (lead == copies)
        return;
    ev = event(FB_REC_ASSIGN, p->usable[place[lead]]);
    ev.min_isr = p->in->replicas > 0 ? 2 : 1;
    add_step(p, part, &ev);
    if (step != &p->plan->steps[p->plan->count - 1])
        return;
    for (uint32_t c = 0; c < copies; c++) {
        struct fb_err err;
        ev = event(FB_REC_LEARNER_ADD, p->usable[place[c]]);
        if (c != lead && fb_record_next(&step->next, &ev, &step->next, &err) != FB_OK)
            fb_assert(false); /* distinct nodes, and no more of them than a record takes */
    }
}

/* The whole set died. Its member with the most leads, alone, once every node of the set has told
 * under a new incarnation what it has, and none is damaged: whatever was committed is in one of
 * them at least as far as the greatest reaches. It has synced all of that before, as it is the only
 * copy from then on. */
static void last_set(struct planner *p, uint16_t part)
{
    const struct fb_part_record *rec = &p->map->parts[part];
    const struct control_report *best = NULL;
    struct fb_record_event ev = {.kind = FB_REC_LAST_SET};

    for (uint32_t i = 0; i < rec->isr_count; i++) {
        const struct control_report *r = NULL;
        for (uint32_t j = 0; j < p->in->report_count; j++) {
            const struct control_report *at = &p->in->reports[j];
            if (at->part == part && strcmp(at->member.node, rec->isr[i].node) == 0 &&
                at->member.inc != rec->isr[i].inc &&
                (lives(p->in, &at->member) || FB_MUTANT(control_old_report)))
                r = at;
        }
        if (r == NULL || r->history != rec->history) {
            if (FB_MUTANT(control_not_all))
                continue;
            p->plan->waiting++;
            return;
        }
        if (r->damaged && !FB_MUTANT(control_damaged)) {
            p->plan->damaged++;
            return;
        }
        if (best == NULL ||
            (FB_MUTANT(control_not_greatest) ? r->last_ver < best->last_ver
                                             : r->last_ver > best->last_ver) ||
            (r->last_ver == best->last_ver && strcmp(r->member.node, rec->primary.node) == 0))
            best = r;
    }
    if (best == NULL || (best->synced_ver < best->last_ver && !FB_MUTANT(control_unsynced))) {
        p->plan->waiting++;
        return;
    }
    ev.member = best->member;
    add_step(p, part, &ev);
}

/* Nodes that hold a copy which counts, now or soon: in the set (not under an incarnation that is
 * over) or being filled. As bits of the placement's indexes. */
static uint64_t copies_of(const struct planner *p, const struct fb_part_record *rec, bool learners)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < rec->isr_count; i++) {
        int at = usable_index(p, rec->isr[i].node);
        if (at >= 0 && (!p->usable[at]->alive || p->usable[at]->inc == rec->isr[i].inc))
            bits |= UINT64_C(1) << at;
    }
    for (uint32_t i = 0; learners && i < rec->learner_count; i++) {
        int at = usable_index(p, rec->learners[i]);
        if (at >= 0)
            bits |= UINT64_C(1) << at;
    }
    return bits;
}

static bool zone_taken(const struct planner *p, uint64_t held, uint32_t at)
{
    const char *zone = p->usable[at]->place.zone;
    for (uint32_t i = 0; i < p->usable_count; i++)
        if ((held >> i & 1) && zone[0] != '\0' && strcmp(p->usable[i]->place.zone, zone) == 0)
            return true;
    return false;
}

/* Where the next copy goes: as placed, in a zone that has none; else the least loaded node of such
 * a zone; else as placed; while a move is under way, which holds one of these places, else any
 * other. -1: nowhere now. */
static int next_place(const struct planner *p, uint16_t part, uint64_t held, bool moving)
{
    const uint16_t *place = p->place->node[part];
    int best = -1;

    for (uint32_t c = 0; c < p->place->count[part]; c++)
        if (!(held >> place[c] & 1) && stays(p->usable[place[c]]) && !zone_taken(p, held, place[c]))
            return place[c];
    for (uint32_t i = 0; i < p->place_count; i++)
        if (!(held >> i & 1) && stays(p->usable[i]) && p->usable[i]->place.zone[0] != '\0' &&
            !zone_taken(p, held, i) && (best < 0 || p->load[i] < p->load[best]))
            best = (int)i;
    for (uint32_t c = 0; best < 0 && c < p->place->count[part]; c++)
        if (!(held >> place[c] & 1) && stays(p->usable[place[c]]))
            best = place[c];
    for (uint32_t i = 0; best < 0 && moving && i < p->place_count; i++)
        if (!(held >> i & 1) && stays(p->usable[i]))
            best = (int)i;
    return best;
}

/* A learner that nobody waits for any more, or one too many; NULL: none. */
static const char *spare_learner(const struct planner *p, const struct fb_part_record *rec,
                                 bool complete)
{
    for (uint32_t i = 0; i < rec->learner_count; i++) {
        if (complete || usable_index(p, rec->learners[i]) < 0)
            return rec->learners[i];
    }
    return NULL;
}

/* A primary that does not do it is led past, as if it was silent; who cannot lead any more is not
 * waited for. */
static bool hand_over_late(struct planner *p, uint16_t part)
{
    const struct fb_part_record *rec = &p->map->parts[part];
    struct fb_record_event ev = {.kind = FB_REC_KEEP};

    if (rec->successor[0] == '\0' || p->in->successor_ns == NULL ||
        p->in->successor_ns[part] < CONTROL_HAND_OVER_NS || FB_MUTANT(control_hand_over_waits))
        return false;
    memcpy(ev.member.node, rec->successor, sizeof(ev.member.node));
    for (uint32_t i = 0; i < rec->isr_count; i++)
        if (strcmp(rec->isr[i].node, rec->successor) == 0 && lives(p->in, &rec->isr[i]))
            ev = (struct fb_record_event){.kind = FB_REC_PROMOTE, .member = rec->isr[i]};
    add_step(p, part, &ev);
    return true;
}

/* A node that is to be emptied leads no longer than until another of the set can. */
static bool hand_over(struct planner *p, uint16_t part)
{
    const struct fb_part_record *rec = &p->map->parts[part];
    const struct control_node *now = node_of(p->in, rec->primary.node);

    if (now == NULL || now->place.weight > 0)
        return false;
    for (uint32_t i = 0; i < rec->isr_count; i++) {
        const struct control_node *n = node_of(p->in, rec->isr[i].node);
        struct fb_record_event ev;
        if (n == NULL || n->place.weight == 0 || n->leaving || !lives(p->in, &rec->isr[i]))
            continue;
        if (rec->successor[0] != '\0') /* it or another is about to */
            return false;
        ev = event(FB_REC_HAND_OVER, n);
        add_step(p, part, &ev);
        return true;
    }
    return false;
}

static void refill(struct planner *p, uint16_t part)
{
    const struct fb_part_record *rec = &p->map->parts[part];
    uint8_t moves = p->in->moves == NULL || FB_MUTANT(control_spare_move) ? 0 : p->in->moves[part];
    uint32_t extra = (moves & CONTROL_EXTRA) != 0;
    uint32_t want = p->place->count[part] + extra;
    uint64_t in_sync = copies_of(p, rec, false), held = copies_of(p, rec, true);
    uint32_t have = (uint32_t)__builtin_popcountll(held);
    bool complete = (uint32_t)__builtin_popcountll(in_sync) >= want;
    const char *spare = spare_learner(p, rec, complete && !moves);
    struct fb_record_event ev;

    if (!lives(p->in, &rec->primary) || hand_over_late(p, part) || hand_over(p, part))
        return; /* the set changes its primary first */
    if (p->in->replicas > 0 && rec->min_isr < 2 && rec->isr_count > 1) {
        /* it was placed when one copy was wanted */
        ev = (struct fb_record_event){.kind = FB_REC_MIN_ISR, .member = rec->primary, .min_isr = 2};
        add_step(p, part, &ev);
        return;
    }
    if (rec->leaving[0] != '\0' && !moves) { /* of a move that is over */
        ev = (struct fb_record_event){.kind = FB_REC_STAY};
        memcpy(ev.member.node, rec->leaving, sizeof(ev.member.node));
        add_step(p, part, &ev);
    } else if (spare != NULL) {
        ev = (struct fb_record_event){.kind = FB_REC_LEARNER_DROP};
        memcpy(ev.member.node, spare, sizeof(ev.member.node));
        add_step(p, part, &ev);
    } else if (have < want) {
        int at = next_place(p, part, held, extra > 0);
        if (at < 0 || FB_MUTANT(control_no_refill))
            return;
        ev = event(FB_REC_LEARNER_ADD, p->usable[at]);
        add_step(p, part, &ev);
        p->load[at]++;
    }
}

/* Somebody has a later epoch or history of it than the coordinator: that was restored from an older
 * time. Its record may name a set that has long been replaced. */
static bool behind(const struct control_in *in, const struct fb_part_record *rec, uint16_t part)
{
    for (uint32_t i = 0; i < in->report_count; i++)
        if (in->reports[i].part == part &&
            (in->reports[i].epoch > rec->epoch || in->reports[i].history > rec->history))
            return true;
    return false;
}

static void partition(struct planner *p, uint16_t part)
{
    const struct fb_part_record *rec = &p->map->parts[part];
    uint32_t running = 0;

    if (behind(p->in, rec, part)) {
        p->plan->refused++;
        return;
    }
    if (rec->epoch == 0) {
        if (p->in->settled && !p->plan->held)
            first_placement(p, part);
        return;
    }
    for (uint32_t i = 0; i < rec->isr_count; i++)
        running += lives(p->in, &rec->isr[i]);
    p->plan->degraded += running < p->in->replicas + 1;
    if (running == 0)
        last_set(p, part);
    else if (!p->plan->held && (p->in->moves == NULL || !(p->in->moves[part] & CONTROL_ACTS)))
        refill(p, part);
}

enum fb_status control_plan(const struct fb_map *map, const struct control_in *in,
                            struct control_plan *plan, struct fb_err *err)
{
    struct planner p = {.map = map, .in = in, .plan = plan};
    struct fb_place_node nodes[FB_NODES_MAX];
    enum fb_status s;

    _Static_assert(FB_NODES_MAX <= 64, "a set of nodes is the bits of one number");
    *plan = (struct control_plan){.steps = plan->steps, .held = hold_back(in)};
    for (uint32_t i = 0; i < in->node_count && p.usable_count < FB_NODES_MAX; i++) {
        const struct control_node *n = &in->nodes[i];
        if (n->place.weight == 0 || n->drains || (!n->alive && n->gone_ns >= in->heal_after_ns))
            continue;
        nodes[p.usable_count] = n->place;
        p.usable[p.usable_count++] = n;
    }
    p.place_count = p.usable_count;
    for (uint32_t i = 0; i < in->node_count && p.usable_count < FB_NODES_MAX; i++) {
        const struct control_node *n = &in->nodes[i];
        if (n->drains && n->place.weight > 0 && (n->alive || n->gone_ns < in->heal_after_ns))
            p.usable[p.usable_count++] = n;
    }
    p.place = fb_try_malloc(sizeof(*p.place));
    if (p.place == NULL)
        return fb_err_set(err, FB_ENOMEM, "no memory to place the partitions; trying again");
    memset(p.place->count, 0,
           sizeof(p.place->count)); /* nowhere to place: sets recover all the same */
    if (p.place_count == 0)
        s = FB_OK;
    else
        s = fb_place(nodes, p.place_count, map->partitions, in->replicas + 1, map->hash_seed,
                     p.place, err);
    for (uint32_t part = 0; s == FB_OK && part < map->partitions; part++) {
        uint64_t held = copies_of(&p, &map->parts[part], true);
        for (; held != 0; held &= held - 1)
            p.load[__builtin_ctzll(held)]++;
    }
    for (uint32_t part = 0; s == FB_OK && part < map->partitions; part++)
        partition(&p, (uint16_t)part);
    free(p.place);
    return s;
}

void control_promote(const struct fb_map *map, const struct control_self *self,
                     struct control_step *steps, uint32_t *count)
{
    *count = 0;
    for (uint32_t part = 0; part < map->partitions; part++) {
        const struct fb_part_record *rec = &map->parts[part];
        struct fb_record_event ev = {.kind = FB_REC_PROMOTE, .member = self->me};
        struct control_step *step = &steps[*count];
        uint64_t rank = 0, silent = self->silent_ns[part];
        struct fb_err err;

        if (rec->epoch == 0 || rec->epoch < self->last_epoch[part] ||
            !fb_part_record_has(rec, &self->me) || fb_member_same(&rec->primary, &self->me))
            continue;
        for (uint32_t i = 0; i < rec->isr_count && rec->isr[i].inc != self->me.inc; i++)
            rank += rec->isr[i].inc != rec->primary.inc;
        if (silent != UINT64_MAX && silent < self->t_primary_ns + rank * self->rank_ns)
            continue;
        ev.drop_old = FB_MUTANT(control_drop_old);
        *step = (struct control_step){
            .part = (uint16_t)part, .kind = ev.kind, .rev = map->part_revs[part]};
        if (fb_record_next(rec, &ev, &step->next, &err) == FB_OK)
            (*count)++;
    }
}
