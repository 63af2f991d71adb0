/* Inside of a simulated machine with a node: node_proc.c, node_medium.c. */
#ifndef FB_TESTS_SIM_NODE_PROC_IMPL_H_
#define FB_TESTS_SIM_NODE_PROC_IMPL_H_

#include "tests/sim/node_args.h"
#include "tests/sim/node_proc.h"

#define LOSS_LISTENERS_MAX 8u

struct node_proc {
    struct world *w;
    struct sim_proc proc;
    struct sim_clock clock;
    struct node_check *check;
    struct coord_old *coord_old; /* of the only node; NULL: there are several */
    char log_dir[FS_NAME_BYTES];
    struct {
        node_lost_fn fn;
        void *arg;
    } lost[LOSS_LISTENERS_MAX];
    uint32_t lost_n;
    enum node_loss loss;           /* for the next start */
    bool gone;                     /* the directory was taken away since it was last made */
    bool accept_empty;             /* the operator says so */
    bool give_up;                  /* ... when it has stopped */
    bool broken_medium;            /* a bit is turned round: the start must notice */
    bool ever_lied;                /* an fsync lied before the last power loss */
    char lost_file[FS_NAME_BYTES]; /* a segment that went away; "" = none */
    uint32_t lost_node;
    struct fs_node *flipped;
    uint64_t flipped_at;
    unsigned flipped_bit;
    uint32_t refusals;     /* starts in a row that ended with an error */
    uint64_t coord_failed; /* before this start */
    bool restarting;
    uint64_t faults_until_ns;
    struct node_args args;
};

void node_tell_loss(struct node_proc *n, enum node_loss loss);
/* node_medium.c: before the next start the disk may lose more. */
void node_medium_strike(struct node_proc *n);
/* A start ended with an error: was there a reason, and what does the operator do? */
void node_refused(struct node_proc *n);
/* The directory cannot be used: what is not in PostgreSQL is given up. */
void node_give_up_dir(struct node_proc *n, const char *why);

#endif
