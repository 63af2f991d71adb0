/* Defaults of a namespace, and the rules between its keys. */
#include "proto/cluster/namespace_check.h"

#include <stdarg.h>
#include <stdio.h>

#define LEVEL_REPLICATED                                                                           \
    2u /* FB_LEVEL_REPLICATED: wire/ is no layer of ours; tests compare the two */
#define TTL_MAPPED_MS 60000u
#define FK_WAIT_MS 60000u
#define SYNC_INTERVAL_MS 5000u
#define NEGATIVE_TTL_MS 5000u

void fb_ns_defaults(struct fb_namespace *ns, const struct fb_ns_said *said)
{
#define UNSAID(k) (said->key_line[FB_NS_##k] == 0)
    if (UNSAID(value))
        ns->value = ns->mapped ? FB_VALUE_ROW : FB_VALUE_AUTO;
    if (UNSAID(key) && ns->mapped)
        snprintf(ns->key, sizeof(ns->key), "id");
    if (UNSAID(sync_interval))
        ns->sync_interval_ms = SYNC_INTERVAL_MS;
    if (UNSAID(max_batch))
        ns->max_batch = FB_BATCH_ROWS_DEFAULT;
    if (UNSAID(external))
        ns->external = ns->mapped ? FB_EXTERNAL_DETECT : FB_EXTERNAL_NONE;
    if (UNSAID(ttl) && ns->mapped &&
        (ns->external == FB_EXTERNAL_NONE || ns->external == FB_EXTERNAL_DETECT))
        ns->ttl_ms = TTL_MAPPED_MS;
    if (UNSAID(negative_ttl))
        ns->negative_ttl_ms = NEGATIVE_TTL_MS;
    if (UNSAID(durability))
        ns->durability = LEVEL_REPLICATED;
    if (UNSAID(conflict))
        ns->conflict = ns->mapped && ns->value == FB_VALUE_ROW ? FB_CONFLICT_MERGE_COLUMNS
                                                               : FB_CONFLICT_CACHE_WINS;
    if (UNSAID(fk_wait))
        ns->fk_wait_ms = FK_WAIT_MS;
    if (UNSAID(on_delete))
        ns->on_delete = ns->mapped ? FB_ON_DELETE_REFUSE : FB_ON_DELETE_DELETE;
    if (UNSAID(max_value))
        ns->max_value = FB_VALUE_BYTES_DEFAULT;
#undef UNSAID
}

struct check {
    const struct fb_namespace *ns;
    const struct fb_ns_said *said;
    fb_ns_problem_fn problem;
    void *arg;
};

/* A problem at the line of `key`, or at the section when the key was not said. */
static void complain(const struct check *c, enum fb_ns_key key, const char *fmt, ...)
    FB_PRINTF(3, 4);
