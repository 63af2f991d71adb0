/* The moves of a rebalance (move.h). */
#include "node/control/move.h"

#include "proto/base/mutant.h"

struct look {
    const struct fb_run *run;
    const struct fb_part_record *rec;
    const struct control_in *in;
    struct move_now *out;
};

static const char *name_of(const struct look *l, uint8_t node)
{
    return l->run->node[node];
}

static const struct control_node *hint_of(const struct look *l, const char *name)
{
    for (uint32_t i = 0; i < l->in->node_count; i++)
        if (strcmp(l->in->nodes[i].place.name, name) == 0)
            return &l->in->nodes[i];
    return NULL;
}

static const struct fb_member *member_of(const struct look *l, const char *name)
{
    for (uint32_t i = 0; i < l->rec->isr_count; i++)
        if (strcmp(l->rec->isr[i].node, name) == 0)
            return &l->rec->isr[i];
    return NULL;
}

static bool learns(const struct look *l, const char *name)
{
    for (uint32_t i = 0; i < l->rec->learner_count; i++)
        if (strcmp(l->rec->learners[i], name) == 0)
            return true;
    return false;
}

static bool lives(const struct look *l, const struct fb_member *m)
{
    const struct control_node *n = m == NULL ? NULL : hint_of(l, m->node);

    return n != NULL && n->alive && n->inc == m->inc;
}

/* And is not about to stop: what counts on it may count on it for longer. */
static bool stays(const struct look *l, const struct fb_member *m)
{
    return lives(l, m) && !hint_of(l, m->node)->leaving;
}

static bool given_up(const struct look *l, const char *name)
{
    const struct control_node *n = hint_of(l, name);

    return n == NULL || (!n->alive && n->gone_ns >= MOVE_GIVE_UP_NS);
}

static void waits(const struct look *l, const char *step)
{
    l->out->step = step;
}

static void ends(const struct look *l, enum fb_move_state state)
{
    l->out->state = (char)state;
    l->out->step = fb_move_state_name((char)state);
    l->out->extra = false;
}

static void acts(const struct look *l, enum fb_record_event_kind kind, const char *node,
                 uint64_t inc, const char *step)
{
    l->out->acts = true;
    l->out->event = (struct fb_record_event){.kind = kind, .member = {.inc = inc}};
    memcpy(l->out->event.member.node, node, strnlen(node, FB_NAME_BYTES_MAX));
    l->out->step = step;
}

/* Undoes what it had begun; over when nothing of it is left. */
static void undo(const struct look *l, const char *to, enum fb_move_state state)
{
    if (learns(l, to))
        acts(l, FB_REC_LEARNER_DROP, to, 0, "drops the copy that was being made");
    else
        ends(l, state);
}

/* Of the members of the set but `name` (NULL: all), those that live. */
static uint32_t others(const struct look *l, const char *name)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->rec->isr_count; i++)
        n += (name == NULL || strcmp(l->rec->isr[i].node, name) != 0) && stays(l, &l->rec->isr[i]);
    return n;
}

/* What it was to replace is gone, and as many copies as there are to be exist without it, or are
 * being made: the controller, which looks after copies that are lost, was faster. */
static bool others_suffice(const struct look *l)
{
    uint32_t n = l->rec->isr_count;

    for (uint32_t i = 0; i < l->rec->learner_count; i++) {
        const struct control_node *of = hint_of(l, l->rec->learners[i]);
        n += of != NULL && of->alive && !of->leaving;
    }
    return n >= l->run->copies;
}

/* The new copy is not in the set. */
static void fill(const struct look *l, const struct fb_run_move *m, bool cancel)
{
    const char *to = name_of(l, m->to);
    const struct control_node *n = hint_of(l, to);
    bool source = m->from != FB_PLAN_NO_NODE && member_of(l, name_of(l, m->from)) != NULL;

    if (cancel)
        undo(l, to, FB_MOVE_CANCELLED);
    else if (given_up(l, to))
        undo(l, to, FB_MOVE_NO_NODE);
    else if (learns(l, to))
        waits(l, "the copy is being made");
    else if (member_of(l, to) != NULL)
        waits(l, "the process before it leaves the set");
    else if (!n->alive || n->leaving)
        waits(l, "the node it copies to is down, or stops");
    else if (!source && others(l, NULL) >= l->run->copies)
        ends(l, FB_MOVE_DONE);
    else if (!source && others_suffice(l))
        waits(l, "another node makes the copy");
    else if (l->rec->learner_count >= FB_REPLICAS_MAX || l->rec->isr_count > FB_REPLICAS_MAX)
        waits(l, "the partition has as many copies as it can");
    else
        acts(l, FB_REC_LEARNER_ADD, to, n->inc, "a copy is added");
}

