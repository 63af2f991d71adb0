/* The world of a run (world.h). */
#include "tests/sim/world.h"

#include "tests/sim/clients.h"
#include "tests/sim/coord.h"
#include "tests/sim/ledger.h"
#include "tests/sim/node_proc.h"
#include "tests/sim/os.h"
#include "tests/sim/pg_check.h"
#include "tests/sim/raw.h"
#include "tests/sim/router_proc.h"
#include "tests/sim/row_client.h"
#include "tests/sim/sync_proc.h"

#include <stdio.h>
#include <stdlib.h>

static const struct world_module *const full[] = {
    &node_module,   &pg_module,      &pg_check_module,   &sync_module,
    &router_module, &clients_module, &row_client_module, NULL};
static const struct world_module *const copies[] = {&node_module, &pg_module,     &pg_check_module,
                                                    &sync_module, &router_module, &clients_module,
                                                    NULL};
static const struct world_module *const plain[] = {&node_module, &raw_sync_module,
                                                   &raw_client_module, NULL};

/* What a namespace may also say, behind its section's other lines. */
static void config_limits(struct world *w, struct fb_buf *conf)
{
    struct sim *s = w->sim;
    if (sim_chance(s, SIM_WORLD, 300000)) /* so that a feed is given out in parts */
        fb_buf_printf(conf, "max_batch = %llu\n",
                      (unsigned long long)sim_spread(s, SIM_WORLD, 1, 40));
    if (sim_chance(s, SIM_WORLD, 150000))
        fb_buf_printf(conf, "max_dirty_bytes = %lluB\n",
                      (unsigned long long)sim_spread(s, SIM_WORLD, 500, 64000));
    if (sim_chance(s, SIM_WORLD, 150000))
        fb_buf_printf(conf, "max_dirty_age = %llums\n",
                      (unsigned long long)sim_spread(s, SIM_WORLD, 300, 20000));
    if (w->wild || (w->replicas > 0 && sim_chance(s, SIM_WORLD, 300000)))
        fb_buf_put_str(conf, "reads = confirmed\n");
    if (w->replicas > 0 && sim_chance(s, SIM_WORLD, 200000))
        fb_buf_put_str(conf, "on_degraded = refuse\n");
}

static void config_make(struct world *w, bool with_tables)
{
    struct fb_err err = {0};
    static const char *const more[] = {
        "[namespace default]\n", "[namespace dur]\ndurability = durable\n",
        "[namespace db]\ndurability = database\n",
        "[namespace small]\nmax_value = 1000B\nsync_interval = 50ms\n"};
    static const char *const tables =
        "[namespace team]\ntable = public.team\nkey = id\nvalue = row\non_delete = delete\n"
        "[namespace member]\ntable = public.member\nkey = id\nvalue = row\non_delete = delete\n"
        "fk_wait = 2s\n%s"
        "[namespace note]\ntable = public.note\nkey = id\nvalue = column:body\n"
        "on_delete = delete\n";
    static const char *const conflict[] = {"", "conflict = db-wins\n", "conflict = cache-wins\n",
                                           "on_row_gone = reinsert\n"};
    struct fb_buf conf = {0};
    const char *text;
    fb_buf_put_str(&conf, "[cluster]\n");
    if (w->replicas > 0)
        fb_buf_printf(&conf, "replicas = %u\n", w->replicas);
    if (sim_chance(w->sim, SIM_WORLD, 100000))
        fb_buf_printf(&conf, "max_dirty_bytes = %lluB\n",
                      (unsigned long long)sim_spread(w->sim, SIM_WORLD, 1000, 100000));
    for (size_t i = 0; i < FB_COUNT_OF(more); i++)
        if (sim_chance(w->sim, SIM_WORLD, 350000) || (i == 0 && w->wild)) {
            fb_buf_put_str(&conf, more[i]);
            config_limits(w, &conf);
        }
    if (with_tables) {
        fb_buf_printf(&conf, tables, conflict[sim_range(w->sim, SIM_WORLD, 0, 3)]);
        config_limits(w, &conf); /* of the last one, "note" */
    }
    fb_buf_put_u8(&conf, 0);
    text = (const char *)conf.p;
    if (fb_nsset_parse("cluster.conf", fb_bytes_str(text), &w->namespaces, NULL, &err) != FB_OK)
        sim_violation(w->sim, "world", "%s", err.msg);
    for (int i = 0; i < FB_UUID_BYTES; i++)
        w->cluster[i] = (uint8_t)sim_rand(w->sim, SIM_WORLD);
    w->partitions = (uint32_t)sim_range(w->sim, SIM_WORLD, 1, WORLD_PARTITIONS_MAX);
    w->coord = sim_coord_new(w->sim, w->cluster, w->partitions, text);
    sim_coord_wire(w->coord, w->wire);
    fb_buf_fini(&conf);
}

static bool all_settled(struct world *w, const struct world_module *const *modules, char *why,
                        size_t n)
{
    for (size_t i = 0; modules[i] != NULL; i++)
        if (!modules[i]->settled(w, why, n))
            return false;
    return true;
}

void world_run(struct sim *s)
{
    struct world w = {.sim = s, .wire = sim_wire_new(s)};
    const struct sim_plan *plan = sim_plan(s);
    const struct world_module *const *modules = sim_copies(s) ? copies
                                                : sim_chance(s, SIM_WORLD, 150000) || sim_plain(s)
                                                    ? plain
                                                    : full;
    size_t n = 0;
    uint64_t until;
    char why[400] = "";

    sim_os_world(s);
    w.nodes = 1;
    if (modules == copies) {
        w.nodes = (uint32_t)sim_range(s, SIM_WORLD, 2, WORLD_NODES_MAX);
        w.replicas = (uint32_t)sim_range(s, SIM_WORLD, 1, w.nodes > 2 ? 2 : 1);
        w.wild = sim_strikes(s, SIM_WORLD, SIM_FAULT_CLOCK_WILD, 1000000);
    }
    config_make(&w, modules == full && sim_chance(s, SIM_WORLD, 500000));
    w.ledger = ledger_new(s, w.partitions, w.replicas > 0);
    for (size_t i = 0; modules[i] != NULL; i++)
        modules[i]->start(&w);
    (void)sim_run(s, plan->storm_ns, NULL, NULL);
    sim_heal(s);
    for (size_t i = 0; modules[i] != NULL; i++)
        modules[i]->heal(&w);
    until = sim_now_ns(s) + plan->calm_ns;
    while (!all_settled(&w, modules, why, sizeof why)) {
        if (sim_now_ns(s) >= until)
            sim_violation(s, "I36", "not settled %llu s after the last fault: %s",
                          (unsigned long long)(plan->calm_ns / SIM_S), why);
        (void)sim_run(s, sim_now_ns(s) + 500 * SIM_MS, NULL, NULL);
    }
    for (size_t i = 0; modules[i] != NULL; i++)
        modules[i]->finish(&w);
    while (modules[n] != NULL)
        n++;
    for (size_t i = n; i > 0; i--)
        modules[i - 1]->stop(&w);
    ledger_free(w.ledger);
    sim_coord_free(w.coord);
    sim_wire_free(w.wire);
    free(w.namespaces);
    sim_os_world(NULL);
}
