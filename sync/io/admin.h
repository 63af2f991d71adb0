/* Admin requests: one JSON object in, one out (README.md lists the verbs). */
#ifndef FB_SYNC_IO_ADMIN_H_
#define FB_SYNC_IO_ADMIN_H_

#include "proto/net/net.h"

#include <jansson.h>

/* The request's object, NULL when it is none. The caller puts the reference. */
json_t *sync_admin_parse(const struct fb_net_frame *f);
/* Sends `body` (reference taken) as the answer to f. Any thread. */
void sync_admin_reply(const struct fb_net_frame *f, json_t *body);
void sync_admin_fail(const struct fb_net_frame *f, const char *text);
/* The same with "unreachable": it is PostgreSQL that did not answer. */
void sync_admin_unreachable(const struct fb_net_frame *f, const char *text);
/* Bytes as a JSON string. Where they are none (not UTF-8, a zero byte) '?' is in their place. */
json_t *sync_admin_text(struct fb_bytes b);
bool sync_admin_is_text(struct fb_bytes b);

#endif
