/* One HTTP GET: how forebayctl asks the admin port of a router. */
#ifndef FB_PROTO_NET_HTTP_GET_H_
#define FB_PROTO_NET_HTTP_GET_H_

#include "proto/base/buf.h"
#include "proto/base/status.h"

/* Appends the body of what `url` (http://host:port/path) answers, whatever its status code is.
 * Blocks for at most timeout_ms. Any thread. Errors: FB_ECLOSED with the reason, FB_EINVAL not a
 * URL. */
FB_MUST_USE enum fb_status fb_http_get(const char *url, uint32_t timeout_ms, struct fb_buf *body,
                                       struct fb_err *err);

#endif
