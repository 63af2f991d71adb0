/* Sessions as leases of etcd. */
#include "proto/coord/etcd_session.h"

#include "proto/coord/backend.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/rt/watchdog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define KEEP_MS (ETCD_SESSION_TTL_S * 1000u / 3)
#define RETRY_MS 300u
#define CALL_MS 2000u
#define TAKE_NS (ETCD_SESSION_TTL_S * UINT64_C(2000000000))

enum fb_status etcd_session_init(struct etcd_session *s, struct etcd_shared *shared,
                                 struct fb_err *err)
{
    pthread_condattr_t attr;

    *s = (struct etcd_session){0};
    pthread_mutex_init(&s->mtx, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->cond, &attr);
    pthread_condattr_destroy(&attr);
    return etcd_link_init(&s->link, shared, err);
}

/* ---- who holds it ---- */

static void first_word(const char *path, char *out, size_t n)
{
    FILE *f = fopen(path, "re");

    if (f == NULL || fgets(out, (int)n, f) == NULL)
        snprintf(out, n, "-");
    out[strcspn(out, " \r\n")] = '\0';
    if (f != NULL)
        fclose(f);
}

/* When the process began, in ticks since the boot: the 22nd field of its stat, behind the name in
 * parentheses. 0: there is no such process. False: it is not known, as without a descriptor; nobody
 * is called ended for that. */
static bool began(long pid, uint64_t *ticks)
{
    char path[64], text[1024];
    const char *at;
    bool gone;
    FILE *f;

    *ticks = 0;
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return errno == ENOENT;
    errno = 0;
    at = fgets(text, sizeof(text), f);
    gone = errno == ESRCH; /* since it was opened */
    fclose(f);
    if (at == NULL)
        return gone;
    at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *ticks = strtoull(at + 1, NULL, 10);
    return true;
}

static void describe(struct etcd_session *s, uint64_t token)
{
    char host[65] = "-", boot[64];
    uint64_t start;

    (void)began((long)getpid(), &start);
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof(host), "-");
    first_word("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    snprintf(s->value, sizeof(s->value), "%016" PRIx64 " %s %s %ld %" PRIu64, token, host, boot,
             (long)getpid(), start);
}

/* What is known of a holder: of a process of another host nothing, until its lease runs out. */
enum holder { HOLDER_ENDED, HOLDER_RUNS, HOLDER_ELSEWHERE };

static enum holder look(const struct etcd_session *s, const char *holder, char host[65], long *pid)
{
    char boot[64], my_host[65], my_boot[64];
    uint64_t start, my_start, now;
    long my_pid;

    host[0] = '\0';
    *pid = 0;
    if (sscanf(holder, "%*s %64s %63s %ld %" SCNu64, host, boot, pid, &start) != 4 ||
        sscanf(s->value, "%*s %64s %63s %ld %" SCNu64, my_host, my_boot, &my_pid, &my_start) != 4 ||
        strcmp(host, my_host) != 0 || strcmp(boot, my_boot) != 0 || start == 0 ||
        !began(*pid, &now))
        return HOLDER_ELSEWHERE;
    return now == start ? HOLDER_RUNS : HOLDER_ENDED;
}

/* ---- taking it ---- */

static enum fb_status grant(struct etcd_session *s, struct fb_err *err)
{
    struct fb_buf body = {0};
    struct etcd_header h;
    struct fb_bytes answer;
    uint64_t ttl;
    enum fb_status st;

    etcd_put_grant(&body, ETCD_SESSION_TTL_S);
    /* a lease that nobody knows of runs out by itself: asking twice does no harm */
    st = etcd_call(&s->link, "/v3/lease/grant", fb_buf_view(&body), ETCD_READ, CALL_MS, &answer,
                   err);
    if (st == FB_OK)
        st = etcd_take_lease(answer, &h, &s->lease, &ttl, err);
    if (st == FB_OK)
        st = etcd_same_cluster(s->link.shared, &h, err);
    fb_buf_fini(&body);
    return st;
}

/* The key with our value, if its revision is `rev`. FB_EMISMATCH: *holder and *is of who is there.
 */
static enum fb_status take(struct etcd_session *s, uint64_t rev, struct fb_buf *holder,
                           uint64_t *is, struct fb_err *err)
{
    struct fb_buf body = {0};
    struct etcd_header h;
    struct fb_bytes answer;
    enum fb_status st;

    fb_buf_clear(holder);
    etcd_put_session(&body, s->link.shared->url.prefix, s->name, rev, s->value, s->lease);
    st = etcd_call(&s->link, "/v3/kv/txn", fb_buf_view(&body), ETCD_WRITE, CALL_MS, &answer, err);
    if (st == FB_OK)
        st = etcd_take_session(answer, &h, holder, is, err);
    if (st == FB_OK || st == FB_EMISMATCH) {
        enum fb_status same = etcd_same_cluster(s->link.shared, &h, err);
        st = same != FB_OK ? same : st;
    }
    fb_buf_put_u8(holder, 0);
    /* an earlier try that was not answered was carried out */
    if (st == FB_EMISMATCH && strcmp((const char *)holder->p, s->value) == 0)
        st = FB_OK;
    fb_buf_fini(&body);
    return st;
}

static void pause_ms(struct etcd_session *s, uint32_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->mtx);
    while (!s->stop && pthread_cond_timedwait(&s->cond, &s->mtx, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&s->mtx);
}

