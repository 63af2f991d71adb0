/* Admin HTTP of every process: /livez /readyz /metrics /statusz /eventsz, on its own thread with
 * timeouts (libmicrohttpd). */
#ifndef FB_PROTO_RT_ADMIN_H_
#define FB_PROTO_RT_ADMIN_H_

#include "proto/base/buf.h"

struct fb_admin;

struct fb_admin_hooks {
    /* Admin thread. ready: true or false with a reason appended to `why`. */
    bool (*ready)(void *arg, struct fb_buf *why);
    /* Appends one JSON object. */
    void (*status)(void *arg, struct fb_buf *json);
    void *arg;
};

/* listen: host:port (port 0 picks a free one); `bound` (at least 256 bytes) gets host:port. Errors:
 * FB_EBUSY in use. */
FB_MUST_USE enum fb_status fb_admin_start(const char *listen, const struct fb_admin_hooks *hooks,
                                          char *bound, struct fb_admin **out, struct fb_err *err);
void fb_admin_stop(struct fb_admin *a);

/* A string of JSON with its quotes. */
void fb_json_string(struct fb_buf *out, const char *s);

#endif
