/* The reclaim thread: frees retired objects after a grace period, many for one synchronize_rcu.
 * Inside of node/store/. */
#ifndef FB_NODE_STORE_RECLAIM_H_
#define FB_NODE_STORE_RECLAIM_H_

#include "node/store/object.h"

struct reclaim;
struct retired_batch;
/* Stands for the grace periods before ThreadSanitizer (proto/rt/rcu.h). */
extern char store_grace;

FB_MUST_USE enum fb_status reclaim_start(struct reclaim **out, struct fb_err *err);
/* Frees everything pushed, then stops. No reader is left. */
void reclaim_stop(struct reclaim *r);
/* Takes the batch. Waits while the number of retired objects is at its limit. */
void reclaim_push(struct reclaim *r, struct retired_batch *b);
uint64_t reclaim_bytes(const struct reclaim *r);
uint64_t reclaim_count(const struct reclaim *r);

struct retired_batch *retired_batch_new(void);
/* True when it is full now. */
bool retired_batch_add(struct retired_batch *b, struct object *o, size_t bytes);

#endif
