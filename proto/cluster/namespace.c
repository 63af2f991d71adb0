/* Reads the cluster file. */
#include "proto/cluster/namespace.h"

#include "proto/base/ini.h"
#include "proto/base/units.h"
#include "proto/cluster/namespace_check.h"
#include "proto/cluster/namespace_words.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const key_names[] = {
#define X(name, mapped) #name,
    FB_NS_KEY_LIST(X)
#undef X
};
static const char *const cluster_keys[] = {"partitions", "replicas",        "max_dirty_bytes",
                                           "multi",      "database_safety", "heal_after"};
#define SAFETY_LAG_MS 10000u
#define HEAL_AFTER_MS 300000u
#define HEAL_AFTER_MS_MIN 1000u
#define NO_NAMESPACE UINT32_MAX

struct parse {
    const char *file;
    struct fb_nsset *set;
    struct fb_ns_said *said; /* one for each namespace */
    uint32_t
        current; /* index of the section being read; NO_NAMESPACE: [cluster] or an unusable one */
    bool in_cluster;
    uint32_t cluster_line[FB_COUNT_OF(cluster_keys)];
    struct fb_buf *problems; /* may be NULL */
    struct fb_err *err;      /* may be NULL */
    uint32_t problem_count;
};

static void tell(void *arg, uint32_t line, const char *what)
{
    struct parse *p = arg;
    char at[FB_ERR_MSG_BYTES_MAX];
    if (line == 0)
        snprintf(at, sizeof(at), "%s", p->file);
    else
        snprintf(at, sizeof(at), "%s:%u", p->file, line);
    if (p->problem_count++ == 0)
        (void)fb_err_set(p->err, FB_EINVAL, "%s: %s", at, what);
    else if (p->problems != NULL)
        fb_buf_printf(p->problems, "%s: %s\n", at, what);
}

static int shown(struct fb_bytes s)
{
    return s.n > 80 ? 80 : (int)s.n;
}
#define SHOW(s) shown(s), (s).p ? (const char *)(s).p : ""

static enum fb_status read_word(struct fb_bytes v, const char *const *words, size_t count,
                                uint64_t *out, struct fb_err *err)
{
    char list[200];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (words[i][0] == '\0')
            continue;
        if (fb_bytes_is(v, words[i])) {
            *out = i;
            return FB_OK;
        }
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "", words[i]);
    }
    return fb_err_set(err, FB_EINVAL, "\"%.*s\" is none of %s", SHOW(v), list);
}
#define READ_WORD(v, words, out, err) read_word(v, words, FB_COUNT_OF(words), out, err)

static enum fb_status read_number(struct fb_bytes v, uint64_t min, uint64_t max, uint64_t *out,
                                  struct fb_err *err)
{
    uint64_t n = 0;
    bool ok = v.n > 0 && v.n <= 18;
    for (size_t i = 0; ok && i < v.n; i++) {
        ok = v.p[i] >= '0' && v.p[i] <= '9';
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (!ok || n < min || n > max)
        return fb_err_set(err, FB_EINVAL, "\"%.*s\" is not a whole number from %llu to %llu",
                          SHOW(v), (unsigned long long)min, (unsigned long long)max);
    *out = n;
    return FB_OK;
}

static enum fb_status read_size(struct fb_bytes v, uint64_t max, uint64_t *out, struct fb_err *err)
{
    char text[32];
    enum fb_status st = fb_size_parse(v, out, err);
    if (st == FB_OK && max != 0 && (*out == 0 || *out > max))
        st = fb_err_set(err, FB_EINVAL, "%.*s is out of range, 1B to %s are allowed", SHOW(v),
                        fb_size_text(max, text));
    return st;
}

static enum fb_status read_flag(struct fb_bytes v, bool *out, struct fb_err *err)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    uint64_t i;
    enum fb_status st = READ_WORD(v, words, &i, err);
    if (st == FB_OK)
        *out = (i & 1) != 0;
    return st;
}

