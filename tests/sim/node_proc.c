/* One machine with forebay-node on it (node_proc.h). */
#include "tests/sim/node_proc_impl.h"

#include "node/core/lane_impl.h"
#include "node/io/worker.h"
#include "tests/sim/coord.h"
#include "tests/sim/coord_old.h"
#include "tests/sim/node_main.h"
#include "tests/sim/os_net.h"

#include <stdio.h>
#include <stdlib.h>

static void start(struct node_proc *n);

void node_proc_on_loss(struct world *w, node_lost_fn fn, void *arg)
{
    struct node_proc *n = w->node[0]; /* who listens lives in worlds with one */
    fb_assert(n->lost_n < LOSS_LISTENERS_MAX);
    n->lost[n->lost_n].fn = fn;
    n->lost[n->lost_n++].arg = arg;
}

void node_tell_loss(struct node_proc *n, enum node_loss loss)
{
    if (loss > n->loss)
        n->loss = loss;
    for (uint32_t i = 0; i < n->lost_n; i++)
        n->lost[i].fn(n->lost[i].arg, loss);
}

static struct node *running(const struct node_proc *n)
{
    return n->proc.alive ? node_check_node(n->check) : NULL;
}

uint64_t node_proc_wall_seen_ms(struct world *w)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < w->nodes; i++)
        if (w->node[i]->clock.wall_seen_ms > most)
            most = w->node[i]->clock.wall_seen_ms;
    return most;
}

/* The least, or the most, of what the machines' clocks say. */
static uint64_t of_clocks(struct world *w, uint64_t (*says)(struct sim_clock *c), bool most)
{
    uint64_t best = says(&w->node[0]->clock);
    for (uint32_t i = 1; i < w->nodes; i++) {
        uint64_t ms = says(&w->node[i]->clock);
        if (most ? ms > best : ms < best)
            best = ms;
    }
    return best;
}

uint64_t node_proc_take_set_back_ms(struct world *w)
{
    return of_clocks(w, sim_clock_take_set_back_ms, false);
}

uint64_t node_proc_wall_ms(struct world *w)
{
    return of_clocks(w, sim_clock_wall_ms, false);
}

uint64_t node_proc_wall_max_ms(struct world *w)
{
    return of_clocks(w, sim_clock_wall_ms, true);
}

uint32_t node_proc_holders(const struct world *w, uint16_t part, uint64_t ver)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->nodes; i++)
        n += node_check_has(w->node[i]->check, part, ver);
    return n;
}

/* Objects and tombstones of one partition above its checkpoints. */
static uint64_t part_dirty(struct part *p)
{
    uint64_t n = 0;
    for (uint32_t i = 0; p != NULL && i < p->feed_cap; i++) {
        const struct feed *f = p->feeds[i];
        if (f == NULL)
            continue;
        for (uint32_t s = f->dirty.head; s != SLOT_NONE; s = slab_slot(p->sp, s)->next)
            n += slab_object(p->sp, s)->ver > f->ckpt;
    }
    return n;
}

uint64_t node_proc_dirty(struct world *w)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node *n = running(w->node[i]);
        if (n == NULL)
            return UINT64_MAX;
        for (uint32_t p = 0; p < w->partitions; p++) {
            struct part *part = n->workers[p % n->worker_count]->lane->parts[p];
            if (w->nodes == 1 || (part != NULL && part->open))
                sum += part_dirty(part);
        }
    }
    return sum;
}

/* ---- its ends ---- */

static void restart_ev(void *arg_, uint64_t tag)
{
    struct node_proc *n = arg_;
    (void)tag;
    n->restarting = false;
    if (!n->proc.alive)
        start(n);
}

static void restart_after(struct node_proc *n, uint64_t ns)
{
    if (n->restarting)
        return;
    n->restarting = true;
    sim_after(n->w->sim, ns, restart_ev, n, 0);
}

