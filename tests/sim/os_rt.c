/* What proto/rt and proto/base/{clock,random,log}.c are to a program, in a simulated process: the
 * same headers, on coroutines and virtual time. Also the few calls of the C library that block or
 * ask the system. */
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "proto/rt/admin.h"
#include "proto/rt/events.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/memory.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"
#include "proto/rt/watchdog.h"
#include "tests/sim/os.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct sim *world_sim;

void sim_os_world(struct sim *s)
{
    world_sim = s;
}

/* ---- clocks, randomness ---- */

uint64_t fb_mono_ns(void)
{
    return sim_clock_mono_ns(sim_self()->clock);
}

uint64_t fb_boot_ns(void)
{
    return fb_mono_ns();
}

uint64_t fb_wall_ms(void)
{
    return sim_clock_wall_ms(sim_self()->clock);
}

uint64_t fb_random_u64(void)
{
    uint64_t v = sim_rand(world_sim, SIM_PROC);
    return v == 0 ? 1 : v;
}

void fb_random_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    for (size_t i = 0; i < n; i++)
        at[i] = (uint8_t)sim_rand(world_sim, SIM_PROC);
}

int __wrap_clock_gettime(clockid_t id, struct timespec *out);
int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    if (sim_self() == NULL) /* the simulator's own main */
        return __real_clock_gettime(id, out);
    uint64_t ns = id == CLOCK_REALTIME ? fb_wall_ms() * SIM_MS : fb_mono_ns();
    out->tv_sec = (time_t)(ns / SIM_S);
    out->tv_nsec = (long)(ns % SIM_S);
    return 0;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
    (void)left;
    sim_sleep((uint64_t)t->tv_sec * SIM_S + (uint64_t)t->tv_nsec);
    return 0;
}

pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
    return 1000;
}

void __wrap_abort(void);
void __real_abort(void);
void __wrap_abort(void)
{
    struct sim_proc *p = sim_self();
    if (p == NULL || !sim_in_coro() || !p->alive)
        __real_abort();
    sim_proc_end(p, SIM_ABORTED, 0);
    __builtin_unreachable();
}

/* ---- log lines: part of the trace ---- */

void fb_log_setup(enum fb_log_level level, enum fb_log_format format, const char *process,
                  const char *name)
{
    (void)level;
    (void)format;
    (void)process;
    (void)name;
}

void fb_log_set_format(enum fb_log_format format)
{
    (void)format;
}

void fb_log_set_level(enum fb_log_level level)
{
    (void)level;
}

enum fb_status fb_log_level_parse(const char *s, enum fb_log_level *out)
{
    (void)s;
    *out = FB_LOG_INFO;
    return FB_OK;
}

bool fb_log_enabled(enum fb_log_level level)
{
    return level >= FB_LOG_INFO;
}

bool fb_log_wanted(enum fb_log_level level)
{
    return fb_log_enabled(level);
}

void fb_log_emit(enum fb_log_level level, const char *text, const struct fb_kv *kv, size_t count)
{
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    char line[600];
    int n = snprintf(line, sizeof line, "%s", text);
    if (world_sim == NULL || level < FB_LOG_INFO)
        return;
    for (size_t i = 0; i < count && n > 0 && (size_t)n < sizeof line; i++) {
        size_t room = sizeof line - (size_t)n;
        char *at = line + n;
        switch (kv[i].type) {
        case FB_KV_STR:
            n += snprintf(at, room, " %s=\"%s\"", kv[i].key, kv[i].s);
            break;
        case FB_KV_UINT:
            n += snprintf(at, room, " %s=%llu", kv[i].key, (unsigned long long)kv[i].u);
            break;
        case FB_KV_INT:
            n += snprintf(at, room, " %s=%lld", kv[i].key, (long long)kv[i].i);
            break;
        case FB_KV_BYTES:
            n += snprintf(at, room, " %s=\"%.*s\"", kv[i].key, (int)kv[i].b.n,
                          (const char *)kv[i].b.p);
            break;
        case FB_KV_DOUBLE:
            n += snprintf(at, room, " %s=%g", kv[i].key, kv[i].d);
            break;
        }
    }
    if (level == FB_LOG_ERROR && sim_self() != NULL)
        snprintf(sim_self()->last_error, sizeof sim_self()->last_error, "%s", line);
    sim_trace(world_sim, "%s %s: %s", sim_self() != NULL ? sim_self()->name : "-", names[level],
              line);
}

