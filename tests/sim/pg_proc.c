/* PostgreSQL as a process of the world: its start and ends, what strikes it, and what others do to
 * its rows by SQL (pg_model.h). */
#include "tests/sim/pg_client.h"
#include "tests/sim/pg_rows.h"

#include "proto/wire/value.h"

#include <stdio.h>
#include <stdlib.h>

#define PSQLS 2u

/* ---- others, by SQL ---- */

struct pick {
    uint64_t left;
    struct pg_row *row;
};

static void pick_row(void *arg, struct pg_row *r)
{
    struct pick *p = arg;
    if (!r->now.exists)
        return;
    if (p->row == NULL || p->left > 0)
        p->row = r;
    if (p->left > 0)
        p->left--;
}

/* One statement on one row of a mapped table. */
static bool psql_statement(struct pg_session *s, enum pg_table t)
{
    struct sim *sim = s->m->sim;
    struct pick p = {.left = sim_range(sim, SIM_SQL, 0, 20)};
    const struct pg_column *c;
    uint32_t n = pg_table_columns(t, &c), column;
    struct fb_buf values = {0};
    char text[24];
    bool ok;

    if (!pg_statement(s, t))
        return false;
    if (sim_chance(sim, SIM_SQL, 200000)) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)sim_range(sim, SIM_SQL, 0, 23));
        p.row = pg_row_find(s->m, t, fb_bytes_str(text), true);
    } else {
        pg_each(s->m, t, pick_row, &p);
    }
    if (p.row == NULL)
        return true;
    if (!pg_lock(s, p.row))
        return false;
    if (pg_see(s, p.row)->exists && sim_chance(sim, SIM_SQL, 250000)) {
        sim_trace(sim, "psql deletes %.*s of table %d", (int)p.row->key.n,
                  (const char *)p.row->key.p, t);
        return pg_table_delete(s, p.row);
    }
    do
        column = (uint32_t)sim_range(sim, SIM_SQL, 1, n - 1);
    while (c[column].generated);
    snprintf(text, sizeof text, c[column].integer ? "%llu" : "sql%llu",
             (unsigned long long)sim_range(sim, SIM_SQL, 0, 800));
    if (strcmp(c[column].name, "team") == 0)
        snprintf(text, sizeof text, "%llu", (unsigned long long)sim_range(sim, SIM_SQL, 0, 23));
    fb_hash_put(&values, fb_bytes_str(c[column].name), fb_bytes_str(text));
    if (!pg_see(s, p.row)->exists && t == PG_T_TEAM && strcmp(c[column].name, "name") != 0)
        fb_hash_put(&values, fb_bytes_str("name"), fb_bytes_str("sql"));
    sim_trace(sim, "psql writes %s = %s of %.*s of table %d", c[column].name, text,
              (int)p.row->key.n, (const char *)p.row->key.p, t);
    ok = pg_table_write(s, p.row, pg_see(s, p.row)->exists ? pg_see(s, p.row) : NULL,
                        UINT64_C(1) << column | (t == PG_T_TEAM && !pg_see(s, p.row)->exists),
                        fb_buf_view(&values));
    fb_buf_fini(&values);
    return ok;
}

static void psql(void *arg)
{
    struct pg_model *m = arg;
    struct pg_session s = {.m = m, .number = 0};
    for (;;) {
        bool ok = true;
        sim_sleep(sim_spread(m->sim, SIM_SQL, 20 * SIM_MS, 2 * SIM_S));
        if (!sim_strikes(m->sim, SIM_SQL, SIM_FAULT_PG_SQL, 400000))
            continue;
        s.open = true;
        for (uint64_t i = sim_range(m->sim, SIM_SQL, 1, 3); i > 0 && ok; i--)
            ok =
                psql_statement(&s, (enum pg_table)sim_range(m->sim, SIM_SQL, PG_T_TEAM, PG_T_NOTE));
        if (ok && sim_chance(m->sim, SIM_SQL, 100000)) /* goes for a coffee */
            sim_sleep(sim_spread(m->sim, SIM_SQL, 10 * SIM_MS, 9 * SIM_S));
        s.terminate = false;
        if (ok && !sim_chance(m->sim, SIM_SQL, 100000))
            pg_commit(&s);
        else
            pg_rollback(&s);
    }
}

