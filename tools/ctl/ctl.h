/* forebayctl: what all verbs share. One thread (plus nng's); everything blocks with the global
 * timeout. */
#ifndef FB_TOOLS_CTL_CTL_H_
#define FB_TOOLS_CTL_CTL_H_

#include "proto/coord/cluster_state.h"

#include <jansson.h>
#include <stdio.h>

/* Exit codes, the same for every verb. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_UNCHANGED = 3, /* with --error-unchanged */
    CTL_UNREACHABLE = 4,
    CTL_REFUSED = 5, /* by a safety check */
    CTL_TIMEOUT = 6, /* the wait ended, the operation goes on in the cluster */
    CTL_UNHEALTHY = 10,
    CTL_DEGRADED = 11, /* with --strict */
};

enum ctl_format { CTL_TABLE, CTL_WIDE, CTL_JSON, CTL_JSONL, CTL_NAME, CTL_INI };

struct ctl_verb;

/* Parsed command line. */
struct ctl {
    const struct ctl_verb *verb;
    const char *cluster_url;
    enum ctl_format format;
    uint64_t timeout_ms;
    bool quiet, verbose, color, screen, dry_run, yes, wait, watch, error_unchanged, strict, print,
        follow, restore, under_replicated, force, keep, discard;
    uint64_t interval_ms, count, sample, revision, max_moves, parallel;
    uint64_t epoch; /* --epoch; 0 = none, or held at the first look already */
    const char *weights, *add, *drain, *gone, *save, *rate; /* rebalance */
    const char *file;
    const char *namespace_name;
    const char *node_name;
    const char *state;
    const char *to;
    const char *conninfo_file;
    const char *ttl;
    uint64_t limit;
    int arg_count;
    char **args;
    /* opened on demand */
    struct fb_coord *coord;
    struct fb_cluster_state *cluster;
};

/* One verb of the table that --help, completion and the documents are generated from. */
struct ctl_verb {
    const char *noun; /* "key" */
    const char *name; /* "get"; "" for nouns that are verbs themselves (status) */
    const char *args; /* "KEY VALUE"; "" = none */
    int args_min, args_max;
    const char *flags; /* names of the flags it takes beyond the global ones, space-separated */
    const char *help;  /* one sentence */
    const char *more;  /* further help, or NULL */
    int (*run)(struct ctl *c);
};
extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verb_count;
struct ctl_flag {
    const char *name;  /* "--namespace" */
    const char *alias; /* "-n" or NULL */
    const char *value; /* "NAME"; NULL = no value */
    const char *help;
    bool global;
};
extern const struct ctl_flag ctl_flags[];
extern const size_t ctl_flag_count;

/* help.c */
void ctl_help_all(FILE *out);
void ctl_help_noun(FILE *out, const char *noun);
void ctl_help_verb(FILE *out, const struct ctl_verb *v);

/* connect.c: coordinator and map; message and exit code on failure (0 = fine). The first look must
 * find the revision of --epoch: what a verb then changes is compared with what was seen there. */
int ctl_open(struct ctl *c);
int ctl_refresh(struct ctl *c);
/* A map that is newer if the coordinator answers; false: the one before stays. */
bool ctl_try_refresh(struct ctl *c);
/* One page of a process's admin port, for routers, which listen for clients alone. */
FB_MUST_USE enum fb_status ctl_http_json(struct ctl *c, const struct fb_member_info *m,
                                         const char *path, json_t **reply, struct fb_err *err);
/* One JSON question to a process. *reply is a new reference. Errors: message in err. */
FB_MUST_USE enum fb_status ctl_ask(struct ctl *c, const struct fb_member_info *m, json_t *request,
                                   json_t **reply, struct fb_err *err);
/* One request to the primary of `key`'s partition. payload is appended to `payload`. */
struct fb_req;
struct fb_rep;
FB_MUST_USE enum fb_status ctl_request(struct ctl *c, struct fb_req *req, struct fb_rep *rep,
                                       struct fb_buf *payload, struct fb_err *err);
/* `count` requests in one frame to node `m`: part FB_PART_NONE as it is, else from the key. reps[i]
 * answers reqs[i] with views into `payload` (empty before), NOT_PRIMARY where it is not. */
FB_MUST_USE enum fb_status ctl_request_many(struct ctl *c, const struct fb_member_info *m,
                                            struct fb_req *reqs, uint32_t count,
                                            struct fb_rep *reps, struct fb_buf *payload,
                                            struct fb_err *err);
void ctl_close(struct ctl *c);
/* wait_applied.c: until every live process runs this revision of the configuration. CTL_TIMEOUT
 * names those that do not. */
int ctl_wait_applied(struct ctl *c, uint64_t rev);
/* First live sync process, or NULL. */
const struct fb_member_info *ctl_any_sync(struct ctl *c);