/* ---- threads, signals ---- */

struct fb_thread {
    struct sim_coro *coro;
};

enum fb_status fb_thread_start(const char *name, fb_thread_fn fn, void *arg, struct fb_thread **out,
                               struct fb_err *err)
{
    struct fb_thread *t = fb_xmalloc(sizeof *t);
    (void)name;
    (void)err;
    t->coro = sim_coro_start(fn, arg);
    *out = t;
    return FB_OK;
}

void fb_thread_main_begin(void)
{
} /* the store here is store_sim.c, without RCU */
void fb_thread_main_end(void)
{
}

void fb_thread_join(struct fb_thread *t)
{
    sim_coro_join(t->coro);
    free(t);
}

void fb_signals_setup(void)
{
}

enum fb_signal_event fb_signals_wait(uint32_t timeout_ms)
{
    struct sim_waitq never = {0};
    uint64_t end = sim_now_ns(world_sim) + timeout_ms * SIM_MS;
    while (!sim_self()->stop_wanted && !sim_self()->reload_wanted && sim_now_ns(world_sim) < end) {
        uint64_t step = sim_now_ns(world_sim) + 100 * SIM_MS;
        (void)sim_wait(&never, step < end ? step : end);
    }
    if (sim_self()->stop_wanted) { /* a signal is told once: the next is another */
        sim_self()->stop_wanted = false;
        return FB_SIGNAL_STOP;
    }
    if (!sim_self()->reload_wanted)
        return FB_SIGNAL_TIMEOUT;
    sim_self()->reload_wanted = false;
    return FB_SIGNAL_RELOAD;
}

/* ---- mailboxes ---- */

struct fb_mailbox {
    struct fb_mail *head, **tail;
    uint32_t count, limit;
    bool poked;
    struct sim_waitq sleeper;
};

struct fb_mailbox *fb_mailbox_new(uint32_t limit)
{
    struct fb_mailbox *m = fb_xcalloc(1, sizeof *m);
    m->tail = &m->head;
    m->limit = limit;
    return m;
}

void fb_mailbox_free(struct fb_mailbox *m)
{
    fb_assert(m == NULL || m->head == NULL);
    free(m);
}

void fb_mailbox_force(struct fb_mailbox *m, struct fb_mail *item)
{
    item->next = NULL;
    *m->tail = item;
    m->tail = &item->next;
    m->count++;
    sim_wake_one(&m->sleeper);
}

enum fb_status fb_mailbox_put(struct fb_mailbox *m, struct fb_mail *item)
{
    if (m->count >= m->limit)
        return FB_EFULL;
    fb_mailbox_force(m, item);
    return FB_OK;
}

struct fb_mail *fb_mailbox_take(struct fb_mailbox *m)
{
    struct fb_mail *out = m->head;
    m->head = NULL;
    m->tail = &m->head;
    m->count = 0;
    return out;
}

void fb_mailbox_wait(struct fb_mailbox *m, uint64_t timeout_ns)
{
    if (m->head == NULL && !m->poked && timeout_ns > 0)
        (void)sim_wait(&m->sleeper,
                       timeout_ns == UINT64_MAX ? UINT64_MAX : sim_now_ns(world_sim) + timeout_ns);
    m->poked = false;
}

void fb_mailbox_wake(struct fb_mailbox *m)
{
    m->poked = true;
    sim_wake_one(&m->sleeper);
}

/* ---- mutexes and conditions: what we keep in their memory; all zero is as initialised ---- */

struct sim_mutex {
    struct sim_proc *owner;
    struct sim_waitq waiting;
    uint64_t owner_number;
};
_Static_assert(sizeof(struct sim_mutex) <= sizeof(pthread_mutex_t), "room for our mutex");
_Static_assert(sizeof(struct sim_waitq) <= sizeof(pthread_cond_t), "room for our condition");

