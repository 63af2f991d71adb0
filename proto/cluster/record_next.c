/* The transitions of a partition's record. Everything that changes a record anywhere goes through
 * here. */
#include "proto/cluster/record_next.h"

#include "proto/base/mutant.h"

#include <stdio.h>

#define EPOCH_MAX ((UINT32_C(1) << 23) - 1) /* the epoch's bits in a version (wire/version.h) */
#define MEMBERS_MAX (FB_REPLICAS_MAX + 1)

bool fb_member_same(const struct fb_member *a, const struct fb_member *b)
{
    return a->inc == b->inc && strcmp(a->node, b->node) == 0;
}

bool fb_part_record_has(const struct fb_part_record *r, const struct fb_member *m)
{
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (fb_member_same(&r->isr[i], m))
            return true;
    return false;
}

static bool isr_has_node(const struct fb_part_record *r, const char *node)
{
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (strcmp(r->isr[i].node, node) == 0)
            return true;
    return false;
}

static bool has_learner(const struct fb_part_record *r, const char *node)
{
    for (uint32_t i = 0; i < r->learner_count; i++)
        if (strcmp(r->learners[i], node) == 0)
            return true;
    return false;
}

static void drop_member(struct fb_part_record *r, const struct fb_member *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (!fb_member_same(&r->isr[i], m))
            r->isr[n++] = r->isr[i];
    for (uint32_t i = n; i < r->isr_count; i++)
        r->isr[i] = (struct fb_member){0};
    r->isr_count = n;
}

static void drop_learner(struct fb_part_record *r, const char *node)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->learner_count; i++) {
        if (strcmp(r->learners[i], node) == 0)
            continue;
        if (n != i)
            memcpy(r->learners[n], r->learners[i], sizeof(r->learners[n]));
        n++;
    }
    for (uint32_t i = n; i < r->learner_count; i++)
        memset(r->learners[i], 0, sizeof(r->learners[i]));
    r->learner_count = n;
}

/* The member becomes the whole set and leads. */
static void reduce_to(struct fb_part_record *r, const struct fb_member *m)
{
    memset(r->isr, 0, sizeof(r->isr));
    r->isr[0] = *m;
    r->isr_count = 1;
    r->primary = *m;
    drop_learner(r, m->node);
}

static bool name_ends(const char *name)
{
    return name[0] != '\0' && memchr(name, '\0', FB_NAME_BYTES_MAX + 1) != NULL;
}

static enum fb_status refuse(struct fb_err *err, const char *what, const struct fb_member *m)
{
    return fb_err_set(err, FB_EREFUSED, "%s: %.63s/%016llx", what, m->node,
                      (unsigned long long)m->inc);
}

static enum fb_status next_epoch(struct fb_part_record *r, struct fb_err *err)
{
    if (r->epoch >= EPOCH_MAX)
        return fb_err_set(err, FB_EREFUSED, "the partition has used up its %u epochs", EPOCH_MAX);
    r->epoch += r->epoch == 0 || !FB_MUTANT(control_epoch_kept);
    return FB_OK;
}

static enum fb_status assign(struct fb_part_record *r, const struct fb_record_event *ev,
                             struct fb_err *err)
{
    if (r->epoch != 0 || r->isr_count != 0)
        return refuse(err, "the partition is assigned already, it cannot be assigned anew to",
                      &ev->member);
    if (ev->min_isr < 1 || ev->min_isr > MEMBERS_MAX)
        return fb_err_set(err, FB_EREFUSED, "min_isr %u is out of range, 1 to %u are allowed",
                          ev->min_isr, MEMBERS_MAX);
    r->min_isr = ev->min_isr;
    reduce_to(r, &ev->member);
    return next_epoch(r, err);
}

static enum fb_status promote(struct fb_part_record *r, const struct fb_record_event *ev,
                              struct fb_err *err)
{
    struct fb_member old = r->primary;
    if (!fb_part_record_has(r, &ev->member))
        return refuse(err, "only a member of the in-sync set can be promoted, this is none",
                      &ev->member);
    if (ev->drop_old && fb_member_same(&old, &ev->member))
        return refuse(err, "a promoted member cannot be dropped at once", &ev->member);
    r->primary = ev->member;
    if (ev->drop_old)
        drop_member(r, &old);
    return next_epoch(r, err);
}

static enum fb_status shrink(struct fb_part_record *r, const struct fb_record_event *ev,
                             struct fb_err *err)
{
    if (!fb_part_record_has(r, &ev->member))
        return refuse(err, "not in the in-sync set", &ev->member);
    if (fb_member_same(&r->primary, &ev->member))
        return refuse(err, "the primary cannot remove itself", &ev->member);
    drop_member(r, &ev->member);
    return FB_OK;
}

