/* config verbs: the cluster file, checked here, kept in the coordinator. */
#include "proto/base/clock.h"
#include "tools/ctl/gather.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *ctl_read_file(const char *path, size_t *n)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct fb_buf b = {0};
    size_t got;
    if (f == NULL) {
        ctl_fail(0, "%s cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    errno = 0;
    do {
        got = fread(fb_buf_reserve(&b, 65536), 1, 65536, f);
        b.n += got;
    } while (got > 0 && b.n < (8u << 20));
    if (ferror(f) != 0 || b.n >= (8u << 20)) {
        ctl_fail(0, "%s cannot be read: %s", path,
                 ferror(f) != 0 ? strerror(errno) : "it is larger than 8 MiB");
        fb_buf_fini(&b);
        if (f != stdin)
            fclose(f);
        return NULL;
    }
    if (f != stdin)
        fclose(f);
    *n = b.n;
    fb_buf_put_u8(&b, 0);
    return (char *)b.p;
}

static int parse_file(const char *path, struct fb_nsset **set, char **text, size_t *n)
{
    struct fb_buf problems = {0};
    struct fb_err err;
    *text = ctl_read_file(path, n);
    if (*text == NULL)
        return CTL_FAILED;
    if (fb_nsset_parse(path, fb_bytes(*text, *n), set, &problems, &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.msg);
        if (problems.n > 0)
            fprintf(stderr, "%.*s", (int)problems.n, (const char *)problems.p);
        fb_buf_fini(&problems);
        free(*text);
        return ctl_fail(CTL_FAILED, "%s was not accepted; nothing was changed", path);
    }
    fb_buf_fini(&problems);
    return 0;
}

int ctl_config_check(struct ctl *c)
{
    struct fb_nsset *set;
    char *text;
    size_t n;
    int rc = parse_file(c->args[0], &set, &text, &n);
    if (rc != 0)
        return rc;
    ctl_note(c, "%s is fine: %u namespaces", c->args[0], set->count);
    free(set);
    free(text);
    return CTL_OK;
}

struct lines {
    char **line;
    size_t n;
};

static struct lines split(struct fb_buf *text)
{
    struct lines l = {0};
    char *save = NULL, *s;
    fb_buf_put_u8(text, 0);
    for (s = strtok_r((char *)text->p, "\n", &save); s != NULL; s = strtok_r(NULL, "\n", &save)) {
        l.line = fb_xrealloc(l.line, (l.n + 1) * sizeof(*l.line));
        l.line[l.n++] = s;
    }
    return l;
}

static bool has_line(const struct lines *l, const char *section, const char *line)
{
    const char *at = "";
    for (size_t i = 0; i < l->n; i++) {
        if (l->line[i][0] == '[')
            at = l->line[i];
        if (strcmp(at, section) == 0 && strcmp(l->line[i], line) == 0)
            return true;
    }
    return false;
}

static size_t one_way(const struct lines *from, const struct lines *to, char sign, bool show)
{
    const char *section = "";
    bool shown = false;
    size_t changes = 0;
    for (size_t i = 0; i < from->n; i++) {
        if (from->line[i][0] == '[') {
            section = from->line[i];
            shown = false;
        }
        if (has_line(to, section, from->line[i]))
            continue;
        changes++;
        if (!show)
            continue;
        if (!shown && from->line[i][0] != '[')
            printf("  %s\n", section);
        shown = true;
        printf("%c %s\n", sign, from->line[i]);
    }
    return changes;
}

/* The cluster's own number, where the file leaves it out. */
static void say_partitions(const struct ctl *c, struct fb_nsset *set)
{
    if (set->partitions == 0)
        set->partitions = c->cluster->map->partitions;
}

/* What differs between two configurations, value by value, printed if `show`; gives the number of
 * differing lines. */
static size_t print_diff(const struct fb_nsset *old, const struct fb_nsset *new, bool show)
{
    struct fb_buf a = {0}, b = {0};
    struct lines la, lb;
    size_t changes;
    fb_nsset_print(&a, old);
    fb_nsset_print(&b, new);
    la = split(&a);
    lb = split(&b);
    changes = one_way(&la, &lb, '-', show) + one_way(&lb, &la, '+', show);
    free(la.line);
    free(lb.line);
    fb_buf_fini(&a);
    fb_buf_fini(&b);
    return changes;
}

static bool same_place(const struct fb_namespace *a, const struct fb_namespace *b)
{
    return a->mapped == b->mapped && strcmp(a->table_schema, b->table_schema) == 0 &&
           strcmp(a->table_name, b->table_name) == 0 && strcmp(a->key, b->key) == 0 &&
           a->value == b->value && strcmp(a->value_column, b->value_column) == 0;
}

static json_t *row_of(json_t *rows, const char *ns)
{
    size_t i;
    json_t *o;
    json_array_foreach(rows, i, o)
    {
        if (strcmp(json_string_value(json_object_get(o, "namespace")), ns) == 0)
            return o;
    }
    return NULL;
}

/* What keeps its objects from PostgreSQL, and what ends that; each kind of them by itself. */
static void what_waits(const struct ctl *c, json_t *row, struct fb_buf *out)
{
    const char *ns = json_string_value(json_object_get(row, "namespace")),
               *problem = json_string_value(json_object_get(row, "problem"));
    json_int_t parked = json_integer_value(json_object_get(row, "parked")),
               waiting = json_integer_value(json_object_get(row, "dirty")) - parked;

    if (parked > 0)
        fb_buf_printf(out,
                      "\n  %lld of %s are parked, PostgreSQL refused them: forebayctl deadletter "
                      "list -n %s shows them, forebayctl deadletter retry KEY or discard KEY ends "
                      "each (export keeps their values)",
                      (long long)parked, ns, ns);
    if (waiting > 0 && problem[0] != '\0')
        fb_buf_printf(
            out,
            "\n  %lld of %s cannot be written: %s. Let table %s be as the mapping needs it "
            "once more, then forebayctl sync flush -n %s. A table of the same columns "
            "without rows will do, to give up what waits for rows that are gone: it follows "
            "on_row_gone, and forebayctl conflict list -n %s keeps the values",
            (long long)waiting, ns, problem, json_string_value(json_object_get(row, "table")), ns,
            ns);
    else if (waiting > 0 && json_is_true(json_object_get(row, "paused")))
        fb_buf_printf(out,
                      "\n  %lld of %s wait because write-behind is paused: forebayctl sync "
                      "resume%s%s, then forebayctl sync flush -n %s",
                      (long long)waiting, ns, c->cluster->sync_paused_all ? "" : " -n ",
                      c->cluster->sync_paused_all ? "" : ns, ns);
    else if (waiting > 0)
        fb_buf_printf(out, "\n  %lld of %s wait: forebayctl sync flush -n %s", (long long)waiting,
                      ns, ns);
}

/* 0 when nothing of `ns` is unsynced. */
static int refuse_unsynced(const struct ctl *c, json_t *rows, const char *ns, const char *why)
{
    json_t *row = row_of(rows, ns);
    json_int_t dirty = json_integer_value(json_object_get(row, "dirty"));
    struct fb_buf text = {0};

    if (dirty == 0)
        return 0;
    what_waits(c, row, &text);
    ctl_fail(
        CTL_REFUSED,
        "namespace %s has %lld objects that are not in PostgreSQL yet%s:%.*s\nThen apply again "
        "(nothing was changed)",
        ns, (long long)dirty, why, (int)text.n, (const char *)text.p);
    fb_buf_fini(&text);
    return CTL_REFUSED;
}

/* A namespace whose objects would be written elsewhere must have none that wait. A new prefix may
 * capture keys that now live in `default`, so that one must be clean too. */
static int check_safe(struct ctl *c, const struct fb_nsset *old, const struct fb_nsset *new)
{
    json_t *nodes = gather_nodes(c), *syncs = gather_syncs(c),
           *rows = gather_namespaces(c, nodes, syncs), *o;
    char why[FB_NAME_BYTES_MAX + 64];
    int rc = 0;
    size_t i;

    json_array_foreach(nodes, i, o)
    {
        if (json_object_get(o, "namespaces") == NULL &&
            json_integer_value(json_object_get(o, "partitions")) > 0)
            rc = ctl_fail(CTL_REFUSED,
                          "%s is not running: whether it has unsynced objects cannot be known; "
                          "start it first",
                          json_string_value(json_object_get(o, "name")));
    }
    for (uint32_t a = 0; rc == 0 && a < old->count; a++) {
        uint32_t b = fb_nsset_find(new, fb_bytes_str(old->ns[a].name));
        if (b == UINT32_MAX || !same_place(&old->ns[a], &new->ns[b]))
            rc = refuse_unsynced(c, rows, old->ns[a].name, "");
    }
    for (uint32_t b = 0; rc == 0 && b < new->count; b++) {
        snprintf(why, sizeof(why), ", and namespace %s is new and may take keys from it",
                 new->ns[b].name);
        if (fb_nsset_find(old, fb_bytes_str(new->ns[b].name)) == UINT32_MAX)
            rc = refuse_unsynced(c, rows, "default", why);
    }
    json_decref(nodes);
    json_decref(syncs);
    json_decref(rows);
    return rc;
}

#define HISTORY "history/config/"
#define HISTORY_KEPT 50u

static char *history_entry(const char *text, size_t n)
{
    char host[256] = "", *out;
    const struct passwd *who = getpwuid(getuid());
    json_t *o;

    (void)gethostname(host, sizeof(host) - 1);
    o = json_pack("{s:I, s:o, s:o}", "at_ms", (json_int_t)fb_wall_ms(), "by",
                  json_sprintf("%s@%s", who ? who->pw_name : "?", host), "text",
                  ctl_text_json(fb_bytes(text, n)));
    out = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    fb_assert(out != NULL);
    return out;
}

/* Entries as rows, the newest first. */
static int history_rows(struct ctl *c, json_t **rows)
{
    struct fb_coord_list l;
    struct fb_err err;

    *rows = json_array();
    if (fb_coord_list(c->coord, HISTORY, &l, &err) != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    for (size_t i = l.count; i-- > 0 && json_array_size(*rows) < c->limit;) {
        json_t *o = json_loadb((const char *)l.kv[i].value.p, l.kv[i].value.n, 0, NULL), *row;
        char when[40];
        if (o == NULL)
            continue;
        row = json_pack("{s:I, s:s}", "revision", (json_int_t)l.kv[i].rev, "at",
                        ctl_time((uint64_t)json_integer_value(json_object_get(o, "at_ms")), when));
        json_object_set(row, "by", json_object_get(o, "by"));
        json_object_set_new(row, "in_force", json_boolean(l.kv[i].rev == c->cluster->config_rev));
        json_object_set(row, "text", json_object_get(o, "text"));
        json_array_append_new(*rows, row);
        json_decref(o);
    }
    fb_coord_list_free(&l);
    return 0;
}

int ctl_config_history(struct ctl *c)
{
    static const struct ctl_column columns[] = {{"REVISION", "revision", false},
                                                {"APPLIED", "at", false},
                                                {"BY", "by", false},
                                                {"IN FORCE", "in_force", false}};
    json_t *rows = NULL;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = history_rows(c, &rows);
    if (rc == 0)
        ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    return rc;
}

/* As it was applied, to be kept or applied again. */
static int show_old(struct ctl *c)
{
    json_t *rows = NULL, *o;
    size_t i;
    int rc;

    c->limit = HISTORY_KEPT;
    rc = history_rows(c, &rows);
    json_array_foreach(rows, i, o)
    {
        if ((uint64_t)json_integer_value(json_object_get(o, "revision")) != c->revision)
            continue;
        fputs(json_string_value(json_object_get(o, "text")), stdout);
        json_decref(rows);
        return CTL_OK;
    }
    json_decref(rows);
    return rc != 0
               ? rc
               : ctl_fail(CTL_FAILED, "revision %llu is not kept; see forebayctl config history",
                          (unsigned long long)c->revision);
}

/* The file in force, byte for byte. */
static int show_applied(struct ctl *c)
{
    struct fb_buf text = {0};
    struct fb_err err;
    uint64_t rev;
    enum fb_status s = fb_coord_get(c->coord, "config", &text, &rev, &err);

    if (s == FB_ENOENT)
        ctl_note(c, "nothing was applied yet: the defaults are in force");
    else if (s != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    fwrite(text.p, 1, text.n, stdout);
    fb_buf_fini(&text);
    return CTL_OK;
}

int ctl_config_show(struct ctl *c)
{
    struct fb_buf out = {0};
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    if (c->revision != 0)
        return show_old(c);
    if (c->format == CTL_INI)
        return show_applied(c);
    say_partitions(c, c->cluster->namespaces);
    fb_nsset_print(&out, c->cluster->namespaces);
    fwrite(out.p, 1, out.n, stdout);
    fb_buf_fini(&out);
    return CTL_OK;
}

/* An empty store becomes a cluster by its first configuration. */
static int open_or_create(struct ctl *c, const struct fb_nsset *set)
{
    struct fb_err err;
    if (c->cluster_url == NULL || c->cluster_url[0] == '\0')
        return ctl_open(c);
    if (fb_coord_open(c->cluster_url, !c->dry_run, &c->coord, &err) != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "coordinator %s: %s", c->cluster_url, err.msg);
    if (!c->dry_run &&
        fb_cluster_init(c->coord, set->partitions ? set->partitions : FB_PARTITIONS_DEFAULT,
                        &err) != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "coordinator %s: %s", c->cluster_url, err.msg);
    return ctl_open(c);
}

/* The file, and in the same transaction who put it there when: history/config/<time>, of which the
 * newest are kept. */
static int put_config(struct ctl *c, const char *text, size_t n, uint64_t *rev)
{
    struct fb_err err;
    struct fb_coord_op ops[FB_COORD_TXN_MAX] = {
        {.key = "config", .rev = c->cluster->config_rev, .value = fb_bytes(text, n)}};
    struct fb_coord_list old = {0};
    size_t count = 2;
    char key[64], *entry;
    enum fb_status s = fb_coord_list(c->coord, HISTORY, &old, &err);

    if (s != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    snprintf(key, sizeof(key), HISTORY "%013llu", (unsigned long long)fb_wall_ms());
    entry = history_entry(text, n);
    ops[1] = (struct fb_coord_op){.key = key, .rev = 0, .value = fb_bytes_str(entry)};
    for (size_t i = 0; i + HISTORY_KEPT - 1 < old.count && count < FB_COUNT_OF(ops); i++)
        ops[count++] = (struct fb_coord_op){.key = old.kv[i].key, .rev = old.kv[i].rev};
    s = fb_coord_txn(c->coord, ops, count, rev, &err);
    fb_coord_list_free(&old);
    free(entry);
    if (s == FB_OK)
        return CTL_OK;
    if (s == FB_EMISMATCH)
        return ctl_fail(CTL_FAILED, "somebody changed the configuration meanwhile; look at "
                                    "forebayctl config diff and try again");
    return ctl_fail(CTL_FAILED, "%s", err.msg);
}

int ctl_config_apply(struct ctl *c)
{
    struct fb_nsset *set = NULL;
    char *text = NULL;
    uint64_t rev = 0;
    size_t n, changes = 0;
    int rc = parse_file(c->args[0], &set, &text, &n);

    if (rc != 0)
        return rc;
    rc = open_or_create(c, set);
    if (rc == 0 && set->partitions != 0 && set->partitions != c->cluster->map->partitions)
        rc = ctl_fail(CTL_REFUSED,
                      "partitions = %u: the cluster was created with %u and keeps that for life",
                      set->partitions, c->cluster->map->partitions);
    if (rc == 0) {
        say_partitions(c, c->cluster->namespaces);
        say_partitions(c, set);
        changes = print_diff(c->cluster->namespaces, set, !c->quiet);
    }
    if (rc == 0 && changes > 0)
        rc = check_safe(c, c->cluster->namespaces, set);
    if (rc == 0) {
        if (changes == 0) {
            ctl_note(c, "nothing to change");
            rc = c->wait ? ctl_wait_applied(c, c->cluster->config_rev) : CTL_OK;
            if (rc == CTL_OK && c->error_unchanged)
                rc = CTL_UNCHANGED;
        } else if (c->dry_run) {
            ctl_note(c, "nothing was changed (--dry-run)");
        } else if (!ctl_confirm(c, "Apply?")) {
            rc = CTL_FAILED;
        } else {
            rc = put_config(c, text, n, &rev);
            if (rc == CTL_OK && c->wait)
                rc = ctl_wait_applied(c, rev);
        }
    }
    free(set);
    free(text);
    return rc;
}

int ctl_config_diff(struct ctl *c)
{
    struct fb_nsset *set;
    char *text;
    size_t n, changes;
    int rc = parse_file(c->args[0], &set, &text, &n);
    if (rc != 0)
        return rc;
    rc = ctl_open(c);
    if (rc == 0) {
        say_partitions(c, c->cluster->namespaces);
        say_partitions(c, set);
        changes = print_diff(c->cluster->namespaces, set, true);
        if (changes == 0)
            rc = c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
    }
    free(set);
    free(text);
    return rc;
}
