/* A plain client and a plain sync process that speak frames to the node, for worlds without routers
 * and PostgreSQL: unmapped strings, a dictionary for a database. Modules of the world. */
#ifndef FB_TESTS_SIM_RAW_H_
#define FB_TESTS_SIM_RAW_H_

#include "tests/sim/world.h"

#define RAW_KEYS 48u

extern const struct world_module raw_sync_module;
extern const struct world_module raw_client_module;

/* What the database has of key k: its version, 0 = no row. For the client's last look. */
struct raw_row {
    uint64_t ver;
    bool there;
    char value[40];
};
const struct raw_row *raw_row(struct world *w, uint32_t k);
void raw_key(uint32_t k, char out[16]);

#endif
