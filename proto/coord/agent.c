/* The agent: the one thread of a process that talks to the coordinator. */
#include "proto/coord/applied.h"
#include "proto/coord/entry.h"

#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/thread.h"
#include "proto/rt/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define JOBS_MAX 1024u
#define WAIT_MS 1000u
#define RELIST_NS UINT64_C(5000000000) /* watches may lose hints (PROTOCOL 20) */
#define BACKOFF_MIN_NS UINT64_C(100000000)
#define BACKOFF_MAX_NS UINT64_C(2000000000)

struct job {
    struct fb_mail mail;
    fb_agent_job_fn fn;
    void *arg;
};

struct fb_agent {
    struct fb_coord *coord;      /* const */
    fb_agent_changed_fn changed; /* const */
    void *arg;                   /* const */
    struct fb_thread *thread;
    struct fb_mailbox *jobs;
    _Atomic bool stop;
    _Atomic bool up;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool delivered;                 /* mtx: the first state */
    struct fb_cluster_state *first; /* agent thread takes it */
    uint64_t rev;                   /* agent thread: store revision last seen */
    uint64_t fingerprint;           /* agent thread: of what was delivered last */
    bool known;                     /* agent thread: cluster is that of the first state */
    uint8_t cluster[16];            /* agent thread */
    uint64_t listed_ns;             /* agent thread */
    _Atomic(struct fb_applied *) applied;
    _Atomic(struct fb_entry *) member; /* of this process */
    uint64_t backoff_ns;               /* agent thread; 0 = coordinator is fine */
};

static uint64_t fingerprint(const struct fb_coord_list *l)
{
    uint64_t h = 1;
    for (size_t i = 0; i < l->count; i++) {
        /* what others run is no news for anybody but forebayctl */
        if (strncmp(l->kv[i].key, "applied/", 8) == 0)
            continue;
        h = fb_hash64(l->kv[i].key, strlen(l->kv[i].key), h + l->kv[i].alive);
        h = fb_hash64(&l->kv[i].rev, sizeof(l->kv[i].rev), h);
    }
    return h;
}

/* Another cluster's keys in place of ours are not acted upon (I34). */
static enum fb_status same_cluster(struct fb_agent *a, struct fb_cluster_state **s,
                                   struct fb_err *err)
{
    if (!a->known)
        memcpy(a->cluster, (*s)->map->cluster, sizeof(a->cluster));
    a->known = true;
    if (memcmp(a->cluster, (*s)->map->cluster, sizeof(a->cluster)) == 0)
        return FB_OK;
    fb_cluster_state_put(*s);
    *s = NULL;
    return fb_err_set(
        err, FB_EFOREIGN,
        "the coordinator holds another cluster now (key meta has another uuid); it is "
        "not used: put the right keys back, or restart this process");
}

/* Reads; *out is NULL when nothing changed since the last delivery. */
static enum fb_status look(struct fb_agent *a, struct fb_cluster_state **out, struct fb_err *err)
{
    struct fb_coord_list l;
    struct fb_applied *applied = atomic_load(&a->applied); /* before the list: it shows them */
    struct fb_entry *member = atomic_load(&a->member);
    enum fb_status s = fb_coord_list(a->coord, "", &l, err);
    uint64_t print;

    *out = NULL;
    if (s != FB_OK)
        return s;
    a->listed_ns = fb_mono_ns();
    a->rev = l.rev;
    if (member != NULL)
        fb_entry_seen(member, &l);
    if (applied != NULL)
        fb_applied_seen(applied, &l);
    print = fingerprint(&l);
    if (print != a->fingerprint) {
        s = fb_cluster_state_of_list(&l, out, err);
        if (s == FB_OK)
            s = same_cluster(a, out, err);
        if (s == FB_OK)
            a->fingerprint = print;
    }
    fb_coord_list_free(&l);
    return s;
}

static void run_jobs(struct fb_agent *a)
{
    struct fb_mail *m = fb_mailbox_take(a->jobs);
    while (m != NULL) {
        struct job *j = FB_CONTAINER_OF(m, struct job, mail);
        m = m->next;
        j->fn(j->arg, a->coord);
        free(j);
    }
}

static void failed(struct fb_agent *a, const struct fb_err *err)
{
    if (atomic_exchange(&a->up, false))
        FB_LOG(WARN, "coordinator does not answer, going on with what is known",
               FB_KS("error", err->msg));
    a->backoff_ns = a->backoff_ns == 0 ? BACKOFF_MIN_NS : a->backoff_ns * 2;
    if (a->backoff_ns > BACKOFF_MAX_NS)
        a->backoff_ns = BACKOFF_MAX_NS;
    fb_mailbox_wait(a->jobs, a->backoff_ns);
}