static void ended(struct sim_proc *p, enum sim_death how, int code)
{
    static const char *const names[] = {"exits", "stops itself", "is killed", "loses power"};
    struct node_proc *n = p->user;
    struct sim *s = n->w->sim;
    bool lied = p->fs->lied;

    sim_trace(s, "%s %s (%d)", p->name, names[how], code);
    if (p->net != NULL)
        sim_net_kill(p->net, how == SIM_POWER);
    p->net = NULL;
    if (node_check_recovered(n->check))
        n->loss = NODE_LOSS_NOTHING;
    node_check_end(n->check);
    for (uint32_t i = 0; i < p->fs->node_n; i++)
        p->fs->nodes[i]->lock_of = NULL;
    if (how == SIM_ABORTED && !p->fs->failed && !p->fs->full_said)
        sim_violation(s, "abort", "the node stops itself without a reason: %s", n->proc.last_error);
    if (how == SIM_POWER) {
        sim_fs_power_loss(p->fs);
        n->ever_lied = n->ever_lied || lied;
    }
    node_tell_loss(n, how == SIM_POWER ? (lied ? NODE_LOSS_ANY : NODE_LOSS_UNSYNCED)
                                       : NODE_LOSS_NOTHING);
    if (how == SIM_EXITED && code != 0)
        node_refused(n);
    else if (how != SIM_EXITED || code == 0)
        n->refusals = 0;
    p->fs->errors = 0;
    p->fs->failed = false;
    if (sim_healed(s))
        p->fs->full_said = false;
    if (n->give_up)
        node_give_up_dir(n, "it is behind PostgreSQL");
    n->give_up = false;
    node_medium_strike(n);
    if (n->coord_old != NULL && n->loss != NODE_LOSS_NOTHING)
        coord_old_end(n->coord_old); /* the log need not know any more what it had */
    restart_after(n, sim_spread(s, SIM_PROC, 5 * SIM_MS, 4 * SIM_S));
}

static int node_start(void *arg_)
{
    struct node_proc *n = arg_;
    return forebay_node_main(n->args.argc, n->args.argv);
}

static void start(struct node_proc *n)
{
    node_args_start(&n->args, n->accept_empty);
    n->coord_failed = sim_coord_failures(n->w->coord);
    n->proc.fs->full_said = n->proc.fs->room != UINT64_MAX;
    sim_trace(n->w->sim, "%s starts%s", n->proc.name, n->accept_empty ? ", as it is" : "");
    node_check_start(n->check, &n->proc, n->loss);
    node_check_must_refuse(n->check, n->broken_medium && n->lost_file[0] == 0);
    n->accept_empty = false;
    sim_proc_start(&n->proc, node_start, n);
    sim_proc_endanger(&n->proc, SIM_DANGER_START, 300000, 2 * SIM_S);
}

/* ---- faults ---- */

static void kill_ev(void *arg_, uint64_t tag)
{
    struct node_proc *n = arg_;
    if (n->proc.alive && n->proc.number == tag && !sim_healed(n->w->sim)) {
        sim_fault(n->w->sim, SIM_FAULT_NODE_STORM);
        sim_proc_end(&n->proc, sim_chance(n->w->sim, SIM_PROC, 300000) ? SIM_POWER : SIM_KILLED, 0);
    }
}

static void resume_ev(void *arg_, uint64_t tag)
{
    struct node_proc *n = arg_;
    if (n->proc.number != tag || !n->proc.alive)
        return;
    sim_trace(n->w->sim, "%s goes on", n->proc.name);
    sim_proc_pause(&n->proc, false);
    if (n->proc.net != NULL)
        sim_net_pause(n->proc.net, false);
}

static void room_ev(void *arg_, uint64_t tag)
{
    struct node_proc *n = arg_;
    (void)tag;
    n->proc.fs->room = UINT64_MAX;
    n->proc.fs->low = false;
    sim_trace(n->w->sim, "disk has room again");
}

static void strike_proc(struct node_proc *n)
{
    struct sim *s = n->w->sim;
    struct sim_proc *p = &n->proc;
    if (!p->alive)
        return;
    if (sim_strikes(s, SIM_PROC, SIM_FAULT_NODE_KILL, 8000)) {
        sim_proc_end(p, SIM_KILLED, 0);
        if (sim_fault_on(s, SIM_FAULT_NODE_STORM))
            sim_after(s, sim_spread(s, SIM_PROC, SIM_MS, 3 * SIM_S), kill_ev, n, p->number + 1);
    } else if (sim_strikes(s, SIM_PROC, SIM_FAULT_NODE_POWER, 6000)) {
        sim_proc_end(p, SIM_POWER, 0);
        if (sim_fault_on(s, SIM_FAULT_NODE_STORM))
            sim_after(s, sim_spread(s, SIM_PROC, SIM_MS, 3 * SIM_S), kill_ev, n, p->number + 1);
    } else if (sim_strikes(s, SIM_PROC, SIM_FAULT_NODE_STOP, 6000)) {
        sim_trace(s, "%s is told to stop", p->name);
        p->stop_wanted = true;
    } else if (!p->paused && sim_strikes(s, SIM_PROC, SIM_FAULT_NODE_PAUSE, 6000)) {
        uint64_t ns = sim_spread(s, SIM_PROC, 10 * SIM_MS, 20 * SIM_S);
        sim_trace(s, "%s is paused for %llu ms", p->name, (unsigned long long)(ns / SIM_MS));
        sim_proc_pause(p, true);
        if (p->net != NULL)
            sim_net_pause(p->net, true);
        sim_after(s, ns, resume_ev, n, p->number);
    }
    if (p->alive && !p->reload_wanted && sim_strikes(s, SIM_PROC, SIM_FAULT_NODE_RELOAD, 6000)) {
        node_args_change(&n->args);
        sim_trace(s, "operator reloads %s", p->name);
        p->reload_wanted = true;
    }
}

