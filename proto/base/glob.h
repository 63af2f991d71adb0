/* Glob patterns with the rules of Redis's stringmatchlen: * ? [abc] [^a-z] and backslash. Pure; any
 * thread. */
#ifndef FB_PROTO_BASE_GLOB_H_
#define FB_PROTO_BASE_GLOB_H_

#include "proto/base/bytes.h"

/* Does `text` match `pattern` as a whole? Any bytes; time is at most proportional to pattern x
 * text, also for hostile patterns with many stars.
 */
bool fb_glob_match(struct fb_bytes pattern, struct fb_bytes text);
/* Does `pattern` match every text? ("*" or more stars) */
bool fb_glob_is_all(struct fb_bytes pattern);

#endif
