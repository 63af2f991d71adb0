/* Everything that talks to PostgreSQL. The only user of libpq. One `struct pg` is one connection
 * used by one thread; calls block (the worker thread exists for that) but never longer than the
 * configured timeouts: a server that stays silent for statement_timeout_ms and 5 s more is an
 * outage.
 *
 * Outcomes are classes, not libpq codes (PROTOCOL 11). Every call fills err; after an error nothing
 * of the call is in the database (but see PG_UNKNOWN). After PG_OUTAGE and PG_UNKNOWN the
 * connection is closed, or still good where the server itself reported the trouble (disk full):
 * calling pg_connect is right in both cases, it does nothing when connected. The connection is a
 * session: no pooler in transaction mode in between.
 *
 * Ids in tables of schema forebay are text: an id that is not UTF-8, holds a zero byte or starts
 * with "\x" is written as
 * "\x" and the hexadecimal digits of all its bytes; any other as it is. Hashes are jsonb where all
 * names and values are text, else their flat encoding in `value`.
 */
#ifndef FB_SYNC_PG_PG_H_
#define FB_SYNC_PG_PG_H_

#include "proto/cluster/namespace.h"
#include "proto/cluster/schema.h"
#include "proto/wire/feed.h"

struct pg;

enum pg_class {
    PG_OK = 0,
    PG_OUTAGE, /* 08 57P0x 53, or no SQLSTATE: the connection is gone or useless; keep order, back
                  off, never park */
    PG_RETRY,  /* 40001 40P01: again now */
    PG_NAMESPACE,   /* 42 55P03 25006: this namespace stops, read the catalog again, back off */
    PG_FOREIGN_KEY, /* 23503 */
    PG_ROW,         /* 22, other 23: one object is at fault: bisect */
    PG_LOST,        /* the checkpoint compare failed: somebody else moved it; read it again */
    PG_CONFLICT,    /* rows were changed by somebody else: see pg_batch.conflicts; rolled back */
    PG_NO_LETTER,   /* parked objects have no dead letter: see pg_batch.conflicts, of which feed and
                       object are set; rolled back */
    PG_UNKNOWN, /* the connection broke around COMMIT: read the checkpoint, continue from what it
                   says */
};

struct pg_error {
    enum pg_class class;
    char sqlstate[6];  /* "" = from libpq itself */
    char message[400]; /* one line, no secrets; may quote the row where the class is PG_ROW or
                          PG_FOREIGN_KEY: for dead letters only */
    char remark[300];  /* the same without anything of the row: for logs and status */
    uint32_t feed;     /* index (after pg_apply sorted them) of a feed of the namespace it concerns,
                          UINT32_MAX =     unknown, as for errors at COMMIT */
};

struct pg_config {
    const char *conninfo;         /* contents of conninfo_file */
    const char *application_name; /* forebay-sync/<name> */
    uint32_t connect_timeout_s;
    uint32_t statement_timeout_ms;
    uint32_t lock_timeout_ms;
};

/* Copies the config; no connection yet. Zero timeouts mean 5 s, 30 s and 5 s. Heap, pg_free (NULL
 * allowed). */
struct pg *pg_new(const struct pg_config *config);
void pg_free(struct pg *pg);
/* Connects if not connected and pins the session's settings (DateStyle, IntervalStyle, TimeZone,
 * bytea_output, extra_float_digits, timeouts). PG_OUTAGE when unreachable; PG_NAMESPACE is not used
 * here; a server below 13, a wrong password or a missing database is PG_OUTAGE with a message that
 * says what to do; `fatal` tells a start that it should stop instead of waiting (wrong password,
 * version, missing database, missing rights). */
enum pg_class pg_connect(struct pg *pg, bool *fatal, struct pg_error *err);
bool pg_connected(const struct pg *pg);
void pg_disconnect(struct pg *pg);
/* Another connection string (copied): disconnects, the next pg_connect uses it. */
void pg_set_conninfo(struct pg *pg, const char *conninfo);

/* Schema `forebay` (tables objects, checkpoint, dead_letter, conflict_log, outbox). setup is
 * idempotent and transactional; `print` only appends the SQL (deploy/sql/forebay.sql, embedded at
 * build time). */
void pg_setup_sql(struct fb_buf *out);
enum pg_class pg_setup(struct pg *pg, struct pg_error *err);
/* Errors: PG_OUTAGE, PG_NAMESPACE (42501: the role may not create the schema).
 *
 * One problem or remark per call of `say`: ok, level 0 info 1 warning 2 error, text names what to
 * do. */
typedef void (*pg_check_fn)(void *arg, int level, const char *text);
enum pg_class pg_check(struct pg *pg, const struct fb_nsset *namespaces, pg_check_fn say, void *arg,
                       struct pg_error *err);

