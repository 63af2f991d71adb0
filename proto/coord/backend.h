/* What a coordinator's back end provides. Private to coord: others use coord.h. */
#ifndef FB_PROTO_COORD_BACKEND_H_
#define FB_PROTO_COORD_BACKEND_H_

#include "proto/coord/coord.h"

/* Members as in coord.h; arguments are checked before. */
struct fb_coord_ops {
    void (*close)(struct fb_coord *c);
    enum fb_status (*list)(struct fb_coord *c, const char *prefix, struct fb_coord_list *out,
                           struct fb_err *err);
    enum fb_status (*txn)(struct fb_coord *c, const struct fb_coord_op *ops, size_t count,
                          uint64_t *rev, struct fb_err *err);
    enum fb_status (*get)(struct fb_coord *c, const char *key, struct fb_buf *value, uint64_t *rev,
                          struct fb_err *err);
    enum fb_status (*wait)(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms);
    void (*wake)(struct fb_coord *c);
    enum fb_status (*session)(struct fb_coord *c, const char *name, struct fb_err *err);
};

struct fb_coord {
    const struct fb_coord_ops *ops; /* first member of a back end's struct */
};

/* Counters of this process, whatever its back end. Any thread. */
enum fb_coord_count {
    FB_COORD_OK,
    FB_COORD_MISMATCH,
    FB_COORD_UNKNOWN,
    FB_COORD_FAILED,
    FB_COORD_WATCH_DROPPED,
    FB_COORD_SESSION_LOST,
    FB_COORD_COUNTS
};
void fb_coord_count(enum fb_coord_count what);

/* Is it a session's name: letters, digits, '-', '_', '.' and '/', no leading dot? */
bool fb_coord_name_ok(const char *name, size_t n);

/* file.c. `dir` as in the URL after the scheme. */
FB_MUST_USE enum fb_status fb_coord_file_open(const char *dir, bool create, struct fb_coord **out,
                                              struct fb_err *err);
/* etcd.c. `url` whole; `create` makes nothing. */
FB_MUST_USE enum fb_status fb_coord_etcd_open(const char *url, bool create, struct fb_coord **out,
                                              struct fb_err *err);

#endif
