/* The guard against mass expiry (PROTOCOL 14): time of the partitions does not follow a clock of
 * this machine that is far ahead of PostgreSQL's, as the sync processes report it. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#define CLOCK_AHEAD_MS (UINT64_C(300) * 1000)
/* How long a start waits for the first report when the clock looks wrong. */
#define CLOCK_WAIT_NS (UINT64_C(10) * 1000 * 1000 * 1000)

void lane_database_clock(struct lane *l, int64_t ahead_of_mono_ms)
{
    lane_check_writer(l);
    l->db_clock_ms = ahead_of_mono_ms;
    l->db_clock_known = true;
}

static uint64_t newest_ptime(const struct lane *l)
{
    uint64_t newest = 0;

    for (uint32_t i = 0; i < l->config.partitions; i++)
        if (l->parts[i] != NULL && l->parts[i]->ptime > newest)
            newest = l->parts[i]->ptime;
    return newest;
}

/* After a start: a clock that went on no further than this from the last record is believed. One
 * that did is of a machine that was off for long, or whose clock is wrong; PostgreSQL's tells. */
static bool looks_right(struct lane *l, uint64_t mono_ns, uint64_t wall_ms)
{
    uint64_t last;

    if (l->clock_since_ns == 0)
        l->clock_since_ns = mono_ns;
    if (!l->clock_ready) {
        last = newest_ptime(l);
        l->clock_ready = l->db_clock_known || last == 0 || wall_ms <= last + CLOCK_AHEAD_MS ||
                         mono_ns >= l->clock_since_ns + CLOCK_WAIT_NS || FB_MUTANT(clock_unasked);
    }
    return l->clock_ready;
}

uint64_t clock_held(struct lane *l, uint64_t mono_ns, uint64_t wall_ms)
{
    uint64_t limit = UINT64_MAX, held;

    if (!looks_right(l, mono_ns, wall_ms)) {
        limit = newest_ptime(l);
    } else if (l->db_clock_known && !FB_MUTANT(clock_unheld)) {
        int64_t db = (int64_t)(mono_ns / 1000000) + l->db_clock_ms;
        limit = db > 0 ? (uint64_t)db + CLOCK_AHEAD_MS : UINT64_MAX;
    }
    held = wall_ms > limit ? wall_ms - limit : 0;
    atomic_store_explicit(&l->stats.clock_held_ms, held, memory_order_relaxed);
    return wall_ms - held;
}

bool lane_clock_ready(const struct lane *l)
{
    lane_check_writer(l);
    return l->clock_ready;
}
