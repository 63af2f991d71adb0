/* The coordinator is restored from an older copy of its partition records, and some time later the
 * operator puts the newer ones back (I34). */
#ifndef FB_TESTS_SIM_COORD_OLD_H_
#define FB_TESTS_SIM_COORD_OLD_H_

#include "tests/sim/world.h"

struct coord_old;

/* `log_epoch`: the newest epoch that the running node's log has of a partition, 0 = not known. */
struct coord_old *coord_old_new(struct world *w, uint32_t (*log_epoch)(void *arg, uint16_t part),
                                void *arg);
void coord_old_free(struct coord_old *o);
/* At any time while faults strike: a copy is made, or the last one is put in place. Only
 * records of which a running node's log knows that they are older: nobody can tell it of an epoch
 * that both have forgotten. */
void coord_old_strike(struct coord_old *o);
/* The newer records are back, if they are not yet. */
void coord_old_end(struct coord_old *o);

#endif
