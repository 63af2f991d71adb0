/* The states that a power loss could leave at each moment of a recorded run (recorder.h), put on
 * disk one after the other for a check. */
#ifndef FB_TESTS_UNIT_CRASH_STATES_H_
#define FB_TESTS_UNIT_CRASH_STATES_H_

#include "tests/unit/crash/recorder.h"

struct crash_plan {
    const struct crash_record *record;
    const char *dir; /* each state is made here; the check may do with it what it wants */
    uint64_t seed;
    unsigned every;       /* subsets at each sync, and at every n-th other operation; 0 = never */
    unsigned all_below;   /* at most so many unsynced parts: all their subsets (2^n) */
    unsigned random;      /* otherwise, after the regular ones: so many random subsets */
    unsigned regular_max; /* and of the regular ones (one lost, one kept, the first n, two lost) at
                             most so many each, evenly chosen */
    /* No power loss before this note of the record; from_note_a 0 = from the beginning. */
    uint32_t from_note;
    uint64_t from_note_a;
    bool pairs; /* two lost */
    void *arg;
    /* The state of a power loss just after `ops` operations is on disk. `unsynced` of its parts
     * were in doubt. */
    void (*check)(void *arg, size_t ops);
};

struct crash_tally {
    uint64_t moments, states, distinct;
    unsigned unsynced_max;
};

/* Every prefix with all of its operations and with none of the unsynced ones; at the moments that
 * the plan names, subsets of the unsynced ones too. States with the same files at moments with the
 * same notes are checked once. */
struct crash_tally crash_states(const struct crash_plan *plan);
/* What the last state was made of, for a failure's message. */
void crash_state_print(const struct crash_plan *plan);
/* Makes the current tree again, after a check changed it. */
void crash_state_again(const struct crash_plan *plan);
/* Removes a directory of the test's own with all that is in it. */
void crash_remove(const char *dir);

#endif
