/* How much other copies have not written yet, by node: measured by each worker, shown by the admin
 * thread. */
#ifndef FB_NODE_IO_LAG_H_
#define FB_NODE_IO_LAG_H_

#include "node/io/worker.h"

struct worker_lag;

struct worker_lag *worker_lag_new(void);
void worker_lag_free(struct worker_lag *g); /* NULL is allowed */
/* Measures. Worker's thread, with several copies. */
void worker_lag_look(struct worker *w);
/* Samples of replication_lag_bytes, one for each node that any worker has met. Admin thread. */
void node_lag_emit(struct node *n, struct fb_buf *out);

#endif
