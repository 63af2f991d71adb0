/* What this node makes of the map, and what it has the coordinator change: the decisions are in
 * node/control, here is what they are fed with and who carries them out. */
#ifndef FB_NODE_IO_CONTROL_H_
#define FB_NODE_IO_CONTROL_H_

#include "node/io/node.h"

#define NODE_PRIMARY_SILENCE_NS UINT64_C(2000000000)

struct lane_copy_event;
struct node_control;

struct node_control *node_control_new(const struct node *n);
void node_control_free(struct node_control *c); /* NULL is allowed */

/* Looks at the map: tells the workers of new records, takes over, promotes, and, where this node
 * is the controller, places, refills, recovers. Agent's thread. */
void node_control_act(struct node *n, struct fb_cluster_state *s);
/* A primary is silent (n->silent_ns): look whether to lead in its place. Any thread. */
void node_control_promote(struct node *n);
/* Room for a step of each partition, and carrying them out. Agent's thread. */
struct control_step;
struct control_step *node_control_steps(struct node *n);
void node_control_commit(struct node *n, const struct control_step *steps, uint32_t count,
                         const char *why);
/* LANE_COPY_CAS events of a lane, others are skipped. Any thread; the events are copied. */
void node_control_change(struct node *n, const struct lane_copy_event *events, uint32_t count);

#endif
