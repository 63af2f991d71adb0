/* One list of what can go wrong, with the number that travels on the wire and the text a person
 * reads. */
#ifndef FB_PROTO_BASE_STATUS_H_
#define FB_PROTO_BASE_STATUS_H_

#include "proto/base/compiler.h"

/* name, wire number, text. Numbers never change; new ones go at the end. */
#define FB_STATUS_LIST(X)                                                                          \
    X(FB_OK, 0, "ok")                                                                              \
    X(FB_EINVAL, 1, "invalid argument")                                                            \
    X(FB_ENOMEM, 2, "out of memory")                                                               \
    X(FB_EIO, 3, "input/output error")                                                             \
    X(FB_ENOENT, 4, "not found")                                                                   \
    X(FB_EEXIST, 5, "already exists")                                                              \
    X(FB_EFULL, 6, "limit reached")                                                                \
    X(FB_ETOOBIG, 7, "too large")                                                                  \
    X(FB_EPROTO, 8, "protocol violation")                                                          \
    X(FB_ECORRUPT, 9, "data is corrupt")                                                           \
    X(FB_ETORN, 10, "torn tail")                                                                   \
    X(FB_EAGAIN, 11, "not now, try again")                                                         \
    X(FB_ETIMEOUT, 12, "timed out")                                                                \
    X(FB_ECLOSED, 13, "connection closed")                                                         \
    X(FB_EREFUSED, 14, "refused")                                                                  \
    X(FB_ENOSPC, 15, "disk full")                                                                  \
    X(FB_ESTALE, 16, "stale")                                                                      \
    X(FB_EMISMATCH, 17, "changed meanwhile")                                                       \
    X(FB_EUNKNOWN, 18, "outcome unknown")                                                          \
    X(FB_EFOREIGN, 19, "belongs to another cluster")                                               \
    X(FB_EBUSY, 20, "in use")                                                                      \
    X(FB_EUNSUPPORTED, 21, "not supported")                                                        \
    X(FB_EPERM, 22, "permission denied")

enum fb_status {
#define X(name, number, text) name = number,
    FB_STATUS_LIST(X)
#undef X
};

/* Text of a status; static storage. Any thread. */
const char *fb_status_text(enum fb_status s);
/* Nearest status of an errno value: the only place where the two vocabularies meet. */
enum fb_status fb_status_of_errno(int err);

#define FB_ERR_MSG_BYTES_MAX 512

/* Context of a failure, filled where it happens and wrapped on the way up. Optional everywhere
 * (NULL allowed). */
struct fb_err {
    enum fb_status code;
    char msg[FB_ERR_MSG_BYTES_MAX];
};

/* Set code and message, return code: `return fb_err_set(err, FB_EIO, "open %s: %s", path,
 * strerror(errno));` */
enum fb_status fb_err_set(struct fb_err *err, enum fb_status code, const char *fmt, ...)
    FB_PRINTF(3, 4);
/* Put "fmt: " before the present message, return the code. */
enum fb_status fb_err_wrap(struct fb_err *err, enum fb_status code, const char *fmt, ...)
    FB_PRINTF(3, 4);

#endif
