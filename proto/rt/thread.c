/* Threads registered with RCU, and the signals of a process as events. */
#include "proto/rt/thread.h"

#include "proto/base/assert.h"
#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/base/owner.h"
#include "proto/rt/rcu.h"
#include "proto/rt/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fb_thread {
    pthread_t id;
    fb_thread_fn fn; /* const */
    void *arg;       /* const */
    char name[16];   /* const */
};

static void *thread_main_cb(void *p)
{
    static _Atomic uint64_t last_number;
    struct fb_thread *t = p;
    fb_this_thread = atomic_fetch_add_explicit(&last_number, 1, memory_order_relaxed) + 1;
    rcu_register_thread();
    fb_watch_thread(t->name);
    t->fn(t->arg);
    fb_unwatch_thread();
    rcu_unregister_thread();
    return NULL;
}

/* Everything but what a fault of the thread itself raises: blocking those would turn a crash into a
 * hang. */
static void thread_mask(sigset_t *set)
{
    sigfillset(set);
    sigdelset(set, SIGSEGV);
    sigdelset(set, SIGBUS);
    sigdelset(set, SIGILL);
    sigdelset(set, SIGFPE);
    sigdelset(set, SIGABRT);
    sigdelset(set, SIGTRAP);
}

/* Starts a thread that no signal of the process reaches; 0 or an errno. */
static int create(pthread_t *id, const char *name, void *(*fn)(void *), void *arg)
{
    sigset_t mask, old;
    int rc;

    fb_assert(strlen(name) <= 15);
    thread_mask(&mask);
    pthread_sigmask(SIG_SETMASK, &mask, &old);
    rc = pthread_create(id, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        (void)pthread_setname_np(*id, name); /* only for people who look */
    return rc;
}

int fb_thread_plain(pthread_t *id, const char *name, void *(*fn)(void *))
{
    return create(id, name, fn, NULL);
}

enum fb_status fb_thread_start(const char *name, fb_thread_fn fn, void *arg, struct fb_thread **out,
                               struct fb_err *err)
{
    struct fb_thread *t = fb_xcalloc(1, sizeof(*t));
    int rc;

    t->fn = fn;
    t->arg = arg;
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
    *out = NULL;
    rc = create(&t->id, name, thread_main_cb, t);
    if (rc != 0) {
        free(t);
        return fb_err_set(err, fb_status_of_errno(rc), "start thread %s: %s", name, strerror(rc));
    }
    *out = t;
    return FB_OK;
}

void fb_thread_main_begin(void)
{
    rcu_register_thread();
}

void fb_thread_main_end(void)
{
    rcu_unregister_thread();
}

void fb_thread_join(struct fb_thread *t)
{
    int rc;
    if (t == NULL)
        return;
    rc = pthread_join(t->id, NULL);
    fb_assert(rc == 0);
    free(t);
}

static void signals_of_interest(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void fb_signals_setup(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t set;

    signals_of_interest(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a broken connection is a status of the write */
}

enum fb_signal_event fb_signals_wait(uint32_t timeout_ms)
{
    uint64_t until = fb_mono_ns() + (uint64_t)timeout_ms * 1000000u;
    sigset_t set;

    signals_of_interest(&set);
    for (;;) {
        uint64_t now = fb_mono_ns();
        uint64_t left = now < until ? until - now : 0;
        struct timespec ts = {.tv_sec = (time_t)(left / 1000000000u),
                              .tv_nsec = (long)(left % 1000000000u)};
        int sig = sigtimedwait(&set, NULL, &ts);
        if (sig == SIGHUP)
            return FB_SIGNAL_RELOAD;
        if (sig > 0)
            return FB_SIGNAL_STOP;
        if (errno == EAGAIN)
            return FB_SIGNAL_TIMEOUT;
        fb_assert(errno == EINTR);
    }
}
