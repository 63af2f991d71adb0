/* A planned hand-over at the primary: it holds the partition, lets what is under way be answered,
 * and has the record changed then, so that nobody is told of an unknown outcome (PROTOCOL 9, H3).
 *
 *   open ── the record names a successor ──► held ── all answered, or ANSWER_NS ──► asked
 *    ▲                                        │                                       │
 *    ╰────────── no successor any more ───────┴── PROMOTE_NS without the record ──────┤
 *                                              closed ◄── the record of its epoch ────╯
 *
 * A hold is a hint in all it does: whoever promotes whom without it, or after it was given up, is
 * as right as after a silence.
 */
#include "node/core/copies_impl.h"

#include "proto/base/mutant.h"

#define MS UINT64_C(1000000)
/* Both together are less than a router's retry_timeout. Who waits longer, for PostgreSQL, is told
 * that the outcome is not known. */
#define ANSWER_NS (2000 * MS)
#define PROMOTE_NS (1500 * MS)
#define AGAIN_NS (300 * MS) /* another record should have come by then */

bool copy_held(const struct part *p)
{
    return p->copy != NULL && p->copy->hold.state != HOLD_NONE;
}

/* Is everybody answered who has asked something of the partition? */
static bool answered(const struct lane *l, const struct copy *c)
{
    const struct part *p = c->part;

    if (c->commit.head != NULL || c->durable.head != NULL || c->reads.head != NULL)
        return false;
    for (uint32_t i = 0; i < p->feed_cap; i++)
        if (p->feeds[i] != NULL && p->feeds[i]->waits.head != NULL)
            return false;
    return !loads_awaited(l, p->id);
}

static void hold(struct lane *l, struct copy *c)
{
    uint64_t now = l->copies->boot_ns;

    c->hold =
        (struct copy_hold){.state = HOLD_ANSWERS, .since_ns = now, .until_ns = now + ANSWER_NS};
    copy_event(l, &(struct lane_copy_event){
                      .part = c->part->id, .kind = LANE_COPY_HELD, .epoch = c->part->epoch});
}

uint64_t copy_hold_end(struct lane *l, struct copy *c)
{
    uint64_t ns = c->hold.state == HOLD_NONE ? 0 : l->copies->boot_ns - c->hold.since_ns;

    c->hold = (struct copy_hold){.given_up_rev = c->hold.given_up_rev};
    return ns;
}

static void release(struct lane *l, struct copy *c)
{
    if (FB_MUTANT(copy_hold_kept))
        return;
    copy_event(l, &(struct lane_copy_event){.part = c->part->id,
                                            .kind = LANE_COPY_RELEASED,
                                            .epoch = c->part->epoch,
                                            .held_ns = copy_hold_end(l, c)});
}

static void promote(struct lane *l, struct copy *c, const struct fb_member *successor)
{
    uint64_t now = l->copies->boot_ns, rev = replica_rev(c->r);

    /* a change of the set that is open ends first: it compares the same revision */
    if (replica_changing(c->r) || (c->hold.asked_rev == rev && now - c->hold.asked_ns < AGAIN_NS))
        return;
    copy_event(l,
               &(struct lane_copy_event){.part = c->part->id,
                                         .kind = LANE_COPY_CAS,
                                         .epoch = c->part->epoch,
                                         .rev = rev,
                                         .change = {.kind = FB_REC_PROMOTE, .member = *successor}});
    c->hold.asked_rev = rev;
    c->hold.asked_ns = now;
}

void copy_hold(struct lane *l, struct copy *c)
{
    uint64_t now = l->copies->boot_ns, rev = replica_rev(c->r);
    struct copy_hold *h = &c->hold;
    struct fb_member successor;
    bool wanted = c->part->open && replica_successor(c->r, now, &successor);

    if (h->state == HOLD_NONE && wanted && h->given_up_rev != rev)
        hold(l, c);
    if (h->state == HOLD_NONE)
        return;
    if (!wanted) {
        release(l, c);
    } else if (h->state == HOLD_PROMOTES && now >= h->until_ns) {
        h->given_up_rev = rev;
        release(l, c);
    } else if (h->state == HOLD_PROMOTES || now >= h->until_ns || answered(l, c) ||
               FB_MUTANT(copy_hold_short)) {
        if (h->state == HOLD_ANSWERS)
            h->until_ns = now + PROMOTE_NS;
        h->state = HOLD_PROMOTES;
        promote(l, c, &successor);
    }
}
