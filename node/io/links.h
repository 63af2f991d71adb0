/* Connections to the other nodes, as this process keeps them: one to each, dialed by the node whose
 * name is lower. What goes over them is peers.h.
 */
#ifndef FB_NODE_IO_LINKS_H_
#define FB_NODE_IO_LINKS_H_

#include "node/io/node.h"

struct node_links;

struct node_links *node_links_new(void);
void node_links_free(struct node_links *l); /* no connection is left; NULL is allowed */

/* A connection of another node stands. Gives where frames from it are noted (fb_mono_ns), valid as
 * long as the links; NULL: too many nodes. nng's thread. */
_Atomic uint64_t *node_links_opened(struct node *n, struct fb_conn *c, const struct fb_hello *peer);
/* Any connection ended, also one that was never opened. nng's thread. */
void node_links_closed(struct node *n, struct fb_conn *c);
/* Dials who is missing, asks who is there, ends what does not answer. Nothing is done while no
 * partition has or is to have a second copy. Agent's thread, about once a second. */
void node_links_tend(struct node *n, const struct fb_cluster_state *s);
/* Has it said anything lately? A hint. Any thread. */
bool node_links_answers(struct node *n, const char *name);

#endif
