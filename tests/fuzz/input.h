/* Takes what a fuzzer gives apart: numbers and bytes off the front, zeros when it is used up. */
#ifndef FB_TESTS_FUZZ_INPUT_H_
#define FB_TESTS_FUZZ_INPUT_H_

#include "proto/base/assert.h"
#include "proto/base/bytes.h"
#include "proto/base/compiler.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct fuzz_in {
    const uint8_t *p;
    size_t n;
};

FB_UNUSED static struct fb_bytes fuzz_bytes(struct fuzz_in *in, size_t n)
{
    struct fb_bytes out = fb_bytes(in->p, n < in->n ? n : in->n);
    if (out.n > 0) {
        in->p += out.n;
        in->n -= out.n;
    }
    return out;
}

FB_UNUSED static uint64_t fuzz_number(struct fuzz_in *in, size_t bytes)
{
    struct fb_bytes b = fuzz_bytes(in, bytes);
    uint64_t v = 0;
    for (size_t i = 0; i < b.n; i++)
        v |= (uint64_t)b.p[i] << (8 * i);
    return v;
}
FB_UNUSED static uint8_t fuzz_u8(struct fuzz_in *in)
{
    return (uint8_t)fuzz_number(in, 1);
}
FB_UNUSED static uint16_t fuzz_u16(struct fuzz_in *in)
{
    return (uint16_t)fuzz_number(in, 2);
}
FB_UNUSED static uint32_t fuzz_u32(struct fuzz_in *in)
{
    return (uint32_t)fuzz_number(in, 4);
}
FB_UNUSED static uint64_t fuzz_u64(struct fuzz_in *in)
{
    return fuzz_number(in, 8);
}
/* Below `n`. */
FB_UNUSED static uint32_t fuzz_below(struct fuzz_in *in, uint32_t n)
{
    return (uint32_t)(fuzz_number(in, n > 256 ? 4 : 1) % n);
}
/* u8 length, bytes. */
FB_UNUSED static struct fb_bytes fuzz_short(struct fuzz_in *in)
{
    uint8_t n = fuzz_u8(in);
    return fuzz_bytes(in, n);
}

#endif