static enum fb_status expand(struct fb_part_record *r, const struct fb_record_event *ev,
                             struct fb_err *err)
{
    if (!has_learner(r, ev->member.node))
        return refuse(err, "only a learner can join the in-sync set, this is none", &ev->member);
    if (isr_has_node(r, ev->member.node))
        return refuse(err, "an incarnation of the node is in the in-sync set; remove it first",
                      &ev->member);
    if (r->isr_count == MEMBERS_MAX)
        return refuse(err, "the in-sync set is full", &ev->member);
    drop_learner(r, ev->member.node);
    r->isr[r->isr_count++] = ev->member;
    return FB_OK;
}

static enum fb_status learner_add(struct fb_part_record *r, const struct fb_record_event *ev,
                                  struct fb_err *err)
{
    if (has_learner(r, ev->member.node))
        return refuse(err, "a learner already", &ev->member);
    if (fb_part_record_has(r, &ev->member))
        return refuse(err, "in the in-sync set already", &ev->member);
    if (r->learner_count == FB_REPLICAS_MAX)
        return refuse(err, "the partition has as many learners as it can", &ev->member);
    memcpy(r->learners[r->learner_count++], ev->member.node, sizeof(ev->member.node));
    return FB_OK;
}

static enum fb_status learner_drop(struct fb_part_record *r, const struct fb_record_event *ev,
                                   struct fb_err *err)
{
    if (!has_learner(r, ev->member.node))
        return refuse(err, "not a learner", &ev->member);
    drop_learner(r, ev->member.node);
    return FB_OK;
}

static enum fb_status last_set(struct fb_part_record *r, const struct fb_record_event *ev,
                               struct fb_err *err)
{
    if (!isr_has_node(r, ev->member.node))
        return refuse(err,
                      "only a node of the recorded in-sync set can lead after all of it restarted, "
                      "this is none",
                      &ev->member);
    reduce_to(r, &ev->member);
    return next_epoch(r, err);
}

static enum fb_status force(struct fb_part_record *r, const struct fb_record_event *ev,
                            struct fb_err *err)
{
    enum fb_status st = next_epoch(r, err);
    if (st != FB_OK)
        return st;
    r->history = r->epoch;
    if (r->min_isr == 0)
        r->min_isr = 1;
    reduce_to(r, &ev->member);
    return FB_OK;
}

static enum fb_status leave(struct fb_part_record *r, const struct fb_record_event *ev,
                            struct fb_err *err)
{
    if (!fb_part_record_has(r, &ev->member))
        return refuse(err, "not in the in-sync set", &ev->member);
    if (fb_member_same(&r->primary, &ev->member))
        return refuse(err, "the primary cannot leave; let another lead first", &ev->member);
    if (r->leaving[0] != '\0')
        return refuse(err, "another member is to leave already, or this one", &ev->member);
    memcpy(r->leaving, ev->member.node, sizeof(r->leaving));
    if (strcmp(r->successor, r->leaving) == 0) /* an earlier wish */
        memset(r->successor, 0, sizeof(r->successor));
    return FB_OK;
}

static enum fb_status hand_over(struct fb_part_record *r, const struct fb_record_event *ev,
                                struct fb_err *err)
{
    if (!fb_part_record_has(r, &ev->member))
        return refuse(err, "only a member of the in-sync set can be let lead, this is none",
                      &ev->member);
    if (fb_member_same(&r->primary, &ev->member))
        return refuse(err, "it leads already", &ev->member);
    memcpy(r->successor, ev->member.node, sizeof(r->successor));
    if (strcmp(r->leaving, r->successor) == 0) /* an earlier wish */
        memset(r->leaving, 0, sizeof(r->leaving));
    return FB_OK;
}

/* What was wished of a member is called off. */
static enum fb_status call_off(char wish[FB_NAME_BYTES_MAX + 1], const struct fb_record_event *ev,
                               const char *not_wished, struct fb_err *err)
{
    if (strcmp(wish, ev->member.node) != 0)
        return refuse(err, not_wished, &ev->member);
    memset(wish, 0, FB_NAME_BYTES_MAX + 1);
    return FB_OK;
}

/* Who is to leave is forgotten when it has left, and when it leads: then there was need of it. Who
 * is to lead, when it has left, and when the epoch that was to end has. */
static void settle_wishes(struct fb_part_record *r, uint32_t old_epoch)
{
    if (r->successor[0] != '\0' && (!isr_has_node(r, r->successor) || r->epoch != old_epoch))
        memset(r->successor, 0, sizeof(r->successor));
    if (r->leaving[0] != '\0' &&
        (!isr_has_node(r, r->leaving) || strcmp(r->primary.node, r->leaving) == 0))
        memset(r->leaving, 0, sizeof(r->leaving));
}

/* Never more than are there, or what is under way at the primary reaches no level at once. */
static enum fb_status set_min_isr(struct fb_part_record *r, const struct fb_record_event *ev,
                                  struct fb_err *err)
{
    if (!fb_member_same(&r->primary, &ev->member))
        return refuse(err, "min_isr is asked for in the name of another primary", &ev->member);
    if (ev->min_isr < 1 || ev->min_isr > r->isr_count)
        return fb_err_set(err, FB_EREFUSED, "min_isr %u is out of range, 1 to %u are in sync",
                          ev->min_isr, r->isr_count);
    r->min_isr = ev->min_isr;
    return FB_OK;
}

