/* Durations and sizes as users write them: 250ms 5s 30m 2h 1d, 64KiB 8MiB 2GiB 100MB 512B. */
#ifndef FB_PROTO_BASE_UNITS_H_
#define FB_PROTO_BASE_UNITS_H_

#include "proto/base/bytes.h"
#include "proto/base/status.h"

/* "none" and "0" give 0. Errors: FB_EINVAL with an example in err. */
FB_MUST_USE enum fb_status fb_duration_parse(struct fb_bytes s, uint64_t *ms, struct fb_err *err);
FB_MUST_USE enum fb_status fb_size_parse(struct fb_bytes s, uint64_t *bytes, struct fb_err *err);
/* Shortest exact text, into out (at least 32 bytes); returns out. */
char *fb_duration_text(uint64_t ms, char *out);
char *fb_size_text(uint64_t bytes, char *out);

#endif
