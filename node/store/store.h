/* The object table of a node: one cds_lfht for all partitions, a slab index per partition for
 * scans, SIEVE and dirty lists.
 *
 * Link-time seam: store_urcu.c is the real one; the simulator brings another without RCU threads.
 * Only node/core/ uses the inner interface (store/object.h, written with the table). Here: what
 * main and io need.
 */
#ifndef FB_NODE_STORE_STORE_H_
#define FB_NODE_STORE_STORE_H_

#include "proto/base/status.h"

#include <stdint.h>

struct store;

/* partitions: of the cluster. capacity_hint: expected objects (sizes the table). Starts the reclaim
 * thread. */
FB_MUST_USE enum fb_status store_new(uint32_t partitions, uint64_t capacity_hint,
                                     struct store **out, struct fb_err *err);
/* No reader or writer is left. */
void store_free(struct store *s);
/* Bytes held by objects (payload and overhead, retired ones included) and objects resident; any
 * thread. */
uint64_t store_memory_bytes(const struct store *s);
uint64_t store_object_count(const struct store *s);
struct store_memory {
    uint64_t objects; /* allocations of resident objects */
    uint64_t retired; /* of those that wait for readers to leave */
    uint64_t slots;   /* slab index */
    uint64_t
        table; /* buckets, by the table's rule of growth from the most objects there ever were */
};
/* Any thread; walks the partitions. */
void store_memory(const struct store *s, struct store_memory *m);
/* Objects retired and not yet freed, for the alarm on it. */
uint64_t store_retired_count(const struct store *s);

#endif