/* output.c */
struct ctl_column {
    const char *title;
    const char *field; /* of each row object */
    bool wide;         /* only with -o wide */
};
/* rows: array of objects (borrowed). Prints in the format asked for. */
void ctl_print_rows(struct ctl *c, json_t *rows, const struct ctl_column *columns, size_t count);
/* One object: "field  value" lines, or JSON. */
void ctl_print_object(struct ctl *c, json_t *o);
/* Messages go to stderr; ctl_fail gives `code` back. */
int ctl_fail(int code, const char *fmt, ...) FB_PRINTF(2, 3);
void ctl_note(const struct ctl *c, const char *fmt, ...) FB_PRINTF(2, 3);
/* With -v: what was asked of whom, to stderr. `since_ns`: fb_mono_ns() when it began. */
void ctl_trace(const struct ctl *c, uint64_t since_ns, const char *fmt, ...) FB_PRINTF(3, 4);
/* Asks on a terminal; without one -y is needed. True to go on. */
bool ctl_confirm(const struct ctl *c, const char *question);
/* "1m 5s" of milliseconds, into out (32 bytes). */
const char *ctl_age(uint64_t ms, char *out);

/* "2026-01-02T03:04:05.678Z", into out (40 bytes). */
const char *ctl_time(uint64_t ms, char *out);

/* conninfo.c: --conninfo-file, else FOREBAY_PG, else libpq's own environment (""). NULL with a
 * message on failure. Heap. */
char *ctl_conninfo(struct ctl *c);

/* verb_config.c: heap text of a file of at most 8 MiB, - is standard input; NULL with a message. */
char *ctl_read_file(const char *path, size_t *n);
/* verb_sync.c: the one of --namespace must exist. */
int ctl_check_namespace(struct ctl *c);
/* verb_sync.c: write-behind of all namespaces goes on, and at once. Exit code. */
int ctl_sync_go_on(struct ctl *c);
/* verb_db.c: PostgreSQL by the conninfo of above; NULL with a message and *rc. */
struct pg;
struct pg *ctl_connect_pg(struct ctl *c, int *rc);
/* verb_key.c: bytes as a JSON string; what is not UTF-8 as \\x and hex. */
json_t *ctl_text_json(struct fb_bytes b);

int ctl_status(struct ctl *c);
int ctl_health(struct ctl *c);
int ctl_node_list(struct ctl *c);
int ctl_node_describe(struct ctl *c);
int ctl_node_drain(struct ctl *c);
int ctl_node_undrain(struct ctl *c);
int ctl_node_remove(struct ctl *c);
int ctl_node_replace(struct ctl *c);
int ctl_partition_list(struct ctl *c);
int ctl_partition_describe(struct ctl *c);
int ctl_partition_map(struct ctl *c);
int ctl_rebalance_plan(struct ctl *c);
int ctl_rebalance_show(struct ctl *c);
int ctl_rebalance_apply(struct ctl *c);
int ctl_rebalance_status(struct ctl *c);
int ctl_rebalance_report(struct ctl *c);
int ctl_rebalance_pause(struct ctl *c);
int ctl_rebalance_resume(struct ctl *c);
int ctl_rebalance_cancel(struct ctl *c);
int ctl_failover_plan(struct ctl *c);
int ctl_failover(struct ctl *c);
int ctl_key_get(struct ctl *c);
int ctl_key_set(struct ctl *c);
int ctl_key_del(struct ctl *c);
int ctl_key_locate(struct ctl *c);
int ctl_key_inspect(struct ctl *c);
int ctl_sync_status(struct ctl *c);
int ctl_sync_flush(struct ctl *c);
int ctl_sync_pause(struct ctl *c);
int ctl_sync_resume(struct ctl *c);
int ctl_conflict_list(struct ctl *c);
int ctl_deadletter_list(struct ctl *c);
int ctl_deadletter_show(struct ctl *c);
int ctl_deadletter_retry(struct ctl *c);
int ctl_deadletter_discard(struct ctl *c);
int ctl_snapshot_create(struct ctl *c);
int ctl_config_check(struct ctl *c);
int ctl_config_apply(struct ctl *c);
int ctl_config_show(struct ctl *c);
int ctl_config_diff(struct ctl *c);
int ctl_db_setup(struct ctl *c);
int ctl_db_check(struct ctl *c);
int ctl_db_adopt(struct ctl *c);
int ctl_events(struct ctl *c);
int ctl_top(struct ctl *c);
int ctl_key_watch(struct ctl *c);
int ctl_snapshot_list(struct ctl *c);
int ctl_snapshot_verify(struct ctl *c);
int ctl_deadletter_export(struct ctl *c);
int ctl_config_history(struct ctl *c);
int ctl_verify(struct ctl *c);
int ctl_completion(struct ctl *c);
int ctl_version(struct ctl *c);

#endif
