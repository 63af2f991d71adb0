/* Simulated processes: the threads of a real program as coroutines on virtual time.
 *
 * The program's own code runs unchanged, its main() included. Where it would block (a mailbox, a
 * condition, a mutex that is taken, an fsync, nanosleep) the coroutine stops and an event goes on
 * with it; who runs next is drawn from the seed. A process can die in any of these places and in
 * any call of the disk: its coroutines are never gone on with, what it had allocated is left lying
 * (the seed's own process ends soon).
 *
 * os_rt.c puts this under proto/rt and proto/base, os_file.c under the C library's file calls.
 */
#ifndef FB_TESTS_SIM_PROC_H_
#define FB_TESTS_SIM_PROC_H_

#include "tests/sim/clock.h"

struct sim_fs;
struct sim_net;
struct sim_coro;

enum sim_death {
    SIM_EXITED,  /* main returned: `code` */
    SIM_ABORTED, /* it called abort() */
    SIM_KILLED,  /* kill -9 */
    SIM_POWER    /* the machine lost power */
};

struct sim_proc {
    struct sim *sim;
    char name[32];
    struct sim_clock *clock; /* of the machine */
    struct sim_fs *fs;       /* of the machine; NULL: none */
    bool alive, paused;
    bool stop_wanted;   /* SIGTERM */
    bool reload_wanted; /* SIGHUP */
    uint64_t started_ns;
    uint64_t number; /* of this incarnation, from 1 */
    struct sim_coro *coros;
    struct sim_net *net; /* of this incarnation, NULL: none */
    void *user;
    char last_error[600]; /* its last log line of level error, with its values; "": none */
    /* Called once, from the kernel (never from a coroutine), when it has ended. */
    void (*ended)(struct sim_proc *p, enum sim_death how, int code);
    enum sim_death how;
    int code;
};

/* Coroutines waiting for something; all zero is empty. */
struct sim_waitq {
    struct sim_coro *head, *tail;
};

/* Starts `fn` as the main thread: it begins in an event. */
void sim_proc_start(struct sim_proc *p, int (*fn)(void *arg), void *arg);
/* It ends here and now. In a coroutine of its own this does not return. */
void sim_proc_end(struct sim_proc *p, enum sim_death how, int code);
/* Where `danger` is what is dangerous in this run (struct sim_plan): with this chance the machine
 * loses power within that time, if the process is the same one then. */
void sim_proc_endanger(struct sim_proc *p, const char *danger, uint32_t per_million,
                       uint64_t within_ns);
void sim_proc_pause(struct sim_proc *p, bool paused);

/* The process whose code runs now, NULL in the kernel. Callbacks into a process's code from events
 * are wrapped in enter and leave. */
struct sim_proc *sim_self(void);
struct sim_proc *sim_proc_enter(struct sim_proc *p); /* gives what leave wants */
void sim_proc_leave(struct sim_proc *before);
/* Is a coroutine running, which may block? */
bool sim_in_coro(void);

/* For coroutines. */
struct sim_coro *sim_coro_start(void (*fn)(void *arg), void *arg);
void sim_coro_join(struct sim_coro *c);
void sim_sleep(uint64_t ns);
/* Waits until woken (true) or true time is `until_ns` (false); UINT64_MAX: for ever. */
bool sim_wait(struct sim_waitq *q, uint64_t until_ns);
/* Any context. */
void sim_wake_one(struct sim_waitq *q);
void sim_wake_all(struct sim_waitq *q);

#endif
