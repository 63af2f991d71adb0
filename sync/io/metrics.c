/* Metrics of the core: its plain counters are carried over, as increments, whenever the event
 * thread publishes its status. */
#include "sync/io/metrics.h"

#include "proto/rt/memory.h"

#include <stdio.h>

static struct {
    struct fb_counter *updated, *inserted, *deleted, *retry[PG_UNKNOWN + 1];
    struct fb_counter *regressions, *unconfirmed;
    struct fb_counter *conflict[FB_CONFLICT_LAST_WRITE_WINS + 1][FB_OUTCOME_COUNT];
    struct sync_core_stats last;
} m;

static const char *const class_name[PG_UNKNOWN + 1] = {
    [PG_OK] = "ok",
    [PG_OUTAGE] = "outage",
    [PG_RETRY] = "retry",
    [PG_NAMESPACE] = "namespace",
    [PG_FOREIGN_KEY] = "foreign_key",
    [PG_ROW] = "row",
    [PG_LOST] = "lost",
    [PG_CONFLICT] = "conflict",
    [PG_NO_LETTER] = "no_letter",
    [PG_UNKNOWN] = "unknown",
};

static const char *const policy_name[FB_CONFLICT_LAST_WRITE_WINS + 1] = {
    "cache-wins", "db-wins", "merge-columns", "last-write-wins"};

static void gauge_db_up(void *arg, struct fb_buf *out)
{
    struct sync_process *p = arg;
    fb_gauge_emit(out, "db_up", NULL, atomic_load(&p->db_up) ? 1 : 0);
}

static void gauge_dead_letters(void *arg, struct fb_buf *out)
{
    struct sync_process *p = arg;
    fb_gauge_emit(out, "dead_letters", NULL, (double)atomic_load(&p->dead_letters));
}

static void gauge_coordinator(void *arg, struct fb_buf *out)
{
    struct sync_process *p = arg;
    fb_gauge_emit(out, "coordinator_up", NULL, p->agent != NULL && fb_agent_up(p->agent) ? 1 : 0);
}

static void gauge_memory(void *arg, struct fb_buf *out)
{
    struct sync_process *p = arg;
    const struct fb_memory_kind kinds[] = {
        {"feeds", atomic_load(&p->memory_feeds)},
        {"batches", atomic_load(&p->memory_batches)},
        {"loads", atomic_load(&p->memory_loads)},
        {"connections", fb_net_memory_bytes(p->net)},
    };
    fb_memory_emit(out, kinds, FB_COUNT_OF(kinds));
}

static void gauge_map(void *arg, struct fb_buf *out)
{
    struct sync_process *p = arg;
    uint64_t rev = 0;

    pthread_mutex_lock(&p->mtx);
    if (p->state != NULL)
        rev = p->state->map->rev;
    pthread_mutex_unlock(&p->mtx);
    fb_gauge_emit(out, "map_epoch", NULL, (double)rev);
}

static _Atomic uint32_t unsafe_feeds;

static void gauge_unsafe(void *arg, struct fb_buf *out)
{
    (void)arg;
    fb_gauge_emit(out, "sync_unsafe_feeds", NULL, (double)atomic_load(&unsafe_feeds));
}

void sync_metrics_register(struct sync_process *p)
{
    const char *rows = "Rows written to PostgreSQL, by operation";

    fb_gauge_register("db_up", "1 while PostgreSQL answers", gauge_db_up, p);
    fb_gauge_register("dead_letters", "Objects PostgreSQL refused", gauge_dead_letters, p);
    fb_gauge_register("coordinator_up", "1 while the coordinator answers", gauge_coordinator, p);
    fb_gauge_register("memory_bytes", FB_MEMORY_HELP, gauge_memory, p);
    fb_gauge_register("resident_memory_bytes", FB_MEMORY_RESIDENT_HELP, gauge_memory, p);
    fb_gauge_register("map_epoch", "Coordinator revision of the map in use.", gauge_map, p);
    fb_gauge_register("sync_unsafe_feeds",
                      "Feeds with commits that a fail-over of PostgreSQL may still lose",
                      gauge_unsafe, p);
    m.regressions = fb_counter_register("sync_regressions_total", NULL,
                                        "Feeds of which PostgreSQL lost commits");
    m.unconfirmed = fb_counter_register("sync_unconfirmed_total", NULL,
                                        "Commits that no synchronous standby confirmed");
    m.updated = fb_counter_register("sync_rows_total", "op=\"update\"", rows);
    m.inserted = fb_counter_register("sync_rows_total", "op=\"insert\"", rows);
    m.deleted = fb_counter_register("sync_rows_total", "op=\"delete\"", rows);
    for (int i = 0; i <= FB_CONFLICT_LAST_WRITE_WINS; i++)
        for (int o = FB_OUTCOME_NONE + 1; o < FB_OUTCOME_COUNT; o++) {
            char label[80];
            (void)snprintf(label, sizeof(label), "policy=\"%s\",result=\"%s\"", policy_name[i],
                           fb_outcome_word((enum fb_outcome)o));
            m.conflict[i][o] = fb_counter_register(
                "sync_conflicts_total", label,
                "Rows that SQL had changed when ours were to be written, by what became of them");
        }
    for (int i = PG_OK + 1; i <= PG_UNKNOWN; i++) {
        char label[48];
        (void)snprintf(label, sizeof(label), "class=\"%s\"", class_name[i]);
        m.retry[i] = fb_counter_register("sync_retries_total", label,
                                         "Operations that PostgreSQL did not take, by class");
    }
}

void sync_metrics_update(const struct sync_core *core)
{
    const struct sync_core_stats *s = sync_core_stats(core);
    struct sync_safety_status safety;

    fb_counter_add(m.updated, s->rows_updated - m.last.rows_updated);
    fb_counter_add(m.inserted, s->rows_inserted - m.last.rows_inserted);
    fb_counter_add(m.deleted, s->rows_deleted - m.last.rows_deleted);
    for (int i = PG_OK + 1; i <= PG_UNKNOWN; i++)
        fb_counter_add(m.retry[i], s->retries[i] - m.last.retries[i]);
    for (int i = 0; i <= FB_CONFLICT_LAST_WRITE_WINS; i++)
        for (int o = FB_OUTCOME_NONE + 1; o < FB_OUTCOME_COUNT; o++)
            fb_counter_add(m.conflict[i][o], s->resolved[i][o] - m.last.resolved[i][o]);
    fb_counter_add(m.regressions, s->regressions - m.last.regressions);
    fb_counter_add(m.unconfirmed, s->unconfirmed - m.last.unconfirmed);
    m.last = *s;
    sync_core_safety(core, &safety);
    atomic_store(&unsafe_feeds, safety.unsafe_feeds);
}
