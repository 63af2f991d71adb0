/* UTF-8 as PostgreSQL accepts it: shortest form only, no surrogates, at most U+10FFFF. Pure. */
#ifndef FB_PROTO_BASE_UTF8_H_
#define FB_PROTO_BASE_UTF8_H_

#include "proto/base/bytes.h"

/* Bytes of the character at p[0], 1..4; 0 when the bytes are not UTF-8 or `n` is 0. */
size_t fb_utf8_char(const uint8_t *p, size_t n);
/* Is all of it UTF-8? *chars (optional) is the number of characters. NUL is a character here. */
bool fb_utf8_valid(struct fb_bytes s, size_t *chars);

#endif