static void answered(struct fb_agent *a)
{
    if (!atomic_exchange(&a->up, true))
        FB_LOG0(INFO, "coordinator answers again");
    a->backoff_ns = 0;
}

static void tick(struct fb_agent *a)
{
    struct fb_cluster_state *s;
    struct fb_err err;

    if (a->backoff_ns == 0 && fb_coord_wait(a->coord, a->rev, WAIT_MS) != FB_OK &&
        fb_mono_ns() - a->listed_ns < RELIST_NS)
        return;
    if (look(a, &s, &err) != FB_OK) {
        failed(a, &err);
        return;
    }
    answered(a);
    fb_beat("takes a new state");
    if (s != NULL)
        a->changed(a->arg, s);
}

/* What this process says of itself. */
static void keep_entries(struct fb_agent *a)
{
    struct fb_applied *applied = atomic_load(&a->applied);
    struct fb_entry *member = atomic_load(&a->member);

    if (a->backoff_ns != 0)
        return;
    if (member != NULL)
        fb_entry_keep(member);
    if (applied != NULL)
        fb_applied_publish(applied);
}

static void agent_loop(void *arg)
{
    struct fb_agent *a = arg;

    a->changed(a->arg, a->first);
    a->first = NULL;
    pthread_mutex_lock(&a->mtx);
    a->delivered = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->mtx);
    while (!atomic_load(&a->stop)) {
        fb_beat_blocks(FB_BEAT_COORDINATOR, "carries out jobs");
        run_jobs(a);
        fb_beat_blocks(FB_BEAT_COORDINATOR, "waits for changes, or reads them");
        if (!atomic_load(&a->stop))
            tick(a);
        keep_entries(a);
    }
    run_jobs(a); /* what was accepted is carried out */
}

static void agent_free(struct fb_agent *a)
{
    fb_mailbox_free(a->jobs);
    pthread_cond_destroy(&a->cond);
    pthread_mutex_destroy(&a->mtx);
    free(a);
}

enum fb_status fb_agent_start(struct fb_coord *c, fb_agent_changed_fn changed, void *arg,
                              struct fb_agent **out, struct fb_err *err)
{
    struct fb_agent *a = fb_xcalloc(1, sizeof(*a));
    enum fb_status s;

    *out = NULL;
    a->coord = c;
    a->changed = changed;
    a->arg = arg;
    a->jobs = fb_mailbox_new(JOBS_MAX);
    atomic_init(&a->up, true);
    pthread_mutex_init(&a->mtx, NULL);
    pthread_cond_init(&a->cond, NULL);
    s = look(a, &a->first, err);
    if (s == FB_OK)
        s = fb_thread_start("fb-agent", agent_loop, a, &a->thread, err);
    if (s != FB_OK) {
        fb_cluster_state_put(a->first);
        agent_free(a);
        return s;
    }
    pthread_mutex_lock(&a->mtx);
    while (!a->delivered)
        pthread_cond_wait(&a->cond, &a->mtx);
    pthread_mutex_unlock(&a->mtx);
    *out = a;
    return FB_OK;
}

enum fb_status fb_agent_run(struct fb_agent *a, fb_agent_job_fn fn, void *arg)
{
    struct job *j = fb_xcalloc(1, sizeof(*j));
    j->fn = fn;
    j->arg = arg;
    if (fb_mailbox_put(a->jobs, &j->mail) != FB_OK) {
        free(j);
        return FB_EFULL;
    }
    fb_coord_wake(a->coord);
    return FB_OK;
}

void fb_agent_report(struct fb_agent *a, struct fb_applied *applied)
{
    atomic_store(&a->applied, applied);
    fb_coord_wake(a->coord);
}

void fb_agent_enter(struct fb_agent *a, struct fb_entry *e)
{
    atomic_store(&a->member, e);
    fb_coord_wake(a->coord);
}

void fb_agent_stop(struct fb_agent *a)
{
    if (a == NULL)
        return;
    atomic_store(&a->stop, true);
    fb_mailbox_wake(a->jobs);
    fb_coord_wake(a->coord);
    fb_thread_join(a->thread);
    agent_free(a);
}

bool fb_agent_up(const struct fb_agent *a)
{
    return atomic_load(&((struct fb_agent *)a)->up);
}
