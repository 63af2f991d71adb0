/* A plain client and a plain sync process that speak frames to the node, for worlds without routers
 * and PostgreSQL: unmapped strings, a dictionary for a database. Modules of the world. */
#ifndef FB_TESTS_SIM_RAW_H_
#define FB_TESTS_SIM_RAW_H_

#include "tests/sim/world.h"

#define RAW_KEYS 48u

extern const struct world_module raw_sync_module;
extern const struct world_module raw_client_module;

/* What the database has of a key: the version applied last (0 = none ever), and whether there is a
 * row. For the clients' last look. */
#define RAW_KEY_BYTES 64u
struct raw_row {
    struct raw_row *next;
    char key[RAW_KEY_BYTES];
    uint64_t ver;
    bool there;
    uint8_t kind; /* enum fb_kind */
    int64_t expires_ms;
    struct fb_buf value;
    /* before the batch that brought this version: what a read of an old view gives */
    uint64_t old_ver, old_ckpt;
    bool old_there;
    uint8_t old_kind;
    int64_t old_expires_ms;
    struct fb_buf old_value;
};
const struct raw_row *raw_row(struct world *w, const char *key);
void raw_key(uint32_t k, char out[16]);

#endif
