/* JSON of the coordinator's values: strict reading with the field named in every error, and escaped
 * writing. Private to proto/cluster, but for fb_json_memory; jansson itself is included by the .c
 * files only. */
#ifndef FB_PROTO_CLUSTER_JSON_H_
#define FB_PROTO_CLUSTER_JSON_H_

#include "proto/base/buf.h"

struct json_t;

/* jansson's memory ends the process when there is none. Runs before main in every program that
 * links this; for others to call once who use jansson without the functions below. */
void fb_json_memory(void);

/* Parse an object (no duplicate keys). The caller owns *out and drops its reference. Errors:
 * FB_EPROTO. */
FB_MUST_USE enum fb_status fb_json_parse_object(struct fb_bytes in, size_t max, struct json_t **out,
                                                struct fb_err *err);
/* Fields of an object: missing or of a wrong type or out of bounds is FB_EPROTO, with the field's
 * name in err. */
FB_MUST_USE enum fb_status fb_json_text(const struct json_t *obj, const char *field, size_t max,
                                        char *out, struct fb_err *err);
FB_MUST_USE enum fb_status fb_json_uint(const struct json_t *obj, const char *field, uint64_t max,
                                        uint64_t *out, struct fb_err *err);
FB_MUST_USE enum fb_status fb_json_int(const struct json_t *obj, const char *field, int64_t min,
                                       int64_t max, int64_t *out, struct fb_err *err);
FB_MUST_USE enum fb_status fb_json_bool(const struct json_t *obj, const char *field, bool *out,
                                        struct fb_err *err);
/* 16 hexadecimal digits: numbers of JSON readers end at 2^53 or 2^63, incarnations do not. */
FB_MUST_USE enum fb_status fb_json_hex64(const struct json_t *obj, const char *field, uint64_t *out,
                                         struct fb_err *err);
/* An array of at most `max` items; borrowed from obj. */
FB_MUST_USE enum fb_status fb_json_array(const struct json_t *obj, const char *field, size_t max,
                                         struct json_t **out, struct fb_err *err);

/* Append a quoted string; bytes that are not UTF-8 become '?'. */
void fb_json_put_text(struct fb_buf *out, const char *s);

#endif
