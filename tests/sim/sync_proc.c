/* Sync processes: started, killed, paused, stopped (sync_proc.h). */
#include "tests/sim/sync_proc.h"

#include "tests/sim/node_proc.h"
#include "tests/sim/os.h"
#include "tests/sim/pg_model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SYNCS_MAX 3u
#define ARGS 10u

struct sync_proc {
    struct sync_world *y;
    struct sim_proc proc;
    struct sim_clock clock;
    char args[ARGS][96];
    char *argv[ARGS + 1];
    int argc;
    bool restarting;
};

struct sync_world {
    struct world *w;
    struct sync_proc p[SYNCS_MAX];
    uint32_t n;
};

static void arg(struct sync_proc *p, const char *fmt, ...) FB_PRINTF(2, 3);
static void arg(struct sync_proc *p, const char *fmt, ...)
{
    va_list ap;
    fb_assert(p->argc < (int)ARGS);
    va_start(ap, fmt);
    vsnprintf(p->args[p->argc], sizeof p->args[0], fmt, ap);
    va_end(ap);
    p->argv[p->argc] = p->args[p->argc];
    p->argc++;
}

static int run(void *arg_)
{
    struct sync_proc *p = arg_;
    return forebay_sync_main(p->argc, p->argv);
}

static void start(struct sync_proc *p)
{
    sim_trace(p->y->w->sim, "%s starts", p->proc.name);
    sim_proc_start(&p->proc, run, p);
}

static void restart_ev(void *arg_, uint64_t tag)
{
    struct sync_proc *p = arg_;
    (void)tag;
    p->restarting = false;
    if (!p->proc.alive)
        start(p);
}

static void ended(struct sim_proc *proc, enum sim_death how, int code)
{
    static const char *const names[] = {"exits", "stops itself", "is killed", "loses power"};
    struct sync_proc *p = proc->user;
    struct sim *s = p->y->w->sim;

    sim_trace(s, "%s %s (%d)", proc->name, names[how], code);
    pg_model_client_gone(p->y->w->pg, proc);
    if (proc->net != NULL)
        sim_net_kill(proc->net, how == SIM_POWER);
    proc->net = NULL;
    if (how == SIM_ABORTED)
        sim_violation(s, "abort", "%s stops itself: %s", proc->name, proc->last_error);
    p->restarting = true;
    sim_after(s, sim_spread(s, SIM_SYNC, 10 * SIM_MS, 8 * SIM_S), restart_ev, p, 0);
}

static void resume_ev(void *arg_, uint64_t tag)
{
    struct sync_proc *p = arg_;
    if (p->proc.number != tag || !p->proc.alive || !p->proc.paused)
        return;
    sim_trace(p->y->w->sim, "%s goes on", p->proc.name);
    sim_proc_pause(&p->proc, false);
    if (p->proc.net != NULL)
        sim_net_pause(p->proc.net, false);
}

static void strike(struct sync_proc *p)
{
    struct sim *s = p->y->w->sim;
    if (!p->proc.alive)
        return;
    if (sim_strikes(s, SIM_SYNC, SIM_FAULT_SYNC_KILL, 5000)) {
        sim_proc_end(&p->proc, sim_chance(s, SIM_SYNC, 200000) ? SIM_POWER : SIM_KILLED, 0);
    } else if (!p->proc.stop_wanted && sim_strikes(s, SIM_SYNC, SIM_FAULT_SYNC_STOP, 4000)) {
        sim_trace(s, "%s is told to stop", p->proc.name);
        p->proc.stop_wanted = true;
    } else if (!p->proc.paused && sim_strikes(s, SIM_SYNC, SIM_FAULT_SYNC_PAUSE, 6000)) {
        uint64_t ns = sim_spread(s, SIM_SYNC, 10 * SIM_MS, 30 * SIM_S);
        sim_trace(s, "%s is paused for %llu ms", p->proc.name, (unsigned long long)(ns / SIM_MS));
        sim_proc_pause(&p->proc, true);
        if (p->proc.net != NULL)
            sim_net_pause(p->proc.net, true);
        sim_after(s, ns, resume_ev, p, p->proc.number);
    }
}

