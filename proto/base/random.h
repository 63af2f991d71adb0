/* Randomness of the operating system: incarnations, uuids, tokens. Not for core/. */
#ifndef FB_PROTO_BASE_RANDOM_H_
#define FB_PROTO_BASE_RANDOM_H_

#include <stddef.h>
#include <stdint.h>

void fb_random_bytes(void *p, size_t n);
uint64_t fb_random_u64(void); /* never 0 */

#endif
