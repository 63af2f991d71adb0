/* Messages between the nodes that hold one partition: the replica stream (PROTOCOL 2.5).
 *
 * Flat items in frame tails, one frame of a kind for each pair of nodes and tick, with items of
 * many partitions. The frame says from which incarnation to which; an item says of which history
 * and epoch. Nothing is inferred from a message having been sent: every item carries what it
 * follows.
 */
#ifndef FB_PROTO_WIRE_REPLICA_H_
#define FB_PROTO_WIRE_REPLICA_H_

#include "proto/wire/value.h"
#include "proto/wire/version.h"

/* A log is a row of epochs, each from its EPOCH_START on without a gap; so the first and last
 * version of each of its newest epochs tell how far two logs are the same. */
#define FB_TAIL_RUNS_MAX 32u

enum fb_append_flag {
    FB_APPEND_GOODBYE = 1 << 0, /* the sender reads no more under a lease of this epoch */
    /* To a learner that needs more than is kept to be sent: `records` are `count` items of a
     * snapshot, com_ver the version it is of, prev the number of the slice from 1 on. */
    FB_APPEND_COPY = 1 << 1,
    FB_APPEND_COPY_END = 1 << 2, /* with COPY: the last slice */
};
#define FB_APPEND_FLAGS (FB_APPEND_GOODBYE | FB_APPEND_COPY | FB_APPEND_COPY_END)

/* primary -> member of the set, learner */
struct fb_append {
    uint16_t part;
    uint8_t flags; /* enum fb_append_flag */
    uint32_t epoch;
    uint64_t history;
    uint64_t prev;    /* version before the first record; 0 and no records: "what do you have?" */
    uint64_t com_ver; /* committed up to here */
    uint64_t token;   /* echoed: confirms reads that began before it was drawn */
    uint64_t sent_ns; /* echoed: the sender's clock, for its lease */
    uint32_t count;   /* of records; none: a heartbeat */
    struct fb_bytes records; /* encoded fb_record items, each following the one before */
};

enum fb_append_status {
    FB_APPEND_OK = 0,
    FB_APPEND_STALE = 1,  /* epoch is the higher one the receiver has accepted */
    FB_APPEND_COPIED = 2, /* slice acked_ver of a copy is written */
};

/* The answer. With OK it also promises that the sender opens no higher epoch for t_lease. */
struct fb_append_ack {
    uint16_t part;
    uint8_t status; /* enum fb_append_status */
    uint32_t epoch;
    uint64_t history;
    uint64_t acked_ver;  /* written, and the same as the primary's log up to here */
    uint64_t synced_ver; /* fsynced up to here, at most acked_ver */
    uint64_t token;
    uint64_t sent_ns;
};

struct fb_tail_run {
    uint64_t first, last; /* versions of one epoch */
};

/* The answer to "what do you have?", and to records that follow nothing here. */
struct fb_replica_hello {
    uint16_t part;
    uint32_t epoch;
    uint64_t history;
    uint64_t com_ver;
    uint64_t last_ver;    /* 0 = nothing */
    struct fb_bytes runs; /* see fb_tail_run_at; ascending, at most FB_TAIL_RUNS_MAX; the last one
                             ends at last_ver */
};

#define FB_TAIL_RUN_BYTES 16u
static inline uint32_t fb_tail_run_count(struct fb_bytes runs)
{
    return (uint32_t)(runs.n / FB_TAIL_RUN_BYTES);
}
static inline struct fb_tail_run fb_tail_run_at(struct fb_bytes runs, uint32_t i)
{
    const uint8_t *p = runs.p + (size_t)i * FB_TAIL_RUN_BYTES;
    return (struct fb_tail_run){fb_get_u64(p), fb_get_u64(p + 8)};
}
static inline void fb_tail_run_put(struct fb_buf *out, struct fb_tail_run run)
{
    fb_buf_put_u64(out, run.first);
    fb_buf_put_u64(out, run.last);
}

#define FB_REPLICA_CODECS(X)                                                                       \
    X(append)                                                                                      \
    X(append_ack)                                                                                  \
    X(replica_hello)

/* fb_X_encode appends one item; fb_X_decode takes one off the reader (views) or says FB_EPROTO. The
 * records of an append are not looked into. */
#define X(name)                                                                                    \
    void fb_##name##_encode(struct fb_buf *out, const struct fb_##name *m);                        \
    FB_MUST_USE enum fb_status fb_##name##_decode(struct fb_reader *in, struct fb_##name *m);
FB_REPLICA_CODECS(X)
#undef X

/* Append an item whose records are written in place: begin (count and records are ignored), append
 * encoded records to `out`, end. */
size_t fb_append_begin(struct fb_buf *out, const struct fb_append *m);
void fb_append_end(struct fb_buf *out, size_t mark, uint32_t count);

#endif
