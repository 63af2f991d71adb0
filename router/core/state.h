/* What the files of router/core share: the insides of the core. Nobody else includes this.
 *
 * Life of an operation (struct router_op):
 *   FREE -> ON_NODE   its bytes are in a batch of a node (collecting, or handed over as a frame)
 *        -> WAITING   no node could take it, or a node refused it definitely; see retry.c
 *        -> FREE      op_complete: the reply went into its command's slot
 */
#ifndef FB_ROUTER_CORE_STATE_H_
#define FB_ROUTER_CORE_STATE_H_

#include "router/core/core.h"
#include "router/resp/render.h"
#include "router/resp/translate.h"
#include "router/resp/writer.h"

#define OP_NONE UINT32_MAX
#define OP_POOL_MAX (2u * ROUTER_OPS_MAX) /* one command may overshoot the limit once */
#define OP_INDEX_BITS 17u
#define BATCH_BYTES_CLOSE (1u << 20) /* a batch this big leaves without waiting for the window */
#define TXN_BYTES_MAX (16u << 20)    /* of one MULTI */
#define WATCH_KEYS_MAX 1024u

_Static_assert(OP_POOL_MAX == 1u << OP_INDEX_BITS, "a seq holds every index");
_Static_assert(BATCH_BYTES_CLOSE + 2 * RESP_COMMAND_BYTES_MAX + TXN_BYTES_MAX < FB_FRAME_BYTES_MAX,
               "one more operation always fits");

enum op_state { OP_FREE, OP_ON_NODE, OP_WAITING };

struct router_op {
    struct router_session *s;
    struct router_batch *batch; /* holds the encoded bytes at [offset, offset + size) */
    uint32_t offset, size;
    uint32_t slot;       /* number in the session's ring */
    uint32_t index;      /* which of the slot's operations */
    uint32_t next;       /* free list, or the session's waiting list */
    uint32_t timeout_ms; /* more than the usual time-out (FB.SYNC) */
    uint16_t part;
    uint16_t gen; /* part of the seq: replies to an earlier use are told apart */
    uint8_t state;
    uint8_t node;    /* ON_NODE: where */
    uint8_t fixed;   /* node-wide operations: the only node that can answer, else NODE_NONE */
    uint8_t cls;     /* enum fb_op_class */
    uint8_t retries; /* stops at 255 */
    bool waits;      /* FB.SYNC: to wait is what was asked for, never slow */
};

/* Encoded requests. Lives until the last operation in it was answered, since a retry needs the
 * bytes again. */
struct router_batch {
    struct router_batch *next; /* free list */
    struct fb_buf items;
    uint32_t refs;    /* operations, and one while it is collecting */
    uint32_t count;   /* items */
    uint32_t clients; /* that have items in it, one counted again when it comes back later */
    const struct router_session *last; /* whose item was added last; compared only */
    bool sent;                         /* handed over as a frame */
    bool answered;                     /* at least one reply came, or the connection is gone */
    size_t counted;                    /* in router.batch_bytes, from the flush on */
    uint64_t sent_ns;
};

struct router_node {
    char name[FB_NAME_BYTES_MAX + 1]; /* "" = unused */
    char url[FB_ADDRESS_BYTES_MAX + 1];
    bool up;
    uint64_t peer_inc;
    uint64_t frame_id;
    struct router_batch *collecting;
    uint32_t unanswered; /* batches sent of which no reply came yet */
    uint64_t last_sent_ns;
    uint32_t last_count;    /* operations in it */
    uint64_t last_op_ns;    /* when one was last put into `collecting` */
    uint64_t hold_since_ns; /* since when it could have left, 0 = not held */
    uint64_t hold_until_ns; /* valid while held */
    struct fb_buf out;
};

enum slot_kind {
    SLOT_TEXT,    /* reply bytes are in `text` */
    SLOT_OPS,     /* render `reps` by `shape` */
    SLOT_TXN,     /* one TXN: render_exec */
    SLOT_RELAXED, /* EXEC run as a pipeline */
    SLOT_WATCH,   /* versions of watched keys */
};

