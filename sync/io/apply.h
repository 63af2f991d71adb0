/* Apply threads: one PostgreSQL connection each, carry out the core's operations one at a time. */
#ifndef FB_SYNC_IO_APPLY_H_
#define FB_SYNC_IO_APPLY_H_

#include "sync/io/process.h"

struct sync_applier;

/* One operation on its way: `state` keeps alive the namespaces and schemas that the operation
 * points to. */
struct sync_job {
    struct fb_mail mail;
    struct sync_op *op;
    struct fb_cluster_state *state;
};

/* Finished jobs go to `done` (applier's thread), which takes them. `i` names the thread. */
typedef void (*sync_applied_fn)(void *arg, struct sync_job *job);
FB_MUST_USE enum fb_status sync_applier_start(struct sync_process *p, uint32_t i,
                                              sync_applied_fn done, void *arg,
                                              struct sync_applier **out, struct fb_err *err);
/* Takes the job. Event thread. */
void sync_applier_run(struct sync_applier *a, struct sync_job *job);
/* No job may be under way. */
void sync_applier_stop(struct sync_applier *a);

#endif
