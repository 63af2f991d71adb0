/* getrandom(2). */
#include "proto/base/random.h"

#include "proto/base/assert.h"

#include <sys/random.h>

void fb_random_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        fb_assert(got > 0);
        at += got;
        n -= (size_t)got;
    }
}

uint64_t fb_random_u64(void)
{
    uint64_t v = 0;
    while (v == 0)
        fb_random_bytes(&v, sizeof(v));
    return v;
}
