/* Goal: with several copies no acknowledged write is lost, nothing uncommitted is seen, copies end
 * the same, whatever dies when. Method: three nodes with whole lanes, two partitions, clients that
 * set, count, read and run transactions, a sync process, and faults; one seed decides everything.
 * With a check left out (mutants copy_*) it has to find a violation. */
#include "tests/unit/node/copies_world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#define SEEDS 60u
#define MUTANT_SEEDS 1500u
#define STEPS 700u

static sigjmp_buf out;
static char what[256];
static bool quiet;
static struct cworld world;

void broken_rule(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    siglongjmp(out, 1);
}

static void on_abort(int sig)
{
    (void)sig;
    snprintf(what, sizeof what, "an assertion failed");
    siglongjmp(out, 1);
}

static bool lives(struct cworld *w)
{
    if (sigsetjmp(out, 1) != 0)
        return false;
    while (w->steps < STEPS)
        cworld_step(w);
    if (!cworld_heal(w))
        broken_rule("I36: the copies do not become the same");
    cjudge_end(w);
    cnode_hostile(w);
    return true;
}

static bool run(uint64_t seed)
{
    bool ok;

    cworld_init(&world, seed);
    ok = lives(&world);
    if (!ok && !quiet)
        printf("VIOLATION %s at step %llu\n  node_copies_sim --seed %llu\n", what,
               (unsigned long long)world.steps, (unsigned long long)seed);
    if (ok) /* else anything may be in any state */
        cworld_fini(&world);
    return ok;
}

static int seeds(uint64_t first, uint64_t count)
{
    uint64_t answered = 0, reads = 0, lease = 0, promoted = 0, restarts = 0, fed = 0, unknown = 0,
             durable = 0, local = 0, snaps = 0, filled = 0, held = 0, released = 0;

    for (uint64_t s = first; s < first + count; s++) {
        if (!run(s))
            return 3;
        answered += world.answered;
        reads += world.reads;
        lease += world.lease_reads;
        promoted += world.promotions;
        restarts += world.restarts;
        fed += world.fed;
        unknown += world.unknown;
        durable += world.durable;
        local += world.local;
        snaps += world.snaps;
        filled += world.filled;
        held += world.held;
        released += world.released;
    }
#define ULL(v) ((unsigned long long)(v))
    printf(
        "%llu seeds: answered %llu (durable %llu, local %llu) unknown %llu reads %llu lease %llu "
        "promotions %llu starts %llu fed %llu snapshots %llu ticks of copies %llu "
        "holds %llu given up %llu\n",
        ULL(count), ULL(answered), ULL(durable), ULL(local), ULL(unknown), ULL(reads), ULL(lease),
        ULL(promoted), ULL(restarts), ULL(fed), ULL(snaps), ULL(filled), ULL(held), ULL(released));
#undef ULL
    /* a world in which something never happens proves nothing about it */
    if (count >= SEEDS &&
        (answered == 0 || reads == 0 || lease == 0 || promoted == 0 || restarts <= count * CNODES ||
         fed == 0 || unknown == 0 || durable == 0 || local == 0 || snaps == 0 || filled == 0 ||
         held == 0 || released == 0 || released >= held)) {
        printf("VIOLATION the seeds leave something out\n");
        return 3;
    }
    return 0;
}

static int mutants(void)
{
    const char *name, *text;
    int missed = 0;

    quiet = true;
    for (unsigned i = 0; fb_mutant_at(i, &name, &text); i++) {
        uint64_t seed = 1;
        if (strncmp(name, "copy_", 5) != 0)
            continue;
        if (!fb_mutant_choose(name))
            abort();
        while (seed <= MUTANT_SEEDS && run(seed))
            seed++;
        if (seed > MUTANT_SEEDS) {
            printf("%-24s NOT FOUND in %u seeds: %s\n", name, MUTANT_SEEDS, text);
            missed++;
        } else {
            printf("%-24s found at seed %4llu: %s\n", name, (unsigned long long)seed, what);
        }
    }
    fb_mutant_choose("none");
    return missed;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, count = 1;
    struct sigaction sa = {.sa_handler = on_abort, .sa_flags = SA_NODEFER};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0)
            count = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--mutant") != 0 || !fb_mutant_choose(argv[i + 1]))
            return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGABRT, &sa, NULL);
    if (seed != 0)
        return seeds(seed, count);
    return seeds(1, SEEDS) != 0 || mutants() != 0 ? 1 : 0;
}
