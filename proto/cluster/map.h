/* The cluster map as processes use it: who is primary of a partition, where nodes listen. Immutable
 * once built. */
#ifndef FB_PROTO_CLUSTER_MAP_H_
#define FB_PROTO_CLUSTER_MAP_H_

#include "proto/cluster/record_next.h"

enum fb_member_kind { FB_MEMBER_NODE, FB_MEMBER_SYNC, FB_MEMBER_ROUTER };

/* `/node/<name>`, `/sync/<name>`, `/router/<name>`: JSON, bound to the process's session (a hint
 * only). */
struct fb_member_info {
    enum fb_member_kind kind;
    char name[FB_NAME_BYTES_MAX + 1];
    char zone[FB_NAME_BYTES_MAX + 1];
    char listen[FB_ADDRESS_BYTES_MAX +
                1]; /* nng URL for other processes: tcp://127.0.0.1:7400; "" = none */
    char admin[FB_ADDRESS_BYTES_MAX + 1];  /* host:port of its admin port; "" = none */
    char client[FB_ADDRESS_BYTES_MAX + 1]; /* routers: host:port of RESP; "" otherwise */
    uint64_t inc;
    uint32_t weight;
    uint64_t started_ms;
    uint32_t pid;
    bool leaving; /* a node that stops: nothing new goes there, its copies leave the sets */
    bool alive;   /* filled from the session, not stored */
};

/* "node", "sync", "router": also the first part of the member's key in the coordinator. */
const char *fb_member_kind_name(enum fb_member_kind kind);
void fb_member_info_encode(struct fb_buf *out, const struct fb_member_info *m);
FB_MUST_USE enum fb_status fb_member_info_decode(struct fb_bytes in, struct fb_member_info *out,
                                                 struct fb_err *err);

struct fb_map {
    uint64_t rev; /* coordinator revision it was built from */
    uint8_t cluster[16];
    uint64_t hash_seed;
    uint32_t partitions;
    uint32_t member_count;
    struct fb_member_info *members; /* all kinds, sorted by (kind, name) */
    struct fb_part_record *parts;   /* `partitions` of them; epoch 0 = not assigned */
    uint64_t *part_revs; /* mod revision of each record, for compare-and-swap; 0 = missing */
};

void fb_map_free(struct fb_map *m);
const struct fb_member_info *fb_map_member(const struct fb_map *m, enum fb_member_kind kind,
                                           const char *name);

#endif