/* A name of PostgreSQL as pg_catalog has it: no quotes, no folding. `what` for the message. */
static enum fb_status read_name(struct fb_bytes v, const char *what,
                                char out[FB_NAME_BYTES_MAX + 1], struct fb_err *err)
{
    if (v.n == 0)
        return fb_err_set(err, FB_EINVAL, "the name of the %s is empty", what);
    if (v.n > FB_NAME_BYTES_MAX)
        return fb_err_set(err, FB_EINVAL, "the name of the %s is longer than %u bytes", what,
                          FB_NAME_BYTES_MAX);
    if (memchr(v.p, '"', v.n) != NULL)
        return fb_err_set(
            err, FB_EINVAL,
            "write the name of the %s without quotes, in the case it has in the database", what);
    if (v.p[0] == ';' || v.p[0] == '#') /* behind "key = " it would be read as a comment */
        return fb_err_set(err, FB_EINVAL,
                          "the name of the %s begins with %c, which begins comments", what, v.p[0]);
    memcpy(out, v.p, v.n);
    out[v.n] = '\0';
    return FB_OK;
}

/* "word:<column>" -> column; false when v does not start with `word:`. */
static bool after_word(struct fb_bytes v, const char *word, struct fb_bytes *rest)
{
    size_t n = strlen(word);
    if (v.n <= n || memcmp(v.p, word, n) != 0 || v.p[n] != ':')
        return false;
    *rest = fb_bytes(v.p + n + 1, v.n - n - 1);
    return true;
}

static enum fb_status read_table(struct fb_bytes v, struct fb_namespace *ns, struct fb_err *err)
{
    const uint8_t *dot = v.n ? memchr(v.p, '.', v.n) : NULL;
    struct fb_bytes schema = fb_bytes_str("public"), table = v;
    enum fb_status st;
    if (dot != NULL) {
        schema = fb_bytes(v.p, (size_t)(dot - v.p));
        table = fb_bytes(dot + 1, v.n - schema.n - 1);
        if (memchr(table.p, '.', table.n) != NULL)
            return fb_err_set(err, FB_EINVAL,
                              "table is schema.table or table; \"%.*s\" has more than one dot",
                              SHOW(v));
    }
    st = read_name(schema, "schema", ns->table_schema, err);
    if (st == FB_OK)
        st = read_name(table, "table", ns->table_name, err);
    ns->mapped = st == FB_OK;
    return st;
}

