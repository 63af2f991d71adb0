/* What is said to etcd's JSON gateway and what it answers, as texts: keys and values are base64,
 * 64-bit numbers are strings, fields that are 0, false or empty are left out. No I/O.
 *
 * Values of keys that are bound to a session are stored as VALUE NUL SESSION: a value never has a
 * NUL (coord.c). A session is the key ".session/<name>", bound to a lease; its value begins with
 * the token, so that SESSION is "<name>:<token>". Keys that begin with a dot are never listed.
 */
#ifndef FB_PROTO_COORD_ETCD_JSON_H_
#define FB_PROTO_COORD_ETCD_JSON_H_

#include "proto/coord/coord.h"

#define ETCD_SESSION_PREFIX ".session/"
#define ETCD_SESSION_BYTES_MAX 128u
#define ETCD_TOKEN_BYTES_MAX 4096u
#define ETCD_REASON_BYTES_MAX 240u

struct etcd_header {
    uint64_t cluster_id; /* of the etcd cluster, not of Forebay's */
    uint64_t revision;
};

/* Requests: the body, appended to *out. `prefix` as in etcd_url. */

/* All keys that begin with `keys`, and all sessions, as of one revision (/v3/kv/txn). */
void etcd_put_list(struct fb_buf *out, const char *prefix, const char *keys);
/* One key (/v3/kv/range). */
void etcd_put_get(struct fb_buf *out, const char *prefix, const char *key);
/* The whole transaction; `session` is what session keys are bound to (/v3/kv/txn). */
void etcd_put_txn(struct fb_buf *out, const char *prefix, const char *session,
                  const struct fb_coord_op *ops, size_t count);
/* Put ".session/<name>" under the lease if its revision is `rev`; else tell what it is. */
void etcd_put_session(struct fb_buf *out, const char *prefix, const char *name, uint64_t rev,
                      const char *value, uint64_t lease);
/* Everything below `prefix` that changes at `from` or later (/v3/watch). */
void etcd_put_watch(struct fb_buf *out, const char *prefix, uint64_t from);
void etcd_put_grant(struct fb_buf *out, uint32_t ttl_s); /* /v3/lease/grant */
void etcd_put_lease(struct fb_buf *out, uint64_t lease); /* /v3/lease/keepalive and revoke */
void etcd_put_login(struct fb_buf *out, const char *user, struct fb_bytes password);

/* Answers. All: FB_EPROTO, with what is wrong, for what etcd does not say. */

/* Free *out with fb_coord_list_free, also after a failure. */
FB_MUST_USE enum fb_status etcd_take_list(struct fb_bytes text, const char *prefix,
                                          struct etcd_header *h, struct fb_coord_list *out,
                                          struct fb_err *err);
/* FB_ENOENT: no such key. *value without the session. */
FB_MUST_USE enum fb_status etcd_take_get(struct fb_bytes text, struct etcd_header *h,
                                         struct fb_buf *value, uint64_t *rev, struct fb_err *err);
/* FB_EMISMATCH names the key; nothing happened. */
FB_MUST_USE enum fb_status etcd_take_txn(struct fb_bytes text, const struct fb_coord_op *ops,
                                         size_t count, struct etcd_header *h, struct fb_err *err);
/* FB_EMISMATCH: *value and *rev are those of the session that is there (rev 0: none is). */
FB_MUST_USE enum fb_status etcd_take_session(struct fb_bytes text, struct etcd_header *h,
                                             struct fb_buf *value, uint64_t *rev,
                                             struct fb_err *err);
/* A grant, or a line of keepalive's answer. *ttl_s is 0 when the lease is no more. */
FB_MUST_USE enum fb_status etcd_take_lease(struct fb_bytes text, struct etcd_header *h,
                                           uint64_t *lease, uint64_t *ttl_s, struct fb_err *err);
FB_MUST_USE enum fb_status etcd_take_login(struct fb_bytes text, char token[ETCD_TOKEN_BYTES_MAX],
                                           struct fb_err *err);

struct etcd_watched {
    bool created;                       /* it watches from now on */
    bool ended;                         /* canceled, or an error of the stream: no more will come */
    uint64_t revision;                  /* highest of the changes in it, 0 = it has none */
    char reason[ETCD_REASON_BYTES_MAX]; /* of the end */
};
/* One line of a watch's answer. */
FB_MUST_USE enum fb_status etcd_take_watch(struct fb_bytes line, struct etcd_watched *out,
                                           struct fb_err *err);

/* Why a request was refused (any HTTP status but 200): etcd's gRPC code, or -1 when the body is not
 * etcd's; `text` is one line of it. */
int etcd_take_error(struct fb_bytes body, char text[ETCD_REASON_BYTES_MAX]);

#endif
