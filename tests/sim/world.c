/* The world of a run (world.h). */
#include "tests/sim/world.h"

static struct {
    struct sim *sim;
    uint32_t pongs, closed;
} trial;

static const char *name_of(void *arg)
{
    return ((struct sim_net_config *)arg)->name;
}

static void trial_opened(void *arg, struct sim_conn *c, const struct fb_hello *peer)
{
    struct fb_buf b = {0};
    struct fb_frame f = {.kind = FB_FRAME_PING, .id = 7};
    sim_trace(trial.sim, "%s has a connection to %s", name_of(arg), peer->name);
    fb_frame_end(&b, fb_frame_begin(&b, &f), 0);
    if (sim_conn_send(c, &b) != FB_OK)
        trial.closed++;
    fb_buf_fini(&b);
}

static void trial_received(void *arg, struct sim_conn *c, const struct fb_frame *f)
{
    (void)c;
    sim_trace(trial.sim, "%s gets %s", name_of(arg), fb_frame_kind_name(f->kind));
    trial.pongs++;
}

static void trial_closed(void *arg, struct sim_conn *c, const char *why)
{
    (void)c;
    sim_trace(trial.sim, "%s closed: %s", name_of(arg), why);
    trial.closed++;
}

void world_run(struct sim *s)
{
    struct sim_wire *w = sim_wire_new(s);
    struct sim_net_config a = {.role = FB_ROLE_NODE,
                               .name = "a",

                               .opened = trial_opened,
                               .received = trial_received,
                               .closed = trial_closed};
    struct sim_net_config b = a;
    trial.sim = s;
    trial.pongs = trial.closed = 0;
    memcpy(b.name, "b", 2);
    a.arg = &a;
    b.arg = &b;
    sim_net_listen(sim_net_open(w, &a), "a:1");
    sim_net_dial(sim_net_open(w, &b), "a:1", "a", NULL);
    sim_run(s, 20 * SIM_S, NULL, NULL);
    if (trial.pongs < 2 && trial.closed == 0)
        sim_violation(s, "net", "%u frames arrived and nothing was closed", trial.pongs);
    sim_wire_free(w);
}
