/* Goal: the replica stream keeps PROTOCOL's P1, P2 and the invariants I1..I9, I11, I12, I13, I16,
 * I18, and ends with a full set once faults stop (I36); and every check that the code makes for it
 * is needed. Method: thousands of seeds of three nodes around the real node/core/replica*.c, with
 * connections that are cut, blocked and delayed, pauses, kills, losses of power, late and repeated
 * compare-and-swaps, promotions at any time, clocks whose rates differ; then each mutant
 * (proto/base/mutant.h, replica_*) has to be found. The core is compiled into this program with
 * mutants; without one chosen it is the code that runs.
 *
 *   node_replica_sim                         what CI runs
 *   node_replica_sim --seed N [--count M] [--mutant NAME]
 */
#include "tests/unit/node/replica_world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#define STEPS 1000u
#ifdef FB_SANITIZED
#define SEEDS 600u
#else
#define SEEDS 3000u
#endif
#define MUTANT_SEEDS 3000u

static struct world world;
static sigjmp_buf broken;
static bool quiet;
static char what[512];

void violation(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    w->failed = true;
    siglongjmp(broken, 1);
}

/* An assertion of the code is a finding, too. */
static void on_abort(int sig)
{
    (void)sig;
    snprintf(what, sizeof what, "an assertion of the code fails");
    siglongjmp(broken, 1);
}

/* A primary that nobody hears any more, and somebody who takes over: what fail-over is for. */
static void isolate(struct world *w)
{
    uint32_t p = node_index(w->rec.primary.node);
    bool paused = w->pauses && chance(w, 50);

    if (paused)
        w->node[p].paused_until = w->now + 1000 * MS + below(w, 3000) * MS;
    for (uint32_t j = 0; j < NODES && !paused; j++) {
        if (j == p)
            continue;
        if (chance(w, 50))
            link_set(w, p, j, false);
        w->link[p][j].blocked = chance(w, 50);
        w->link[j][p].blocked = chance(w, 50);
    }
    coord_take_over(w);
    w->quiet_until = w->now + below(w, 5000) * MS; /* long enough for it to serve */
}

static void faults(struct world *w)
{
    uint32_t i = below(w, NODES), j = (i + 1 + below(w, NODES - 1)) % NODES;
    struct anode *n = &w->node[i];

    if (w->now < w->quiet_until)
        return;
    if (w->partitions && w->promotions && below(w, w->harsh ? 100 : 200) == 0)
        isolate(w);
    if (w->partitions && chance(w, w->harsh ? 3 : 1))
        link_set(w, i, j, false);
    if (w->partitions && chance(w, w->harsh ? 3 : 1))
        w->link[i][j].blocked = chance(w, 40);
    if (!w->up[i][j] && chance(w, 10))
        link_set(w, i, j, true);
    if (w->restarts && n->rl != NULL && below(w, w->harsh ? 100 : 300) == 0)
        node_stop(w, i, (w->blackouts || w->frail == i) && chance(w, 60));
    if (w->blackouts && w->restarts && below(w, 300) == 0)
        for (uint32_t k = 0; k < NODES; k++)
            if (w->node[k].rl != NULL)
                node_stop(w, k, true);
    if (n->rl == NULL && chance(w, 8))
        node_start(w, i);
    if (n->rl != NULL && below(w, 400) == 0) /* it is told that j's process is about to stop */
        replica_node_at(n->rl, replica_node_of(n->rl, w->node[j].name))->leaving_inc =
            chance(w, 50) ? w->node[j].inc : 0;
    if (w->pauses && chance(w, 1))
        n->paused_until = w->now + below(w, 3000) * MS;
}

/* Only a node of which no process is in the set, nor in the one that is asked for: its log, dead
 * process or not, is what a recovery of the whole set would count on. */
static void copy_learner(struct world *w, uint32_t i)
{
    uint32_t p = node_index(w->rec.primary.node), n;
    struct fb_member set[FB_REPLICAS_MAX * 2];
    bool learns = false;

    for (uint32_t k = 0; k < w->rec.learner_count; k++)
        learns |= strcmp(w->rec.learners[k], w->node[i].name) == 0;
    if (learns && i != p && member_is_alive(w, &w->rec.primary) &&
        replica_role(node_replica(w, p)) == REPLICA_OPEN &&
        replica_epoch(node_replica(w, p)) == w->rec.epoch) {
        n = replica_members(node_replica(w, p), set);
        for (uint32_t k = 0; k < n; k++)
            learns &= strcmp(set[k].node, w->node[i].name) != 0;
        if (learns)
            node_copy(w, i, p);
    }
}

