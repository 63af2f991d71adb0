/* The coordinator on one machine: a directory with `state` (file_state.h), `lock` and `sessions/`
 * (file_session.h). */
#include "proto/coord/backend.h"
#include "proto/coord/file_session.h"
#include "proto/coord/file_state.h"

#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/cluster/json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TIMEOUT_NS UINT64_C(5000000000)
#define LOCK_RETRY_NS 2000000
#define LIVENESS_POLL_MS 200u

struct file_coord {
    struct fb_coord base;
    char *dir;    /* const */
    int dirfd;    /* const */
    int wake_fd;  /* const, eventfd */
    int watch_fd; /* const, inotify; -1 = none, then polling alone */
    pthread_mutex_t mtx;
    struct file_state state;        /* mtx */
    int session_fd;                 /* mtx; -1 = no session */
    char session[SESSION_ID_BYTES]; /* mtx */
    uint64_t liveness_seen;         /* mtx: fingerprint at the last list */
};

static struct file_coord *of(struct fb_coord *c)
{
    return (struct file_coord *)c;
}

/* Which sessions that keys are bound to are held. */
static uint64_t liveness_locked(struct file_coord *f)
{
    uint64_t h = 0;
    const char *key;
    json_t *kv;

    json_object_foreach(f->state.keys, key, kv)
    {
        const char *session = json_string_value(json_object_get(kv, "session"));
        if (session != NULL && file_session_alive(f->dirfd, session))
            h ^= fb_hash64(key, strlen(key), fb_hash64(session, strlen(session), 1));
    }
    return h;
}

static enum fb_status lock_store(struct file_coord *f, int *out, struct fb_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    uint64_t until = fb_mono_ns() + LOCK_TIMEOUT_NS;
    int fd = openat(f->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s/lock: %s", f->dir,
                          strerror(errno));
    while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        int e = errno;
        if (e != EAGAIN && e != EACCES && e != EINTR) {
            close(fd);
            return fb_err_set(err, fb_status_of_errno(e), "lock %s/lock: %s", f->dir, strerror(e));
        }
        if (fb_mono_ns() > until) {
            close(fd);
            return fb_err_set(err, FB_ETIMEOUT,
                              "%s/lock is held by another process for more than 5 s", f->dir);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_NS}, NULL);
    }
    *out = fd; /* closing it unlocks */
    return FB_OK;
}

static uint64_t rev_of(const json_t *keys, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(keys, key), "rev"));
}

static enum fb_status compare_locked(const struct file_coord *f, const struct fb_coord_op *ops,
                                     size_t count, struct fb_err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t is = rev_of(f->state.keys, ops[i].key);
        if (ops[i].rev != UINT64_MAX && ops[i].rev != is)
            return fb_err_set(err, FB_EMISMATCH,
                              "%s changed meanwhile (revision %llu, expected %llu)", ops[i].key,
                              (unsigned long long)is, (unsigned long long)ops[i].rev);
        if (ops[i].session && f->session_fd < 0)
            return fb_err_set(err, FB_EINVAL,
                              "%s is to be bound to a session, but none was started", ops[i].key);
    }
    return FB_OK;
}

/* Making JSON does not fail: its memory ends the process when there is none (fb_json_memory), and
 * keys and values are UTF-8 (fb_coord_txn). */
static void put(json_t *object, const char *key, json_t *value)
{
    int failed = json_object_set_new(object, key, value);
    fb_assert(failed == 0);
}

static json_t *record_new(const struct file_coord *f, const struct fb_coord_op *op, uint64_t rev)
{
    json_t *kv = json_object();

    put(kv, "value", json_stringn((const char *)op->value.p, op->value.n));
    put(kv, "rev", json_integer((json_int_t)rev));
    if (op->session)
        put(kv, "session", json_string(f->session));
    return kv;
}

/* The keys after the operations; a new reference. Shares the records that do not change. */
static json_t *apply_locked(const struct file_coord *f, const struct fb_coord_op *ops, size_t count,
                            uint64_t rev)
{
    json_t *keys = json_copy(f->state.keys);

    for (size_t i = 0; i < count; i++) {
        if (ops[i].value.p == NULL)
            (void)json_object_del(keys, ops[i].key);
        else
            put(keys, ops[i].key, record_new(f, &ops[i], rev));
    }
    return keys;
}

