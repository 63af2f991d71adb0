/* A rebalance that is carried out: what is to be moved, what the operator wishes, how far it is.
 * Three values in the coordinator, each with one writer, so that none has to be written again
 * because of another:
 *
 *   rebalance/run     the moves; written once, by the command that begins it
 *   rebalance/wish    go on, pause, cancel; how fast: the operator's
 *   rebalance/cursor  one letter a move; the controller's, by compare-and-swap
 *
 * All carry the run's id: what is of another run is passed over. What a move that is under way has
 * to do next is not stored, it follows from its partition's record (node/control/move.h). Pure.
 */
#ifndef FB_PROTO_CLUSTER_RUN_H_
#define FB_PROTO_CLUSTER_RUN_H_

#include "proto/cluster/rebalance.h"

#define FB_RUN_KEY "rebalance/run"
#define FB_RUN_WISH_KEY "rebalance/wish"
#define FB_RUN_CURSOR_KEY "rebalance/cursor"
/* etcd takes 1.5 MiB in a request, and a value grows by a third on its way (base64). */
#define FB_RUN_BYTES_MAX ((size_t)1 << 20)
#define FB_RUN_PARALLEL_MAX 64u

struct fb_run_move {
    uint16_t part;
    uint8_t from, to, lead; /* indexes of fb_run.node; FB_PLAN_NO_NODE: no such step */
    uint8_t reason;         /* enum fb_move_reason */
    uint64_t bytes;
};

struct fb_run {
    uint64_t id; /* of one cluster: 1, 2, 3, ... */
    uint8_t cluster[16];
    enum fb_plan_goal goal;
    uint32_t copies; /* of each partition in the end */
    uint32_t node_count, move_count;
    char (*node)[FB_NAME_BYTES_MAX + 1];
    struct fb_run_move *move; /* in the order of the plan */
};

enum fb_run_wish_kind { FB_WISH_GO, FB_WISH_PAUSE, FB_WISH_CANCEL };
const char *fb_run_wish_name(enum fb_run_wish_kind k);

struct fb_run_wish {
    uint64_t id;
    enum fb_run_wish_kind kind;
    uint32_t parallel; /* moves under way at a time */
    uint64_t rate;     /* bytes a second, on average; 0 = as fast as it goes */
};

/* The letters of a cursor. */
enum fb_move_state {
    FB_MOVE_WAITS = '-',
    FB_MOVE_BEGUN = '>',
    FB_MOVE_DONE = '+',
    FB_MOVE_CANCELLED = 'x', /* and undone, as far as it had come */
    FB_MOVE_NO_NODE = 'g',   /* left out: a node it needs is gone */
    FB_MOVE_MOOT = 'm',      /* left out: its partition has become another meanwhile */
};

struct fb_run_cursor {
    uint64_t id, began_ms, ended_ms; /* ended_ms 0: it is under way */
    char *state;                     /* a letter a move, NUL-terminated */
};

struct fb_run_count {
    uint32_t waiting, begun, done, cancelled, left_out;
};

void fb_run_free(struct fb_run *r);
/* The moves of a plan, as run number id. */
void fb_run_encode(struct fb_buf *out, const struct fb_plan *p, uint64_t id);
/* Every field is checked. Caller frees *out with fb_run_free; NULL after an error. FB_EPROTO. */
FB_MUST_USE enum fb_status fb_run_decode(struct fb_bytes in, struct fb_run **out,
                                         struct fb_err *err);
void fb_run_wish_encode(struct fb_buf *out, const struct fb_run_wish *w);
FB_MUST_USE enum fb_status fb_run_wish_decode(struct fb_bytes in, struct fb_run_wish *out,
                                              struct fb_err *err);
void fb_run_cursor_encode(struct fb_buf *out, const struct fb_run_cursor *c);
/* out->state is heap, the caller's; NULL after an error. Errors: FB_EPROTO. */
FB_MUST_USE enum fb_status fb_run_cursor_decode(struct fb_bytes in, struct fb_run_cursor *out,
                                                struct fb_err *err);
struct fb_run_count fb_run_counts(const char *state);
/* In words, for a letter of a cursor. */
const char *fb_move_state_name(char state);

#endif
