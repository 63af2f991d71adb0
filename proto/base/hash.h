/* Hashing and checksums: XXH3 of xxHash. */
#ifndef FB_PROTO_BASE_HASH_H_
#define FB_PROTO_BASE_HASH_H_

#include "proto/base/bytes.h"

uint64_t fb_hash64(const void *p, size_t n, uint64_t seed);
/* 32-bit checksum of stored data (low half of XXH3-64). */
uint32_t fb_checksum32(const void *p, size_t n);

#endif
