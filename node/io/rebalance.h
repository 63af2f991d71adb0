/* The controller carries out the rebalance that stands in the coordinator: node/control/move.h is
 * fed and obeyed here. Agent's thread. */
#ifndef FB_NODE_IO_REBALANCE_H_
#define FB_NODE_IO_REBALANCE_H_

#include "node/control/controller.h"
#include "node/io/node.h"

struct node_rebalance;

struct node_rebalance *node_rebalance_new(const struct node *n);
void node_rebalance_free(struct node_rebalance *r); /* NULL is allowed */

/* What the moves want of the records: into `steps` (room for all partitions), *count. What they
 * need of the controller: in->moves, valid until the next call. Writes the cursor where it has
 * changed; a failure is tried again by the next call. */
void node_rebalance_act(struct node *n, struct node_rebalance *r, const struct fb_cluster_state *s,
                        struct control_in *in, struct control_step *steps, uint32_t *count);
/* This node does not control, so it tells nothing of a rebalance. */
void node_rebalance_rest(struct node *n, struct node_rebalance *r);

#endif
