/* Whose a thing is: threads of ours have numbers, and what only one of them may change remembers
 * which. A load and a compare, so it is asserted in every build.
 *
 * proto/rt numbers the threads it starts; base and the cores only compare. While a thing belongs to
 * nobody (before its thread runs, and after it has ended) whoever sets it up may change it, alone.
 */
#ifndef FB_PROTO_BASE_OWNER_H_
#define FB_PROTO_BASE_OWNER_H_

#include "proto/base/assert.h"

#include <stdint.h>

struct fb_owner {
    uint64_t thread; /* 0 = nobody */
};

/* Number of the calling thread, 0 = none (main, threads of libraries). Written by proto/rt at the
 * start of the thread and never again. */
extern _Thread_local uint64_t fb_this_thread;

/* The calling thread's from now on. A thread without a number leaves it to nobody. */
static inline void fb_owner_take(struct fb_owner *o)
{
    o->thread = fb_this_thread;
}
static inline void fb_owner_leave(struct fb_owner *o)
{
    o->thread = 0;
}
static inline void fb_owner_assert(const struct fb_owner *o)
{
    fb_assert(o->thread == 0 || o->thread == fb_this_thread);
}

#endif