static enum fb_status file_txn(struct fb_coord *c, const struct fb_coord_op *ops, size_t count,
                               uint64_t *rev, struct fb_err *err)
{
    struct file_coord *f = of(c);
    json_t *keys;
    enum fb_status s;
    int lock;

    pthread_mutex_lock(&f->mtx);
    s = lock_store(f, &lock, err);
    if (s != FB_OK)
        goto out_mutex;
    s = file_state_load(&f->state, f->dirfd, f->dir, err);
    if (s == FB_OK)
        s = compare_locked(f, ops, count, err);
    if (s != FB_OK)
        goto out_lock;
    *rev = f->state.revision + 1;
    keys = apply_locked(f, ops, count, *rev);
    s = file_state_store(f->dirfd, f->dir, keys, *rev, err);
    json_decref(keys);
    if (s == FB_OK)
        s = file_state_load(&f->state, f->dirfd, f->dir, err) == FB_OK ? FB_OK : FB_EUNKNOWN;
out_lock:
    close(lock);
out_mutex:
    pthread_mutex_unlock(&f->mtx);
    return s;
}

static enum fb_status file_get(struct fb_coord *c, const char *key, struct fb_buf *value,
                               uint64_t *rev, struct fb_err *err)
{
    struct file_coord *f = of(c);
    enum fb_status s;

    pthread_mutex_lock(&f->mtx);
    s = file_state_load(&f->state, f->dirfd, f->dir, err);
    if (s == FB_OK) {
        const json_t *v = json_object_get(json_object_get(f->state.keys, key), "value");
        if (v == NULL) {
            s = fb_err_set(err, FB_ENOENT, "the coordinator has no %s", key);
        } else {
            fb_buf_put(value, json_string_value(v), json_string_length(v));
            if (rev != NULL)
                *rev = rev_of(f->state.keys, key);
        }
    }
    pthread_mutex_unlock(&f->mtx);
    return s;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct fb_coord_kv *)a)->key, ((const struct fb_coord_kv *)b)->key);
}

static enum fb_status file_list(struct fb_coord *c, const char *prefix, struct fb_coord_list *out,
                                struct fb_err *err)
{
    struct file_coord *f = of(c);
    size_t prefix_n = strlen(prefix);
    enum fb_status s;
    const char *key;
    json_t *kv;

    pthread_mutex_lock(&f->mtx);
    s = file_state_load(&f->state, f->dirfd, f->dir, err);
    if (s != FB_OK)
        goto out;
    /* Before the list itself: what changes in between is then seen as a change by the next wait. */
    f->liveness_seen = liveness_locked(f);
    out->rev = f->state.revision;
    out->kv = fb_xcalloc(json_object_size(f->state.keys), sizeof(*out->kv));
    json_object_foreach(f->state.keys, key, kv)
    {
        const json_t *v = json_object_get(kv, "value");
        const char *session = json_string_value(json_object_get(kv, "session"));
        struct fb_coord_kv *to = &out->kv[out->count];
        uint8_t *copy;

        if (strncmp(key, prefix, prefix_n) != 0)
            continue;
        copy = fb_xmalloc(json_string_length(v) + 1);
        memcpy(copy, json_string_value(v), json_string_length(v) + 1);
        *to = (struct fb_coord_kv){.key = fb_xstrdup(key),
                                   .value = fb_bytes(copy, json_string_length(v)),
                                   .rev = rev_of(f->state.keys, key)};
        to->alive = session == NULL || file_session_alive(f->dirfd, session);
        out->count++;
    }
    qsort(out->kv, out->count, sizeof(*out->kv), by_key);
out:
    pthread_mutex_unlock(&f->mtx);
    return s;
}

static bool changed(struct file_coord *f, uint64_t seen_rev)
{
    bool yes;
    pthread_mutex_lock(&f->mtx);
    /* A store that cannot be read is worth a look too: the look gives the reason. */
    yes = file_state_load(&f->state, f->dirfd, f->dir, NULL) != FB_OK ||
          f->state.revision != seen_rev || liveness_locked(f) != f->liveness_seen;
    pthread_mutex_unlock(&f->mtx);
    return yes;
}

static enum fb_status file_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms)
{
    struct file_coord *f = of(c);
    uint64_t until = fb_mono_ns() + timeout_ms * UINT64_C(1000000);

    for (;;) {
        struct pollfd fds[2] = {{.fd = f->wake_fd, .events = POLLIN},
                                {.fd = f->watch_fd, .events = POLLIN}};
        uint64_t now, left_ms;
        char events[4096];

        if (changed(f, seen_rev))
            return FB_OK;
        now = fb_mono_ns();
        left_ms = now < until ? (until - now + 999999) / 1000000 : 0;
        (void)poll(fds, 2, (int)(left_ms < LIVENESS_POLL_MS ? left_ms : LIVENESS_POLL_MS));
        if (fds[0].revents != 0 && read(f->wake_fd, events, 8) == 8)
            return FB_OK;
        while (f->watch_fd >= 0 && read(f->watch_fd, events, sizeof(events)) > 0)
            ;
        if (left_ms == 0)
            return FB_ETIMEOUT;
    }
}

