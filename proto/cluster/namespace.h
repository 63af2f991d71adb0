/* What is served: the cluster file (INI) as plain structs. Pure; parse, check, print, compare. */
#ifndef FB_PROTO_CLUSTER_NAMESPACE_H_
#define FB_PROTO_CLUSTER_NAMESPACE_H_

#include "proto/base/bounds.h"
#include "proto/base/buf.h"

enum fb_value_mode { FB_VALUE_AUTO, FB_VALUE_COLUMN, FB_VALUE_ROW };
enum fb_conflict {
    FB_CONFLICT_CACHE_WINS,
    FB_CONFLICT_DB_WINS,
    FB_CONFLICT_MERGE_COLUMNS,
    FB_CONFLICT_LAST_WRITE_WINS
};
enum fb_external { FB_EXTERNAL_NONE, FB_EXTERNAL_DETECT, FB_EXTERNAL_TRIGGER, FB_EXTERNAL_LOGICAL };
enum fb_on_delete { FB_ON_DELETE_REFUSE, FB_ON_DELETE_DELETE, FB_ON_DELETE_NULL };
enum fb_on_row_gone { FB_ROW_GONE_DELETE, FB_ROW_GONE_REINSERT };
enum fb_multi { FB_MULTI_STRICT, FB_MULTI_RELAXED };
/* What of PostgreSQL survives its fail-over (PROTOCOL 11, dsafe). */
enum fb_safety { FB_SAFETY_AUTO, FB_SAFETY_SINGLE, FB_SAFETY_SYNC, FB_SAFETY_LAG };

enum fb_reads { FB_READS_LEASE, FB_READS_CONFIRMED, FB_READS_STALE };

struct fb_namespace {
    char name[FB_NAME_BYTES_MAX + 1];
    bool mapped; /* table given */
    char table_schema[FB_NAME_BYTES_MAX + 1];
    char table_name[FB_NAME_BYTES_MAX + 1];
    char key[256]; /* key column(s), comma-separated */
    enum fb_value_mode value;
    char value_column[FB_NAME_BYTES_MAX + 1];
    bool format_json; /* format = json */
    uint64_t sync_interval_ms;
    uint32_t max_batch;
    uint64_t ttl_ms; /* 0 = none. unmapped: default expiry of a write; mapped: cache age */
    uint64_t negative_ttl_ms;
    uint8_t durability; /* enum fb_level of request.h, what a write waits for by default */
    uint8_t reads;      /* enum fb_reads */
    bool on_degraded_refuse;
    enum fb_conflict conflict;
    char conflict_column[FB_NAME_BYTES_MAX + 1]; /* last-write-wins:<column> */
    enum fb_external external;
    enum fb_on_row_gone on_row_gone;
    uint64_t fk_wait_ms;
    char expires_column[FB_NAME_BYTES_MAX + 1]; /* "" = none */
    enum fb_on_delete on_delete;
    char delete_column[FB_NAME_BYTES_MAX + 1];
    uint64_t max_value;
    uint64_t max_dirty_bytes;  /* 0 = the cluster's */
    uint64_t max_dirty_age_ms; /* 0 = none */
    bool blind_writes;
    bool read_only;
};

struct fb_nsset {
    uint32_t partitions; /* 0 = not said */
    uint32_t replicas;
    uint64_t max_dirty_bytes; /* per node; 0 = a quarter of memory */
    enum fb_multi multi;
    enum fb_safety safety;
    uint64_t safety_lag_ms; /* LAG, also when AUTO chooses it */
    uint64_t
        heal_after_ms; /* a node that is gone for so long is not waited for; 0 = it always is */
    uint32_t count;    /* ns[0] is always "default" */
    struct fb_namespace ns[FB_NAMESPACES_MAX];
};

/* Heap result, freed with free(). Every problem is named as "file:line: what (hint)"; the first
 * goes to err and the rest to `problems` when not NULL (one per line). Empty text gives the
 * defaults with namespace "default" alone. */
FB_MUST_USE enum fb_status fb_nsset_parse(const char *file, struct fb_bytes text,
                                          struct fb_nsset **out, struct fb_buf *problems,
                                          struct fb_err *err);
/* INI text with every value spelled out. */
void fb_nsset_print(struct fb_buf *out, const struct fb_nsset *s);

/* Namespace of a key as typed: prefix before the first ':' names a declared namespace (other than
 * "default") or it is "default" with the whole key as id. ns_len is 0 for default, else the
 * prefix's length. */
uint32_t fb_nsset_of_key(const struct fb_nsset *s, struct fb_bytes key, uint8_t *ns_len);
/* Index of a namespace by name, or UINT32_MAX. */
uint32_t fb_nsset_find(const struct fb_nsset *s, struct fb_bytes name);
static inline struct fb_bytes fb_key_id(struct fb_bytes key, uint8_t ns_len)
{
    return ns_len == 0 ? key : fb_bytes(key.p + ns_len + 1, key.n - ns_len - 1);
}

#endif