static void promote(const struct look *l, const char *node)
{
    const struct fb_member *m = member_of(l, node);

    if (stays(l, m) && strcmp(l->rec->successor, node) == 0)
        waits(l, "the old primary hands over");
    else if (stays(l, m))
        /* without a primary there is nobody to hold it */
        acts(l,
             lives(l, &l->rec->primary) && !FB_MUTANT(control_no_hold) ? FB_REC_HAND_OVER
                                                                       : FB_REC_PROMOTE,
             node, m->inc, "another copy is to lead");
    else if (given_up(l, node))
        ends(l, FB_MOVE_NO_NODE);
    else if (m == NULL && !learns(l, node))
        ends(l, FB_MOVE_MOOT);
    else
        waits(l, "who is to lead is not in the set");
}

/* The old copy leads, as after a fail-over: the new one shall, or else any. */
static const char *instead(const struct look *l, const struct fb_run_move *m, const char *from)
{
    if (m->to != FB_PLAN_NO_NODE)
        return name_of(l, m->to);
    for (uint32_t i = 0; i < l->rec->isr_count; i++)
        if (strcmp(l->rec->isr[i].node, from) != 0 && stays(l, &l->rec->isr[i]))
            return l->rec->isr[i].node;
    return NULL;
}

static void let_go(const struct look *l, const struct fb_run_move *m)
{
    const char *from = name_of(l, m->from), *next;
    const struct fb_member *old = member_of(l, from);
    /* what is left has to do for level `replicated`, too */
    uint32_t need = l->run->copies > l->rec->min_isr ? l->run->copies : l->rec->min_isr;

    if (old == NULL) {
        if (learns(l, from))
            acts(l, FB_REC_LEARNER_DROP, from, 0, "the old copy is dropped");
        else
            ends(l, FB_MOVE_DONE);
        return;
    }
    if (others(l, from) < need && !FB_MUTANT(control_leave_early)) {
        if (strcmp(l->rec->leaving, from) == 0)
            acts(l, FB_REC_STAY, from, 0, "another copy was lost: the old one stays for now");
        else if (m->to == FB_PLAN_NO_NODE && l->rec->isr_count <= need)
            /* it is not one too many any more; where it was to be emptied it is not */
            ends(l, m->reason == FB_MOVE_SPARE ? FB_MOVE_DONE : FB_MOVE_MOOT);
        else
            waits(l, "the other copies have to be in the set");
        return;
    }
    if (strcmp(l->rec->primary.node, from) == 0) {
        next = instead(l, m, from);
        if (next == NULL)
            waits(l, "no other copy can lead");
        else
            promote(l, next);
    } else if (l->rec->leaving[0] == '\0') {
        acts(l, FB_REC_LEAVE, from, old->inc, "the old copy is to leave");
    } else if (strcmp(l->rec->leaving, from) == 0) {
        waits(l, "the old copy leaves");
    } else { /* of a move that is over */
        acts(l, FB_REC_STAY, l->rec->leaving, 0, "another copy stays");
    }
}

void move_look(const struct fb_run *run, const struct fb_run_move *m,
               const struct fb_part_record *rec, const struct control_in *in, bool cancel,
               struct move_now *out)
{
    const struct look l = {run, rec, in, out};

    *out = (struct move_now){.state = FB_MOVE_BEGUN, .step = ""};
    if (rec->epoch == 0) {
        ends(&l, FB_MOVE_MOOT);
        return;
    }
    out->extra = m->to != FB_PLAN_NO_NODE && m->from != FB_PLAN_NO_NODE &&
                 member_of(&l, name_of(&l, m->from)) != NULL;
    if (m->to != FB_PLAN_NO_NODE && !lives(&l, member_of(&l, name_of(&l, m->to))))
        fill(&l, m, cancel);
    else if (cancel && m->to == FB_PLAN_NO_NODE && rec->leaving[0] == '\0' &&
             rec->successor[0] == '\0')
        ends(&l, FB_MOVE_CANCELLED); /* it has made no copy */
    else if (m->lead != FB_PLAN_NO_NODE && strcmp(rec->primary.node, name_of(&l, m->lead)) != 0)
        promote(&l, name_of(&l, m->lead));
    else if (m->from != FB_PLAN_NO_NODE)
        let_go(&l, m);
    else
        ends(&l, FB_MOVE_DONE);
}

