/* Refuses memory in all threads (refuse.h). */
#include "tests/unit/crash/refuse.h"

#include "proto/base/buf.h"

#include <stdatomic.h>

static atomic_size_t above = REFUSE_NOTHING;
static atomic_uint_fast64_t count;

void *__real_fb_try_malloc(size_t n);
void *__wrap_fb_try_malloc(size_t n);
uint8_t *__real_fb_buf_try_reserve(struct fb_buf *b, size_t n);
uint8_t *__wrap_fb_buf_try_reserve(struct fb_buf *b, size_t n);

static bool refused(size_t n)
{
    if (n <= atomic_load(&above))
        return false;
    atomic_fetch_add(&count, 1);
    return true;
}

void *__wrap_fb_try_malloc(size_t n)
{
    return refused(n) ? NULL : __real_fb_try_malloc(n);
}

uint8_t *__wrap_fb_buf_try_reserve(struct fb_buf *b, size_t n)
{
    return refused(n) ? NULL : __real_fb_buf_try_reserve(b, n);
}

void refuse_above(size_t bytes)
{
    atomic_store(&count, 0);
    atomic_store(&above, bytes);
}

uint64_t refuse_done(void)
{
    atomic_store(&above, REFUSE_NOTHING);
    return atomic_load(&count);
}