const char *fb_part_record_broken(const struct fb_part_record *r)
{
    if (r->epoch > EPOCH_MAX || r->history > r->epoch)
        return "epoch or history out of range";
    if (r->isr_count > MEMBERS_MAX || r->learner_count > FB_REPLICAS_MAX)
        return "too many members";
    if (r->epoch == 0)
        return r->isr_count == 0 && r->primary.node[0] == '\0' && r->primary.inc == 0 &&
                       r->leaving[0] == '\0' && r->successor[0] == '\0'
                   ? NULL
                   : "members without an epoch";
    if (r->min_isr < 1 || r->min_isr > MEMBERS_MAX)
        return "min_isr out of range";
    if (!fb_part_record_has(r, &r->primary))
        return "the primary is not in the in-sync set";
    for (uint32_t i = 0; i < r->isr_count; i++) {
        if (!name_ends(r->isr[i].node) || r->isr[i].inc == 0)
            return "a member of the in-sync set has no name or incarnation";
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(r->isr[i].node, r->isr[j].node) == 0)
                return "a node is in the in-sync set twice";
    }
    for (uint32_t i = 0; i < r->learner_count; i++) {
        if (!name_ends(r->learners[i]))
            return "a learner has no name";
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(r->learners[i], r->learners[j]) == 0)
                return "a node is a learner twice";
    }
    if (memchr(r->leaving, '\0', sizeof(r->leaving)) == NULL)
        return "the name of the member that leaves has no end";
    if (r->leaving[0] != '\0' &&
        (!isr_has_node(r, r->leaving) || strcmp(r->primary.node, r->leaving) == 0))
        return "who leaves is not in the in-sync set, or leads";
    if (memchr(r->successor, '\0', sizeof(r->successor)) == NULL)
        return "the name of the member that is to lead has no end";
    if (r->successor[0] != '\0' &&
        (!isr_has_node(r, r->successor) || strcmp(r->primary.node, r->successor) == 0 ||
         strcmp(r->leaving, r->successor) == 0))
        return "who is to lead is not in the in-sync set, leads or leaves";
    return NULL;
}

enum fb_status fb_record_next(const struct fb_part_record *old, const struct fb_record_event *ev,
                              struct fb_part_record *next, struct fb_err *err)
{
    struct fb_part_record r = *old;
    const char *wrong = fb_part_record_broken(old);
    bool by_name = ev->kind == FB_REC_LEARNER_ADD || ev->kind == FB_REC_LEARNER_DROP ||
                   ev->kind == FB_REC_STAY || ev->kind == FB_REC_KEEP;
    enum fb_status st = FB_EREFUSED;

    if (wrong != NULL)
        return fb_err_set(err, FB_EREFUSED, "the present record is broken: %s", wrong);
    if (!name_ends(ev->member.node) || (ev->member.inc == 0 && !by_name))
        return fb_err_set(err, FB_EREFUSED, "the event names no node and incarnation");
    if (old->epoch == 0 && ev->kind != FB_REC_ASSIGN && ev->kind != FB_REC_FORCE)
        return fb_err_set(err, FB_EREFUSED, "the partition was never assigned");
    switch (ev->kind) {
    case FB_REC_ASSIGN:
        st = assign(&r, ev, err);
        break;
    case FB_REC_PROMOTE:
        st = promote(&r, ev, err);
        break;
    case FB_REC_SHRINK:
        st = shrink(&r, ev, err);
        break;
    case FB_REC_EXPAND:
        st = expand(&r, ev, err);
        break;
    case FB_REC_LEARNER_ADD:
        st = learner_add(&r, ev, err);
        break;
    case FB_REC_LEARNER_DROP:
        st = learner_drop(&r, ev, err);
        break;
    case FB_REC_LAST_SET:
        st = last_set(&r, ev, err);
        break;
    case FB_REC_FORCE:
        st = force(&r, ev, err);
        break;
    case FB_REC_MIN_ISR:
        st = set_min_isr(&r, ev, err);
        break;
    case FB_REC_LEAVE:
        st = leave(&r, ev, err);
        break;
    case FB_REC_STAY:
        st = call_off(r.leaving, ev, "it is not to leave", err);
        break;
    case FB_REC_HAND_OVER:
        st = hand_over(&r, ev, err);
        break;
    case FB_REC_KEEP:
        st = call_off(r.successor, ev, "it is not to lead", err);
        break;
    default:
        st = fb_err_set(err, FB_EREFUSED, "unknown event %d", (int)ev->kind);
        break;
    }
    if (st != FB_OK)
        return st;
    settle_wishes(&r, old->epoch);
    fb_assert(fb_part_record_broken(&r) == NULL);
    fb_assert(r.epoch >= old->epoch && r.history >= old->history);
    *next = r;
    return FB_OK;
}
