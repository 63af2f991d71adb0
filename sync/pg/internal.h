/* Inside sync/pg: the connection, its statements and the building of their arguments. */
#ifndef FB_SYNC_PG_INTERNAL_H_
#define FB_SYNC_PG_INTERNAL_H_

#include "sync/pg/args.h"
#include "sync/pg/pg.h"

#include <libpq-fe.h>

/* Prepared statements kept on the server for one connection; beyond it a statement is sent
 * unprepared, and the oldest ones are given up before the next transaction until PG_STATEMENTS_KEEP
 * are left. */
#define PG_STATEMENTS_MAX 128u
#define PG_STATEMENTS_KEEP 96u
/* Bytes of arguments in one statement: PostgreSQL bounds an array to 1 GB. */
#define PG_STATEMENT_BYTES_MAX (64u << 20)

/* As an expression: does COMMIT of this transaction wait for a synchronous standby? */
#define PG_REPLICATED_SQL                                                                          \
    "(current_setting('synchronous_standby_names') <> '' and "                                     \
    "current_setting('synchronous_commit') in ('on', 'remote_apply', 'remote_write'))"

struct pg_statement {
    char *sql;
    uint64_t hash;
    uint64_t number; /* name on the server: fb<number> */
    uint64_t used;   /* pg.clock when last sent */
    bool ready;      /* its PREPARE was answered */
};

struct pg {
    struct pg_config config; /* texts are copies */
    PGconn *conn;
    struct pg_statement statements[PG_STATEMENTS_MAX];
    uint32_t statement_count;
    uint64_t next_number;
    uint64_t clock;
    bool forget;   /* statements may be stale: drop all before the next one */
    bool used_old; /* since pg_begin_call, a statement prepared by an earlier call was sent */
    bool warned;   /* a WARNING arrived; cleared by whoever wants to know */
    uint32_t lock_wait_ms; /* lock_timeout of the session, as it was set last */
};

/* error.c */
/* Fills err from a failed result (NULL: from the connection). Returns the class. */
enum pg_class pg_error_of(struct pg *pg, const PGresult *res, struct pg_error *err);
/* Fills err with a message of our own. */
enum pg_class pg_error_set(struct pg_error *err, enum pg_class class, const char *sqlstate,
                           const char *fmt, ...) FB_PRINTF(4, 5);

/* exec.c: sending and waiting, never longer than the statement's timeout and a bit. After PG_OUTAGE
 * the connection is closed. */
/* At the start of each call of pg.h: is there a connection; drops stale and superfluous statements.
 */
enum pg_class pg_begin_call(struct pg *pg, struct pg_error *err);
/* For the statements of this call: at most so many ms for each lock; 0: as configured. */
enum pg_class pg_lock_wait(struct pg *pg, uint32_t ms, struct pg_error *err);
/* Next result; NULL result = end of one command's results. */
enum pg_class pg_wait(struct pg *pg, PGresult **res, struct pg_error *err);
/* One statement outside pipeline mode; *res (may be NULL if not wanted) is a successful result, to
 * be cleared by the caller. `keep` prepares it once per connection. Errors roll nothing back: use
 * it for single statements. */
enum pg_class pg_run(struct pg *pg, const char *sql, const struct pg_args *args, bool keep,
                     PGresult **res, struct pg_error *err);
/* Several statements without arguments. */
enum pg_class pg_script(struct pg *pg, const char *sql, struct pg_error *err);
/* Pipeline mode: send now, take results later in the same order with pg_pull. *prepares is set when
 * a PREPARE goes ahead, whose result must be pulled first (pg_pull does). */
enum pg_class pg_push(struct pg *pg, const char *sql, const struct pg_args *args, bool keep,
                      struct pg_statement **prepares, struct pg_error *err);
enum pg_class pg_pull(struct pg *pg, struct pg_statement *prepares, PGresult **res,
                      struct pg_error *err);
/* Class of an error after the statements are known: stale plans of earlier calls are worth one more
 * try. */
enum pg_class pg_reclassify(struct pg *pg, struct pg_error *err);
void pg_statements_drop(struct pg *pg);
/* Forget statements whose PREPARE never was answered. */
void pg_statements_drop_unready(struct pg *pg);

/* sql.c */
void pg_put_ident(struct fb_buf *b, const char *name);
void pg_put_table(struct fb_buf *b, const struct fb_namespace *ns);
/* The type to cast a text to before it is assigned to the column: without length, so that the
 * assignment (unlike a cast) refuses what is too long. */
void pg_put_cast_type(struct fb_buf *b, const struct fb_column *c);
/* "2026-01-02 03:04:05.678+00", "infinity" for what timestamptz cannot hold. `out` has 40 bytes. */
void pg_format_time(int64_t ms, char out[40]);
void pg_format_uuid(const uint8_t uuid[16], char out[37]);
const char *pg_cstr(struct fb_buf *b); /* terminates (not counted) */

/* object.c: forebay.objects */
bool pg_utf8_valid(struct fb_bytes v); /* as PostgreSQL means it, and no zero byte */
void pg_put_id(struct fb_buf *b, struct fb_bytes id);
/* Appends the id of a text made by pg_put_id; false when it is none. */
bool pg_take_id(struct fb_buf *b, const char *text);
/* Can the hash be {"name": "value"}? */
bool pg_hash_is_text(struct fb_bytes hash);
void pg_put_json_string(struct fb_buf *b, struct fb_bytes v);
void pg_put_hash_json(struct fb_buf *b, struct fb_bytes hash);
bool pg_take_hash_json(struct fb_buf *b, const char *text, size_t n);
/* Appends the bytes of a bytea in hex output ("\x..."); false when malformed. */
bool pg_take_hex(struct fb_buf *b, const char *text, size_t n);

/* load.c */
/* The column of `value = column:`, NULL for row mappings or when it is missing. */
const struct fb_column *pg_value_column(const struct fb_namespace *ns,
                                        const struct fb_schema *schema);
/* The list of a row's columns as texts, prefixed ", "; pg_put_row reads them back from column `at`
 * on: kind of what the row holds, NONE for a NULL value column. */
void pg_put_columns(struct fb_buf *sql, const struct fb_namespace *ns,
                    const struct fb_schema *schema);
uint8_t pg_take_row(struct fb_buf *out, const struct fb_namespace *ns,
                    const struct fb_schema *schema, const PGresult *res, int row, int at);
/* Keys of rows as one argument a key column. */
bool pg_args_keys(struct pg_args *a, const struct fb_schema *schema, const struct fb_bytes *ids,
                  size_t count, struct fb_err *err, size_t *bad);
/* "x.k0::type" tests against t, joined by and: `t."id" = u.k0` */
void pg_put_key_types(struct fb_buf *sql, const struct fb_schema *schema, const char *from);
void pg_put_key_match(struct fb_buf *sql, const struct fb_schema *schema);

#endif
