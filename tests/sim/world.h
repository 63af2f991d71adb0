/* One world: which processes there are, who strikes them, and what has to hold at the end.
 *
 * The world is made of modules; each looks after its own processes, their faults and their checks.
 * The world calls them in this order and does nothing else:
 *
 *   start     all, in the order of the table in world.c
 *   (storm)   events run for plan.storm_ns; sim_strikes hits
 *   heal      all: bring everything back up that is down (restart, resume, reopen), no new faults
 *   (calm)    events run until every module's `settled` says yes, at most plan.calm_ns: then I36 is
 *             violated, with what `settled` wrote into `why`
 *   finish    all: the final checks, with nothing left running
 *   stop      all, backwards: memory given back
 */
#ifndef FB_TESTS_SIM_WORLD_H_
#define FB_TESTS_SIM_WORLD_H_

#include "proto/cluster/namespace.h"
#include "proto/cluster/schema.h"
#include "tests/sim/kernel.h"
#include "tests/sim/net.h"

struct pg_model;  /* PostgreSQL */
struct node_proc; /* forebay-node */
struct sim_coord; /* the coordinator */
struct ledger;

#define WORLD_PARTITIONS_MAX 16u
#define WORLD_NODES_MAX 4u

struct world {
    struct sim *sim;
    struct sim_wire *wire;
    uint8_t cluster[FB_UUID_BYTES];
    uint32_t partitions;
    /* const after world_new: what the cluster file says. ns[0] is "default"; mapped ones have
     * schemas[i]. */
    struct fb_nsset *namespaces;
    const struct fb_schema *schemas[FB_NAMESPACES_MAX];
    struct pg_model *pg;
    struct node_proc *node[WORLD_NODES_MAX];
    uint32_t nodes, replicas; /* of each partition there are replicas + 1 copies */
    bool wild;                /* clocks run as they like: all reads are confirmed (I29) */
    struct ledger *ledger;    /* what the nodes' logs hold */
    struct sim_coord *coord;
    void *sync, *router, *clients, *rows; /* the modules of these names */
};

#define WORLD_NODE_NAME "n1"         /* with one node; "n2" and so on are the others */
#define WORLD_NODE_ADDRESS "n1:7000" /* where the node listens for routers and sync processes */

struct world_module {
    const char *name;
    void (*start)(struct world *w);
    void (*heal)(struct world *w);
    /* Has everything of this module come right? `why`: what is still missing, for people. */
    bool (*settled)(struct world *w, char *why, size_t n);
    void (*finish)(struct world *w);
    void (*stop)(struct world *w);
};

/* Builds everything, runs the storm and the calm, checks, takes everything down. */
void world_run(struct sim *s);

#endif
