/* Numbers as text, strict as Redis is: no spaces, no plus sign, no leading zeros, no overflow.
 * Pure; any thread. */
#ifndef FB_PROTO_BASE_NUMBER_H_
#define FB_PROTO_BASE_NUMBER_H_

#include "proto/base/bytes.h"

/* Bytes that hold any formatted int64_t or uint64_t; not terminated. */
#define FB_NUMBER_BYTES_MAX 21u
/* Bytes that hold any text of fb_format_long_double. */
#define FB_LONG_DOUBLE_BYTES_MAX 5120u

/* The rules of Redis's string2ll: "0", "-1", "12"; not "", "+1", "01", "-0", " 1", "1 ". False
 * leaves *out alone. */
bool fb_parse_i64(struct fb_bytes s, int64_t *out);
bool fb_parse_u64(struct fb_bytes s, uint64_t *out);
/* Decimal text into out (FB_NUMBER_BYTES_MAX bytes); returns its length, writes no NUL. */
size_t fb_format_i64(int64_t v, char *out);
size_t fb_format_u64(uint64_t v, char *out);

/* The rules of Redis's string2ld (INCRBYFLOAT): what strtold takes whole, no leading space, below
 * 5120 bytes, not NaN, no overflow. "inf" is taken, as in Redis; the caller refuses a result that
 * is not finite.
 */
bool fb_parse_long_double(struct fb_bytes s, long double *out);
/* "%.17Lf" without trailing zeros, as Redis replies to INCRBYFLOAT; "-0" is "0". `v` must be
 * finite. Into out (FB_LONG_DOUBLE_BYTES_MAX bytes); returns its length.
 */
size_t fb_format_long_double(long double v, char *out);

#endif
