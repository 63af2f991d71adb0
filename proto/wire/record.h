/* Records of a partition's log: what was done, as full after-images, in one total order
 * (PROTOCOL 2.4).
 *
 * A record belongs to one partition and carries its own ver and that of the record before it, so
 * that contiguity is rec.prev == last. Encoded length-prefixed; a batch of the log holds records of
 * many partitions of one lane.
 */
#ifndef FB_PROTO_WIRE_RECORD_H_
#define FB_PROTO_WIRE_RECORD_H_

#include "proto/wire/value.h"

#define FB_RECORD_TYPE_LIST(X)                                                                     \
    X(FB_RECORD_EPOCH_START, 1) /* counter 0 of its epoch; history */                              \
    X(FB_RECORD_PUT, 2)         /* key, kind, value, expires_ms, changed, base */                  \
    X(FB_RECORD_DEL, 3)         /* key, base */                                                    \
    X(FB_RECORD_EXPIRE, 4)      /* key; obj_ver = version that expired; base */                    \
    X(FB_RECORD_PARK,                                                                              \
      5) /* key; obj_ver = version refused; sqlstate in `sqlstate`, message in value */            \
    X(FB_RECORD_SYNCED, 6) /* key = namespace name; obj_ver = checkpoint; xid */                   \
    X(FB_RECORD_REFRESH,                                                                           \
      7) /* key, kind, value, base_xid: values read back, not dirty; obj_ver unchanged */          \
    X(FB_RECORD_GROUP, 8) /* the next `count` records are one unit */                              \
    X(FB_RECORD_SESSION_OPEN, 9)                                                                   \
    X(FB_RECORD_SESSION_CLOSE, 10)                                                                 \
    X(FB_RECORD_META, 11) /* a node's own note, not part of the stream: in a log (version 1),      \
                           * obj_ver = committed up to here; in a snapshot its header */

enum fb_record_type {
#define X(name, number) name = number,
    FB_RECORD_TYPE_LIST(X)
#undef X
};

enum fb_record_flag {
    FB_RECORD_HAS_BASE = 1 << 0,
    FB_RECORD_TOKEN_KNOWN = 1 << 1, /* base_xid is valid */
    FB_RECORD_BLIND = 1 << 2,       /* written without knowing whether a row exists */
    FB_RECORD_REGRESSED = 1 << 3,   /* SYNCED: PostgreSQL is back at obj_ver, what follows is dirty
                                     * again */
    FB_RECORD_COPIES = 1 << 4,      /* META: the log is one of several copies */
};

struct fb_record {
    uint8_t type;   /* enum fb_record_type */
    uint8_t flags;  /* enum fb_record_flag */
    uint8_t kind;   /* enum fb_kind */
    uint8_t ns_len; /* bytes of the key that name its namespace; 0 = namespace "default", whole key
                       is the id */
    uint16_t part;
    uint64_t ver;
    uint64_t prev;
    uint64_t ptime_ms;
    uint64_t obj_ver;
    uint64_t changed; /* columns changed since the last sync, see feed.h */
    int64_t expires_ms;
    uint64_t xid;
    uint64_t history;
    uint32_t base_xid;
    uint32_t count;   /* GROUP */
    uint64_t session; /* 0 = none */
    uint64_t req_no;
    char sqlstate[6];
    struct fb_bytes key;
    struct fb_bytes value;
};

/* Appends one record (u32 length first). */
void fb_record_encode(struct fb_buf *out, const struct fb_record *r);
/* Takes one off; views. FB_EPROTO on malformed bytes, an unknown type or broken limits. */
FB_MUST_USE enum fb_status fb_record_decode(struct fb_reader *in, struct fb_record *out);
const char *fb_record_type_name(uint8_t type);

#endif
