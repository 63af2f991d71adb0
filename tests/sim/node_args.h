/* How a node is configured in a run: its arguments, and what an operator changes while it runs. */
#ifndef FB_TESTS_SIM_NODE_ARGS_H_
#define FB_TESTS_SIM_NODE_ARGS_H_

#include "tests/sim/kernel.h"

struct node;

#define NODE_ARGS_MAX 24u

struct node_options {
    uint64_t threads, segment_kib; /* need a restart */
    uint64_t sync_ms, snapshot_ms, snapshot_kib, slice, memory_kib;
};

struct node_args {
    struct sim *sim;
    const char *name;
    bool small, accept_empty; /* memory, in this run */
    struct node_options said; /* what argv says */
    struct node_options runs; /* what the process works with */
    char text[NODE_ARGS_MAX][96];
    char *argv[NODE_ARGS_MAX + 1];
    int argc;
};

/* Draws all of it. */
void node_args_init(struct node_args *a, struct sim *s, const char *name);
/* argc and argv of a start, which works with all that is said. */
void node_args_start(struct node_args *a, bool accept_empty);
/* The operator changes some of what is said; a process that runs reads it again (SIGHUP), and takes
 * all of it over or nothing. */
void node_args_change(struct node_args *a);
/* Does the process work with what it should? Else a violation. Not while it has yet to read. */
void node_args_check(const struct node_args *a, struct node *n);

#endif