static void file_wake(struct fb_coord *c)
{
    uint64_t one = 1;
    if (write(of(c)->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        fb_assert(errno == EAGAIN);
}

static enum fb_status file_session(struct fb_coord *c, const char *name, struct fb_err *err)
{
    struct file_coord *f = of(c);
    enum fb_status s;

    pthread_mutex_lock(&f->mtx);
    s = f->session_fd >= 0 ? fb_err_set(err, FB_EBUSY, "this handle has a session already")
                           : file_session_take(f->dirfd, name, &f->session_fd, f->session, err);
    pthread_mutex_unlock(&f->mtx);
    return s;
}

static void file_close(struct fb_coord *c)
{
    struct file_coord *f = of(c);
    if (f->session_fd >= 0)
        close(f->session_fd);
    if (f->watch_fd >= 0)
        close(f->watch_fd);
    if (f->wake_fd >= 0)
        close(f->wake_fd);
    close(f->dirfd);
    file_state_fini(&f->state);
    pthread_mutex_destroy(&f->mtx);
    free(f->dir);
    free(f);
}

/* Under the store's lock, so that of two creators one sees the other's store. */
static enum fb_status create_store(struct file_coord *f, struct fb_err *err)
{
    enum fb_status s;
    int lock;

    s = lock_store(f, &lock, err);
    if (s != FB_OK)
        return s;
    s = file_state_load(&f->state, f->dirfd, f->dir, err);
    if (s == FB_ENOENT) {
        json_t *empty = json_object();
        s = file_state_store(f->dirfd, f->dir, empty, 1, err);
        json_decref(empty);
    }
    close(lock);
    return s;
}

/* Makes the directory so that it is there after a power loss, too: one that is there already may be
 * of a maker that ended before it could sync. */
static enum fb_status make_dir(const char *dir, struct fb_err *err)
{
    struct fb_buf up = {0};
    enum fb_status s = FB_OK;
    int fd;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return fb_err_set(err, fb_status_of_errno(errno), "create coordinator directory %s: %s",
                          dir, strerror(errno));
    fb_buf_put(&up, dir, strlen(dir));
    fb_buf_put(&up, "/..", 4);
    fd = open((const char *)up.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Who may not read it cannot sync it. */
    if (fd < 0 ? errno != EACCES : fsync(fd) != 0)
        s = fb_err_set(err, fb_status_of_errno(errno), "sync the directory above %s: %s", dir,
                       strerror(errno));
    if (fd >= 0)
        close(fd);
    fb_buf_fini(&up);
    return s;
}

enum fb_status fb_coord_file_open(const char *dir, bool create, struct fb_coord **out,
                                  struct fb_err *err)
{
    static const struct fb_coord_ops ops = {.close = file_close,
                                            .list = file_list,
                                            .txn = file_txn,
                                            .get = file_get,
                                            .wait = file_wait,
                                            .wake = file_wake,
                                            .session = file_session};
    struct file_coord *f;
    enum fb_status s;
    int fd;

    fb_json_memory();
    if (create) {
        s = make_dir(dir, err);
        if (s != FB_OK)
            return s;
    }
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open coordinator directory %s: %s", dir,
                          strerror(errno));
    f = fb_xcalloc(1, sizeof(*f));
    f->base.ops = &ops;
    f->dir = fb_xstrdup(dir);
    f->dirfd = fd;
    f->session_fd = -1;
    pthread_mutex_init(&f->mtx, NULL);
    f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Limits of the system on inotify only make changes later (the poll sees them). */
    f->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (f->watch_fd >= 0)
        (void)inotify_add_watch(f->watch_fd, dir, IN_MOVED_TO);
    if (f->wake_fd < 0)
        s = fb_err_set(err, fb_status_of_errno(errno), "coordinator: eventfd: %s", strerror(errno));
    else
        s = create ? create_store(f, err) : file_state_load(&f->state, f->dirfd, f->dir, err);
    if (s == FB_ENOENT)
        s = fb_err_set(err, FB_ENOENT, "there is no coordinator store in %s", dir);
    if (s != FB_OK) {
        file_close(&f->base);
        return s;
    }
    *out = &f->base;
    return FB_OK;
}
