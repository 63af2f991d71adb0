/* Attributes and small macros used everywhere. */
#ifndef FB_PROTO_BASE_COMPILER_H_
#define FB_PROTO_BASE_COMPILER_H_

#include <stddef.h>

#define FB_MUST_USE __attribute__((warn_unused_result))
#define FB_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define FB_NORETURN __attribute__((noreturn))
#define FB_UNUSED __attribute__((unused))
#define FB_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define FB_CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define FB_LIKELY(x) __builtin_expect(!!(x), 1)
#define FB_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
