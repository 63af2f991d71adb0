/* The coordinator: a linearizable compare-and-swap store for the cluster map (PROTOCOL 20). Never
 * in a request's path.
 *
 * Keys are short paths without the cluster's prefix: "meta", "part/17", "node/node-1",
 * "sync/sync-1", "router/r1", "config", "schema/user", "control/sync". Values are text. Every key
 * has the revision of its last change; revisions of one coordinator grow with every transaction and
 * are never reused (etcd's mod_revision).
 *
 * Thread: a handle may be used from any thread (it has its own mutex); calls block for at most the
 * timeout given at open (default 5 s), so loop and writer threads never call it: the agent thread
 * does (coord/agent.h). URLs: file:///absolute/dir | file:dir | etcd://host:port,host:port/name?
 * options (etcd_url.h).
 */
#ifndef FB_PROTO_COORD_COORD_H_
#define FB_PROTO_COORD_COORD_H_

#include "proto/base/buf.h"

struct fb_coord;

struct fb_coord_kv {
    char *key; /* NUL-terminated */
    struct fb_bytes value;
    uint64_t rev;
    bool alive; /* the key was put by a session that is still held; true for keys without a session
                 */
};

struct fb_coord_list {
    uint64_t rev; /* store revision the list shows */
    size_t count;
    struct fb_coord_kv *kv; /* sorted by key */
};

struct fb_coord_op {
    const char *key;
    uint64_t rev;          /* compare: 0 = key must not exist, UINT64_MAX = do not compare */
    struct fb_bytes value; /* p == NULL: delete */
    bool session;          /* bind the key's life to this handle's session */
};

/* Opens the store; `create` makes an empty one (file:). Errors: FB_ENOENT no store there; FB_EINVAL
 * bad URL; FB_EPERM, FB_EIO; FB_ECORRUPT names the file; etcd: also FB_ECLOSED, FB_ETIMEOUT. */
FB_MUST_USE enum fb_status fb_coord_open(const char *url, bool create, struct fb_coord **out,
                                         struct fb_err *err);
/* Ends the session (its keys are no longer alive) and frees. */
void fb_coord_close(struct fb_coord *c);

/* One value; FB_ENOENT. The caller frees *value with fb_buf_fini. */
FB_MUST_USE enum fb_status fb_coord_get(struct fb_coord *c, const char *key, struct fb_buf *value,
                                        uint64_t *rev, struct fb_err *err);
/* All keys that start with `prefix` ("" = everything), one consistent view. Free with
 * fb_coord_list_free. */
FB_MUST_USE enum fb_status fb_coord_list(struct fb_coord *c, const char *prefix,
                                         struct fb_coord_list *out, struct fb_err *err);
void fb_coord_list_free(struct fb_coord_list *l);
/* All compares hold -> all puts happen, *rev is the new revision. At most FB_COORD_TXN_MAX
 * operations. Errors: FB_EMISMATCH definite, nothing happened; FB_EUNKNOWN may have happened, read
 * before acting (never treat as failed).
 */
#define FB_COORD_TXN_MAX 128u
FB_MUST_USE enum fb_status fb_coord_txn(struct fb_coord *c, const struct fb_coord_op *ops,
                                        size_t count, uint64_t *rev, struct fb_err *err);
FB_MUST_USE enum fb_status fb_coord_cas(struct fb_coord *c, const char *key, uint64_t rev,
                                        struct fb_bytes value, uint64_t *new_rev,
                                        struct fb_err *err);
/* Blocks until the store's revision or a session differs from what was last seen here, or
 * timeout_ms passed, or fb_coord_wake was called. A hint: FB_OK = look again, FB_ETIMEOUT = nothing
 * known. One waiter at a time. */
FB_MUST_USE enum fb_status fb_coord_wait(struct fb_coord *c, uint64_t seen_rev,
                                         uint32_t timeout_ms);
void fb_coord_wake(struct fb_coord *c); /* any thread */

/* Starts the session that `session` keys are bound to, named for diagnosis. file: an OFD-locked
 * file that the kernel releases when the process ends; etcd: a lease of 5 s, kept alive by a
 * thread. Errors: FB_EBUSY a live process holds a session of this name (says its pid); FB_EINVAL
 * the name.
 */
FB_MUST_USE enum fb_status fb_coord_session(struct fb_coord *c, const char *name,
                                            struct fb_err *err);

#endif
