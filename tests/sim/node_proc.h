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
/* Objects that wait for PostgreSQL, of all partitions where they are open; UINT64_MAX while a node
 * is down. */
uint64_t node_proc_dirty(struct world *w);
/* On how many disks is this record of the ledger's, in a log that leads to it? */
uint32_t node_proc_holders(const struct world *w, uint16_t part, uint64_t ver);
/* The wall clocks of the machines: the one that is most behind, and most ahead. */
uint64_t node_proc_wall_ms(struct world *w);
uint64_t node_proc_wall_max_ms(struct world *w);
/* The latest time a process has read from its own: it never goes back in what it does. */
uint64_t node_proc_wall_seen_ms(struct world *w);
uint64_t node_proc_take_set_back_ms(struct world *w); /* see clock.h */

#endif
