/* The clocks of one simulated process: they need not agree with true time, nor with each other. */
#ifndef FB_TESTS_SIM_CLOCK_H_
#define FB_TESTS_SIM_CLOCK_H_

#include "tests/sim/kernel.h"

struct sim_clock {
    struct sim *sim;
    uint64_t mono_base_ns;  /* what the monotonic clock says at true time 0 */
    int64_t wall_offset_ms; /* from true time */
    int32_t drift_ppm;      /* of both clocks */
    uint64_t set_ns;        /* true time at which the wall clock was set last, 0 = never */
    uint64_t wall_seen_ms;  /* the latest time that anybody read from the wall clock */
    uint64_t set_back_ms; /* the earliest that it was set back to since that was taken; 0 = none */
};

/* Draws offset and drift (small ones when the run has no clock faults). */
void sim_clock_init(struct sim_clock *c, struct sim *s);
uint64_t sim_clock_mono_ns(const struct sim_clock *c);
uint64_t sim_clock_wall_ms(struct sim_clock *c);
/* True time at which this process's monotonic clock says `mono_ns`, rounded up. */
uint64_t sim_clock_when(const struct sim_clock *c, uint64_t mono_ns);
/* The wall clock is set by up to a day either way. */
void sim_clock_jump(struct sim_clock *c);
/* The earliest time that the wall clock was set back to since the last call, UINT64_MAX = it was
 * not. */
uint64_t sim_clock_take_set_back_ms(struct sim_clock *c);
/* After faults stopped: the wall clock is right again, give or take a second. */
void sim_clock_heal(struct sim_clock *c);

#endif