/* ---- its life ---- */

static int server(void *arg)
{
    struct pg_model *m = arg;
    struct sim_waitq never = {0};
    for (uint32_t i = 0; i < PSQLS; i++)
        (void)sim_coro_start(psql, m);
    for (;;)
        (void)sim_wait(&never, UINT64_MAX);
    return 0;
}

static void start(struct pg_model *m)
{
    m->started_ms = SIM_WALL_START_MS + sim_now_ns(m->sim) / SIM_MS;
    sim_trace(m->sim, "postgres starts");
    sim_proc_start(&m->proc, server, m);
}

static void restart_ev(void *arg, uint64_t tag)
{
    struct pg_model *m = arg;
    (void)tag;
    m->restarting = false;
    if (!m->proc.alive)
        start(m);
}

static void unlock_all(void *arg, struct pg_row *r)
{
    (void)arg;
    r->locker = NULL;
    r->changed = false;
}

/* Every transaction that was open is as if it had never been. */
static void ended(struct sim_proc *p, enum sim_death how, int code)
{
    struct pg_model *m = p->user;
    (void)how;
    (void)code;
    sim_trace(m->sim, "postgres is killed");
    for (uint32_t i = 0; i < PG_SESSIONS_MAX; i++) {
        struct pg_session *s = m->session[i];
        if (s == NULL || s->server_gone)
            continue;
        s->server_gone = true;
        s->locked = NULL;
        s->waits_for = NULL;
        s->open = false;
        sim_wake_all(&s->reply);
    }
    for (int t = 0; t < PG_TABLES; t++)
        pg_each(m, (enum pg_table)t, unlock_all, NULL);
    m->restarting = true;
    sim_after(m->sim, sim_spread(m->sim, SIM_PG, 10 * SIM_MS, 20 * SIM_S), restart_ev, m, 0);
}

/* ---- faults ---- */

enum { TABLE_FREE, TABLE_BACK, SPACE_BACK };

static void over_ev(void *arg, uint64_t tag)
{
    struct pg_model *m = arg;
    enum pg_table t = (enum pg_table)(tag >> 8);
    switch (tag & 0xff) {
    case TABLE_FREE:
        m->table_locked[t] = false;
        sim_wake_all(&m->table_wait[t]);
        break;
    case TABLE_BACK:
        m->table_gone[t] = false;
        break;
    default:
        m->full = false;
        break;
    }
    sim_trace(m->sim, "postgres has trouble %llu no longer", (unsigned long long)tag);
}

static void trouble(struct pg_model *m, uint64_t tag, uint64_t ns)
{
    sim_trace(m->sim, "postgres has trouble %llu for %llu ms", (unsigned long long)tag,
              (unsigned long long)(ns / SIM_MS));
    sim_after(m->sim, ns, over_ev, m, tag);
}

static void fail_over(struct pg_model *m)
{
    uint64_t lag = sim_spread(m->sim, SIM_PG, 10 * SIM_MS, PG_STANDBY_LAG_NS);
    sim_proc_end(&m->proc, SIM_KILLED, 0);
    pg_model_regress(m, m->standby == PG_SYNC ? sim_now_ns(m->sim) - m->replicated_ns : lag);
}

static void fail_over_ev(void *arg, uint64_t tag)
{
    struct pg_model *m = arg;
    if (m->proc.alive && m->proc.number == tag && !sim_healed(m->sim))
        fail_over(m);
}

void pg_fail_over_soon(struct pg_model *m)
{
    if (m->standby != PG_ALONE && sim_strikes(m->sim, SIM_PG, SIM_FAULT_PG_REGRESS, 150000))
        sim_after(m->sim, sim_spread(m->sim, SIM_PG, 10 * SIM_US, 100 * SIM_MS), fail_over_ev, m,
                  m->proc.number);
}

