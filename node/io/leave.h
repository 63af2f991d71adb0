/* A node that was told to stop hands over what it leads before it does (node/control/leave.h). */
#ifndef FB_NODE_IO_LEAVE_H_
#define FB_NODE_IO_LEAVE_H_

#include "node/io/node.h"

/* Until others lead what they can, this process is in no set and nobody asks it any more; limit_ms
 * at most, 0: not at all. A second signal to stop ends it at once. Main thread, while everything
 * runs. */
void node_leave(struct node *n, uint64_t limit_ms);
/* When the agent and the workers have ended: until then they may look at it. */
void node_leave_free(struct node *n);

#endif
