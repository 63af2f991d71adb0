/* Handing over before a stop: main's thread waits, the agent's decides, workers say when nobody
 * waits for an answer any more (leave.h).
 *
 * A partition is held first: nothing is let in (a router keeps what it is told to try again), and
 * what was let in is answered. Only then another is asked to lead, so that no outcome is unknown.
 */
#include "node/io/leave.h"

#include "node/control/leave.h"
#include "node/core/copies.h"
#include "node/io/control.h"
#include "node/io/parts.h"
#include "node/io/worker.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/coord/entry.h"
#include "proto/rt/thread.h"

#include <stdlib.h>

#define MS UINT64_C(1000000)
#define LOOK_MS 10u
#define HOLD_NS                                                                                    \
    (2000 * MS)               /* a router gives up after 5 s: who waits longer, for PostgreSQL, is \
                               * told that the outcome is not known */
#define AGAIN_NS (300 * MS)   /* another state should have come by then */
#define MEMBER_NS (3000 * MS) /* others take longer to let go of a copy only if they hang */
#define QUIET_NS (300 * MS)   /* routers have the new map by then */

struct leave {
    struct node *node;
    struct leave_part {
        _Atomic uint32_t hold;     /* epoch that lets nothing in, 0 = none; agent's thread writes */
        _Atomic uint32_t answered; /* the same epoch: nobody waits; the worker writes */
        uint64_t since_ns, asked_ns; /* agent's thread */
    } * part;
    uint64_t led_ns; /* agent's thread: since when it leads nothing that another could, 0 = it does
                      */
    _Atomic uint32_t handed;
    _Atomic uint32_t jobs; /* that may look at this */
    _Atomic bool done;
};

/* --- workers --- */

static void look(void *arg, struct worker *w)
{
    struct leave *v = arg;
    struct node *n = w->node;

    for (uint32_t p = w->index; p < n->partitions; p += n->worker_count) {
        uint32_t epoch = atomic_load(&v->part[p].hold);
        if (epoch == 0 || atomic_load(&v->part[p].answered) == epoch)
            continue;
        if (atomic_load(&n->open_epoch[p]) == epoch)
            parts_serve(w, (uint16_t)p, 0);
        if (lane_answered(w->lane, (uint16_t)p))
            atomic_store(&v->part[p].answered, epoch);
    }
    atomic_fetch_sub(&v->jobs, 1);
}

/* --- agent --- */

static void enter(void *arg, struct fb_coord *coord)
{
    struct node *n = arg;
    struct fb_err err;

    (void)coord;
    node_entry_leaving(n);
    if (fb_entry_write(n->entry, &err) != FB_OK) /* the agent tries again */
        FB_LOG(WARN, "the coordinator was not told that this node stops, trying again",
               FB_KS("error", err.msg));
}

/* Those of `steps` that may be carried out now, first; their number. */
static uint32_t ready(struct leave *v, const struct fb_map *map, struct control_step *steps,
                      uint32_t count, uint64_t now)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t epoch = map->parts[steps[i].part].epoch;
        struct leave_part *p = &v->part[steps[i].part];
        if (atomic_load(&p->hold) != epoch) {
            p->since_ns = now;
            p->asked_ns = 0;
            atomic_store(&p->hold, epoch);
        }
        if ((atomic_load(&p->answered) != epoch && now - p->since_ns < HOLD_NS) ||
            (p->asked_ns != 0 && now - p->asked_ns < AGAIN_NS))
            continue;
        atomic_fetch_add(&v->handed, p->asked_ns == 0);
        p->asked_ns = now;
        steps[n++] = steps[i];
    }
    return n;
}

static bool is_done(struct leave *v, const struct control_leave *c, uint64_t now)
{
    uint64_t refused = atomic_load(&v->node->refused_ns);

    if (c->count + c->filling > 0) {
        v->led_ns = 0;
        return false;
    }
    if (v->led_ns == 0)
        v->led_ns = now;
    if (c->member > 0 && now - v->led_ns < MEMBER_NS)
        return false;
    if (atomic_load(&v->handed) == 0)
        return true;
    return now - v->led_ns >= QUIET_NS && (now < refused || now - refused >= QUIET_NS);
}

static void decide(void *arg, struct fb_coord *coord)
{
    struct leave *v = arg;
    struct node *n = v->node;
    struct fb_cluster_state *s = node_state_get(n);
    const struct fb_member me = node_self(n);
    struct control_leave c = {.steps = node_control_steps(n)};
    uint64_t now = fb_mono_ns();

    (void)coord;
    if (s != NULL) {
        control_leave(s->map, &me, &c);
        node_control_commit(n, c.steps, ready(v, s->map, c.steps, c.count, now), "leaving");
        for (uint32_t i = 0; i < n->worker_count; i++) {
            struct job *j = job_new(JOB_CALL);
            j->call = look;
            j->arg = v;
            atomic_fetch_add(&v->jobs, 1);
            worker_post(n->workers[i], j);
        }
        atomic_store(&v->done, is_done(v, &c, now));
        fb_cluster_state_put(s);
    }
    atomic_fetch_sub(&v->jobs, 1);
}

/* --- main --- */

static bool has_copies(struct node *n)
{
    struct fb_cluster_state *s = node_state_get(n);
    struct fb_member me = node_self(n);
    bool yes = false;

    if (s == NULL)
        return false;
    for (uint32_t p = 0; p < s->map->partitions && !yes; p++)
        yes = fb_part_record_has(&s->map->parts[p], &me) &&
              s->map->parts[p].isr_count + s->map->parts[p].learner_count > 1;
    fb_cluster_state_put(s);
    return yes;
}

void node_leave(struct node *n, uint64_t limit_ms)
{
    uint64_t began = fb_mono_ns();
    bool again = false;
    struct leave *v;

    if (limit_ms == 0 || !node_agent_up(n) || !has_copies(n))
        return;
    n->leave = v = fb_xcalloc(1, sizeof(*v));
    v->node = n;
    v->part = fb_xcalloc(n->partitions, sizeof(*v->part));
    atomic_store(&n->leaving, true);
    if (node_agent_run(n, enter, n) != FB_OK)
        return;
    while (!atomic_load(&v->done) && !again && fb_mono_ns() - began < limit_ms * MS) {
        if (atomic_load(&v->jobs) == 0) {
            atomic_store(&v->jobs, 1);
            if (node_agent_run(n, decide, v) != FB_OK)
                atomic_store(&v->jobs, 0);
        }
        again = fb_signals_wait(LOOK_MS) == FB_SIGNAL_STOP;
    }
    FB_LOG(INFO, "what others can lead they lead", FB_KU("partitions", atomic_load(&v->handed)),
           FB_KS("done", atomic_load(&v->done) ? "yes" : "no"),
           FB_KU("ms", (fb_mono_ns() - began) / MS));
}

void node_leave_free(struct node *n)
{
    if (n->leave == NULL)
        return;
    free(n->leave->part);
    free(n->leave);
    n->leave = NULL;
}
