/* argv -> plan: what has to be done for a command. All syntax and number checks of all commands are
 * here, with Redis's texts and in Redis's order; after a plan was made, only the state of objects
 * can make a command fail. Pure.
 */
#ifndef FB_ROUTER_RESP_TRANSLATE_H_
#define FB_ROUTER_RESP_TRANSLATE_H_

#include "proto/wire/request.h"
#include "router/resp/command.h"

/* Keys of one command (MGET, MSET, DEL ...); more are refused. */
#define RESP_KEYS_MAX 65536u

enum resp_plan_kind {
    RESP_PLAN_OPS,   /* send ops, render their replies by `shape` */
    RESP_PLAN_LOCAL, /* the router answers itself: plan.cmd->id says what, argv is known to have the
                        right count. WATCH has ops too: one FB_OP_VERSION for each key, whose
                        replies the router keeps for EXEC */
    RESP_PLAN_ERROR, /* the error reply is in `out` already */
    RESP_PLAN_CLOSE, /* an HTTP request on the wrong port: close without a word, as Redis does */
};

/* How the replies of a command's operations become one reply. */
enum resp_gather {
    RESP_GATHER_SINGLE,    /* one op */
    RESP_GATHER_SUM,       /* add integers (DEL, UNLINK, EXISTS, TOUCH) */
    RESP_GATHER_ARRAY,     /* one item each, in order; wrong type is nil (MGET) */
    RESP_GATHER_ALL_OK,    /* OK when all are (MSET) */
    RESP_GATHER_NODES_SUM, /* ops[0] goes to every node; add integers (DBSIZE, FLUSHALL) */
    RESP_GATHER_NODES_ANY, /* ops[0] goes to every node; any reply that is not nil (RANDOMKEY) */
    RESP_GATHER_SCAN,  /* ops[0] goes to node number shape.node in the order of names; past the last
                          one no op is sent: resp_render with no replies ends the scan */
    RESP_GATHER_LEAST, /* the smallest integer and the lowest level (WAIT) */
};

/* How a reply (or the gathered one) is presented. */
enum resp_form {
    RESP_FORM_AS_IS,  /* by the type of the reply */
    RESP_FORM_OK_INT, /* ok 1, nil 0 (SETNX) */
    RESP_FORM_OK,     /* whatever number: OK (HMSET, FLUSHALL) */
    RESP_FORM_SIMPLE, /* bulk as a simple string (TYPE) */
    RESP_FORM_TTL_S,  /* absolute ms -> seconds from now */
    RESP_FORM_TTL_MS,
    RESP_FORM_AT_S, /* absolute ms -> Unix seconds */
    RESP_FORM_AT_MS,
    RESP_FORM_HSCAN, /* map -> [0, [field, value, ...]] filtered by shape.match */
    RESP_FORM_SCAN,  /* list -> [cursor, [key, ...]] */
    RESP_FORM_FBGET, /* list -> [value, version, dirty, expiry ms] */
    /* An argument is wrong, but Redis looks at the key first: nil and errors of the node are the
     * reply, else the error reply in shape.match. */
    RESP_FORM_LATE_ERROR,
    RESP_FORM_HSCAN_LATE_ERROR, /* the same where an empty hash is the end of a scan */
    RESP_FORM_AOF,              /* int -> [1 when its level is durable, int] */
};

/* What rendering needs to remember of a command; copied by value into the router's table of
 * requests in flight. */
struct resp_shape {
    uint8_t gather;        /* enum resp_gather */
    uint8_t form;          /* enum resp_form */
    uint16_t node;         /* SCAN: which node */
    uint16_t cmd;          /* enum resp_cmd, for metrics */
    struct fb_bytes match; /* HSCAN with MATCH: a view into argv; a late error: one into `out`. To
                              be copied when it must outlive them; else p is NULL */
};

struct resp_plan {
    enum resp_plan_kind kind;
    const struct resp_command *cmd; /* the subcommand's row where there is one; NULL when unknown */
    struct resp_shape shape;
    struct fb_req
        *ops; /* in the arena; op, flags, a, b, key, nargs, args are set, the rest is zero (part:
                 FB_PART_NONE when node-wide); keys are views into argv, args into the arena */
    uint32_t nops;
    /* ERROR: inside MULTI refused at once, and EXEC aborts, as Redis does with what it cannot look
     * up or that has the wrong number of arguments, and we with what is above a limit. Not so an
     * argument that is wrong in itself: that is the answer when its turn comes in EXEC. */
    bool spoils;
};

/* Memory of plans, kept and reused: all-zero is empty. A plan lives until the next resp_translate
 * with its arena. */
struct resp_arena {
    struct fb_req *ops;
    uint32_t ops_cap;
    struct fb_buf args;
};
void resp_arena_fini(struct resp_arena *a);

/* Make the plan of one command. argc >= 1. `now_ms`: Unix time in ms, for relative expiry.
 * Thread: any, the arena is its caller's. Errors: kind RESP_PLAN_ERROR with the RESP error appended
 * to `out`.
 */
void resp_translate(struct resp_plan *plan, struct resp_arena *arena, struct fb_buf *out,
                    const struct fb_bytes *argv, uint32_t argc, int64_t now_ms);

/* A level as typed in FB.REQUIRE (any case; NONE takes the requirement back). False: not a level.
 */
bool resp_level_parse(struct fb_bytes text, enum fb_level *out);

/* Cursors of SCAN as clients see them: node cursor * FB_NODES_MAX + node number, below 2^53
 * (JavaScript's numbers). */
uint64_t resp_scan_cursor(uint64_t node_cursor, uint32_t node);

#endif