static struct fb_bytes trim(struct fb_bytes s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

static enum fb_status read_key_columns(struct fb_bytes v, struct fb_namespace *ns,
                                       struct fb_err *err)
{
    char names[FB_NS_KEY_COLUMNS_MAX][FB_NAME_BYTES_MAX + 1];
    size_t count = 0, n = 0;
    struct fb_bytes rest = v;
    bool more = true;

    while (more) {
        const uint8_t *comma = rest.n ? memchr(rest.p, ',', rest.n) : NULL;
        struct fb_bytes part = comma ? fb_bytes(rest.p, (size_t)(comma - rest.p)) : rest;
        enum fb_status st;
        if (count == FB_NS_KEY_COLUMNS_MAX)
            return fb_err_set(err, FB_EINVAL, "a key has at most %u columns",
                              FB_NS_KEY_COLUMNS_MAX);
        st = read_name(trim(part), "key column", names[count], err);
        if (st != FB_OK)
            return st;
        for (size_t i = 0; i < count; i++)
            if (strcmp(names[i], names[count]) == 0)
                return fb_err_set(err, FB_EINVAL, "column \"%s\" is in the key twice", names[i]);
        if (n + strlen(names[count]) + 2 > sizeof(ns->key))
            return fb_err_set(err, FB_EINVAL,
                              "the names of the key columns are longer than %zu bytes",
                              sizeof(ns->key) - 1);
        n += (size_t)snprintf(ns->key + n, sizeof(ns->key) - n, "%s%s", count ? "," : "",
                              names[count]);
        count++;
        more = comma != NULL;
        if (more)
            rest = fb_bytes(comma + 1, rest.n - part.n - 1);
    }
    return FB_OK;
}

static enum fb_status read_value(struct fb_bytes v, struct fb_namespace *ns, struct fb_err *err)
{
    struct fb_bytes column;
    if (fb_bytes_is(v, "auto"))
        ns->value = FB_VALUE_AUTO;
    else if (fb_bytes_is(v, "row"))
        ns->value = FB_VALUE_ROW;
    else if (after_word(v, "column", &column)) {
        ns->value = FB_VALUE_COLUMN;
        return read_name(column, "value column", ns->value_column, err);
    } else
        return fb_err_set(err, FB_EINVAL, "\"%.*s\" is none of row, column:<name>, auto", SHOW(v));
    return FB_OK;
}

static enum fb_status read_conflict(struct fb_bytes v, struct fb_namespace *ns, struct fb_err *err)
{
    struct fb_bytes column;
    if (fb_bytes_is(v, "cache-wins"))
        ns->conflict = FB_CONFLICT_CACHE_WINS;
    else if (fb_bytes_is(v, "db-wins"))
        ns->conflict = FB_CONFLICT_DB_WINS;
    else if (fb_bytes_is(v, "merge-columns"))
        ns->conflict = FB_CONFLICT_MERGE_COLUMNS;
    else if (fb_bytes_is(v, "last-write-wins"))
        ns->conflict = FB_CONFLICT_LAST_WRITE_WINS;
    else if (after_word(v, "last-write-wins", &column)) {
        ns->conflict = FB_CONFLICT_LAST_WRITE_WINS;
        return read_name(column, "timestamp column", ns->conflict_column, err);
    } else
        return fb_err_set(err, FB_EINVAL, "\"%.*s\" is none of merge-columns, cache-wins, db-wins",
                          SHOW(v));
    return FB_OK;
}

static enum fb_status read_on_delete(struct fb_bytes v, struct fb_namespace *ns, struct fb_err *err)
{
    struct fb_bytes column;
    if (fb_bytes_is(v, "refuse"))
        ns->on_delete = FB_ON_DELETE_REFUSE;
    else if (fb_bytes_is(v, "delete"))
        ns->on_delete = FB_ON_DELETE_DELETE;
    else if (after_word(v, "null", &column)) {
        ns->on_delete = FB_ON_DELETE_NULL;
        return read_name(column, "column to set to null", ns->delete_column, err);
    } else
        return fb_err_set(err, FB_EINVAL, "\"%.*s\" is none of refuse, delete, null:<column>",
                          SHOW(v));
    return FB_OK;
}

static enum fb_status read_ns_key(struct fb_namespace *ns, enum fb_ns_key key, struct fb_bytes v,
                                  struct fb_err *err)
{
    enum fb_status st;
    uint64_t n = 0;

    switch (key) {
    case FB_NS_table:
        return read_table(v, ns, err);
    case FB_NS_key:
        return read_key_columns(v, ns, err);
    case FB_NS_value:
        return read_value(v, ns, err);
    case FB_NS_format:
        st = READ_WORD(v, format_words, &n, err);
        ns->format_json = n == 1;
        return st;
    case FB_NS_sync_interval:
        return fb_duration_parse(v, &ns->sync_interval_ms, err);
    case FB_NS_max_batch:
        st = read_number(v, 1, FB_BATCH_ROWS_MAX, &n, err);
        ns->max_batch = (uint32_t)n;
        return st;
    case FB_NS_ttl:
        return fb_duration_parse(v, &ns->ttl_ms, err);
    case FB_NS_negative_ttl:
        return fb_duration_parse(v, &ns->negative_ttl_ms, err);
    case FB_NS_durability:
        st = READ_WORD(v, durability_words, &n, err);
        ns->durability = (uint8_t)n;
        return st;
    case FB_NS_reads:
        st = READ_WORD(v, reads_words, &n, err);
        ns->reads = (uint8_t)n;
        return st;
    case FB_NS_on_degraded:
        st = READ_WORD(v, degraded_words, &n, err);
        ns->on_degraded_refuse = n == 1;
        return st;
    case FB_NS_conflict:
        return read_conflict(v, ns, err);
    case FB_NS_external:
        st = READ_WORD(v, external_words, &n, err);
        ns->external = (enum fb_external)n;
        return st;
    case FB_NS_on_row_gone:
        st = READ_WORD(v, row_gone_words, &n, err);
        ns->on_row_gone = (enum fb_on_row_gone)n;
        return st;
    case FB_NS_fk_wait:
        return fb_duration_parse(v, &ns->fk_wait_ms, err);
    case FB_NS_expires_column:
        return read_name(v, "expiry column", ns->expires_column, err);
    case FB_NS_on_delete:
        return read_on_delete(v, ns, err);
    case FB_NS_max_value:
        return read_size(v, FB_VALUE_BYTES_MAX, &ns->max_value, err);
    case FB_NS_max_dirty_bytes:
        return read_size(v, 0, &ns->max_dirty_bytes, err);
    case FB_NS_max_dirty_age:
        return fb_duration_parse(v, &ns->max_dirty_age_ms, err);
    case FB_NS_blind_writes:
        return read_flag(v, &ns->blind_writes, err);
    case FB_NS_read_only:
        return read_flag(v, &ns->read_only, err);
    case FB_NS_KEY_COUNT:
        break;
    }
    return FB_EINVAL;
}

/* auto | single | sync | lag:<duration> */
static enum fb_status read_safety(struct fb_bytes v, struct fb_nsset *set, struct fb_err *err)
{
    uint64_t n = 0;
    enum fb_status st;

    if (v.n > 4 && memcmp(v.p, "lag:", 4) == 0) {
        set->safety = FB_SAFETY_LAG;
        return fb_duration_parse(fb_bytes(v.p + 4, v.n - 4), &set->safety_lag_ms, err);
    }
    if (fb_bytes_is(v, "lag"))
        return fb_err_set(err, FB_EINVAL, "say how far the standby may be behind, like lag:10s");
    st = READ_WORD(v, safety_words, &n, err);
    set->safety = (enum fb_safety)n;
    return st;
}

static enum fb_status read_heal_after(struct fb_bytes v, uint64_t *ms, struct fb_err *err)
{
    enum fb_status st = FB_OK;

    *ms = 0;
    if (!fb_bytes_is(v, "off"))
        st = fb_duration_parse(v, ms, err);
    if (st == FB_OK && *ms < HEAL_AFTER_MS_MIN && !fb_bytes_is(v, "off"))
        st = fb_err_set(err, FB_EINVAL,
                        "a node that is restarted is gone for as long; use 1s or more, or off");
    return st;
}

static enum fb_status read_cluster_key(struct fb_nsset *set, size_t key, struct fb_bytes v,
                                       struct fb_err *err)
{
    enum fb_status st;
    uint64_t n = 0;
    switch (key) {
    case 0:
        st = read_number(v, 1, FB_PARTITIONS_MAX, &n, err);
        set->partitions = (uint32_t)n;
        return st;
    case 1:
        st = read_number(v, 0, FB_REPLICAS_MAX, &n, err);
        set->replicas = (uint32_t)n;
        return st;
    case 2:
        return read_size(v, 0, &set->max_dirty_bytes, err);
    case 3:
        st = READ_WORD(v, multi_words, &n, err);
        set->multi = (enum fb_multi)n;
        return st;
    case 4:
        return read_safety(v, set, err);
    default:
        return read_heal_after(v, &set->heal_after_ms, err);
    }
}

static bool name_ok(struct fb_bytes s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
            return false;
    }
    return s.n > 0 && s.n <= FB_NAME_BYTES_MAX;
}

