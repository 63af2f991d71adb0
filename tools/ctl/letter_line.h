/* A line that `forebayctl deadletter export` wrote, read back. It may have been edited since, or be
 * anything else. */
#ifndef FB_TOOLS_CTL_LETTER_LINE_H_
#define FB_TOOLS_CTL_LETTER_LINE_H_

#include "proto/base/buf.h"
#include "proto/base/status.h"

struct letter_line {
    struct fb_buf key;
    uint8_t kind;       /* enum fb_kind: NONE was a delete */
    struct fb_buf args; /* of the SET or HSET that makes the value again */
    uint32_t nargs;
    int64_t expires_ms; /* 0 = never */
};

/* Into *out, to be freed with letter_line_fini whatever this gives. Errors: FB_EINVAL, and what is
 * wrong with the line. */
FB_MUST_USE enum fb_status letter_line_read(struct fb_bytes line, struct letter_line *out,
                                            struct fb_err *err);
void letter_line_fini(struct letter_line *l);

#endif
