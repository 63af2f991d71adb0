/* The kernel of the simulator: one world with virtual time, an event heap, random streams, a trace.
 *
 * Everything that happens in a world happens in an event that sim_at asked for, one after the
 * other, on one thread. The same seed gives the same events in the same order: nothing here or
 * above may look at a wall clock, an address, uninitialised memory or the order of a hash of
 * pointers.
 *
 * A run has two phases. First faults strike (sim_strikes); then sim_heal stops them all, and what
 * remains has to come right in bounded virtual time (I36).
 */
#ifndef FB_TESTS_SIM_KERNEL_H_
#define FB_TESTS_SIM_KERNEL_H_

#include "proto/base/buf.h"

#define SIM_US UINT64_C(1000)
#define SIM_MS UINT64_C(1000000)
#define SIM_S UINT64_C(1000000000)
/* Of the build, with "-dirty" when files differ from it. */
extern const char sim_commit[];

#define SIM_WALL_START_MS UINT64_C(1700000000000) /* true time at sim_now_ns() == 0 */

struct sim;

/* One stream of random numbers per subsystem: a change in one does not shift the others. */
#define SIM_STREAM_LIST(X)                                                                         \
    X(SIM_PLAN)                                                                                    \
    X(SIM_WORLD)                                                                                   \
    X(SIM_SCHED)                                                                                   \
    X(SIM_NET)                                                                                     \
    X(SIM_DISK)                                                                                    \
    X(SIM_PROC)                                                                                    \
    X(SIM_CLOCK)                                                                                   \
    X(SIM_COORD)                                                                                   \
    X(SIM_NODE)                                                                                    \
    X(SIM_STORE)                                                                                   \
    X(SIM_PG)                                                                                      \
    X(SIM_SQL)                                                                                     \
    X(SIM_SYNC)                                                                                    \
    X(SIM_ROUTER)                                                                                  \
    X(SIM_CLIENT)

enum sim_stream {
#define X(name) name,
    SIM_STREAM_LIST(X)
#undef X
        SIM_STREAM_COUNT
};

/* Kinds of faults: name, text for people, in how many runs out of 100 the kind exists at all
 * (swarm: a run without some kinds reaches places that a run with all of them never does). */
#define SIM_FAULT_LIST(X)                                                                          \
    X(SIM_FAULT_NET_RESET, "net-reset", 60)     /* connection cut, what is in flight is lost */    \
    X(SIM_FAULT_NET_STALL, "net-stall", 50)     /* one way delivers nothing for a while */         \
    X(SIM_FAULT_NET_REFUSE, "net-refuse", 40)   /* dialling fails */                               \
    X(SIM_FAULT_NET_SLOW, "net-slow", 40)       /* one frame takes much longer */                  \
    X(SIM_FAULT_NODE_KILL, "node-kill", 60)     /* kill -9: what write(2) took survives */         \
    X(SIM_FAULT_NODE_POWER, "node-power", 50)   /* power loss: unsynced pages may be gone */       \
    X(SIM_FAULT_NODE_STOP, "node-stop", 40)     /* clean stop and start */                         \
    X(SIM_FAULT_NODE_PAUSE, "node-pause", 40)   /* SIGSTOP for a while */                          \
    X(SIM_FAULT_NODE_STORM, "node-storm", 20)   /* killed again while it starts */                 \
    X(SIM_FAULT_NODE_RELOAD, "node-reload", 40) /* SIGHUP: other options while it runs */          \
    X(SIM_FAULT_DISK_SLOW, "disk-slow", 50)     /* an fsync takes long */                          \
    X(SIM_FAULT_DISK_TORN, "disk-torn", 60)     /* power loss in the middle of a write */          \
    X(SIM_FAULT_DISK_LOST, "disk-lost", 60)     /* unsynced blocks gone in any order */            \
    X(SIM_FAULT_DISK_EIO, "disk-eio", 30)       /* a call fails: the process must die */           \
    X(SIM_FAULT_DISK_LIE, "disk-lie", 15)       /* an fsync says yes and did nothing */            \
    X(SIM_FAULT_DISK_FULL, "disk-full", 30)     /* ENOSPC, short writes */                         \
    X(SIM_FAULT_DISK_FLIP, "disk-flip", 15)     /* bit flips in files of a dead process */         \
    X(SIM_FAULT_DISK_GONE, "disk-gone", 10)     /* the whole directory is lost */                  \
    X(SIM_FAULT_CLOCK_JUMP, "clock-jump", 30)   /* the wall clock is set */                        \
    X(SIM_FAULT_CLOCK_DRIFT, "clock-drift", 40) /* rates differ */                                 \
    X(SIM_FAULT_COORD_AWAY, "coord-away", 40)   /* the coordinator does not answer */              \
    X(SIM_FAULT_COORD_SLOW, "coord-slow", 40)   /* it answers late */                              \
    X(SIM_FAULT_COORD_UNKNOWN, "coord-unknown", 40) /* a CAS whose outcome nobody tells */         \
    X(SIM_FAULT_COORD_LATE, "coord-late", 40) /* a CAS that executes after it was given up */      \
    X(SIM_FAULT_COORD_OLD, "coord-old", 20)   /* an older copy of its partition records */         \
    X(SIM_FAULT_OOM_EVICT, "memory-low", 40)  /* a small memory limit: eviction all the time */    \
    SIM_FAULT_LIST_SYNC(X)                                                                         \
    SIM_FAULT_LIST_ROUTER(X)                                                                       \
    SIM_FAULT_LIST_COPIES(X)

