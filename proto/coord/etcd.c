/* The coordinator in etcd v3, over its JSON gateway: calls under one mutex, the watch of the thread
 * that waits, the session's own thread. */
#include "proto/coord/backend.h"
#include "proto/coord/etcd_session.h"
#include "proto/coord/etcd_watch.h"

#include "proto/cluster/json.h"

#include <stdlib.h>

struct etcd_coord {
    struct fb_coord base;
    struct etcd_shared shared;
    struct etcd_watch watch; /* waiting thread */
    struct etcd_session session;
    pthread_mutex_t mtx;
    struct etcd_link link;  /* mtx */
    uint64_t highest;       /* mtx: revision ever seen: going back is refused */
    struct fb_buf question; /* mtx */
};

static struct etcd_coord *of(struct fb_coord *c)
{
    return (struct etcd_coord *)c;
}

/* What no later answer may undo (I34): linearizable answers never go back. */
static enum fb_status known_locked(struct etcd_coord *e, const struct etcd_header *h,
                                   struct fb_err *err)
{
    enum fb_status s = etcd_same_cluster(&e->shared, h, err);

    if (s == FB_OK && h->revision < e->highest)
        s = fb_err_set(err, FB_ESTALE,
                       "etcd went back from revision %llu to %llu (an older copy was restored); it "
                       "is not used: put the newer one back, or restart this process",
                       (unsigned long long)e->highest, (unsigned long long)h->revision);
    if (s == FB_OK)
        e->highest = h->revision;
    return s;
}

static enum fb_status call_locked(struct etcd_coord *e, const char *path, enum etcd_kind kind,
                                  struct fb_bytes *answer, struct fb_err *err)
{
    return etcd_call(&e->link, path, fb_buf_view(&e->question), kind, ETCD_CALL_MS, answer, err);
}

static enum fb_status etcd_list(struct fb_coord *c, const char *prefix, struct fb_coord_list *out,
                                struct fb_err *err)
{
    struct etcd_coord *e = of(c);
    struct etcd_header h;
    struct fb_bytes answer;
    enum fb_status s;

    pthread_mutex_lock(&e->mtx);
    fb_buf_clear(&e->question);
    etcd_put_list(&e->question, e->shared.url.prefix, prefix);
    s = call_locked(e, "/v3/kv/txn", ETCD_READ, &answer, err);
    if (s == FB_OK)
        s = etcd_take_list(answer, e->shared.url.prefix, &h, out, err);
    if (s == FB_OK)
        s = known_locked(e, &h, err);
    if (s != FB_OK)
        fb_coord_list_free(out);
    pthread_mutex_unlock(&e->mtx);
    return s;
}

static enum fb_status etcd_get(struct fb_coord *c, const char *key, struct fb_buf *value,
                               uint64_t *rev, struct fb_err *err)
{
    struct etcd_coord *e = of(c);
    struct etcd_header h;
    struct fb_bytes answer;
    uint64_t is;
    enum fb_status s;

    pthread_mutex_lock(&e->mtx);
    fb_buf_clear(&e->question);
    etcd_put_get(&e->question, e->shared.url.prefix, key);
    s = call_locked(e, "/v3/kv/range", ETCD_READ, &answer, err);
    if (s == FB_OK) {
        size_t before = value->n;
        enum fb_status known;
        s = etcd_take_get(answer, &h, value, &is, err);
        known = s == FB_OK || s == FB_ENOENT ? known_locked(e, &h, err) : s;
        if (known != FB_OK)
            value->n = before;
        s = known != FB_OK ? known : s;
        if (s == FB_ENOENT)
            (void)fb_err_set(err, s, "the coordinator has no %s", key);
        if (s == FB_OK && rev != NULL)
            *rev = is;
    }
    pthread_mutex_unlock(&e->mtx);
    return s;
}

