/* The coordinator's front: URLs, checks that every back end needs, dispatch. */
#include "proto/coord/coord.h"

#include "proto/coord/backend.h"

#include "proto/base/bounds.h"
#include "proto/base/utf8.h"
#include "proto/rt/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#define KEY_BYTES_MAX 256u

static pthread_once_t counters_once = PTHREAD_ONCE_INIT;
static struct fb_counter *counters[FB_COORD_COUNTS];

static void counters_register(void)
{
    static const struct {
        const char *name, *labels, *help;
    } c[FB_COORD_COUNTS] = {
#define REQUESTS(result)                                                                           \
    {"coordinator_requests_total", "result=\"" result "\"",                                        \
     "Questions to the coordinator; unknown: a transaction that may have been carried out."}
        [FB_COORD_OK] = REQUESTS("ok"),
        [FB_COORD_MISMATCH] = REQUESTS("mismatch"),
        [FB_COORD_UNKNOWN] = REQUESTS("unknown"),
        [FB_COORD_FAILED] = REQUESTS("failed"),
#undef REQUESTS
        [FB_COORD_WATCH_DROPPED] = {"coordinator_watch_drops_total", NULL,
                                    "Times the stream of changes from etcd ended and was begun "
                                    "again; nothing is missed by it."},
        [FB_COORD_SESSION_LOST] = {"coordinator_session_losses_total", NULL,
                                   "Times this process's lease in etcd ran out while it lived: "
                                   "others took it for gone."},
    };

    for (size_t i = 0; i < FB_COORD_COUNTS; i++)
        counters[i] = fb_counter_register(c[i].name, c[i].labels, c[i].help);
}

void fb_coord_count(enum fb_coord_count what)
{
    fb_counter_add(counters[what], 1);
}

static enum fb_status counted(enum fb_status s)
{
    fb_coord_count(s == FB_OK || s == FB_ENOENT ? FB_COORD_OK
                   : s == FB_EMISMATCH          ? FB_COORD_MISMATCH
                   : s == FB_EUNKNOWN           ? FB_COORD_UNKNOWN
                                                : FB_COORD_FAILED);
    return s;
}

enum fb_status fb_coord_open(const char *url, bool create, struct fb_coord **out,
                             struct fb_err *err)
{
    *out = NULL;
    (void)pthread_once(&counters_once, counters_register);
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
    if (strncmp(url, "etcd://", 7) == 0)
        return fb_coord_etcd_open(url, create, out, err);
    return fb_err_set(
        err, FB_EINVAL,
        "coordinator \"%s\" is neither file:///DIR nor etcd://HOST:PORT,.../CLUSTER%s%s", url,
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
    if (!fb_utf8_valid(fb_bytes_str(key), NULL))
        return fb_err_set(err, FB_EINVAL, "a coordinator key of %zu bytes is not UTF-8 text", n);
    if (key[0] == '.') /* a back end's own */
        return fb_err_set(err, FB_EINVAL, "coordinator key %s begins with a dot", key);
    return FB_OK;
}

enum fb_status fb_coord_get(struct fb_coord *c, const char *key, struct fb_buf *value,
                            uint64_t *rev, struct fb_err *err)
{
    enum fb_status s = check_key(key, err);
    return s != FB_OK ? s : counted(c->ops->get(c, key, value, rev, err));
}

enum fb_status fb_coord_list(struct fb_coord *c, const char *prefix, struct fb_coord_list *out,
                             struct fb_err *err)
{
    *out = (struct fb_coord_list){0};
    return counted(c->ops->list(c, prefix, out, err));
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
        struct fb_bytes v = ops[i].value;
        enum fb_status s = check_key(ops[i].key, err);
        if (s != FB_OK)
            return s;
        if ((v.n > 0 && memchr(v.p, 0, v.n) != NULL) || !fb_utf8_valid(v, NULL))
            return fb_err_set(err, FB_EINVAL, "value of %s is not UTF-8 text", ops[i].key);
    }
    return counted(c->ops->txn(c, ops, count, rev == NULL ? &ignored : rev, err));
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

bool fb_coord_name_ok(const char *name, size_t n)
{
    if (n == 0 || n > FB_NAME_BYTES_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || c == '.' || c == '/'))
            return false;
    }
    return true;
}

enum fb_status fb_coord_session(struct fb_coord *c, const char *name, struct fb_err *err)
{
    if (!fb_coord_name_ok(name, strlen(name)))
        return fb_err_set(
            err, FB_EINVAL,
            "session name \"%s\": letters, digits, '-', '_', '.' and '/' only, 1 to %u bytes", name,
            FB_NAME_BYTES_MAX);
    return c->ops->session(c, name, err);
}