static void faults_ev(void *arg, uint64_t tag)
{
    struct pg_model *m = arg;
    struct sim *s = m->sim;
    enum pg_table t;
    (void)tag;
    sim_after(s, sim_range(s, SIM_PG, 20, 180) * SIM_MS, faults_ev, m, 0);
    if (m->proc.alive && m->standby != PG_ALONE &&
        sim_strikes(s, SIM_PG, SIM_FAULT_PG_REGRESS, 4000)) {
        fail_over(m);
    } else if (m->proc.alive && sim_strikes(s, SIM_PG, SIM_FAULT_PG_RESTART, 6000)) {
        sim_proc_end(&m->proc, SIM_KILLED, 0);
    }
    t = (enum pg_table)sim_range(s, SIM_PG, PG_T_OBJECTS, PG_T_NOTE);
    if (!m->table_locked[t] && sim_strikes(s, SIM_PG, SIM_FAULT_PG_LOCK, 5000)) {
        m->table_locked[t] = true;
        trouble(m, (uint64_t)t << 8 | TABLE_FREE, sim_spread(s, SIM_PG, 20 * SIM_MS, 20 * SIM_S));
    }
    if (t != PG_T_OBJECTS && !m->table_gone[t] && sim_strikes(s, SIM_PG, SIM_FAULT_PG_GONE, 5000)) {
        m->table_gone[t] = true;
        trouble(m, (uint64_t)t << 8 | TABLE_BACK, sim_spread(s, SIM_PG, 20 * SIM_MS, 20 * SIM_S));
    }
    if (!m->full && sim_strikes(s, SIM_PG, SIM_FAULT_PG_FULL, 4000)) {
        m->full = true;
        trouble(m, SPACE_BACK, sim_spread(s, SIM_PG, 100 * SIM_MS, 20 * SIM_S));
    }
}

/* ---- the module ---- */

static void module_start(struct world *w)
{
    struct pg_model *m = fb_xcalloc(1, sizeof *m);
    w->pg = pg_the_model = m;
    m->w = w;
    m->sim = w->sim;
    sim_clock_init(&m->clock, w->sim);
    m->standby = (int)sim_range(w->sim, SIM_PG, PG_ALONE, PG_SYNC);
    m->next_xid = 800 + sim_range(w->sim, SIM_PG, 0, 100);
    if (sim_strikes(w->sim, SIM_PG, SIM_FAULT_PG_POISON, 1000000))
        m->poison = (uint32_t)sim_range(w->sim, SIM_PG, 10, 60);
    m->proc = (struct sim_proc){
        .sim = w->sim, .name = "postgres", .clock = &m->clock, .user = m, .ended = ended};
    start(m);
    sim_after(w->sim, SIM_S, faults_ev, m, 0);
}

static void module_heal(struct world *w)
{
    struct pg_model *m = w->pg;
    m->full = false;
    for (int t = 0; t < PG_TABLES; t++) {
        m->table_locked[t] = m->table_gone[t] = false;
        sim_wake_all(&m->table_wait[t]);
    }
    sim_clock_heal(&m->clock);
}

static bool module_settled(struct world *w, char *why, size_t n)
{
    if (w->pg->proc.alive)
        return true;
    snprintf(why, n, "postgres is down");
    return false;
}

static void module_finish(struct world *w)
{
    (void)w;
}

static void free_row(void *arg, struct pg_row *r)
{
    (void)arg;
    pg_image_fini(&r->now);
    pg_image_fini(&r->next_image);
    fb_buf_fini(&r->key);
}

static void module_stop(struct world *w)
{
    struct pg_model *m = w->pg;
    m->proc.ended = NULL;
    if (m->proc.alive)
        sim_proc_end(&m->proc, SIM_KILLED, 0);
    for (int t = 0; t < PG_TABLES; t++)
        pg_each(m, (enum pg_table)t, free_row, NULL);
    w->pg = NULL; /* connections that processes left open may still point to it */
}

const struct world_module pg_module = {.name = "postgres",
                                       .start = module_start,
                                       .heal = module_heal,
                                       .settled = module_settled,
                                       .finish = module_finish,
                                       .stop = module_stop};
