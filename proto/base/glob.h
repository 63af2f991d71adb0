/* Glob patterns with the rules of Redis's stringmatchlen: * ? [abc] [^a-z] and backslash. Pure; any
 * thread. */
#ifndef FB_PROTO_BASE_GLOB_H_
#define FB_PROTO_BASE_GLOB_H_

#include "proto/base/bytes.h"

/* Does `text` match `pattern` as a whole? Any bytes; an empty text matches the empty pattern alone,
 * not even stars, as in Redis. Time is at most proportional to pattern x
 * text, also for hostile patterns with many stars.
 */
bool fb_glob_match(struct fb_bytes pattern, struct fb_bytes text);
/* The pattern "*", which the commands that take patterns treat as none at all. */
bool fb_glob_is_all(struct fb_bytes pattern);

#endif
