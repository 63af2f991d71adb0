/* Random clusters for the planner's tests, and what holds for every plan, told by other means than
 * the planner's: records are changed by fb_record_next alone, shares come from bisection. */
#ifndef FB_TESTS_UNIT_CLUSTER_REBALANCE_WORLD_H_
#define FB_TESTS_UNIT_CLUSTER_REBALANCE_WORLD_H_

#include "proto/cluster/rebalance.h"
#include "tests/unit/cmocka.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
    struct fb_map map;
    struct fb_part_record rec[FB_PARTITIONS_MAX];
    uint64_t rev[FB_PARTITIONS_MAX];
    struct fb_plan_size size[FB_PARTITIONS_MAX];
    struct fb_plan_node node[FB_NODES_MAX];
    uint32_t nodes;
    struct fb_rebalance_in in;
};

/* What is random about a cluster. */
struct shape {
    uint32_t nodes, zones, partitions, copies;
    bool weights, states, junk; /* junk: records that no planner made */
};

uint32_t world_random(uint32_t n); /* below n; by world_seed */
void world_seed(uint64_t seed);
void world_make(struct world *w, struct shape s);
void world_copy(struct world *to, const struct world *from);
/* Nodes of the world, balanced by a plan that is carried out. */
void world_balance(struct world *w);
void world_add_node(struct world *w, const char *zone, uint32_t weight);
struct fb_plan *world_plan(struct world *w); /* must succeed */
/* Carries it out and checks every step. Gives how many copies were made. */
uint32_t world_apply(struct world *w, const struct fb_plan *p);
/* The state is what a whole plan promises to end with. */
void world_check_end(const struct world *w, const struct fb_plan *p);
/* Shares by bisection. */
void world_shares(const struct world *w, uint32_t copies, double *share);
uint64_t world_in_sync(const struct world *w, uint32_t part, bool live);
uint64_t world_begun(const struct world *w, uint32_t part);
uint32_t world_zones(const struct world *w, uint64_t set);
bool world_usable(const struct world *w, uint32_t node);
int world_index(const struct world *w, const char *name);

#endif
