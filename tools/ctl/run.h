/* The rebalance in the coordinator as verbs see and change it (proto/cluster/run.h). */
#ifndef FB_TOOLS_CTL_RUN_H_
#define FB_TOOLS_CTL_RUN_H_

#include "proto/cluster/run.h"
#include "tools/ctl/ctl.h"

struct run_view {
    bool there; /* one was ever begun */
    struct fb_run *run;
    struct fb_run_wish wish;
    struct fb_run_cursor cursor;
    struct fb_run_count count;
};

/* Of c->cluster. Message and exit code on failure, 0 = fine; run_view_fini whatever it gives. */
int run_view(struct ctl *c, struct run_view *v);
void run_view_fini(struct run_view *v);
/* "running", "pausing", "paused", "cancelling", "done", "cancelled"; static storage. */
const char *run_state(const struct run_view *v);

/* Puts the plan in the coordinator, to be carried out. `drain`: the new text of control/drain,
 * NULL: as it is. Asks first, unless -y; refuses (5) while one is under way, a plan of another
 * cluster, and one that is out of date. Waits with c->wait. */
int run_begin(struct ctl *c, const struct fb_plan *p, const char *drain, const char *question);
/* Until it is over, or c->timeout_ms: CTL_TIMEOUT. */
int run_wait(struct ctl *c, uint64_t id);

#endif
