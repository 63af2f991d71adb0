/* Partitions of a worker's lane by the coordinator's records: which are opened, closed, kept in
 * several copies. Worker's thread. */
#ifndef FB_NODE_IO_PARTS_H_
#define FB_NODE_IO_PARTS_H_

#include "node/io/worker.h"

/* JOB_RECORD; takes the job. Waits while the clock of the machine may be wrong. */
void parts_record(struct worker *w, struct job *j);
/* Jobs that waited, when they may be carried out now. */
void parts_later(struct worker *w);
/* No thread runs: they are dropped. */
void parts_drop_later(struct worker *w);

/* One line of the log for all partitions of a tick or job: a start opens hundreds. */
struct parts_told {
    struct fb_buf list;
    uint32_t count;
};
void parts_tell(struct parts_told *t, uint16_t part);
void parts_told(struct parts_told *t, const char *text, const struct worker *w); /* and empties */

/* This node leads the partition at `epoch` from now on, or no longer (0). */
void parts_serve(struct worker *w, uint16_t part, uint32_t epoch);

#endif