/* The network between this machine and another, or all of them. */
static void strike_wire(struct node_proc *n)
{
    struct sim *s = n->w->sim;
    uint64_t i = sim_range(s, SIM_NET, 0, n->w->nodes);
    const char *other = i == n->w->nodes ? SIM_COORD_NAME : n->w->node[i]->proc.name;
    uint64_t until = sim_now_ns(s) + sim_spread(s, SIM_NET, 50 * SIM_MS, 15 * SIM_S);
    if (sim_chance(s, SIM_NET, 250000)) {
        sim_wire_cut(n->w->wire, n->proc.name, NULL, until);
    } else {
        sim_wire_cut(n->w->wire, n->proc.name, other, until);
        if (sim_chance(s, SIM_NET, 500000))
            sim_wire_cut(n->w->wire, other, n->proc.name, until);
    }
}

static void strike_machine(struct node_proc *n)
{
    struct sim *s = n->w->sim;
    if (n->w->nodes > 1 && sim_strikes(s, SIM_NET, SIM_FAULT_NET_CUT, n->w->wild ? 50000 : 5000))
        strike_wire(n);
    if (sim_strikes(s, SIM_CLOCK, SIM_FAULT_CLOCK_JUMP, 5000)) {
        sim_clock_jump(&n->clock);
        sim_trace(s, "%s clock is set to %llu", n->proc.name,
                  (unsigned long long)sim_clock_wall_ms(&n->clock));
    }
    if (n->proc.fs->room == UINT64_MAX && sim_strikes(s, SIM_DISK, SIM_FAULT_DISK_FULL, 4000)) {
        n->proc.fs->room = sim_range(s, SIM_DISK, 0, 600000);
        n->proc.fs->low = sim_chance(s, SIM_DISK, 700000);
        n->proc.fs->full_said = true;
        sim_trace(s, "disk has room for %llu more bytes", (unsigned long long)n->proc.fs->room);
        sim_after(s, sim_spread(s, SIM_DISK, 100 * SIM_MS, 10 * SIM_S), room_ev, n, 0);
    }
}

/* A node does not serve a partition of which PostgreSQL has what its log never had. */
static void look_behind(struct node_proc *n)
{
    const struct node *node = node_check_node(n->check);
    if (!n->proc.alive || node == NULL || n->give_up || atomic_load(&node->refused_count) == 0)
        return;
    if (!n->ever_lied)
        sim_violation(n->w->sim, "I34",
                      "the node finds its log behind PostgreSQL, and nothing was lost of it");
    n->give_up = n->proc.stop_wanted = true;
}

static void faults_ev(void *arg_, uint64_t tag)
{
    struct node_proc *n = arg_;
    struct sim *s = n->w->sim;
    (void)tag;
    node_check_state(n->check);
    look_behind(n);
    if (running(n) != NULL)
        n->gone = false;
    if (running(n) != NULL && n->lost_file[0] != 0) {
        n->lost_file[0] = 0; /* it was not needed */
        n->broken_medium = false;
    }
    strike_proc(n);
    strike_machine(n);
    if (n->coord_old != NULL && running(n) != NULL)
        coord_old_strike(n->coord_old);
    sim_after(s, sim_range(s, SIM_PROC, 20, 180) * SIM_MS, faults_ev, n, 0);
}

static uint32_t log_epoch(void *arg, uint16_t part)
{
    const struct node_proc *n = arg;
    return node_check_recovered(n->check) ? fb_ver_epoch(node_check_written(n->check, part)) : 0;
}

/* ---- the module ---- */

/* The node that a process is, NULL: it is none. */
static struct node_proc *node_of(const struct sim_proc *p)
{
    return p->ended == ended ? p->user : NULL;
}

