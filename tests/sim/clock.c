/* Clocks with offset, drift and jumps (clock.h). */
#include "tests/sim/clock.h"

void sim_clock_init(struct sim_clock *c, struct sim *s)
{
    *c = (struct sim_clock){.sim = s};
    c->mono_base_ns = sim_range(s, SIM_CLOCK, SIM_S, 100 * 86400 * SIM_S);
    c->wall_offset_ms = (int64_t)sim_range(s, SIM_CLOCK, 0, 2000) - 1000;
    if (sim_strikes(s, SIM_CLOCK, SIM_FAULT_CLOCK_DRIFT, 1000000))
        c->drift_ppm = (int32_t)sim_range(s, SIM_CLOCK, 0, 2000) - 1000;
}

static uint64_t elapsed_ns(const struct sim_clock *c)
{
    uint64_t now = sim_now_ns(c->sim);
    int64_t drift = (int64_t)(now / 1000000) * c->drift_ppm;
    return (uint64_t)((int64_t)now + drift);
}

uint64_t sim_clock_mono_ns(const struct sim_clock *c)
{
    return c->mono_base_ns + elapsed_ns(c);
}

uint64_t sim_clock_wall_ms(struct sim_clock *c)
{
    uint64_t ms =
        (uint64_t)((int64_t)(SIM_WALL_START_MS + elapsed_ns(c) / SIM_MS) + c->wall_offset_ms);
    if (ms > c->wall_seen_ms)
        c->wall_seen_ms = ms;
    return ms;
}

uint64_t sim_clock_when(const struct sim_clock *c, uint64_t mono_ns)
{
    uint64_t now = sim_now_ns(c->sim), mono = sim_clock_mono_ns(c);
    if (mono_ns <= mono)
        return now;
    uint64_t left = mono_ns - mono;
    return now + left + (c->drift_ppm < 0 ? left / 1000000 * (uint64_t)-c->drift_ppm : 0) + 1000;
}

static void set_offset(struct sim_clock *c, int64_t offset_ms)
{
    bool back = offset_ms < c->wall_offset_ms;
    c->wall_offset_ms = offset_ms;
    c->set_ns = sim_now_ns(c->sim);
    if (back && (c->set_back_ms == 0 || sim_clock_wall_ms(c) < c->set_back_ms))
        c->set_back_ms = sim_clock_wall_ms(c);
}

void sim_clock_jump(struct sim_clock *c)
{
    int64_t by = (int64_t)sim_spread(c->sim, SIM_CLOCK, 10, 86400000);
    set_offset(c, c->wall_offset_ms + (sim_chance(c->sim, SIM_CLOCK, 500000) ? by : -by));
}

uint64_t sim_clock_take_set_back_ms(struct sim_clock *c)
{
    uint64_t ms = c->set_back_ms == 0 ? UINT64_MAX : c->set_back_ms;
    c->set_back_ms = 0;
    return ms;
}

void sim_clock_heal(struct sim_clock *c)
{
    set_offset(c, (int64_t)sim_range(c->sim, SIM_CLOCK, 0, 2000) - 1000);
}
