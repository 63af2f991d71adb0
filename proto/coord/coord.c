/* The coordinator's front: URLs, checks that every back end needs, dispatch. */
#include "proto/coord/coord.h"

#include "proto/coord/backend.h"

#include <stdlib.h>

#define KEY_BYTES_MAX 256u

enum fb_status fb_coord_open(const char *url, bool create, struct fb_coord **out,
                             struct fb_err *err)
{
    *out = NULL;
    if (strncmp(url, "file://", 7) == 0) {
        if (url[7] != '/')
            return fb_err_set(
                err, FB_EINVAL,
                "coordinator \"%s\": file:// needs an absolute path, such as file:///var/lib/"
                "forebay/coordinator; file:DIR is relative",
                url);
        return fb_coord_file_open(url + 7, create, out, err);
    }
    if (strncmp(url, "file:", 5) == 0 && url[5] != '\0')
        return fb_coord_file_open(url + 5, create, out, err);
    if (strncmp(url, "etcd:", 5) == 0)
        return fb_err_set(err, FB_EUNSUPPORTED,
                          "coordinator \"%s\": this build has no etcd; use file:///DIR", url);
    return fb_err_set(err, FB_EINVAL, "coordinator \"%s\" is not file:///DIR%s%s", url,
                      url[0] == '/' ? "; did you mean file://" : "", url[0] == '/' ? url : "");
}

void fb_coord_close(struct fb_coord *c)
{
    if (c != NULL)
        c->ops->close(c);
}

static enum fb_status check_key(const char *key, struct fb_err *err)
{
    size_t n = strlen(key);
    if (n == 0 || n > KEY_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "coordinator key has %zu bytes, 1 to %u are allowed", n,
                          KEY_BYTES_MAX);
    return FB_OK;
}

enum fb_status fb_coord_get(struct fb_coord *c, const char *key, struct fb_buf *value,
                            uint64_t *rev, struct fb_err *err)
{
    enum fb_status s = check_key(key, err);
    return s != FB_OK ? s : c->ops->get(c, key, value, rev, err);
}

enum fb_status fb_coord_list(struct fb_coord *c, const char *prefix, struct fb_coord_list *out,
                             struct fb_err *err)
{
    *out = (struct fb_coord_list){0};
    return c->ops->list(c, prefix, out, err);
}

void fb_coord_list_free(struct fb_coord_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->kv[i].key);
        free((void *)(uintptr_t)l->kv[i].value.p);
    }
    free(l->kv);
    *l = (struct fb_coord_list){0};
}

enum fb_status fb_coord_txn(struct fb_coord *c, const struct fb_coord_op *ops, size_t count,
                            uint64_t *rev, struct fb_err *err)
{
    uint64_t ignored;

    if (count == 0 || count > FB_COORD_TXN_MAX)
        return fb_err_set(err, FB_EINVAL,
                          "coordinator transaction of %zu operations, 1 to %u are allowed", count,
                          FB_COORD_TXN_MAX);
    for (size_t i = 0; i < count; i++) {
        enum fb_status s = check_key(ops[i].key, err);
        if (s != FB_OK)
            return s;
    }
    return c->ops->txn(c, ops, count, rev == NULL ? &ignored : rev, err);
}

enum fb_status fb_coord_cas(struct fb_coord *c, const char *key, uint64_t rev,
                            struct fb_bytes value, uint64_t *new_rev, struct fb_err *err)
{
    struct fb_coord_op op = {.key = key, .rev = rev, .value = value};
    return fb_coord_txn(c, &op, 1, new_rev, err);
}

enum fb_status fb_coord_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms)
{
    return c->ops->wait(c, seen_rev, timeout_ms);
}

void fb_coord_wake(struct fb_coord *c)
{
    c->ops->wake(c);
}

enum fb_status fb_coord_session(struct fb_coord *c, const char *name, struct fb_err *err)
{
    return c->ops->session(c, name, err);
}