/* The table of a mapped namespace from pg_catalog. A table that cannot be served gives a schema
 * with `problem` set (and PG_OK). Type names are qualified whatever the session's search_path.
 * config_rev is left 0. Heap result, fb_schema_free; *out is NULL on errors. */
enum pg_class pg_read_schema(struct pg *pg, const struct fb_namespace *ns, struct fb_schema **out,
                             struct pg_error *err);

/* Loads: one statement per namespace, row and checkpoint in the same snapshot (PROTOCOL 13).
 * reps[i] answers reqs[i]; values are appended to `bytes` and reps' views are set at the end (so
 * `bytes` may move meanwhile); ns and id of a reply are the views of its request. A namespace-class
 * error answers its requests with FB_LOAD_REFUSED, an outage all with FB_LOAD_DB_DOWN (and is
 * returned); a key that PostgreSQL does not take is refused alone; of a table that others keep
 * locked all are FB_LOAD_DB_DOWN, and `locked` is set. `schema` of a mapped namespace must be
 * given. A row of `value = column:` whose column is NULL is FB_LOAD_FOUND with kind NONE: no value,
 * but a row to UPDATE. Expired rows of forebay.objects are absent. */
struct pg_load {
    const struct fb_namespace *ns;
    const struct fb_schema *schema; /* NULL for unmapped */
    const struct fb_load_req *reqs;
    struct fb_load_rep *reps;
    size_t count;
    uint32_t lock_wait_ms; /* for others' locks; 0: as the connection is configured */
    bool locked;           /* result: the table was locked by others for all that time */
};
enum pg_class pg_load(struct pg *pg, const uint8_t cluster[16], struct pg_load *l,
                      struct fb_buf *bytes, struct pg_error *err);

/* Checkpoints of all feeds, read at attach: calls fn per row. */
typedef void (*pg_checkpoint_fn)(void *arg, uint16_t part, const char *ns, uint64_t history,
                                 uint64_t ver);
enum pg_class pg_read_checkpoints(struct pg *pg, const uint8_t cluster[16], pg_checkpoint_fn fn,
                                  void *arg, struct pg_error *err);
struct pg_feed;
/* An operator's word that these rows count as they are, whatever was written to the cluster up to
 * `next` of each feed: the checkpoints that are below go there, in one transaction. Of a feed it
 * looks at part, ns, history and next. */
enum pg_class pg_adopt(struct pg *pg, const uint8_t cluster[16], const struct pg_feed *feeds,
                       size_t count, struct pg_error *err);

/* What stands behind this server, as far as its role may see it. */
struct pg_standbys {
    uint64_t server;    /* tells a server from the one that takes over: when it was started */
    bool sync_names;    /* synchronous_standby_names is set */
    uint32_t streaming; /* standbys connected now, backups not counted */
    int64_t clock_ms;   /* its clock, since 1970 */
};
enum pg_class pg_read_standbys(struct pg *pg, struct pg_standbys *out, struct pg_error *err);

/* One transaction over several feeds. */
struct pg_feed {
    uint16_t part;
    const struct fb_namespace *ns;
    const struct fb_schema *schema; /* NULL for unmapped */
    uint64_t history;
    uint64_t prev; /* checkpoint as this worker knows it; 0 and missing row: inserted first */
    uint64_t next;
    bool consistent;
    const struct fb_feed_object *objects; /* PARKED ones are skipped */
    size_t count;
    bool blamed; /* result: a row of it was in the statement that failed, which may be about any of
                    them */
};
struct pg_conflict { /* or a row read back after commit (refresh) */
    uint32_t feed;
    uint32_t object; /* index in the feed's objects */
    uint8_t kind;    /* row now; FB_KIND_NONE = gone */
    uint32_t xmin;
    size_t value_at,
        value_n; /* in pg_batch.bytes: hash of all columns (value = row) or the column's bytes */
};
struct pg_batch {
    struct pg_feed *feeds; /* sorted here by (namespace, part) for the checkpoint locks */
    size_t feed_count;
    const char *owner;
    uint32_t lock_wait_ms; /* for others' locks; 0: as the connection is configured */
    /* Results: */
    uint64_t xid;                  /* of the transaction */
    struct pg_conflict *conflicts; /* PG_CONFLICT, PG_NO_LETTER; heap, freed by pg_batch_fini */
    size_t conflict_count;
    struct pg_conflict
        *refreshes; /* class PG_OK: rows of value=row namespaces whose stored text or columns differ
                       from what was sent (defaults, generated columns, normalised values) */
    size_t refresh_count;
    struct fb_buf bytes;
    uint64_t rows_updated, rows_inserted, rows_deleted;
    bool sync_cancelled; /* warning "canceling wait for synchronous replication" was seen */
    bool replicated;     /* COMMIT waited for a synchronous standby and was not cancelled */
};
/* All other fields than feeds, feed_count, owner and lock_wait_ms start as zero; a batch may be
 * applied again (results are reset). An object with base is an UPDATE of its changed columns,
 * skipped when `changed` is 0 (value = row); without base an INSERT; BLIND an upsert; kind NONE a
 * delete, or column = NULL with on_delete = null:<column>. A row that a trigger or policy keeps
 * from being written is PG_ROW with SQLSTATE 09000, not a conflict without end.
 *
 * begin; compare-and-swap of all checkpoints (first statement; else PG_LOST and ROLLBACK); update
 * of changed columns, insert, delete by unnest; letters about older versions of the objects are
 * deleted and open conflicts of theirs closed as "unheard"; COMMIT only after the counts were read,
 * and the letters of parked objects, which the checkpoint passes, were seen (PG_NO_LETTER).
 * Statements are sent in pipeline mode. */
