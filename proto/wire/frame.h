/* A frame: u32 length of all that follows | u32 length of header | protobuf header | raw tail.
 * Little-endian.
 *
 * Encoding appends to a buffer; the tail is written in place by the caller between begin and end,
 * so that bulk bytes are written once. Decoding gives views into the caller's bytes. No thread of
 * its own, no allocation in steady state.
 */
#ifndef FB_PROTO_WIRE_FRAME_H_
#define FB_PROTO_WIRE_FRAME_H_

#include "proto/base/bounds.h"
#include "proto/base/buf.h"

#define FB_PROTOCOL_VERSION 3u
#define FB_UUID_BYTES 16

/* name, number, meaning (from -> to) */
#define FB_FRAME_KIND_LIST(X)                                                                      \
    X(FB_FRAME_HELLO, 1)        /* first on every connection, both ways */                         \
    X(FB_FRAME_REQ, 2)          /* router -> node: fb_req items */                                 \
    X(FB_FRAME_REP, 3)          /* node -> router: fb_rep items */                                 \
    X(FB_FRAME_NOTE, 4)         /* node -> sync: fb_feed_note items, feeds that have something */  \
    X(FB_FRAME_FEED_REQ, 5)     /* sync -> node: fb_feed_req items */                              \
    X(FB_FRAME_FEED_DATA, 6)    /* node -> sync: fb_feed_batch items, each with its objects */     \
    X(FB_FRAME_FEED_POS, 7)     /* sync -> node: fb_feed_pos items, committed in PostgreSQL */     \
    X(FB_FRAME_LOAD_REQ, 8)     /* node -> sync: fb_load_req items */                              \
    X(FB_FRAME_LOAD_REP, 9)     /* sync -> node: fb_load_rep items */                              \
    X(FB_FRAME_VERDICT, 10)     /* sync -> node: fb_verdict items: park, conflict, refresh */      \
    X(FB_FRAME_VERDICT_ACK, 11) /* node -> sync: fb_verdict_ack items, committed in the log */     \
    X(FB_FRAME_ADMIN_REQ, 12)   /* any -> any: one JSON object in the tail, paired by id */        \
    X(FB_FRAME_ADMIN_REP, 13)                                                                      \
    X(FB_FRAME_PING, 14) /* any -> any, answered by PONG with the same id */                       \
    X(FB_FRAME_PONG, 15)                                                                           \
    X(FB_FRAME_DB_CLOCK, 16)      /* sync -> node: u64, PostgreSQL's clock in ms since 1970 */     \
    X(FB_FRAME_APPEND, 17)        /* node -> node: fb_append items of many partitions */           \
    X(FB_FRAME_APPEND_ACK, 18)    /* node -> node: fb_append_ack items */                          \
    X(FB_FRAME_REPLICA_HELLO, 19) /* node -> node: fb_replica_hello items */

enum fb_frame_kind {
#define X(name, number) name = number,
    FB_FRAME_KIND_LIST(X)
#undef X
};

enum fb_role { FB_ROLE_ROUTER = 1, FB_ROLE_NODE = 2, FB_ROLE_SYNC = 3, FB_ROLE_CTL = 4 };

struct fb_hello {
    uint32_t protocol;
    enum fb_role role;
    char name[FB_NAME_BYTES_MAX + 1];
    bool has_cluster;
    uint8_t cluster[FB_UUID_BYTES];
    uint64_t inc;
    char error[256];
};

struct fb_frame {
    enum fb_frame_kind kind;
    uint64_t src_inc;
    uint64_t dst_inc;
    uint32_t count;
    uint64_t id;
    uint32_t queue_us, busy_us; /* REP: see forebay.proto; written by fb_frame_timing */
    bool has_hello;
    struct fb_hello hello;
    struct fb_bytes tail; /* view into the decoded bytes */
};

/* Append the start of a frame (header without count) to `out`; gives a mark for fb_frame_end.
 * f->count, f->tail and the times are ignored. Between the two only the tail may be appended to
 * `out`. */
size_t fb_frame_begin(struct fb_buf *out, const struct fb_frame *f);
/* Finish the frame begun at `mark` with `count` items. */
void fb_frame_end(struct fb_buf *out, size_t mark, uint32_t count);

/* Fill the times of the REP frame begun at `mark`; its begin has left room for them. */
void fb_frame_timing(struct fb_buf *out, size_t mark, uint32_t queue_us, uint32_t busy_us);

/* How many bytes the frame at the start of `in` has, 0 = more than `in.n` are needed to know.
 * Errors: FB_ETOOBIG the length exceeds FB_FRAME_BYTES_MAX. */
FB_MUST_USE enum fb_status fb_frame_size(struct fb_bytes in, size_t *size);
/* Decode one whole frame of exactly in.n bytes. Errors: FB_EPROTO with what is wrong in err. */
FB_MUST_USE enum fb_status fb_frame_decode(struct fb_bytes in, struct fb_frame *out,
                                           struct fb_err *err);
/* Name of a kind for logs; static storage. */
const char *fb_frame_kind_name(enum fb_frame_kind k);
const char *fb_role_name(enum fb_role r);
/* May a process of role `from` send this kind to one of role `to`? Not for kinds that are none. */
bool fb_frame_allowed(enum fb_frame_kind k, enum fb_role from, enum fb_role to);

#endif
