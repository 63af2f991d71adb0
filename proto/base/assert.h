/* Assertions: a broken invariant of our own ends the process, in every build.
 *
 * What a peer, a disk, a clock, a database or an operator can cause is never asserted: it is a
 * status (status.h). fb_assert       on everywhere, release too: cheap conditions fb_assert_slow
 * whole-structure checks, on in debug builds and in the simulator
 */
#ifndef FB_PROTO_BASE_ASSERT_H_
#define FB_PROTO_BASE_ASSERT_H_

#include "proto/base/compiler.h"

FB_NORETURN void fb_assert_failed(const char *expr, const char *file, int line, const char *func);

#define fb_assert(expr)                                                                            \
    (FB_LIKELY(expr) ? (void)0 : fb_assert_failed(#expr, __FILE__, __LINE__, __func__))

#ifdef FB_SLOW_ASSERTS
#define fb_assert_slow(expr) fb_assert(expr)
#else
#define fb_assert_slow(expr) ((void)0)
#endif

#endif