/* While reading, the order is that of the file. */
static uint32_t find_unsorted(const struct fb_nsset *s, struct fb_bytes name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (fb_bytes_is(name, s->ns[i].name))
            return i;
    return NO_NAMESPACE;
}

static enum fb_status start_namespace(struct parse *p, const struct fb_ini_item *item,
                                      struct fb_err *err)
{
    uint32_t i;
    if (item->name.n == 0)
        return fb_err_set(err, FB_EINVAL, "[namespace] needs a name: [namespace session]");
    if (!name_ok(item->name))
        return fb_err_set(err, FB_EINVAL,
                          "namespace \"%.*s\": a name is 1 to %u of a-z, 0-9, '_', '-' and '.'",
                          SHOW(item->name), FB_NAME_BYTES_MAX);
    i = find_unsorted(p->set, item->name);
    if (i != NO_NAMESPACE && p->said[i].line != 0)
        return fb_err_set(err, FB_EINVAL, "namespace \"%.*s\" is declared twice; first at line %u",
                          SHOW(item->name), p->said[i].line);
    if (i == NO_NAMESPACE) {
        if (p->set->count == FB_NAMESPACES_MAX)
            return fb_err_set(err, FB_EINVAL, "more than %u namespaces", FB_NAMESPACES_MAX);
        i = p->set->count++;
        memcpy(p->set->ns[i].name, item->name.p, item->name.n);
    }
    p->said[i].line = item->line;
    p->current = i;
    return FB_OK;
}

