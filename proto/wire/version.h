/* ver = 1 zero bit | 23 bits epoch | 40 bits counter: log position, object version, CAS token and
 * checkpoint in one. */
#ifndef FB_PROTO_WIRE_VERSION_H_
#define FB_PROTO_WIRE_VERSION_H_

#include "proto/base/assert.h"

#include <stdint.h>

#define FB_VER_COUNTER_BITS 40
#define FB_VER_COUNTER_MAX ((UINT64_C(1) << FB_VER_COUNTER_BITS) - 1)
#define FB_EPOCH_MAX ((UINT32_C(1) << 23) - 1)

/* Counter 0 of an epoch is always its EPOCH_START record. Epoch 0 never appears in a log: a version
 * with epoch 0 is the row token of an object that was loaded and not written since. */
static inline uint64_t fb_ver(uint32_t epoch, uint64_t counter)
{
    fb_assert(epoch <= FB_EPOCH_MAX && counter <= FB_VER_COUNTER_MAX);
    return (uint64_t)epoch << FB_VER_COUNTER_BITS | counter;
}
static inline uint32_t fb_ver_epoch(uint64_t ver)
{
    return (uint32_t)(ver >> FB_VER_COUNTER_BITS);
}
static inline uint64_t fb_ver_counter(uint64_t ver)
{
    return ver & FB_VER_COUNTER_MAX;
}

#endif