struct router_slot {
    uint8_t kind, proto;
    bool mute; /* CLIENT REPLY */
    bool last; /* close the connection behind it */
    uint16_t cmd;
    uint32_t nops, pending;
    uint64_t start_ns;
    struct resp_shape shape;
    struct fb_rep rep; /* nops <= 1 */
    struct router_frame *frame;
    struct fb_rep *reps; /* nops > 1 */
    struct router_frame **frames;
    struct fb_buf text; /* TEXT: the reply; OPS: keeps shape.match */
    struct router_txn *txn;
};

struct router_watch {
    int64_t ver;
    bool known;
    uint16_t part;
    uint16_t key_n;
    uint8_t key[FB_KEY_BYTES_MAX];
};

/* MULTI's queue and WATCH's keys. */
struct router_txn {
    struct fb_buf ops; /* list (value.h) of encoded fb_req items */
    uint32_t op_count;
    struct resp_queued *q; /* shape.match and ready are heap copies; nops == 0 and not refused:
                              ready holds argv as a list until EXEC */
    uint32_t qn, qcap;
    size_t bytes;
    uint16_t part;
    uint32_t locals; /* commands of the router in the queue, run when EXEC's reply is written */
    bool has_part, spread; /* spread: keys of several partitions */
    struct router_watch *watches;
    uint32_t watch_n, watch_cap, watch_filled;
};

struct router {
    struct router_config config;
    struct router_stats stats;
    uint64_t now_ns;
    int64_t wall_ms;
    uint64_t rng;

    uint64_t map_rev;
    uint32_t map_gen; /* changes when a primary or epoch did */
    uint32_t partitions, assigned;
    bool relaxed;
    uint32_t epoch[FB_PARTITIONS_MAX];
    uint8_t primary[FB_PARTITIONS_MAX]; /* ROUTER_NODE_NONE */

    bool output_due; /* a batch was closed since router_output_due was asked */
    struct router_node nodes[FB_NODES_MAX];
    uint32_t node_count;
    uint8_t order[FB_NODES_MAX]; /* nodes that are primary of something, by name: SCAN's order */
    uint32_t order_count;

    struct router_op *ops;
    uint32_t ops_cap, ops_free, ops_used;
    struct router_batch *limbo; /* bytes of operations no node could take */
    struct router_batch *batch_free;
    uint32_t batch_free_count;
    uint64_t batch_bytes; /* of batches on their way */

    struct router_session *all, *ready, *retry, *stalled, *resume;
    uint32_t session_count;
    uint32_t active_now, active_before; /* sessions that sent something in this period, the last */
    uint32_t active_period;
    uint64_t active_until_ns; /* end of this period */
    uint64_t timeouts_due_ns;

    struct resp_arena arena;
    struct fb_buf scratch;    /* replies nobody gets */
    struct fb_buf args;       /* error text of a plan; operations of a transaction */
    struct fb_buf *reply_out; /* reply under way outside of a slot, and where it starts */
    size_t reply_at;
    uint16_t reply_cmd;
    uint32_t frame_queue_us, frame_busy_us; /* of the REP frame at hand */
};

/* ops.c */
uint32_t op_new(struct router *r);
void op_free(struct router *r, uint32_t i);
static inline uint32_t op_seq(const struct router *r, uint32_t i)
{
    return i | (uint32_t)r->ops[i].gen << OP_INDEX_BITS;
}
/* NULL: no such operation in flight. */
struct router_op *op_of_seq(struct router *r, uint32_t seq);
struct router_batch *batch_new(struct router *r);
void batch_unref(struct router *r, struct router_batch *b);

/* node.c */
void node_flush(struct router *r, uint32_t node);
/* Where an operation has to go now; ROUTER_NODE_NONE when nobody can take it. */
uint8_t node_for(const struct router *r, const struct router_op *op);
/* Put an encoded copy of `req` into the node's batch, or into limbo when node is NONE. */
void node_enqueue(struct router *r, uint32_t op, struct fb_req *req, uint8_t node);

/* dispatch.c */
/* Number of the new slot at the session's tail. */
uint32_t slot_push(struct router_session *s, enum slot_kind kind, uint16_t cmd, uint32_t nops);
static inline struct router_slot *slot_at(struct router_session *s, uint32_t number)
{
    return &s->ring[number & (s->ring_cap - 1)];
}
void slot_release(struct router_slot *slot);
/* Send one operation of slot `slot`; part and epoch are filled here. `fixed`: the node of a
 * node-wide operation. */
