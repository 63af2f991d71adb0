/* XXH3 behind two plain functions. */
#include "proto/base/hash.h"

#include <xxhash.h>

uint64_t fb_hash64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

uint32_t fb_checksum32(const void *p, size_t n)
{
    return (uint32_t)XXH3_64bits(p, n);
}