/* Only with several copies; the last ones, and nothing is drawn for them elsewhere. */
#define SIM_FAULT_LIST_COPIES(X)                                                                   \
    X(SIM_FAULT_NET_CUT, "net-cut", 60) /* between two machines, or around one, nothing passes */  \
    X(SIM_FAULT_CLOCK_WILD, "clock-wild", 15) /* rates that no lease allows for */

#include "tests/sim/faults_router.h"
#include "tests/sim/faults_sync.h"

enum sim_fault {
#define X(name, text, percent) name,
    SIM_FAULT_LIST(X)
#undef X
        SIM_FAULT_COUNT
};

const char *sim_fault_name(enum sim_fault kind);

#define SIM_DANGER_FEED "feed"
#define SIM_DANGER_PARK "park"
#define SIM_DANGER_START "start"
#define SIM_DANGER_SNAPSHOT "snapshot"

/* What a run is: drawn from the seed before anything else. */
struct sim_plan {
    bool on[SIM_FAULT_COUNT]; /* kinds that exist in this run */
    uint32_t heat;            /* 1..100: how often faults strike; percentages are scaled by it */
    uint64_t storm_ns;        /* how long faults strike */
    uint64_t calm_ns;         /* how long everything may take to come right afterwards */
    uint32_t ops;             /* about how many client operations */
    /* NULL, or the moment at which the node dies by preference in this run: in this call of the
     * disk, or the power goes soon after something: SIM_DANGER_FEED, a feed has given something
     * out; SIM_DANGER_PARK, a verdict was acknowledged; SIM_DANGER_START, it has started;
     * SIM_DANGER_SNAPSHOT, a snapshot has got its name. */
    const char *danger;
    const char *linger; /* NULL, or the call of the disk in which threads lose time in this run */
};

struct sim_config {
    uint64_t seed;
    bool trace;      /* print every line of the trace */
    const char *key; /* NULL, or print the story of this key: its lines, and who lived and died */
    bool plain;      /* only the plain world: no routers, no sync process (--plain) */
    bool copies;     /* only worlds with several copies of each partition (--copies) */
    const char *mutant;   /* NULL or a name of proto/base/mutant.h */
    const bool *fault_on; /* NULL, or SIM_FAULT_COUNT flags that replace the drawn ones (--only) */
};

/* `counts` has room for SIM_FAULT_COUNT numbers and gets the faults of this run as they strike. */
struct sim *sim_new(const struct sim_config *config, uint64_t *counts);
void sim_free(struct sim *s);
uint64_t sim_seed(const struct sim *s);
bool sim_plain(const struct sim *s);
bool sim_copies(const struct sim *s);
const struct sim_plan *sim_plan(const struct sim *s);

bool sim_dangerous(const struct sim *s, const char *danger); /* is this the run's danger? */

uint64_t sim_now_ns(const struct sim *s);
typedef void (*sim_fn)(void *arg, uint64_t tag);
/* Call fn(arg, tag) at `at_ns` (now, when that is past). Events of one instant run in the order
 * asked for. `tag`: for instance an incarnation; the callee ignores what is not of its present one,
 * and `arg` must stay valid until then (or until sim_free: events that are left are dropped). */
void sim_at(struct sim *s, uint64_t at_ns, sim_fn fn, void *arg, uint64_t tag);
void sim_after(struct sim *s, uint64_t delay_ns, sim_fn fn, void *arg, uint64_t tag);
/* Runs events up to and including `until_ns`, or until `done` says so (looked at after each event;
 * NULL: never). Gives whether `done` was true. Time is `until_ns` afterwards when it was not. */
bool sim_run(struct sim *s, uint64_t until_ns, bool (*done)(void *arg), void *arg);
uint64_t sim_events(const struct sim *s); /* run so far */

uint64_t sim_rand(struct sim *s, enum sim_stream st);
/* lo..hi, both inclusive */
uint64_t sim_range(struct sim *s, enum sim_stream st, uint64_t lo, uint64_t hi);
bool sim_chance(struct sim *s, enum sim_stream st, uint32_t per_million);
/* A time between lo and hi where every order of magnitude is as likely as the next. */
uint64_t sim_spread(struct sim *s, enum sim_stream st, uint64_t lo, uint64_t hi);

/* Does a fault of this kind happen here and now? False when the run is without the kind or healed;
 * `per_million` is scaled by the run's heat. Counts it when true. */
bool sim_strikes(struct sim *s, enum sim_stream st, enum sim_fault kind, uint32_t per_million);
/* Is the kind on (and the run not healed)? Draws nothing, counts nothing. */
bool sim_fault_on(const struct sim *s, enum sim_fault kind);
void sim_fault(struct sim *s, enum sim_fault kind); /* count one */
void sim_heal(struct sim *s);
bool sim_healed(const struct sim *s);

/* One line for people: "actor what". Always part of the hash; the last ones are printed with a
 * violation, all of them with --trace. No addresses, nothing that is not of the seed. */
void sim_trace(struct sim *s, const char *fmt, ...) FB_PRINTF(2, 3);
uint64_t sim_trace_hash(const struct sim *s);
/* `what`: the invariant ("I22") or a few words. Prints seed, commit, time, the end of the trace and
 * the command that repeats it; ends the process. */
FB_NORETURN void sim_violation(struct sim *s, const char *what, const char *fmt, ...)
    FB_PRINTF(3, 4);
/* For a signal handler: the same for a process that dies by an assertion or a signal. */
void sim_crash_report(const char *what);

#endif
