/* Inside of the event thread: engine*.c share this. Everything here is the event thread's alone
 * unless said otherwise. */
#ifndef FB_SYNC_IO_ENGINE_STATE_H_
#define FB_SYNC_IO_ENGINE_STATE_H_

#include "sync/io/apply.h"
#include "sync/io/link.h"

#include <jansson.h>

#define WAITERS_MAX 64u
#define OPERATOR_BIT                                                                               \
    (UINT64_C(1) << 63) /* verdict numbers of operators; the core counts from 1                    \
                         */

/* An admin request that waits: for an ack (number != 0) or for feeds to become idle. */
struct waiter {
    struct fb_net_frame *frame;
    uint64_t number, deadline_ms;
    char ns[FB_NAME_BYTES_MAX + 1];
};

struct sync_engine {
    struct sync_process *p;
    struct fb_mailbox *box;
    struct fb_thread *thread;
    _Atomic bool stop;
    /* event thread only */
    struct sync_core *core;
    struct sync_links links;
    struct sync_applier *applier[SYNC_LANES_MAX];
    struct fb_cluster_state *state;
    const struct fb_schema *schemas[FB_NAMESPACES_MAX];
    struct waiter waiters[WAITERS_MAX];
    size_t waiter_count;
    uint64_t conflicts_untold, conflicts_told_ms; /* rows; next line not before */
    char conflicts_ns[FB_NAME_BYTES_MAX + 1];     /* of the last of them */
    uint64_t operators, now_ms, next_status_ms, config_rev;
};

/* engine_admin.c */
json_t *sync_engine_status(const struct sync_engine *g);
void sync_engine_admin(struct sync_engine *g, struct fb_net_frame *f); /* takes the frame */
/* Sends an operator's verdict to the primary; takes the frame, which is answered after the ack. */
void sync_engine_send_operator(struct sync_engine *g, struct fb_verdict *v, struct fb_net_frame *f);
void sync_engine_operator_ack(struct sync_engine *g, const struct fb_verdict_ack *ack);
/* Answers what is done or has waited too long. */
void sync_engine_check_waiters(struct sync_engine *g);

/* engine_log.c */
void sync_engine_tell_conflicts(struct sync_engine *g);
void sync_engine_log(struct sync_engine *g, const struct sync_event *e);

#endif