static void step(struct world *w)
{
    w->steps++;
    w->now += below(w, 40) * MS;
    node_tick(w, below(w, NODES));
    if (chance(w, 60))
        node_tick(w, below(w, NODES));
    if (chance(w, w->slow_sync ? 1 : 40))
        node_sync(w, below(w, NODES));
    if (chance(w, w->late_cas ? 3 : 20))
        coord_execute(w);
    if (w->promotions && w->now >= w->quiet_until && below(w, w->harsh ? 70 : 300) == 0)
        coord_promote(w);
    if (chance(w, 5))
        coord_control(w);
    if (chance(w, 4))
        copy_learner(w, below(w, NODES));
    faults(w);
    judge_always(w);
}

static bool whole(const struct world *w)
{
    uint32_t p = node_index(w->rec.primary.node);

    if (w->rec.isr_count != NODES || !member_is_alive(w, &w->rec.primary) ||
        replica_role(node_replica(w, p)) != REPLICA_OPEN)
        return false;
    for (uint32_t i = 0; i < NODES; i++) {
        const struct replica *r = node_replica(w, i);
        if (replica_epoch(r) != w->rec.epoch || replica_com_ver(r) != replica_last_ver(r) ||
            replica_last_ver(r) != replica_last_ver(node_replica(w, p)))
            return false;
    }
    return true;
}

/* I36 */
static void heal(struct world *w)
{
    w->healed = true;
    for (uint32_t i = 0; i < NODES; i++) {
        w->node[i].paused_until = 0;
        for (uint32_t j = 0; j < NODES; j++) {
            w->link[i][j].blocked = false;
            if (i != j && w->node[i].rl != NULL)
                replica_node_at(w->node[i].rl, replica_node_of(w->node[i].rl, w->node[j].name))
                    ->leaving_inc = 0;
        }
    }
    for (uint32_t round = 0; round < 2000; round++) {
        w->now += 20 * MS;
        for (uint32_t i = 0; i < NODES; i++) {
            if (w->node[i].rl == NULL)
                node_start(w, i);
            for (uint32_t j = i + 1; j < NODES; j++)
                link_set(w, i, j, true);
            node_tick(w, i);
            node_sync(w, i);
        }
        coord_execute(w);
        if (round % 10 == 0)
            coord_control(w);
        if (round % 50 == 0 && !member_is_alive(w, &w->rec.primary))
            coord_promote(w);
        for (uint32_t i = 0; round % 200 == 199 && i < NODES; i++)
            copy_learner(w, i);
        judge_always(w);
        if (whole(w))
            return;
    }
    violation(w, "I36: the set is not whole again: epoch %u, %u in sync", w->rec.epoch,
              w->rec.isr_count);
}

static bool lives(struct world *w)
{
    if (sigsetjmp(broken, 1) != 0)
        return false;
    heal(w); /* from one node to three in sync */
    w->healed = false;
    while (w->steps < STEPS)
        step(w);
    heal(w);
    return true;
}

static bool run(uint64_t seed)
{
    bool ok;

    world_init(&world, seed);
    ok = lives(&world);
    if (!ok && !quiet)
        printf("VIOLATION %s at step %llu\n  node_replica_sim --seed %llu\n", what,
               (unsigned long long)world.steps, (unsigned long long)seed);
    world_fini(&world);
    return ok;
}

struct sums {
    uint64_t writes, answered, durable, degraded, opened, lease, confirmed, power, kills, casses,
        cuts, copies;
};

static void add(struct sums *s, const struct world *w)
{
    s->writes += w->writes;
    s->answered += w->answered;
    s->durable += w->durable;
    s->degraded += w->degraded;
    s->opened += w->opened;
    s->lease += w->lease_reads;
    s->confirmed += w->confirmed_reads;
    s->power += w->power_losses;
    s->kills += w->kills;
    s->casses += w->casses;
    s->cuts += w->cuts;
    s->copies += w->copies;
}

static void print(const struct sums *s, uint64_t seeds)
{
#define ULL(v) ((unsigned long long)s->v)
    printf("%llu seeds: writes %llu answered %llu (durable %llu, degraded %llu) opened %llu "
           "reads: lease %llu confirmed %llu; kills %llu power losses %llu changed sets %llu "
           "cut logs %llu copies %llu\n",
           (unsigned long long)seeds, ULL(writes), ULL(answered), ULL(durable), ULL(degraded),
           ULL(opened), ULL(lease), ULL(confirmed), ULL(kills), ULL(power), ULL(casses), ULL(cuts),
           ULL(copies));
#undef ULL
}

static int seeds(uint64_t first, uint64_t count)
{
    struct sums sums = {0};

    for (uint64_t s = first; s < first + count; s++) {
        if (!run(s))
            return 3;
        add(&sums, &world);
    }
    print(&sums, count);
    /* a world in which something never happens proves nothing about it */
    if (count >= 500 &&
        (sums.durable == 0 || sums.degraded == 0 || sums.lease == 0 || sums.confirmed == 0 ||
         sums.power == 0 || sums.cuts == 0 || sums.copies == 0 || sums.opened < count * 2)) {
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
        if (strncmp(name, "replica_", 8) != 0)
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