static void complain(const struct check *c, enum fb_ns_key key, const char *fmt, ...)
{
    char what[FB_ERR_MSG_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    c->problem(c->arg, c->said->key_line[key] ? c->said->key_line[key] : c->said->line, what);
}

static bool said(const struct check *c, enum fb_ns_key key)
{
    return c->said->key_line[key] != 0;
}

static bool in_key(const struct fb_namespace *ns, const char *column)
{
    const char *at = ns->key;
    size_t n = strlen(column);
    while (*at != '\0') {
        size_t part = strcspn(at, ",");
        if (part == n && memcmp(at, column, n) == 0)
            return true;
        at += part + (at[part] == ',');
    }
    return false;
}

static void check_unmapped(const struct check *c)
{
    static const struct {
        const char *name;
        bool needs_table;
    } keys[] = {
#define X(name, mapped) {#name, mapped},
        FB_NS_KEY_LIST(X)
#undef X
    };
    const struct fb_namespace *ns = c->ns;

    for (int k = 0; k < FB_NS_KEY_COUNT; k++)
        if (keys[k].needs_table && said(c, (enum fb_ns_key)k))
            complain(c, (enum fb_ns_key)k,
                     "%s needs a table: add table = schema.table, or remove the line",
                     keys[k].name);
    if (said(c, FB_NS_value) && ns->value != FB_VALUE_AUTO)
        complain(c, FB_NS_value,
                 "value = %s needs a table: add table = schema.table, or write value = auto",
                 ns->value == FB_VALUE_ROW ? "row" : "column:<name>");
    if (said(c, FB_NS_conflict) && ns->conflict != FB_CONFLICT_CACHE_WINS &&
        ns->conflict != FB_CONFLICT_LAST_WRITE_WINS)
        complain(c, FB_NS_conflict,
                 "without a table only conflict = cache-wins is possible, nobody else writes these "
                 "objects");
    if (said(c, FB_NS_external) && ns->external == FB_EXTERNAL_DETECT)
        complain(
            c, FB_NS_external,
            "external = detect needs a table: add table = schema.table, or write external = none");
    if (said(c, FB_NS_on_delete) && ns->on_delete == FB_ON_DELETE_NULL)
        complain(c, FB_NS_on_delete,
                 "on_delete = null:<column> needs a table; without one use delete or refuse");
    if (ns->on_delete == FB_ON_DELETE_REFUSE && ns->ttl_ms != 0)
        complain(
            c, FB_NS_ttl,
            "without a table ttl deletes, and on_delete = refuse says that nothing may: remove "
            "one of the two lines");
}

static void check_mapped(const struct check *c)
{
    const struct fb_namespace *ns = c->ns;
    if (strcmp(ns->name, "default") == 0)
        complain(c, FB_NS_table,
                 "namespace default holds the keys of no other namespace and cannot have a table; "
                 "declare [namespace <prefix>] for keys <prefix>:<id>");
    if (strcmp(ns->table_schema, "forebay") == 0)
        complain(c, FB_NS_table, "schema forebay is Forebay's own; map a table of yours");
    if (ns->value == FB_VALUE_AUTO)
        complain(c, FB_NS_value,
                 "value = auto is for namespaces without a table; write value = row or value = "
                 "column:<name>");
    if (ns->value == FB_VALUE_COLUMN && in_key(ns, ns->value_column))
        complain(c, FB_NS_value, "column \"%s\" is the key, it cannot be the value too",
                 ns->value_column);
    if (ns->value == FB_VALUE_COLUMN && ns->conflict == FB_CONFLICT_MERGE_COLUMNS)
        complain(c, FB_NS_conflict,
                 "conflict = merge-columns needs value = row; with value = column:<name> use "
                 "cache-wins or db-wins");
    if (ns->blind_writes && ns->value != FB_VALUE_COLUMN)
        complain(c, FB_NS_blind_writes, "blind_writes needs value = column:<name>");
    if (ns->blind_writes && ns->read_only)
        complain(c, FB_NS_blind_writes, "blind_writes and read_only exclude each other");
    if (ns->on_delete == FB_ON_DELETE_NULL && in_key(ns, ns->delete_column))
        complain(c, FB_NS_on_delete, "column \"%s\" is the key, it cannot be set to null",
                 ns->delete_column);
}

void fb_ns_check(const struct fb_namespace *ns, const struct fb_ns_said *said_keys,
                 fb_ns_problem_fn problem, void *arg)
{
    struct check c = {ns, said_keys, problem, arg};
    if (ns->external == FB_EXTERNAL_TRIGGER || ns->external == FB_EXTERNAL_LOGICAL)
        complain(&c, FB_NS_external,
                 "external = %s is not available in this release; use detect or none",
                 ns->external == FB_EXTERNAL_TRIGGER ? "trigger" : "logical");
    if (ns->expires_column[0])
        complain(&c, FB_NS_expires_column,
                 "expires_column is not available in this release; remove the line");
    if (ns->format_json && ns->value == FB_VALUE_ROW)
        complain(
            &c, FB_NS_format,
            "format = json is for strings, and value = row has none: remove the line, or write "
            "value = column:<name>");
    if (ns->conflict == FB_CONFLICT_LAST_WRITE_WINS)
        complain(&c, FB_NS_conflict,
                 "conflict = last-write-wins is not available in this release; "
                 "use merge-columns, cache-wins or db-wins");
    if (ns->mapped)
        check_mapped(&c);
    else if (!said(&c, FB_NS_table)) /* else its own problem is already told */
        check_unmapped(&c);
}

void fb_ns_check_tables(const struct fb_nsset *s, const struct fb_ns_said *said,
                        fb_ns_problem_fn problem, void *arg)
{
    for (uint32_t i = 0; i < s->count; i++) {
        for (uint32_t j = 0; s->ns[i].mapped && j < i; j++) {
            char what[FB_ERR_MSG_BYTES_MAX];
            if (!s->ns[j].mapped || strcmp(s->ns[i].table_schema, s->ns[j].table_schema) != 0 ||
                strcmp(s->ns[i].table_name, s->ns[j].table_name) != 0)
                continue;
            snprintf(
                what, sizeof(what),
                "table %s.%s already belongs to namespace \"%s\"; a row must have one key only",
                s->ns[i].table_schema, s->ns[i].table_name, s->ns[j].name);
            problem(arg, said[i].key_line[FB_NS_table], what);
            break;
        }
    }
}
