/* forebay-sim: runs worlds, one process a seed, and reports. */
#include "proto/base/build.h"
#include "proto/base/mutant.h"
#include "proto/base/number.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "usage: forebay-sim [options]\n"
    "Simulates whole Forebay clusters with faults and checks what they promise. A seed decides\n"
    "everything: the same seed on the same commit is the same run.\n"
    "\n"
    "  --seed N        first seed (default 1)\n"
    "  --count K       how many seeds from there (default 1)\n"
    "  --trace         print what happens, a line an event\n"
    "  --key K         print the story of one key: what clients asked and were told about it, its\n"
    "                  records, and what befell the processes meanwhile\n"
    "  --plain         only plain worlds: a client and a sync process that speak frames\n"
    "  --copies        only worlds with several nodes and several copies of each partition\n"
    "  --twice         run each seed twice and compare the hashes of the two traces\n"
    "  --hash          print the hash of each seed's trace\n"
    "  --only A,B      only these kinds of faults exist (--only none: no faults)\n"
    "  --mutant NAME   leave out one check of the code (build: tools/build mutants)\n"
    "  --keep-going    do not stop at the first seed that fails\n"
    "  --seconds S     stop after S seconds, with the seeds done until then\n"
    "  --list-mutants  names and what they leave out\n"
    "  --list-faults   kinds of faults\n"
    "  --help          this text\n"
    "\n"
    "Exit status: 0 no violation, 3 a violation (its seed and trace are printed), 2 wrong usage.\n";

struct shared { /* between a seed's process and its parent */
    uint64_t counts[SIM_FAULT_COUNT];
    uint64_t hash, events, virtual_ns;
};

struct args {
    uint64_t seed, count, seconds;
    bool twice, hash, keep_going, has_only;
    bool only[SIM_FAULT_COUNT];
    struct sim_config config;
};

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "forebay-sim: %s '%s'; --help tells what there is\n", what, value);
    return 2;
}

static void on_signal(int sig)
{
    signal(sig, SIG_DFL);
    sim_crash_report(sig == SIGABRT ? "abort()" : sig == SIGALRM ? "no end" : "a signal");
    fflush(stdout);
    _exit(3);
}

static void run_seed(const struct args *a, uint64_t seed, struct shared *shared)
{
    struct sim_config config = a->config;
    config.seed = seed;
    config.fault_on = a->has_only ? a->only : NULL;
    signal(SIGABRT, on_signal);
#ifndef FB_SANITIZED
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
#endif
    signal(SIGALRM, on_signal);
    alarm(300);
    struct sim *s = sim_new(&config, shared->counts);
    world_run(s);
    shared->hash = sim_trace_hash(s);
    shared->events = sim_events(s);
    shared->virtual_ns = sim_now_ns(s);
    sim_free(s);
}

/* False: the seed failed. A process of its own, so that no seed sees what another left behind. */
static bool try_seed(const struct args *a, uint64_t seed, struct shared *shared)
{
    int status;
    fflush(NULL);
    pid_t pid = fork(); /* one thread so far */
    if (pid < 0) {
        perror("forebay-sim: cannot start a process for a seed");
        exit(2);
    }
    if (pid == 0) {
        run_seed(a, seed, shared);
        fflush(NULL);
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            abort();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 3)
        printf("VIOLATION crash: status %d; to repeat it: forebay-sim --seed %llu --trace, commit "
               "%s\n",
               status, (unsigned long long)seed, sim_commit);
    return false;
}

static void add(struct shared *sum, const struct shared *one)
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        sum->counts[i] += one->counts[i];
    sum->events += one->events;
    sum->virtual_ns += one->virtual_ns;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(const struct args *a)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct shared sum = {0};
    uint64_t done = 0, failed = 0;
    double start = now_s();
    if (shared == MAP_FAILED)
        abort();
    for (; done < a->count && (a->seconds == 0 || now_s() - start < (double)a->seconds); done++) {
        uint64_t seed = a->seed + done;
        memset(shared, 0, sizeof *shared);
        bool ok = try_seed(a, seed, shared);
        if (ok && a->twice) {
            uint64_t hash = shared->hash;
            memset(shared, 0, sizeof *shared);
            ok = try_seed(a, seed, shared);
            if (ok && shared->hash != hash) {
                printf("VIOLATION determinism: seed %llu gave the hashes %016llx and %016llx\n",
                       (unsigned long long)seed, (unsigned long long)hash,
                       (unsigned long long)shared->hash);
                ok = false;
            }
        }
        add(&sum, shared);
        if (a->hash)
            printf("seed %llu hash %016llx events %llu\n", (unsigned long long)seed,
                   (unsigned long long)shared->hash, (unsigned long long)shared->events);
        if (!ok) {
            failed++;
            if (!a->keep_going) {
                done++;
                break;
            }
        }
    }
    double took = now_s() - start;
    printf("seeds %llu failed %llu seconds %.1f seeds_per_second %.1f events %llu "
           "virtual_seconds %llu\n",
           (unsigned long long)done, (unsigned long long)failed, took,
           took > 0 ? (double)done / took : 0, (unsigned long long)sum.events,
           (unsigned long long)(sum.virtual_ns / SIM_S));
    printf("faults");
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf(" %s=%llu", sim_fault_name((enum sim_fault)i), (unsigned long long)sum.counts[i]);
    printf("\n");
    return failed > 0 ? 3 : 0;
}

