/* Takes snapshots of all partitions in turn and trims the log behind them. One thread; asks the
 * lanes for slices. */
#ifndef FB_NODE_IO_SNAPSHOTTER_H_
#define FB_NODE_IO_SNAPSHOTTER_H_

#include "node/io/node.h"

struct snapshotter_status {
    uint64_t rounds;   /* finished since start */
    uint64_t attempts; /* ended since start, failed ones included */
    uint64_t last_success_wall_ms;
    uint32_t done, total; /* of the round under way; total 0 = idle */
    char last_error[FB_ERR_MSG_BYTES_MAX];
};

struct snapshotter_limits {
    uint64_t interval_ms, log_bytes; /* a round begins when one of them is reached */
    uint64_t slice_bytes;            /* about what a worker writes down between two ticks */
};

FB_MUST_USE enum fb_status snapshotter_start(struct node *n,
                                             const struct snapshotter_limits *limits,
                                             struct snapshotter **out, struct fb_err *err);
/* Waits for the snapshot under way. Workers must still run. */
void snapshotter_stop(struct snapshotter *s);
/* Other limits from now on. Any thread. */
void snapshotter_set(struct snapshotter *s, const struct snapshotter_limits *limits);
/* Start a round now; gives the number of the attempt that shows what is there now, so that who
 * asked can wait for status.attempts to reach it. Any thread. */
uint64_t snapshotter_now(struct snapshotter *s);
/* Of the slice under way. Any thread. */
uint64_t snapshotter_memory_bytes(const struct snapshotter *s);
void snapshotter_status_get(struct snapshotter *s, struct snapshotter_status *out);

#endif
