/* Reads served by any thread straight from the published state, without a lock: RCU lookup, copy
 * out, done. */
#ifndef FB_NODE_CORE_READ_H_
#define FB_NODE_CORE_READ_H_

#include "proto/cluster/namespace.h"
#include "proto/wire/request.h"

struct store;

enum read_outcome {
    READ_DONE,   /* one fb_rep item was appended */
    READ_WRITER, /* miss, expired, loading, or anything that is not a plain hit: give it to the
                    partition's writer */
};

/* Serve `req` (class READ, not ORDERED). `out` gets one encoded fb_rep. Opens and closes its own
 * RCU read section unless `batched`: then the caller holds one (at most 64 requests per section).
 * The caller has checked that this node is primary of the partition at req->epoch. */
enum read_outcome node_read(struct store *s, const struct fb_req *req, struct fb_buf *out,
                            bool batched);
/* SCAN, DBSIZE, RANDOMKEY (class NODE, not FLUSHALL): walks the slab index in bounded steps. Always
 * appends one fb_rep. random: caller's random number. open: by partition, the epoch at which this
 * node serves it, 0 = left out; NULL: it serves all. */
void node_read_all(struct store *s, const struct fb_req *req, uint64_t random,
                   const _Atomic uint32_t *open, struct fb_buf *out);

#endif