int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
    (void)attr;
    memset(m, 0, sizeof *m);
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *m);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *m)
{
    (void)m;
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
    struct sim_mutex *s = (void *)m;
    while (s->owner != NULL && s->owner->alive && s->owner->number == s->owner_number)
        (void)sim_wait(&s->waiting, UINT64_MAX);
    s->owner = sim_self();
    s->owner_number = s->owner == NULL ? 0 : s->owner->number;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
    struct sim_mutex *s = (void *)m;
    s->owner = NULL;
    sim_wake_one(&s->waiting);
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *attr);
int __wrap_pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *attr)
{
    (void)attr;
    memset(c, 0, sizeof *c);
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *c);
int __wrap_pthread_cond_destroy(pthread_cond_t *c)
{
    (void)c;
    return 0;
}

static int cond_wait(pthread_cond_t *c, pthread_mutex_t *m, uint64_t until_ns)
{
    bool woken;
    __wrap_pthread_mutex_unlock(m);
    woken = sim_wait((struct sim_waitq *)(void *)c, until_ns);
    __wrap_pthread_mutex_lock(m);
    return woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    return cond_wait(c, m, UINT64_MAX);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *t)
{
    uint64_t mono = (uint64_t)t->tv_sec * SIM_S + (uint64_t)t->tv_nsec;
    return cond_wait(c, m, sim_clock_when(sim_self()->clock, mono));
}

int __wrap_pthread_cond_signal(pthread_cond_t *c);
int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
    sim_wake_one((struct sim_waitq *)(void *)c);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
    sim_wake_all((struct sim_waitq *)(void *)c);
    return 0;
}

/* ---- not simulated: the admin port; metrics count nothing here ---- */

enum fb_status fb_admin_start(const char *listen, const struct fb_admin_hooks *hooks, char *bound,
                              struct fb_admin **out, struct fb_err *err)
{
    (void)hooks;
    (void)err;
    snprintf(bound, 256, "%s", listen);
    *out = NULL;
    return FB_OK;
}

void fb_admin_stop(struct fb_admin *a)
{
    (void)a;
}

struct fb_histogram *fb_histogram_register(const char *name, const char *labels, const char *help,
                                           bool rows)
{
    (void)name;
    (void)labels;
    (void)help;
    (void)rows;
    return NULL;
}

void fb_histogram_observe_ns(struct fb_histogram *h, uint64_t ns, uint64_t times)
{
    (void)h;
    (void)ns;
    (void)times;
}

void fb_histogram_observe_rows(struct fb_histogram *h, uint64_t rows)
{
    (void)h;
    (void)rows;
}

struct fb_counter *fb_counter_register(const char *name, const char *labels, const char *help)
{
    (void)name;
    (void)labels;
    (void)help;
    return NULL;
}

void fb_counter_add(struct fb_counter *c, uint64_t n)
{
    (void)c;
    (void)n;
}

void fb_gauge_register(const char *name, const char *help, fb_gauge_fn fn, void *arg)
{
    (void)name;
    (void)help;
    (void)fn;
    (void)arg;
}

void fb_gauge_emit(struct fb_buf *out, const char *name, const char *labels, double value)
{
    (void)out;
    (void)name;
    (void)labels;
    (void)value;
}

void fb_memory_emit(struct fb_buf *out, const struct fb_memory_kind *kinds, size_t n)
{
    (void)out;
    (void)kinds;
    (void)n;
}

/* ---- not simulated: the watchdog ---- */

void fb_beat(const char *note)
{
    (void)note;
}

void fb_beat_blocks(enum fb_beat_on on, const char *note)
{
    (void)on;
    (void)note;
}

void fb_watch_thread(const char *name)
{
    (void)name;
}

void fb_unwatch_thread(void)
{
}

enum fb_status fb_watchdog_start(uint64_t limit_ms, uint64_t abort_ms, struct fb_err *err)
{
    (void)limit_ms;
    (void)abort_ms;
    (void)err;
    return FB_OK;
}

void fb_watchdog_set(uint64_t limit_ms, uint64_t abort_ms)
{
    (void)limit_ms;
    (void)abort_ms;
}

void fb_watchdog_status(struct fb_buf *json)
{
    fb_buf_put_str(json, "{}");
}

/* Processes of a simulation share one log and have no life events of their own. */
void fb_events_setup(void)
{
}

void fb_events_json(struct fb_buf *out, uint64_t since)
{
    (void)since;
    fb_buf_put_str(out, "{}");
}
