/* A lane driven by hand: requests in, effects out, the log kept as bytes so that a second lane can
 * replay it. */
#ifndef FB_TESTS_UNIT_NODE_HARNESS_H_
#define FB_TESTS_UNIT_NODE_HARNESS_H_

#include "node/core/lane.h"
#include "node/core/lane_impl.h"
#include "node/core/read.h"
#include "node/store/store.h"

#define HARNESS_PARTS 4u

struct harness {
    struct fb_nsset *set;
    const struct fb_schema *schemas[8];
    struct store *store;
    struct lane *lane;
    struct reply_dest dest;
    struct feed_dest feeds;
    struct feed_dest prover; /* of harness_proof: the lane knows it until the next tick */
    struct fb_buf log;       /* everything written so far */
    struct fb_buf out;       /* replies of the last tick */
    struct fb_buf loads_id;  /* ids of the last tick's loads */
    struct lane_load loads[64];
    uint32_t load_n;
    uint64_t mono_ns, wall_ms;
    uint32_t epoch, seq;
    uint64_t log_seq; /* of the last tick with a log */
    uint32_t notes;
    uint64_t dsafe; /* told with requests and positions; UINT64_MAX = what is committed */
    bool stale;     /* feed requests are of one who read its checkpoint before */
    uint64_t proof; /* what they say, 0 = nothing */
};

void harness_open(struct harness *h, uint64_t memory_limit, uint64_t dirty_limit);
/* Namespaces to add before harness_open: a mapped one. */
struct fb_namespace *harness_namespace(struct harness *h, const char *name);
void harness_init(struct harness *h);
void harness_close(struct harness *h);
/* New store and lane, log replayed (and a snapshot of all partitions when `snapshot` is not NULL),
 * opened at the next epoch. */
void harness_restart(struct harness *h);
/* Log written, published, replies moved to h->out. */
void harness_tick(struct harness *h);
void harness_sync(struct harness *h);
/* One request through the writer, with tick; the reply is valid until the next call. Fields: a, b,
 * flags as given. */
struct fb_rep harness_do(struct harness *h, uint16_t op, const char *key, int64_t a, int64_t b,
                         uint16_t flags, uint8_t level, uint32_t nargs, ...);
bool harness_pop(struct harness *h, struct fb_rep *rep);
/* Answer the n-th load of the last tick. */
void harness_load(struct harness *h, uint32_t n, uint8_t status, uint8_t kind,
                  struct fb_bytes value, uint32_t xmin, uint64_t ckpt);
void harness_req(struct harness *h, struct fb_req *req, struct fb_buf *args, uint16_t op,
                 const char *key);
/* What names the checkpoint of (partition, namespace), which is not 0 now. */
uint64_t harness_proof(struct harness *h, uint16_t part, const char *ns);
/* Feed batch of (partition of key, namespace); below the checkpoint with the proof that PostgreSQL
 * lost commits, unless `stale`. */
struct fb_feed_batch harness_feed(struct harness *h, uint16_t part, const char *ns, uint64_t from,
                                  uint32_t max);
void harness_pos(struct harness *h, uint16_t part, const char *ns, uint64_t ver, uint64_t xid);
/* A transaction: its operations one by one into `list`, then all `n` of them, the first `watches`
 * of which are comparisons. Empties the list. Type 255: it waits. */
void harness_sub(struct harness *h, struct fb_buf *list, uint16_t op, const char *key, int64_t a,
                 const char *arg);
struct fb_rep harness_txn(struct harness *h, struct fb_buf *list, uint32_t n, int64_t watches,
                          const char *key);

#endif
