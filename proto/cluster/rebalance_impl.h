/* The planner's state. Private to rebalance*.c. */
#ifndef FB_PROTO_CLUSTER_REBALANCE_IMPL_H_
#define FB_PROTO_CLUSTER_REBALANCE_IMPL_H_

#include "proto/cluster/rebalance.h"

#define FB_PLAN_WEIGHT_MAX 1000000u

_Static_assert(FB_NODES_MAX <= 64, "a set of nodes is the bits of one number");
_Static_assert(FB_NODES_MAX < FB_PLAN_NO_NODE, "a node's index is a byte");

/* Sets of nodes are bits by index. */
struct plan_part {
    uint64_t held;         /* in the set, on nodes that run */
    uint64_t gone;         /* in the set, on nodes that are gone */
    uint64_t begun;        /* learners */
    uint64_t want;         /* where copies are in the end */
    uint8_t primary, lead; /* now, in the end */
    bool lost;
    struct fb_plan_size size;
};

struct planner {
    const struct fb_rebalance_in *in;
    struct fb_plan *plan;
    struct plan_part *part;
    uint64_t usable, gone;
    uint64_t zone[FB_NODES_MAX];   /* nodes of the same zone */
    uint32_t weight[FB_NODES_MAX]; /* 0: not usable */
    uint32_t copies, zones;        /* of each partition in the end */
    uint8_t to;                    /* REPLACE */
};

static inline uint64_t plan_bit(uint32_t n)
{
    return UINT64_C(1) << n;
}

/* How many zones a set of nodes is in. */
uint32_t plan_zones(const struct planner *pl, uint64_t set);

/* rebalance_moves.c: plan->move from what the parts hold and want, and what nodes hold before and
 * after. */
FB_MUST_USE enum fb_status plan_make_moves(struct planner *pl, struct fb_err *err);

#endif
