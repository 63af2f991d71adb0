/* forebay-sync in the simulator: some processes of the real program, each on a machine of its own,
 * on the model of PostgreSQL. A module of the world (world.h). */
#ifndef FB_TESTS_SIM_SYNC_PROC_H_
#define FB_TESTS_SIM_SYNC_PROC_H_

#include "tests/sim/world.h"

/* sync/main.c, compiled for the simulator under this name. */
int forebay_sync_main(int argc, char **argv);

extern const struct world_module sync_module;

#endif
