/* Replies of nodes -> RESP bytes. Pure. The payloads of replies come from a peer: malformed ones
 * become an error reply. */
#ifndef FB_ROUTER_RESP_RENDER_H_
#define FB_ROUTER_RESP_RENDER_H_

#include "router/resp/translate.h"

struct resp_queued;

struct resp_render_ctx {
    int proto;      /* 2 or 3 */
    int64_t now_ms; /* Unix time, for TTL and PTTL */
    uint32_t nodes; /* SCAN: how many nodes there are now */
    uint32_t pick;  /* RANDOMKEY: any number, chooses among the nodes that have a key */
    /* EXEC: runs a command of the router when its turn comes and appends its reply; gives the
     * protocol that holds from then on (HELLO). NULL: replies are in `ready`. */
    int (*local)(void *arg, const struct resp_queued *q, struct fb_buf *out);
    void *local_arg;
};

/* Append the reply of one command. `reps` are the replies of its ops in their order (of all nodes
 * for NODES_*). With several ops: a reply that says "may or may not have happened" wins, then the
 * first error, then the gathered value; an error beside keys that were changed says INDETERMINATE.
 */
void resp_render(struct fb_buf *out, const struct resp_shape *shape,
                 const struct resp_render_ctx *ctx, const struct fb_rep *reps, size_t n);

/* A command queued by MULTI. */
struct resp_queued {
    struct resp_shape shape;
    uint32_t nops;         /* how many of the TXN's replies are its own */
    bool refused;          /* nops == 0: `ready` has been the reply from the start */
    struct fb_bytes ready; /* nops == 0: the reply itself, or what ctx.local makes it from */
};
/* Reply of EXEC. `txn`: the TXN's reply: REPS -> array, NIL (a watched key changed) -> null array,
 * ERR -> the error. */
void resp_render_exec(struct fb_buf *out, const struct resp_queued *q, size_t n,
                      const struct resp_render_ctx *ctx, const struct fb_rep *txn);

/* The error reply of one FB_REP_ERR: payload as it is, or -INDETERMINATE, or -CLUSTERDOWN when
 * retries ran out. */
void resp_render_err(struct fb_buf *out, const struct fb_rep *rep);

#endif
