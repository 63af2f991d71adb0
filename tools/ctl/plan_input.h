/* What the planner is asked: the nodes as they are and as the flags suppose them, and how much the
 * partitions hold. */
#ifndef FB_TOOLS_CTL_PLAN_INPUT_H_
#define FB_TOOLS_CTL_PLAN_INPUT_H_

#include "proto/cluster/rebalance.h"
#include "tools/ctl/ctl.h"

struct plan_input {
    struct fb_rebalance_in in;
    struct fb_plan_node node[FB_NODES_MAX];
    struct fb_plan_size size[FB_PARTITIONS_MAX];
    uint32_t unasked; /* partitions whose size nobody told */
};

/* After ctl_open. Message and exit code on failure, 0 = fine. */
int plan_input_fill(struct ctl *c, struct plan_input *p);
/* The plan for it; caller frees *out. Message and exit code where there is no sensible one. */
int plan_make(const struct plan_input *p, struct fb_plan **out);

#endif
