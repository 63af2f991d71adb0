/* What the core counts, as metrics. */
#ifndef FB_SYNC_IO_METRICS_H_
#define FB_SYNC_IO_METRICS_H_

#include "sync/io/process.h"

/* Registers the gauges; once. */
void sync_metrics_register(struct sync_process *p);
/* Brings counters up to date. Event thread. */
void sync_metrics_update(const struct sync_core *core);

/* Rows handed to a node because they changed in PostgreSQL meanwhile. */

#endif
