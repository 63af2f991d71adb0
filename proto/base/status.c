/* Texts and translation of statuses; messages with context. */
#include "proto/base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *fb_status_text(enum fb_status s)
{
    switch (s) {
#define X(name, number, text)                                                                      \
    case name:                                                                                     \
        return text;
        FB_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

enum fb_status fb_status_of_errno(int err)
{
    switch (err) {
    case 0:
        return FB_OK;
    case ENOENT:
        return FB_ENOENT;
    case EEXIST:
        return FB_EEXIST;
    case ENOMEM:
        return FB_ENOMEM;
    case ENOSPC:
    case EDQUOT:
        return FB_ENOSPC;
    case EACCES:
    case EPERM:
        return FB_EPERM;
    case EAGAIN:
    case EINTR:
        return FB_EAGAIN;
    case EBUSY:
    case ETXTBSY:
        return FB_EBUSY;
    case EINVAL:
        return FB_EINVAL;
    case ETIMEDOUT:
        return FB_ETIMEOUT;
    case ECONNREFUSED:
        return FB_EREFUSED;
    case ECONNRESET:
    case EPIPE:
        return FB_ECLOSED;
    default:
        return FB_EIO;
    }
}

enum fb_status fb_err_set(struct fb_err *err, enum fb_status code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        err->code = code;
        vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
    }
    return code;
}

enum fb_status fb_err_wrap(struct fb_err *err, enum fb_status code, const char *fmt, ...)
{
    if (err != NULL) {
        char old[FB_ERR_MSG_BYTES_MAX];
        va_list ap;
        int n;
        memcpy(old, err->msg, sizeof(old));
        va_start(ap, fmt);
        n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof(err->msg))
            snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", old);
        err->code = code;
    }
    return code;
}