static enum fb_status take_name(struct etcd_session *s, struct fb_err *err)
{
    uint64_t until = fb_mono_ns() + TAKE_NS, rev = 0;
    struct fb_buf holder = {0};
    enum fb_status st = grant(s, err);

    while (st == FB_OK) {
        uint64_t is = 0;
        enum holder now;
        char host[65];
        long pid;
        st = take(s, rev, &holder, &is, err);
        if (st == FB_EUNKNOWN && fb_mono_ns() < until) {
            st = FB_OK; /* the next answer tells */
            pause_ms(s, RETRY_MS);
            continue;
        }
        if (st == FB_OK) {
            s->rev = is;
            break;
        }
        if (st != FB_EMISMATCH)
            break;
        st = FB_OK;
        rev = is; /* over one that has ended; 0 when none is there any more */
        now = is == 0 ? HOLDER_ENDED : look(s, (const char *)holder.p, host, &pid);
        if (now == HOLDER_ENDED)
            continue;
        rev = 0;
        if (now == HOLDER_RUNS || fb_mono_ns() > until)
            st = fb_err_set(err, FB_EBUSY,
                            "%s is running already, as process %ld on host %s; stop it or choose "
                            "another name",
                            s->name, pid, host);
        else
            pause_ms(s, RETRY_MS);
        if (st == FB_OK && fb_mono_ns() > until - TAKE_NS / 2)
            st = grant(s, err); /* ours must not run out meanwhile */
    }
    fb_buf_fini(&holder);
    return st;
}

/* ---- keeping it ---- */

/* FB_ENOENT: the lease is no more. */
static enum fb_status keep(struct etcd_session *s, struct fb_err *err)
{
    struct fb_buf body = {0};
    struct etcd_header h;
    struct fb_bytes answer;
    uint64_t lease, ttl = 0;
    enum fb_status st;

    etcd_put_lease(&body, s->lease);
    st = etcd_call(&s->link, "/v3/lease/keepalive", fb_buf_view(&body), ETCD_READ, CALL_MS, &answer,
                   err);
    if (st == FB_OK)
        st = etcd_take_lease(answer, &h, &lease, &ttl, err);
    if (st == FB_OK && ttl == 0)
        st = fb_err_set(err, FB_ENOENT, "the lease ran out");
    fb_buf_fini(&body);
    return st;
}

/* The lease ran out: the same session again, so that the keys bound to it are alive again. */
static enum fb_status again(struct etcd_session *s, struct fb_err *err)
{
    struct fb_buf holder = {0};
    uint64_t is = 0;
    enum fb_status st = grant(s, err);

    if (st == FB_OK)
        st = take(s, 0, &holder, &is, err);
    if (st == FB_EMISMATCH && !s->said) {
        s->said = true;
        FB_LOG(WARN, "another process has taken this one's name in the coordinator",
               FB_KS("name", s->name), FB_KS("holder", (const char *)holder.p));
    }
    if (st == FB_OK)
        FB_LOG(INFO, "session in the coordinator taken again", FB_KS("name", s->name));
    fb_buf_fini(&holder);
    return st;
}

static void session_loop(void *arg)
{
    struct etcd_session *s = arg;
    bool lost = false;
    uint32_t next_ms = KEEP_MS;

    for (;;) {
        struct fb_err err = {0};
        enum fb_status st;
        bool stop;
        fb_beat_blocks(FB_BEAT_COORDINATOR, "keeps the session");
        pause_ms(s, next_ms);
        pthread_mutex_lock(&s->mtx);
        stop = s->stop;
        pthread_mutex_unlock(&s->mtx);
        if (stop)
            return;
        st = lost ? again(s, &err) : keep(s, &err);
        if (!lost && st == FB_ENOENT) {
            lost = true;
            fb_coord_count(FB_COORD_SESSION_LOST);
            st = again(s, &err);
        }
        if (st == FB_OK) {
            lost = s->said = false;
        } else if (st != FB_EMISMATCH) {
            FB_LOG(DEBUG, "session in the coordinator not refreshed, trying again",
                   FB_KS("error", err.msg));
        }
        next_ms = st == FB_OK ? KEEP_MS : RETRY_MS;
    }
}

enum fb_status etcd_session_start(struct etcd_session *s, const char *name, struct fb_err *err)
{
    uint64_t token = fb_random_u64();
    enum fb_status st;

    if (s->thread != NULL)
        return fb_err_set(err, FB_EBUSY, "this handle has a session already");
    free(s->name);
    s->name = fb_xstrdup(name);
    snprintf(s->id, sizeof(s->id), "%s:%016" PRIx64, name, token);
    describe(s, token);
    st = take_name(s, err);
    return st == FB_OK ? fb_thread_start("fb-session", session_loop, s, &s->thread, err) : st;
}

void etcd_session_fini(struct etcd_session *s)
{
    if (s->thread != NULL) {
        struct fb_buf body = {0};
        struct fb_bytes answer;
        struct fb_err err;
        pthread_mutex_lock(&s->mtx);
        s->stop = true;
        pthread_cond_signal(&s->cond);
        pthread_mutex_unlock(&s->mtx);
        fb_thread_join(s->thread);
        etcd_put_lease(&body, s->lease);
        if (etcd_call(&s->link, "/v3/lease/revoke", fb_buf_view(&body), ETCD_READ, 1000, &answer,
                      &err) != FB_OK)
            FB_LOG(DEBUG, "session in the coordinator runs out by itself", FB_KS("error", err.msg));
        fb_buf_fini(&body);
    }
    etcd_link_fini(&s->link);
    free(s->name);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mtx);
}
