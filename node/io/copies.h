/* A worker's tick where partitions have several copies (node/core/copies.h). Worker's thread. */
#ifndef FB_NODE_IO_COPIES_H_
#define FB_NODE_IO_COPIES_H_

#include "node/io/worker.h"

/* The beginning of a tick: the clock of leases; from time to time, whose primary is silent. */
void worker_copies_tick(struct worker *w, uint64_t now);
/* After the log write: commits, what comes of them, and what goes to the other nodes. */
void worker_copies_written(struct worker *w);

#endif
