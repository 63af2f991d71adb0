/* A router core with scripted nodes: clients' bytes in, captured requests out, replies as the test
 * says. No clock but the test's. */
#ifndef FB_TESTS_UNIT_ROUTER_RIG_H_
#define FB_TESTS_UNIT_ROUTER_RIG_H_

#include "router/core/core.h"

#define RIG_NODES 2
#define RIG_PARTITIONS 16
#define RIG_SEEN_MAX 4096

/* A request that arrived at a node and is not answered yet. Heap copies. */
struct seen {
    uint32_t node;
    struct fb_req req; /* key and args point into `bytes` */
    uint8_t *bytes;
};

struct rig {
    struct router *r;
    struct router_config config;
    struct fb_map map;
    struct seen seen[RIG_SEEN_MAX];
    uint32_t seen_count;
    uint32_t frames; /* how many frames came out so far */
    uint64_t now_ns;
    uint32_t queue_us, busy_us; /* that nodes tell in their frames */
    uint32_t frames_alive;      /* held by the core */
};

/* Two nodes n0, n1, connected; even partitions on n0, odd on n1, epoch 1. */
void rig_init(struct rig *g);
void rig_init_config(struct rig *g, void (*adjust)(struct router_config *c));
void rig_fini(struct rig *g);
void rig_map_apply(struct rig *g, bool relaxed);
/* Let time pass, tick, and capture what goes to the nodes. */
void rig_tick(struct rig *g, uint64_t ms);
/* Bytes of a client; ticks. Returns how many were taken. */
size_t rig_input(struct rig *g, struct router_session *s, const char *text);
/* The same in the middle of one poll: no tick, only what the core says is due now is captured. */
void rig_read(struct rig *g, struct router_session *s, const char *text);
/* Answer the i-th captured request (it is removed). */
void rig_reply(struct rig *g, uint32_t i, struct fb_rep rep);
void rig_reply_bulk(struct rig *g, uint32_t i, const char *text);
void rig_reply_ok(struct rig *g, uint32_t i);
void rig_reply_int(struct rig *g, uint32_t i, int64_t v);
void rig_reply_err(struct rig *g, uint32_t i, enum fb_rep_err code, const char *text);
void rig_forget(struct rig *g); /* drop captured requests, as a lost connection does */
/* What the client has got since the last call, as text. */
const char *rig_output(struct rig *g, struct router_session *s);
void rig_expect(struct rig *g, struct router_session *s, const char *want);
/* A key of the form k<number> on partition p. */
const char *rig_key(uint16_t p);

#endif
