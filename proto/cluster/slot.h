/* Object id -> slot -> partition. Fixed for the life of a cluster; the same function in every
 * process. */
#ifndef FB_PROTO_CLUSTER_SLOT_H_
#define FB_PROTO_CLUSTER_SLOT_H_

#include "proto/base/bytes.h"

/* CRC16 (XMODEM) of the key, honouring {hash tags}, mod 16384: Redis Cluster specification, "Key
 * distribution model". */
uint16_t fb_key_slot(struct fb_bytes key);
/* Slots are split into equal contiguous ranges: partition = slot * partitions / 16384. */
static inline uint16_t fb_slot_partition(uint16_t slot, uint32_t partitions)
{
    return (uint16_t)((uint32_t)slot * partitions / 16384u);
}
static inline uint16_t fb_key_partition(struct fb_bytes key, uint32_t partitions)
{
    return fb_slot_partition(fb_key_slot(key), partitions);
}

#endif