enum pg_class pg_apply(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                       struct pg_error *err);
void pg_batch_fini(struct pg_batch *b);
/* A transaction that changes nothing but the time of one checkpoint: when it is replicated, so is
 * all that was committed before. The batch has one feed; of the results it fills replicated and
 * sync_cancelled. PG_LOST: there is no such checkpoint. */
enum pg_class pg_barrier(struct pg *pg, const uint8_t cluster[16], struct pg_batch *b,
                         struct pg_error *err);

/* forebay.dead_letter: the newest refused version of an object; an older put changes nothing.
 * PG_LOST: the checkpoint of the object's feed is at or above its version, so there is nothing to
 * refuse any more; no letter is written. pg_apply takes away the letters of what it writes. */
enum pg_class pg_dead_letter_put(struct pg *pg, const uint8_t cluster[16], const char *ns,
                                 uint16_t part, const struct fb_feed_object *o,
                                 const char *sqlstate, const char *message, struct pg_error *err);
enum pg_class pg_dead_letter_count(struct pg *pg, const uint8_t cluster[16], uint64_t *count,
                                   struct pg_error *err);
/* Views and texts are valid during the call of fn only. */
struct pg_letter {
    bool ours; /* false: id or value are not as Forebay writes them; both are empty then */
    uint16_t part;
    uint64_t ver;
    int64_t expires_ms; /* 0 = never */
    struct fb_bytes id;
    const char *ns, *id_text, *sqlstate, *message;
    const char *at;         /* PostgreSQL's text of the time */
    const char *kind;       /* "none", "string" or "hash" */
    const char *value_json; /* a JSON string or object, null for a delete, {"hex": "..."} of the
                               stored bytes for what is not text (and for a hash whose only field is
                               "hex") */
};
typedef void (*pg_dead_letter_fn)(void *arg, const struct pg_letter *l);
/* Oldest first, those behind (after_at, after_ns, after_id: at, ns and id_text of a letter), NULL =
 * from the first. */
struct pg_letter_query {
    const char *ns;            /* NULL = all */
    const struct fb_bytes *id; /* NULL = all */
    const char *after_at, *after_ns, *after_id;
    uint32_t limit;
};
enum pg_class pg_dead_letter_list(struct pg *pg, const uint8_t cluster[16],
                                  const struct pg_letter_query *q, pg_dead_letter_fn fn, void *arg,
                                  struct pg_error *err);
/* forebay.conflict_log: put writes the conflicts of a batch that ended with PG_CONFLICT, as open,
 * before anybody resolves them (again does nothing); done says how one was resolved, also after
 * pg_apply has closed it as "unheard" because a newer version came. The list begins with the
 * newest; texts are valid during the call of fn only. */
enum pg_class pg_conflict_put(struct pg *pg, const uint8_t cluster[16], const struct pg_batch *b,
                              struct pg_error *err);
enum pg_class pg_conflict_done(struct pg *pg, const uint8_t cluster[16], const char *ns,
                               struct fb_bytes id, uint64_t ver, const char *outcome,
                               struct pg_error *err);
struct pg_conflict_row {
    const char *ns;
    struct fb_bytes id;
    uint64_t ver; /* ours that met another row */
    const char *policy, *outcome, *ours_json, *theirs_json, *old_json, *at;
};
typedef void (*pg_conflict_fn)(void *arg, const struct pg_conflict_row *row);
enum pg_class pg_conflict_list(struct pg *pg, const uint8_t cluster[16],
                               const char *ns /* or NULL */, uint32_t limit, pg_conflict_fn fn,
                               void *arg, struct pg_error *err);
/* Deletes rows of forebay.objects that expired more than age_ms ago, the oldest first and at most
 * `limit`; rows somebody holds are left for the next time. */
enum pg_class pg_sweep_objects(struct pg *pg, uint32_t age_ms, uint32_t limit, uint64_t *swept,
                               struct pg_error *err);
/* pg_current_wal_lsn as text, for `sync flush`. */
enum pg_class pg_lsn(struct pg *pg, char out[32], struct pg_error *err);
enum pg_class pg_classify(const char *sqlstate);

#endif
