/* Requests of routers to nodes and their replies: flat items in the tail of REQ and REP frames.
 *
 * Every operation but TXN and the node-wide ones names one key. Commands over several keys are
 * split by the router.
 */
#ifndef FB_PROTO_WIRE_REQUEST_H_
#define FB_PROTO_WIRE_REQUEST_H_

#include "proto/wire/value.h"

enum fb_op_class {
    FB_OP_READ,  /* may be served from the published state by any thread */
    FB_OP_WRITE, /* partition writer */
    FB_OP_NODE,  /* about everything resident on the node; part is FB_PART_NONE, no key */
};
#define FB_PART_NONE UINT16_C(0xffff)

/* name, number, class. The comment says what a, b, flags and args mean and what the reply is. Times
 * are absolute, ms since the Unix epoch. nil, ok, int, bulk, list, map, err: enum fb_rep_type.
 */
/* clang-format off */
#define FB_OP_LIST(X)                                                                              \
    X(FB_OP_GET, 1, READ)           /* -> bulk | nil */                                            \
    X(FB_OP_EXISTS, 2, READ)        /* -> int 0/1 (also TOUCH) */                                  \
    X(FB_OP_TYPE, 3, READ)          /* -> bulk "string" | "hash" | "none" */                       \
    X(FB_OP_STRLEN, 4, READ)        /* -> int */                                                   \
    X(FB_OP_GETRANGE, 5, READ)      /* a start, b end as in Redis -> bulk */                       \
    X(FB_OP_EXPIRETIME, 6, READ)    /* -> int: -2 no key, -1 no expiry, else absolute ms */        \
    X(FB_OP_FBGET, 7, READ)         /* -> list [value, ver, dirty 0/1, expiry ms or -1, kind] */   \
    X(FB_OP_VERSION, 8, READ)       /* for WATCH -> int: ver of the object; below 0 when absent,                       \
                                       another number once the key was there in between */         \
    X(FB_OP_HGET, 20, READ)         /* arg0 field -> bulk | nil */                                 \
    X(FB_OP_HMGET, 21, READ)        /* args fields -> list */                                      \
    X(FB_OP_HGETALL, 22, READ)      /* -> map (list of field, value, ...) */                       \
    X(FB_OP_HKEYS, 23, READ)        /* -> list */                                                  \
    X(FB_OP_HVALS, 24, READ)        /* -> list */                                                  \
    X(FB_OP_HLEN, 25, READ)         /* -> int */                                                   \
    X(FB_OP_HEXISTS, 26, READ)      /* arg0 -> int 0/1 */                                          \
    X(FB_OP_HSTRLEN, 27, READ)      /* arg0 -> int */                                              \
    X(FB_OP_SET, 40, WRITE)         /* arg0 value, b expiry ms or 0; flags NX XX GET KEEPTTL -> ok | nil | (GET) old */ \
    X(FB_OP_GETDEL, 41, WRITE)      /* -> bulk | nil */                                            \
    X(FB_OP_GETEX, 42, WRITE)       /* b expiry ms; flag PERSIST; neither = plain get -> bulk | nil */ \
    X(FB_OP_APPEND, 43, WRITE)      /* arg0 -> int length */                                       \
    X(FB_OP_SETRANGE, 44, WRITE)    /* a offset, arg0 -> int length */                             \
    X(FB_OP_INCRBY, 45, WRITE)      /* a delta -> int */                                           \
    X(FB_OP_INCRBYFLOAT, 46, WRITE) /* arg0 decimal text -> bulk */                                \
    X(FB_OP_SETIF, 47, WRITE)       /* a ver expected (0 absent), arg0 value, b expiry ms or 0 -> int new ver | nil */ \
    X(FB_OP_HSET, 60, WRITE)        /* args field value ...; flag NX (HSETNX) -> int fields added */ \
    X(FB_OP_HDEL, 61, WRITE)        /* args fields -> int removed */                               \
    X(FB_OP_HINCRBY, 62, WRITE)     /* a delta, arg0 field -> int */                               \
    X(FB_OP_HINCRBYFLOAT, 63, WRITE) /* arg0 field, arg1 decimal text -> bulk */                   \
    X(FB_OP_DEL, 80, WRITE)         /* -> int 0/1 */                                               \
    X(FB_OP_EXPIREAT, 81, WRITE)    /* b absolute ms; flags NX XX GT LT -> int 0/1 */              \
    X(FB_OP_PERSIST, 82, WRITE)     /* -> int 0/1 */                                               \
    X(FB_OP_EVICT, 83, WRITE)       /* FB.EVICT: drop a clean copy -> int 0/1 */                   \
    X(FB_OP_SYNC, 84, WRITE)        /* FB.SYNC: due now, answered when in PostgreSQL; a time-out ms -> int | nil */ \
    X(FB_OP_COPIES, 85, WRITE)      /* no key, about a partition: answered when a other copies have all that was written   \
                                       there before, or after b ms (0: never); flags DISK HERE -> int copies, level        \
                                       DURABLE when this node has it on disk. Changes nothing */   \
    X(FB_OP_TXN, 90, WRITE)         /* args: encoded fb_req items; a = number of leading FB_OP_VERSION items whose     \
                                       field a must equal the present ver, else nil. All in one partition, one GROUP.  \
                                       -> reps (encoded fb_rep items of the others) */             \
    X(FB_OP_SCAN, 100, NODE)        /* a cursor (0 start), b count, arg0 glob or empty, arg1 type name or empty        \
                                       -> list [next cursor decimal, key, key ...] */              \
    X(FB_OP_DBSIZE, 101, NODE)      /* -> int resident objects */                                  \
    X(FB_OP_RANDOMKEY, 102, NODE)   /* -> bulk | nil */                                            \
    X(FB_OP_FLUSHALL, 103, NODE)    /* drop clean copies -> int dropped */