static enum fb_status etcd_txn(struct fb_coord *c, const struct fb_coord_op *ops, size_t count,
                               uint64_t *rev, struct fb_err *err)
{
    struct etcd_coord *e = of(c);
    struct etcd_header h;
    struct fb_bytes answer;
    enum fb_status s = FB_OK;

    pthread_mutex_lock(&e->mtx);
    for (size_t i = 0; i < count && s == FB_OK; i++)
        if (ops[i].session && e->session.thread == NULL)
            s = fb_err_set(err, FB_EINVAL, "%s is to be bound to a session, but none was started",
                           ops[i].key);
    if (s == FB_OK) {
        fb_buf_clear(&e->question);
        etcd_put_txn(&e->question, e->shared.url.prefix, e->session.id, ops, count);
        s = call_locked(e, "/v3/kv/txn", ETCD_WRITE, &answer, err);
        if (s == FB_OK) {
            enum fb_status known;
            s = etcd_take_txn(answer, ops, count, &h, err);
            /* executed and not understood, or by a foreign etcd: not known to be undone */
            known = s == FB_OK || s == FB_EMISMATCH ? known_locked(e, &h, err) : s;
            if (known != FB_OK)
                s = fb_err_wrap(err, FB_EUNKNOWN, "whether etcd carried this out is not known");
            else if (s == FB_OK)
                *rev = h.revision;
        }
    }
    pthread_mutex_unlock(&e->mtx);
    return s;
}

static enum fb_status etcd_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms)
{
    return etcd_watch_wait(&of(c)->watch, seen_rev, timeout_ms);
}

static void etcd_wake(struct fb_coord *c)
{
    etcd_watch_wake(&of(c)->watch);
}

static enum fb_status etcd_session(struct fb_coord *c, const char *name, struct fb_err *err)
{
    struct etcd_coord *e = of(c);
    enum fb_status s;

    pthread_mutex_lock(&e->mtx);
    s = etcd_session_start(&e->session, name, err);
    pthread_mutex_unlock(&e->mtx);
    return s;
}

static void etcd_close(struct fb_coord *c)
{
    struct etcd_coord *e = of(c);

    etcd_session_fini(&e->session);
    etcd_watch_fini(&e->watch);
    etcd_link_fini(&e->link);
    etcd_shared_fini(&e->shared);
    pthread_mutex_destroy(&e->mtx);
    fb_buf_fini(&e->question);
    free(e);
}

enum fb_status fb_coord_etcd_open(const char *url, bool create, struct fb_coord **out,
                                  struct fb_err *err)
{
    static const struct fb_coord_ops ops = {.close = etcd_close,
                                            .list = etcd_list,
                                            .txn = etcd_txn,
                                            .get = etcd_get,
                                            .wait = etcd_wait,
                                            .wake = etcd_wake,
                                            .session = etcd_session};
    struct etcd_coord *e = fb_xcalloc(1, sizeof(*e));
    enum fb_status s, part;
    struct fb_buf value = {0};

    (void)create; /* etcd is there or not; an empty one is as good as one that was just made */
    fb_json_memory();
    e->base.ops = &ops;
    pthread_mutex_init(&e->mtx, NULL);
    s = etcd_shared_init(&e->shared, url, err);
    part = etcd_link_init(&e->link, &e->shared, s == FB_OK ? err : NULL);
    s = s != FB_OK ? s : part;
    part = etcd_watch_init(&e->watch, &e->shared, s == FB_OK ? err : NULL);
    s = s != FB_OK ? s : part;
    part = etcd_session_init(&e->session, &e->shared, s == FB_OK ? err : NULL);
    s = s != FB_OK ? s : part;
    if (s == FB_OK) { /* so that who cannot reach it, or may not, hears it now */
        s = etcd_get(&e->base, "meta", &value, NULL, err);
        s = s == FB_ENOENT ? FB_OK : s;
    }
    fb_buf_fini(&value);
    if (s != FB_OK)
        etcd_close(&e->base);
    else
        *out = &e->base;
    return s;
}