static enum fb_status section(struct parse *p, const struct fb_ini_item *item, struct fb_err *err)
{
    static const char *const sections[] = {"cluster", "namespace"};
    const char *near;
    p->current = NO_NAMESPACE;
    p->in_cluster = fb_bytes_is(item->section, "cluster");
    if (p->in_cluster)
        return item->name.n == 0
                   ? FB_OK
                   : fb_err_set(err, FB_EINVAL, "section [cluster] takes no second word");
    if (fb_bytes_is(item->section, "namespace"))
        return start_namespace(p, item, err);
    near = fb_nearest(item->section, sections, FB_COUNT_OF(sections));
    return fb_err_set(err, FB_EINVAL, "unknown section [%.*s]%s%s%s", SHOW(item->section),
                      near ? "; did you mean [" : "",
                      near ? near : "; a cluster file has [cluster] and [namespace <name>]",
                      near ? "]?" : "");
}

static enum fb_status unknown_key(const struct fb_ini_item *item, const char *const *keys,
                                  size_t count, struct fb_err *err)
{
    const char *near = fb_nearest(item->key, keys, count);
    return fb_err_set(err, FB_EINVAL, "unknown key \"%.*s\" in [%.*s]%s%s%s", SHOW(item->key),
                      SHOW(item->section), near ? "; did you mean \"" : "", near ? near : "",
                      near ? "\"?" : "");
}

static size_t find_key(struct fb_bytes key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fb_bytes_is(key, keys[i]))
            return i;
    return count;
}

static enum fb_status item_cb(void *arg, const struct fb_ini_item *item, struct fb_err *err)
{
    struct parse *p = arg;
    const char *const *keys = p->in_cluster ? cluster_keys : key_names;
    size_t count = p->in_cluster ? FB_COUNT_OF(cluster_keys) : FB_COUNT_OF(key_names), k;
    uint32_t *line;
    enum fb_status st;

    if (item->key.n == 0)
        return section(p, item, err);
    if (!p->in_cluster && p->current == NO_NAMESPACE)
        return FB_OK; /* the section itself was the problem */
    k = find_key(item->key, keys, count);
    if (k == count)
        return unknown_key(item, keys, count, err);
    line = p->in_cluster ? &p->cluster_line[k] : &p->said[p->current].key_line[k];
    if (*line != 0)
        return fb_err_set(err, FB_EINVAL, "key \"%s\" is given twice; first at line %u", keys[k],
                          *line);
    *line = item->line;
    if (p->in_cluster)
        st = read_cluster_key(p->set, k, item->value, err);
    else
        st = read_ns_key(&p->set->ns[p->current], (enum fb_ns_key)k, item->value, err);
    return st == FB_OK ? FB_OK : fb_err_wrap(err, st, "%s", keys[k]);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct fb_namespace *)a)->name, ((const struct fb_namespace *)b)->name);
}

enum fb_status fb_nsset_parse(const char *file, struct fb_bytes text, struct fb_nsset **out,
                              struct fb_buf *problems, struct fb_err *err)
{
    struct parse p = {.file = file, .current = NO_NAMESPACE, .problems = problems, .err = err};

    *out = NULL;
    p.set = fb_xcalloc(1, sizeof(*p.set));
    p.said = fb_xcalloc(FB_NAMESPACES_MAX, sizeof(*p.said));
    p.set->count = 1;
    p.set->safety_lag_ms = SAFETY_LAG_MS;
    p.set->heal_after_ms = HEAL_AFTER_MS;
    snprintf(p.set->ns[0].name, sizeof(p.set->ns[0].name), "default");
    fb_ini_walk(text, item_cb, tell, &p);
    for (uint32_t i = 0; i < p.set->count; i++) {
        fb_ns_defaults(&p.set->ns[i], &p.said[i]);
        fb_ns_check(&p.set->ns[i], &p.said[i], tell, &p);
    }
    fb_ns_check_tables(p.set, p.said, tell, &p);
    free(p.said);
    if (p.problem_count > 0) {
        free(p.set);
        return FB_EINVAL;
    }
    /* sorted behind "default": the order of the file means nothing, and lookups are a binary search
     */
    qsort(p.set->ns + 1, p.set->count - 1, sizeof(p.set->ns[0]), by_name);
    *out = p.set;
    return FB_OK;
}
