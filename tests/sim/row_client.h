/* A plain client of the mapped namespaces: it writes, deletes and reads rows through the node and
 * believes every answer. What becomes of them is the audit's to judge (pg_check.h), as others write
 * the same rows by SQL. A module of the world (world.h). */
#ifndef FB_TESTS_SIM_ROW_CLIENT_H_
#define FB_TESTS_SIM_ROW_CLIENT_H_

#include "tests/sim/world.h"

extern const struct world_module row_client_module;

#endif