static void faults_ev(void *arg_, uint64_t tag)
{
    struct sync_world *y = arg_;
    (void)tag;
    for (uint32_t i = 0; i < y->n; i++)
        strike(&y->p[i]);
    sim_after(y->w->sim, sim_range(y->w->sim, SIM_SYNC, 20, 180) * SIM_MS, faults_ev, y, 0);
}

/* ---- the module ---- */

static struct sim_fs *machine(struct sim *s)
{
    static const char conninfo[] = "host=postgres\n";
    struct sim_fs *fs = sim_fs_new(s);
    struct fs_node *dir = fs_make(fs, fs->nodes[0], "etc", true);
    struct fs_node *f = fs_make(fs, dir, "pg", false);
    (void)fs_resize(fs, f, sizeof conninfo - 1);
    (void)fs_write(fs, f, conninfo, sizeof conninfo - 1, 0);
    fs_sync(f);
    fs_sync(dir);
    fs_sync(fs->nodes[0]);
    return fs;
}

static void module_start(struct world *w)
{
    struct sync_world *y = fb_xcalloc(1, sizeof *y);
    struct sim *s = w->sim;
    w->sync = y;
    y->w = w;
    y->n = (uint32_t)sim_range(s, SIM_SYNC, 1, SYNCS_MAX);
    for (uint32_t i = 0; i < y->n; i++) {
        struct sync_proc *p = &y->p[i];
        p->y = y;
        sim_clock_init(&p->clock, s);
        p->proc = (struct sim_proc){
            .sim = s, .clock = &p->clock, .fs = machine(s), .user = p, .ended = ended};
        snprintf(p->proc.name, sizeof p->proc.name, "s%u", i + 1);
        arg(p, "forebay-sync");
        arg(p, "--process.name=%s", p->proc.name);
        arg(p, "--process.coordinator=file:///coord");
        arg(p, "--sync.conninfo_file=/etc/pg");
        arg(p, "--sync.listen=%s:7100", p->proc.name);
        arg(p, "--sync.apply_connections=%llu", (unsigned long long)sim_range(s, SIM_SYNC, 1, 3));
        arg(p, "--sync.load_connections=%llu", (unsigned long long)sim_range(s, SIM_SYNC, 1, 2));
        arg(p, "--admin.listen=127.0.0.1:0");
        p->argv[p->argc] = NULL;
        start(p);
    }
    sim_after(s, SIM_S, faults_ev, y, 0);
}

static void module_heal(struct world *w)
{
    struct sync_world *y = w->sync;
    for (uint32_t i = 0; i < y->n; i++) {
        sim_clock_heal(&y->p[i].clock);
        resume_ev(&y->p[i], y->p[i].proc.number);
    }
}

static bool module_settled(struct world *w, char *why, size_t n)
{
    struct sync_world *y = w->sync;
    uint64_t dirty = node_proc_dirty(w);
    for (uint32_t i = 0; i < y->n; i++)
        if (!y->p[i].proc.alive) {
            snprintf(why, n, "%s does not run: %s", y->p[i].proc.name, y->p[i].proc.last_error);
            return false;
        }
    if (dirty == 0)
        return true;
    snprintf(why, n, "%llu objects are not in PostgreSQL", (unsigned long long)dirty);
    return false;
}

static void module_finish(struct world *w)
{
    (void)w;
}

static void module_stop(struct world *w)
{
    struct sync_world *y = w->sync;
    for (uint32_t i = 0; i < y->n; i++) {
        y->p[i].proc.ended = NULL;
        if (y->p[i].proc.alive)
            sim_proc_end(&y->p[i].proc, SIM_KILLED, 0);
        sim_fs_free(y->p[i].proc.fs);
    }
    free(y);
    w->sync = NULL;
}

const struct world_module sync_module = {.name = "sync",
                                         .start = module_start,
                                         .heal = module_heal,
                                         .settled = module_settled,
                                         .finish = module_finish,
                                         .stop = module_stop};
