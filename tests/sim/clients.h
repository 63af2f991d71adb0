/* Clients of a world: they speak RESP to the routers, pipelined, with transactions, conditional
 * writes, levels and short times to live; they vanish in the middle and come back. What they ask
 * and are told goes into the shadow history, which judges it (history.h). A module of the world. */
#ifndef FB_TESTS_SIM_CLIENTS_H_
#define FB_TESTS_SIM_CLIENTS_H_

#include "tests/sim/history.h"
#include "tests/sim/world.h"

extern const struct world_module clients_module;

struct history *clients_history(const struct world *w);

#endif
