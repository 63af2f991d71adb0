/* Messages between nodes and sync processes: change feeds, loads, verdicts. Flat items in frame
 * tails.
 *
 * A feed is one (partition, namespace). Namespaces travel by name; decoded names are views.
 * The life of a change:  NOTE -> FEED_REQ -> FEED_DATA -> (commit in PostgreSQL) -> FEED_POS; what
 * PostgreSQL refuses or resolves otherwise comes back as a VERDICT, which the node commits to its
 * log and answers with VERDICT_ACK.
 */
#ifndef FB_PROTO_WIRE_FEED_H_
#define FB_PROTO_WIRE_FEED_H_

#include "proto/wire/value.h"

/* node -> sync, when a feed becomes non-empty, when one is due at once, and every second while it
 * is not empty */
struct fb_feed_note {
    uint16_t part;
    uint32_t epoch;
    uint64_t history;
    struct fb_bytes ns;
    uint64_t dirty;    /* objects waiting */
    uint64_t last_ver; /* greatest ver that may be asked for now */
    uint64_t age_ms;   /* since the oldest unsynced change */
    bool due;          /* do not wait for sync_interval */
};

/* sync -> node: objects with ver > from_ver, at most max. from_ver is the checkpoint as read from
 * PostgreSQL: the node also takes everything at or below it as synced (a SYNCED record with xid 0:
 * row token unknown). */
struct fb_feed_req {
    uint16_t part;
    uint64_t history;
    struct fb_bytes ns;
    uint64_t from_ver;
    uint32_t max;
    uint64_t
        mapping; /* fb_schema_mapping of the namespace as the asker has it, 0 = not said: a node and
                  * a sync process that know different tables do not talk about rows */
    uint64_t dsafe; /* at most from_ver: what survives a fail-over of PostgreSQL */
    uint64_t proof; /* of a BEHIND, echoed: from_ver was read in PostgreSQL after the node had said
                     * so. Then a lower from_ver is not an old view but commits that PostgreSQL
                     * lost. 0 = nothing was said */
};

enum fb_feed_status {
    FB_FEED_OK = 0,
    FB_FEED_NOT_PRIMARY = 1,
    FB_FEED_RESYNC = 2, /* another history */
    FB_FEED_AHEAD = 3,  /* from_ver above everything this node knows: PostgreSQL is ahead of the log
                           (PROTOCOL 8) */
    FB_FEED_NO_NAMESPACE =
        4, /* or it is another table's here: one of both has not heard of a change yet */
    FB_FEED_BEHIND = 5, /* scan_end: the checkpoint this node knows, above from_ver. Read it again;
                           when PostgreSQL still says less, ask with `proof` */
};

enum fb_object_flag {
    FB_OBJECT_HAS_BASE =
        1 << 0, /* a row exists (loaded or written before): UPDATE; else known absent: INSERT */
    FB_OBJECT_TOKEN_KNOWN = 1 << 1, /* base_xid is the xmin of that row */
    FB_OBJECT_PARKED = 1 << 2,      /* REJECTED before; not to be tried, only counted */
    FB_OBJECT_BLIND = 1 << 3,       /* unknown whether a row exists: upsert */
};

struct fb_feed_object {
    uint64_t ver;
    uint8_t kind;  /* enum fb_kind; NONE = delete */
    uint8_t flags; /* enum fb_object_flag */
    uint32_t base_xid;
    uint64_t changed; /* columns changed since the last sync: bit attnum-1, bit 63 = any with attnum
                         > 63 */
    int64_t expires_ms;     /* 0 = never */
    uint64_t changed_at_ms; /* ptime of the newest write */
    struct fb_bytes id;
    struct fb_bytes value;
};

struct fb_feed_batch {
    uint16_t part;
    uint64_t history;
    struct fb_bytes ns;
    uint8_t status; /* enum fb_feed_status */
    uint64_t from_ver;
    uint64_t scan_end; /* after this batch the position is scan_end when `last`, else the ver of the
                          last object */
    bool last;         /* the scan reached scan_end */
    uint64_t purge_ver;
    uint64_t proof; /* BEHIND: names the checkpoint as the node has it now, never again another;
                     * not 0 */
    uint32_t count; /* objects, encoded in `objects` */
    struct fb_bytes objects;
};

/* sync -> node: the checkpoint is committed at ver; xid of that transaction (low 32 bits are the
 * rows' xmin). */
