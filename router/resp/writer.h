/* Replies to clients: RESP2 and RESP3 encoding into a buffer. Pure. `proto` is 2 or 3.
 *
 * Where RESP3 has a type that RESP2 lacks, RESP2 gets what Redis 7.0 sends there.
 */
#ifndef FB_ROUTER_RESP_WRITER_H_
#define FB_ROUTER_RESP_WRITER_H_

#include "proto/base/buf.h"

/* `s` without line ends: they would break the framing. Constant texts of ours only. */
void resp_put_simple(struct fb_buf *out, const char *s);
/* "-" text CRLF; the text starts with its code ("ERR ..."). Line ends at its end are dropped,
 * inside they become spaces, NUL too.
 */
void resp_put_error(struct fb_buf *out, struct fb_bytes text);
void resp_put_errorf(struct fb_buf *out, const char *fmt, ...) FB_PRINTF(2, 3);
void resp_put_int(struct fb_buf *out, int64_t v);
void resp_put_bulk(struct fb_buf *out, struct fb_bytes v);
void resp_put_bulk_str(struct fb_buf *out, const char *s);
void resp_put_bulk_int(struct fb_buf *out, int64_t v);   /* decimal text as a bulk */
void resp_put_null(struct fb_buf *out, int proto);       /* $-1 or _ */
void resp_put_null_array(struct fb_buf *out, int proto); /* *-1 or _ */
void resp_put_array(struct fb_buf *out, size_t n);
void resp_put_map(struct fb_buf *out, int proto, size_t pairs); /* RESP2: array of 2 x pairs */
void resp_put_set(struct fb_buf *out, int proto, size_t n);     /* RESP2: array */
void resp_put_push(struct fb_buf *out, int proto, size_t n);    /* RESP2: array */
void resp_put_double(struct fb_buf *out, int proto, double v);  /* RESP2: bulk, %.17g */
void resp_put_bool(struct fb_buf *out, int proto, bool v);      /* RESP2: 1 or 0 */
void resp_put_big(struct fb_buf *out, int proto, struct fb_bytes digits); /* RESP2: bulk */
void resp_put_verbatim(struct fb_buf *out, int proto, const char ext[3],
                       struct fb_bytes v); /* RESP2: bulk */

static inline void resp_put_ok(struct fb_buf *out)
{
    fb_buf_put(out, "+OK\r\n", 5);
}
static inline void resp_put_queued(struct fb_buf *out)
{
    fb_buf_put(out, "+QUEUED\r\n", 9);
}

#endif