/* clang-format on */

enum fb_op {
#define X(name, number, cls) name = number,
    FB_OP_LIST(X)
#undef X
};

enum fb_req_flag {
    FB_REQ_NX = 1 << 0,
    FB_REQ_XX = 1 << 1,
    FB_REQ_GET = 1 << 2,
    FB_REQ_KEEPTTL = 1 << 3,
    FB_REQ_PERSIST = 1 << 4,
    FB_REQ_GT = 1 << 5,
    FB_REQ_LT = 1 << 6,
    /* The same client has a write to this partition in flight: a read must go through the writer to
       see it. */
    FB_REQ_ORDERED = 1 << 7,
    FB_REQ_DISK = 1 << 9,  /* COPIES: those who have it on disk */
    FB_REQ_HERE = 1 << 10, /* COPIES: it is to be on this node's disk, too */
    FB_REQ_IDLE = 1 << 8,  /* do not count as a use for eviction (CLIENT NO-TOUCH) */
};

/* Level wanted in a request (the namespace's default when NONE) and reached in a reply. */
enum fb_level {
    FB_LEVEL_NONE = 0,
    FB_LEVEL_LOCAL = 1,
    FB_LEVEL_REPLICATED = 2,
    FB_LEVEL_DURABLE = 3,
    FB_LEVEL_DATABASE = 4
};

struct fb_req {
    uint32_t seq;   /* router's, unique among those in flight on the connection; echoed */
    uint16_t op;    /* enum fb_op */
    uint16_t flags; /* enum fb_req_flag */
    uint8_t level;  /* enum fb_level */
    uint16_t part;
    uint32_t epoch; /* of the partition as the router knows it; NOT_PRIMARY when it differs */
    int64_t a;
    int64_t b;
    struct fb_bytes key;
    uint32_t nargs;
    struct fb_bytes args; /* list encoding (value.h); no nulls */
};

enum fb_rep_type {
    FB_REP_NIL = 0,
    FB_REP_OK = 1,
    FB_REP_INT = 2,
    FB_REP_BULK = 3,
    FB_REP_LIST = 4,
    FB_REP_MAP = 5,
    FB_REP_REPS = 6, /* payload: encoded fb_rep items, one per operation of a TXN */
    FB_REP_ERR =
        7, /* num: enum fb_rep_err; payload: the whole Redis error line without '-' and CRLF */
};

/* What a router does with an error. Only UNKNOWN is not definite (I14). */
/* clang-format off */
enum fb_rep_err {
    FB_REP_ERR_PLAIN = 0,       /* pass the payload on */
    FB_REP_ERR_NOT_PRIMARY = 1, /* definite; refresh the map and retry. payload: name of the primary if known */
    FB_REP_ERR_RETRY = 2,       /* definite; not open yet, retry after a little while */
    FB_REP_ERR_UNKNOWN = 3,     /* may or may not have happened: -INDETERMINATE */
};
/* clang-format on */

/* What an answer waited for on its node. */
enum fb_wait_on {
    FB_WAIT_NOTHING,
    FB_WAIT_FSYNC,
    FB_WAIT_DATABASE,
    FB_WAIT_THROTTLE,
    FB_WAIT_LOAD,
    FB_WAIT_COPIES
};
const char *fb_wait_on_name(uint8_t on); /* "fsync"; static storage, "?" when unknown */

struct fb_rep {
    uint32_t seq;
    uint8_t type;  /* enum fb_rep_type */
    uint8_t level; /* enum fb_level reached by a write */
    bool hit;      /* served from memory */
    int64_t num;
    uint64_t ver;
    struct fb_bytes payload;
    /* for the slow-request log; 12 bytes more on the wire unless all are 0: in the node's queue
     * when that was long, and held back for `wait_on` (the longest of several) */
    uint32_t queue_us, wait_us;
    uint8_t wait_on; /* enum fb_wait_on */
};

/* Append one item. The item's bytes are limited by the frame's bound, which the caller keeps. */
void fb_req_encode(struct fb_buf *out, const struct fb_req *r);
void fb_rep_encode(struct fb_buf *out, const struct fb_rep *r);
/* Take one item off the reader: views into it. FB_EPROTO on malformed bytes or limits (key, op
 * unknown, args). */
FB_MUST_USE enum fb_status fb_req_decode(struct fb_reader *in, struct fb_req *out);
FB_MUST_USE enum fb_status fb_rep_decode(struct fb_reader *in, struct fb_rep *out);

bool fb_op_known(uint16_t op);
enum fb_op_class fb_op_class(uint16_t op);
const char *fb_op_name(uint16_t op); /* "SET"; static storage */

#endif