/* --- the run --------------------------------------------------------------------------------- */

static void add_step(const struct moves_in *in, struct moves_out *out, uint16_t part,
                     const struct fb_record_event *ev)
{
    struct control_step *step = &out->steps[out->count];
    struct fb_err err;

    *step = (struct control_step){.part = part, .kind = ev->kind, .rev = in->map->part_revs[part]};
    if (fb_record_next(&in->map->parts[part], ev, &step->next, &err) == FB_OK)
        out->count++;
}

static void go_on(const struct moves_in *in, struct moves_out *out, uint32_t i)
{
    const struct fb_run_move *m = &in->run->move[i];
    struct move_now now;

    move_look(in->run, m, &in->map->parts[m->part], in->control, in->wish->kind == FB_WISH_CANCEL,
              &now);
    out->state[i] = now.state;
    if (now.state == FB_MOVE_BEGUN)
        out->moves[m->part] |= now.extra ? CONTROL_MOVE | CONTROL_EXTRA : CONTROL_MOVE;
    if (now.acts) {
        out->moves[m->part] |= CONTROL_ACTS;
        add_step(in, out, m->part, &now.event);
    }
}

/* The moves of one partition stand together and follow each other. */
static bool may_begin(const struct moves_in *in, const struct moves_out *out, uint32_t i)
{
    for (uint32_t k = i; k > 0 && in->run->move[k - 1].part == in->run->move[i].part; k--)
        if (out->state[k - 1] == FB_MOVE_WAITS || out->state[k - 1] == FB_MOVE_BEGUN)
            return false;
    return true;
}

/* Those that are behind in the plan wait for those before them only as far as the limits say. */
static void begin(const struct moves_in *in, struct moves_out *out)
{
    uint32_t under_way = fb_run_counts(out->state).begun;

    for (uint32_t i = 0; i < in->run->move_count && under_way < in->wish->parallel; i++) {
        uint64_t bytes = in->run->move[i].bytes;
        if (out->state[i] != FB_MOVE_WAITS || !may_begin(in, out, i))
            continue;
        if (in->wish->rate > 0 && out->begin_not_ns > in->now_ns) {
            out->next_ns = out->begin_not_ns;
            return;
        }
        out->state[i] = FB_MOVE_BEGUN;
        under_way++;
        if (in->wish->rate > 0)
            out->begin_not_ns = (out->begin_not_ns > in->now_ns ? out->begin_not_ns : in->now_ns) +
                                (uint64_t)((double)bytes * 1e9 / (double)in->wish->rate);
    }
}

void moves_plan(const struct moves_in *in, struct moves_out *out)
{
    uint32_t count = in->run->move_count;
    struct fb_run_count n;

    out->count = out->remaining = 0;
    out->changed = false;
    out->next_ns = UINT64_MAX;
    out->ended_ms = in->cursor->ended_ms;
    memset(out->moves, 0, in->map->partitions);
    if (in->cursor->id != in->run->id || strlen(in->cursor->state) != count ||
        in->cursor->ended_ms != 0 || in->wish->id != in->run->id)
        return;
    memcpy(out->state, in->cursor->state, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        if (in->run->move[i].part >= in->map->partitions)
            out->state[i] = FB_MOVE_MOOT;
        else if (out->state[i] == FB_MOVE_BEGUN)
            go_on(in, out, i);
        else if (out->state[i] == FB_MOVE_WAITS && in->wish->kind == FB_WISH_CANCEL)
            out->state[i] = FB_MOVE_CANCELLED;
    }
    if (in->wish->kind == FB_WISH_GO)
        begin(in, out);
    n = fb_run_counts(out->state);
    out->remaining = n.waiting + n.begun;
    if (out->remaining == 0)
        out->ended_ms = in->now_ms;
    out->changed = out->remaining == 0 || memcmp(out->state, in->cursor->state, count) != 0;
}