void dispatch_op(struct router_session *s, uint32_t slot, uint32_t index, struct fb_req *req,
                 uint8_t fixed);
void dispatch_plan(struct router_session *s, const struct resp_plan *plan);

/* reply.c */
/* The answer to an operation, of a node or made up here. Frees the operation; may free the session
 * when it is gone. Borrows `rep`; takes a new reference on `frame` when not NULL. */
void op_complete(struct router *r, uint32_t op, const struct fb_rep *rep,
                 struct router_frame *frame);
void op_fail(struct router *r, uint32_t op, enum fb_rep_err code);
/* Write the replies that are complete at the head of the ring. */
void session_drain(struct router_session *s);
void frame_unref(struct router_frame *f);

/* hold.c */
/* The session sent something. */
void hold_count(struct router_session *s);
/* `b` has a fair share of the active clients: whoever comes now goes into the next batch. */
bool hold_share_reached(const struct router *r, const struct router_batch *b);
/* True: the node's batch could leave, but is to wait for more until hold_until_ns at most. */
bool hold_batch(const struct router *r, struct router_node *n);

/* slow.c: the last operation of a slow command is answered, or given up. */
void slow_tell(struct router *r, const struct router_op *op, const struct router_slot *slot,
               const struct fb_rep *rep, bool answered);

/* retry.c */
void retry_add(struct router *r, uint32_t op, enum router_retry_reason why);
void retry_run(struct router *r);
uint64_t retry_deadline(const struct router *r);
/* Something changed (map, connection): try at once. */
void retry_wake(struct router *r);

/* session.c */
bool session_may_take(const struct router_session *s);
void session_mark_ready(struct router_session *s);
/* After an operation ended: let a stalled session go on when it may. */
void session_unstall(struct router_session *s);
void session_resume_stalled(struct router *r);
/* Where the reply of a command that is answered now goes: behind the replies still awaited. */
struct fb_buf *session_reply(struct router_session *s, uint16_t cmd);
void session_end(struct router_session *s); /* close behind the reply written last */
void session_free(struct router_session *s);

/* txn.c */
/* A command inside MULTI; of plan ERROR the reply is in router.args. */
void txn_command(struct router_session *s, const struct resp_plan *plan,
                 const struct fb_bytes *argv, uint32_t argc);
void txn_discard(struct router_session *s);
void txn_free(struct router_txn *t);
void txn_multi(struct router_session *s, struct fb_buf *out);
void txn_exec(struct router_session *s);
void txn_watch(struct router_session *s, const struct resp_plan *plan);
void txn_unwatch(struct router_session *s);
/* Write EXEC's reply from that of the node, running the router's own commands between. */
void txn_exec_done(struct router_session *s, struct router_slot *slot,
                   const struct resp_render_ctx *ctx, struct fb_buf *out);
void txn_watch_done(struct router_session *s, struct router_slot *slot, struct fb_buf *out);

/* local*.c: append the reply of a command the router answers itself. */
void local_run(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
               uint32_t argc, struct fb_buf *out);
void local_hello(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                 struct fb_buf *out);
void local_auth(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                struct fb_buf *out);
void local_client(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
                  uint32_t argc, struct fb_buf *out);
void local_slowlog(struct router_session *s, enum resp_cmd id, const struct fb_bytes *argv,
                   uint32_t argc, struct fb_buf *out);
/* WAIT, WAITAOF: sends operations, for a slot of its own. */
void local_wait(struct router_session *s, const struct resp_plan *plan,
                const struct fb_bytes *argv);
bool local_client_name_valid(struct fb_bytes name);
void local_config_get(struct router_session *s, const struct fb_bytes *argv, uint32_t argc,
                      struct fb_buf *out);
bool bytes_is_nocase(struct fb_bytes a, const char *lower);

static inline uint64_t router_random(struct router *r)
{
    r->rng ^= r->rng << 13; /* xorshift64, Marsaglia 2003 */
    r->rng ^= r->rng >> 7;
    r->rng ^= r->rng << 17;
    return r->rng;
}

#endif
