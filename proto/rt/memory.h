/* Memory of a process by kind, as the metric memory_bytes{kind}. Its owners count; this adds what
 * nobody owns: the program's own pages, what the allocator holds free, and what was not counted.
 * The sum is close to the resident set (a test says how close), and `other` says how much of it is
 * not known by name. */
#ifndef FB_PROTO_RT_MEMORY_H_
#define FB_PROTO_RT_MEMORY_H_

#include "proto/base/buf.h"

struct fb_memory_kind {
    const char *kind;
    uint64_t bytes; /* of heap */
};

/* Emits every kind given, then metrics, program, allocator_free and other; also
 * resident_memory_bytes. Any thread; costs a walk over the allocator's free lists: once a scrape,
 * not more. */
void fb_memory_emit(struct fb_buf *out, const struct fb_memory_kind *kinds, size_t n);
#define FB_MEMORY_HELP                                                                             \
    "Bytes of memory by kind; program: code and libraries, allocator_free: held by the allocator " \
    "and not in use, other: in use and not counted."
#define FB_MEMORY_RESIDENT_HELP "Resident set of the process, as the kernel says."

/* What malloc takes for a request of n bytes: glibc has 8 bytes of header and steps of 16. */
static inline uint64_t fb_malloc_bytes(size_t n)
{
    return n < 24 ? 32 : ((uint64_t)n + 8 + 15) & ~UINT64_C(15);
}

#endif
