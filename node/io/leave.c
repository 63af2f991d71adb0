/* Handing over before a stop: main's thread waits, the agent's decides and has the records changed;
 * each partition is held and handed over by its lane (node/core/copy_hold.c).
 */
#include "node/io/leave.h"

#include "node/control/leave.h"
#include "node/io/control.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/coord/entry.h"
#include "proto/rt/thread.h"

#include <stdlib.h>

#define MS UINT64_C(1000000)
#define LOOK_MS 10u
#define AGAIN_NS (300 * MS)   /* another state should have come by then */
#define MEMBER_NS (3000 * MS) /* others take longer to let go of a copy only if they hang */
#define QUIET_NS (300 * MS)   /* routers have the new map by then */

struct leave {
    struct node *node;
    /* agent's thread: when it asked last, with which map; since when it leads nothing that another
     * could, 0 = it does */
    uint64_t asked_ns, asked_rev, led_ns;
    _Atomic uint32_t handed;
    _Atomic bool busy; /* the agent's thread has a job that looks at this */
    _Atomic bool done;
};

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

static bool is_done(struct leave *v, const struct control_leave *c, uint64_t now)
{
    uint64_t refused = atomic_load(&v->node->refused_ns);

    if (c->count + c->handing + c->filling > 0) {
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
        if (c.count > 0 && (s->map->rev != v->asked_rev || now - v->asked_ns >= AGAIN_NS)) {
            node_control_commit(n, c.steps, c.count, "leaving");
            v->asked_ns = now;
            v->asked_rev = s->map->rev;
        }
        if (c.count + c.handing > atomic_load(&v->handed))
            atomic_store(&v->handed, c.count + c.handing);
        atomic_store(&v->done, is_done(v, &c, now));
        fb_cluster_state_put(s);
    }
    atomic_store(&v->busy, false);
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
    atomic_store(&n->leaving, true);
    if (node_agent_run(n, enter, n) != FB_OK)
        return;
    while (!atomic_load(&v->done) && !again && fb_mono_ns() - began < limit_ms * MS) {
        if (!atomic_exchange(&v->busy, true) && node_agent_run(n, decide, v) != FB_OK)
            atomic_store(&v->busy, false);
        again = fb_signals_wait(LOOK_MS) == FB_SIGNAL_STOP;
    }
    FB_LOG(INFO, "what others can lead they lead", FB_KU("partitions", atomic_load(&v->handed)),
           FB_KS("done", atomic_load(&v->done) ? "yes" : "no"),
           FB_KU("ms", (fb_mono_ns() - began) / MS));
}

void node_leave_free(struct node *n)
{
    free(n->leave);
    n->leave = NULL;
}
