/* forebay-node in the simulator: its whole program on one simulated machine, struck by faults,
 * started again. A module of the world (world.h). */
#ifndef FB_TESTS_SIM_NODE_PROC_H_
#define FB_TESTS_SIM_NODE_PROC_H_

#include "tests/sim/node_check.h"
#include "tests/sim/world.h"

extern const struct world_module node_module;

/* Called each time the process has ended, with what its next start may find missing (an
 * NODE_LOSS_ANY may follow later, for the same end, when the directory turns out unusable). */
typedef void (*node_lost_fn)(void *arg, enum node_loss loss);
void node_proc_on_loss(struct world *w, node_lost_fn fn, void *arg);
/* For checkers: NULL while the process is down or recovers. */
struct node_check *node_proc_check(struct world *w);
/* Objects of all lanes that wait for PostgreSQL; UINT64_MAX while it is down. */
uint64_t node_proc_dirty(struct world *w);
bool node_proc_up(struct world *w);
/* The wall clock of its machine. */
uint64_t node_proc_wall_ms(struct world *w);
/* The latest time the process has read from it: it never goes back in what it does. */
uint64_t node_proc_wall_seen_ms(struct world *w);
uint64_t node_proc_take_set_back_ms(struct world *w); /* see clock.h */

#endif