struct fb_feed_pos {
    uint16_t part;
    uint64_t history;
    struct fb_bytes ns;
    uint64_t ver;
    uint64_t dsafe;
    uint64_t xid;
};

struct fb_load_req {
    uint16_t part;
    uint64_t token; /* echoed */
    struct fb_bytes ns;
    struct fb_bytes id;
    uint64_t mapping; /* as in fb_feed_req; a mismatch is answered DB_DOWN */
};

enum fb_load_status {
    FB_LOAD_FOUND = 0,
    FB_LOAD_ABSENT = 1,
    FB_LOAD_DB_DOWN = 2, /* PostgreSQL cannot answer now; error: text for the client */
    FB_LOAD_REFUSED = 3, /* the table, column or key cannot be served; error: text */
};

struct fb_load_rep {
    uint16_t part;
    uint64_t token;
    uint8_t status; /* enum fb_load_status */
    uint8_t kind;   /* enum fb_kind of value */
    uint32_t xmin;
    uint64_t history;  /* of the checkpoint row, 0 = none */
    uint64_t ckpt_ver; /* read in the same statement */
    int64_t expires_ms;
    uint64_t stored_ver; /* forebay.objects.version, 0 for mapped rows */
    struct fb_bytes ns;
    struct fb_bytes id;
    struct fb_bytes value; /* or the error's text */
};

enum fb_verdict_kind {
    FB_VERDICT_PARK =
        1, /* PostgreSQL refuses this version: sqlstate + message; commit a PARK record */
    FB_VERDICT_CONFLICT =
        2, /* the row changed under us: value/kind/xmin is the row now; resolve by the policy */
    FB_VERDICT_REFRESH =
        3, /* after a commit: the whole row as stored (defaults, generated), xmin; not dirty */
    FB_VERDICT_RETRY = 4, /* operator: try the parked object again (a fresh version) */
    FB_VERDICT_DISCARD =
        5, /* operator: forget ours, take the row as PostgreSQL has it (value/kind/xmin) */
};

struct fb_verdict {
    uint8_t verdict; /* enum fb_verdict_kind */
    uint16_t part;
    uint64_t id64; /* sender's number, echoed by the ack */
    struct fb_bytes ns;
    struct fb_bytes id;
    uint64_t ver; /* the version the verdict is about; a newer one makes it void (ack status
                     FB_ESTALE) */
    uint8_t kind;
    uint32_t xmin;
    char sqlstate[6];
    struct fb_bytes message;
    struct fb_bytes value;
};

/* What became of a conflict, and its name in forebay.conflict_log and metrics. */
#define FB_OUTCOME_LIST(X)                                                                         \
    X(FB_OUTCOME_NONE, "none") /* no conflict, or not resolved */                                  \
    X(FB_OUTCOME_OURS, "ours")                                                                     \
    X(FB_OUTCOME_THEIRS, "theirs")                                                                 \
    X(FB_OUTCOME_MERGED, "merged")                                                                 \
    X(FB_OUTCOME_DELETED, "deleted")       /* the row was gone: the object went too */             \
    X(FB_OUTCOME_REINSERTED, "reinserted") /* the row was gone: it is written again */             \
    X(FB_OUTCOME_SUPERSEDED, "superseded") /* a newer version exists and meets the row itself */
enum fb_outcome {
#define X(id, word) id,
    FB_OUTCOME_LIST(X)
#undef X
        FB_OUTCOME_COUNT
};
const char *fb_outcome_word(enum fb_outcome o);

struct fb_verdict_ack {
    uint16_t part;
    uint64_t id64;
    uint16_t status; /* enum fb_status */
    uint64_t ver;    /* version it led to */
    uint8_t outcome; /* enum fb_outcome, of a conflict */
};

#define FB_FEED_CODECS(X)                                                                          \
    X(feed_note)                                                                                   \
    X(feed_req)                                                                                    \
    X(feed_object)                                                                                 \
    X(feed_batch)                                                                                  \
    X(feed_pos)                                                                                    \
    X(load_req)                                                                                    \
    X(load_rep)                                                                                    \
    X(verdict)                                                                                     \
    X(verdict_ack)

/* fb_X_encode appends one item; fb_X_decode takes one off the reader (views) or says FB_EPROTO. */
#define X(name)                                                                                    \
    void fb_##name##_encode(struct fb_buf *out, const struct fb_##name *m);                        \
    FB_MUST_USE enum fb_status fb_##name##_decode(struct fb_reader *in, struct fb_##name *m);
FB_FEED_CODECS(X)
#undef X

#endif
