/* Base64 with '+', '/' and padding (RFC 4648, section 4). Pure; any thread. */
#ifndef FB_PROTO_BASE_BASE64_H_
#define FB_PROTO_BASE_BASE64_H_

#include "proto/base/buf.h"

/* Appends the text of `in`. */
void fb_base64_put(struct fb_buf *out, struct fb_bytes in);
/* Appends the bytes of `text`. False: it is not base64 (its length, a character, its padding, bits
 * that are none); what was appended is then to be dropped. */
FB_MUST_USE bool fb_base64_take(struct fb_buf *out, struct fb_bytes text);

#endif