static void on_sent(struct sim_proc *from, const struct sim_conn *c, struct fb_bytes frames)
{
    struct node_proc *n = node_of(from);
    struct node_sent sent;
    if (n == NULL)
        return;
    sent = node_check_sent(n->check, c, frames);
    if (sent.fed > 0)
        sim_proc_endanger(&n->proc, SIM_DANGER_FEED, 30000, 100 * SIM_MS);
    if (sent.verdicts > 0)
        sim_proc_endanger(&n->proc, SIM_DANGER_PARK, 200000, 100 * SIM_MS);
}

static void on_received(struct sim_proc *to, const struct sim_conn *c, const struct fb_frame *f)
{
    struct node_proc *n = node_of(to);
    if (n != NULL)
        node_check_received(n->check, c, f);
}

static void machine_start(struct world *w, uint32_t i)
{
    struct node_proc *n = fb_xcalloc(1, sizeof *n);
    w->node[i] = n;
    n->w = w;
    sim_clock_init(&n->clock, w->sim);
    if (w->wild)
        n->clock.drift_ppm = sim_chance(w->sim, SIM_CLOCK, 500000) ? 500000 : -500000;
    n->proc = (struct sim_proc){
        .sim = w->sim, .clock = &n->clock, .fs = sim_fs_new(w->sim), .user = n, .ended = ended};
    snprintf(n->proc.name, sizeof n->proc.name, "n%u", i + 1);
    snprintf(n->log_dir, sizeof n->log_dir, "/data/%s/log", n->proc.name);
    (void)fs_make(n->proc.fs, n->proc.fs->nodes[0], "data", true);
    fs_sync(n->proc.fs->nodes[0]);
    n->check = node_check_new(w->sim, w->ledger, w->partitions, w->namespaces);
    if (w->nodes == 1) {
        n->coord_old = coord_old_new(w, log_epoch, n);
        sim_coord_log_epochs(w->coord, log_epoch, n);
    }
    node_args_init(&n->args, w->sim, n->proc.name);
    start(n);
    sim_after(w->sim, SIM_S, faults_ev, n, 0);
}

static void module_start(struct world *w)
{
    sim_os_net_world(w->wire, on_sent, on_received);
    for (uint32_t i = 0; i < w->nodes; i++)
        machine_start(w, i);
}

static void module_heal(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node_proc *n = w->node[i];
        n->proc.fs->room = UINT64_MAX;
        n->proc.fs->low = false;
        sim_clock_heal(&n->clock);
        if (n->coord_old != NULL)
            coord_old_end(n->coord_old);
        if (n->proc.alive && n->proc.paused)
            resume_ev(n, n->proc.number);
    }
}

/* Where is partition p open? */
static struct node_proc *open_at(const struct world *w, uint32_t p)
{
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node *n = running(w->node[i]);
        if (n != NULL && n->open_epoch != NULL && atomic_load(&n->open_epoch[p]) != 0)
            return w->node[i];
    }
    return NULL;
}

static bool module_settled(struct world *w, char *why, size_t size)
{
    for (uint32_t i = 0; i < w->nodes; i++)
        if (running(w->node[i]) == NULL) {
            snprintf(why, size, "node %s does not run: %s", w->node[i]->proc.name,
                     w->node[i]->proc.last_error);
            return false;
        }
    for (uint32_t p = 0; p < w->partitions; p++) {
        uint32_t in_sync = sim_coord_in_sync(w->coord, p);
        if (open_at(w, p) == NULL) {
            snprintf(why, size, "partition %u is open nowhere; %s says: %s", p,
                     w->node[0]->proc.name, running(w->node[0])->last_problem);
            return false;
        }
        if (in_sync <= w->replicas) {
            snprintf(why, size, "partition %u has %u copies that are in sync instead of %u", p,
                     in_sync, w->replicas + 1);
            return false;
        }
    }
    return true;
}

static void module_finish(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node_proc *n = w->node[i];
        node_check_state(n->check);
        if (!n->proc.reload_wanted)
            node_args_check(&n->args, node_check_node(n->check));
    }
}

static void module_stop(struct world *w)
{
    for (uint32_t i = 0; i < w->nodes; i++) {
        struct node_proc *n = w->node[i];
        n->proc.ended = NULL;
        if (n->proc.alive)
            sim_proc_end(&n->proc, SIM_KILLED, 0);
        sim_coord_log_epochs(w->coord, NULL, NULL);
        if (n->coord_old != NULL)
            coord_old_free(n->coord_old);
        node_check_free(n->check);
        sim_fs_free(n->proc.fs);
        free(n);
        w->node[i] = NULL;
    }
}

const struct world_module node_module = {.name = "node",
                                         .start = module_start,
                                         .heal = module_heal,
                                         .settled = module_settled,
                                         .finish = module_finish,
                                         .stop = module_stop};