static bool only(struct args *a, char *list)
{
    a->has_only = true;
    memset(a->only, 0, sizeof a->only);
    for (char *at = list, *next; at != NULL; at = next) {
        int i;
        next = strchr(at, ',');
        if (next != NULL)
            *next++ = 0;
        if (strcmp(at, "none") == 0)
            continue;
        for (i = 0; i < SIM_FAULT_COUNT; i++)
            if (strcmp(at, sim_fault_name((enum sim_fault)i)) == 0)
                break;
        if (i == SIM_FAULT_COUNT)
            return false;
        a->only[i] = true;
    }
    return true;
}

static int list_mutants(void)
{
    const char *name, *text;
    for (unsigned i = 0; fb_mutant_at(i, &name, &text); i++)
        printf("%-28s %s\n", name, text);
    return 0;
}

static int list_faults(void)
{
    for (int i = 0; i < SIM_FAULT_COUNT; i++)
        printf("%s\n", sim_fault_name((enum sim_fault)i));
    return 0;
}

static bool number(const char *text, uint64_t *out)
{
    int64_t n;
    if (!fb_parse_i64(fb_bytes_str(text), &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

int main(int argc, char **argv)
{
    enum {
        SEED = 256,
        COUNT,
        TRACE,
        KEY,
        PLAIN,
        COPIES,
        TWICE,
        HASH,
        ONLY,
        MUTANT,
        KEEP,
        SECONDS,
        LISTM,
        LISTF,
        HELP
    };
    static const struct option options[] = {
        {"seed", required_argument, NULL, SEED},    {"count", required_argument, NULL, COUNT},
        {"trace", no_argument, NULL, TRACE},        {"key", required_argument, NULL, KEY},
        {"plain", no_argument, NULL, PLAIN},        {"copies", no_argument, NULL, COPIES},
        {"twice", no_argument, NULL, TWICE},        {"hash", no_argument, NULL, HASH},
        {"only", required_argument, NULL, ONLY},    {"mutant", required_argument, NULL, MUTANT},
        {"keep-going", no_argument, NULL, KEEP},    {"seconds", required_argument, NULL, SECONDS},
        {"list-mutants", no_argument, NULL, LISTM}, {"list-faults", no_argument, NULL, LISTF},
        {"help", no_argument, NULL, HELP},          {NULL, 0, NULL, 0}};
    struct args a = {.seed = 1, .count = 1};
    int c;

    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        bool good = true;
        switch (c) {
        case SEED:
            good = number(optarg, &a.seed);
            break;
        case COUNT:
            good = number(optarg, &a.count);
            break;
        case SECONDS:
            good = number(optarg, &a.seconds);
            break;
        case TRACE:
            a.config.trace = true;
            break;
        case KEY:
            a.config.key = optarg;
            break;
        case PLAIN:
            a.config.plain = true;
            break;
        case COPIES:
            a.config.copies = true;
            break;
        case TWICE:
            a.twice = true;
            break;
        case HASH:
            a.hash = true;
            break;
        case KEEP:
            a.keep_going = true;
            break;
        case ONLY:
            good = only(&a, optarg);
            break;
        case MUTANT:
            a.config.mutant = optarg;
            if (!fb_mutant_choose(optarg))
                return usage("this build has no mutant", optarg);
            break;
        case LISTM:
            return list_mutants();
        case LISTF:
            return list_faults();
        case HELP:
            fputs(help, stdout);
            return 0;
        default:
            return 2;
        }
        if (!good)
            return usage("not a value for this option:", optarg);
    }
    if (optind < argc)
        return usage("unknown argument", argv[optind]);
    return run(&a);
}
