/* A lane with everything around it that a node's worker does: effects carried out in order, log
 * kept, replies and feed data looked at as they leave. For fuzzers.
 */
#ifndef FB_TESTS_FUZZ_LANE_WORLD_H_
#define FB_TESTS_FUZZ_LANE_WORLD_H_

#include "node/core/lane.h"
#include "node/store/store.h"
#include "proto/wire/frame.h"

#define WORLD_PARTS 4u
#define WORLD_WALL_MS UINT64_C(1700000000000)
#define WORLD_VERS 32u
#define WORLD_LOADS 16u
#define WORLD_FED 32u
#define WORLD_LARGE (FB_VALUE_BYTES_MAX + 100u)

struct world_load {
    uint16_t part;
    uint64_t token;
    uint16_t id_n;
    uint8_t id[FB_KEY_BYTES_MAX];
};

struct world_fed { /* an object that a feed gave out */
    uint16_t part;
    uint64_t ver;
    char ns[FB_NAME_BYTES_MAX + 1];
    uint16_t id_n;
    uint8_t id[FB_KEY_BYTES_MAX];
};

struct world {
    struct store *store;
    struct lane *lane;
    struct lane_config config;
    uint8_t set; /* which configuration */
    struct reply_dest *dest;
    struct feed_dest *feeds;
    struct fb_buf log;
    struct fb_buf snap[WORLD_PARTS];
    uint64_t log_seq, mono_ns, wall_ms;
    uint32_t seq, epoch[WORLD_PARTS];
    uint64_t vers[WORLD_VERS]; /* seen last */
    uint32_t vers_n;
    struct world_load loads[WORLD_LOADS];
    uint32_t load_n;
    struct world_fed fed[WORLD_FED];
    uint32_t fed_n, fed_next;
    uint8_t *large; /* WORLD_LARGE bytes, shared */
};

/* kind: bits that choose limits and the configuration. */
struct world *world_new(uint8_t kind);
void world_free(struct world *w);
/* As a worker does: reads of published state first, then the lane. */
void world_request(struct world *w, const struct fb_req *req);
void world_message(struct world *w, enum fb_frame_kind kind, struct fb_bytes items);
/* Log "written", published, everything that leaves checked. */
void world_tick(struct world *w);
void world_synced(struct world *w);
void world_pass(struct world *w, uint64_t ms);
/* A new lane from the log (and the snapshots), as after a crash. It must recover. */
void world_restart(struct world *w, bool use_snapshots);
/* A new lane from records that nobody wrote. False: refused, the world has an empty lane again. On
 * success partitions are open, and snapshots and log are the world's as if it had written them. */
bool world_recover(struct world *w, const struct fb_bytes snaps[WORLD_PARTS], struct fb_bytes log);
void world_configure(struct world *w, uint8_t set);
void world_reopen(struct world *w, uint16_t part);
void world_snapshot(struct world *w, uint16_t part);
/* Router and sync process go away; others come. */
void world_hang_up(struct world *w);

#endif
