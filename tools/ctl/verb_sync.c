/* sync verbs. */
#include "tools/ctl/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What a fail-over of PostgreSQL would lose, as each sync process sees it. */
static void note_safety(struct ctl *c, json_t *syncs)
{
    json_t *o;
    size_t i;

    json_array_foreach(syncs, i, o)
    {
        const char *mode = "";
        int automatic = 0, sync_names = 0, unconfirmed = 0;
        json_int_t lag = 0, standbys = 0, feeds = 0;
        char time[40] = "";
        if (json_unpack(json_object_get(o, "safety"), "{s:s, s:b, s:I, s:b, s:I, s:I, s:b}", "mode",
                        &mode, "automatic", &automatic, "lag_ms", &lag, "sync_names", &sync_names,
                        "standbys", &standbys, "unsafe_feeds", &feeds, "unconfirmed",
                        &unconfirmed) != 0)
            continue;
        if (lag != 0)
            (void)snprintf(time, sizeof(time), ":%lldms", (long long)lag);
        ctl_note(
            c, "%s: database_safety %s%s%s, %lld standbys; feeds not safe from a fail-over: %lld%s",
            json_string_value(json_object_get(o, "name")), mode, time, automatic ? " (auto)" : "",
            (long long)standbys, (long long)feeds,
            unconfirmed ? "; no synchronous standby confirms what is committed" : "");
    }
}

int ctl_sync_status(struct ctl *c)
{
    static const struct ctl_column ns_columns[] = {
        {"NAMESPACE", "namespace", false}, {"TABLE", "table", false},
        {"DIRTY", "dirty", false},         {"OLDEST MS", "oldest_age_ms", false},
        {"ROWS WRITTEN", "rows", false},   {"PARKED", "parked", false},
        {"PAUSED", "paused", false},       {"PROBLEM", "problem", false}};
    json_t *nodes, *syncs, *rows;
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    nodes = gather_nodes(c);
    syncs = gather_syncs(c);
    rows = gather_namespaces(c, nodes, syncs);
    ctl_print_rows(c, rows, ns_columns, FB_COUNT_OF(ns_columns));
    note_safety(c, syncs);
    json_decref(nodes);
    json_decref(syncs);
    json_decref(rows);
    return CTL_OK;
}

/* The same question to every live process of a kind. */
static int ask_all(struct ctl *c, enum fb_member_kind kind, json_t *ask)
{
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        json_t *reply;
        struct fb_err err;
        if (m->kind != kind || !m->alive ||
            (c->node_name != NULL && strcmp(c->node_name, m->name) != 0))
            continue;
        if (ctl_ask(c, m, ask, &reply, &err) != FB_OK)
            return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
        json_decref(reply);
    }
    return 0;
}

int ctl_check_namespace(struct ctl *c)
{
    if (c->namespace_name != NULL &&
        fb_nsset_find(c->cluster->namespaces, fb_bytes_str(c->namespace_name)) == UINT32_MAX)
        return ctl_fail(CTL_USAGE, "there is no namespace %s; see forebayctl config show",
                        c->namespace_name);
    return 0;
}

/* Objects waiting (parked ones do not count: they wait for a person). -1 = a node did not answer.
 */
static json_int_t waiting(struct ctl *c)
{
    json_t *nodes = gather_nodes(c), *none = json_array(), *rows, *o;
    json_int_t sum = 0;
    size_t i;
    rows = gather_namespaces(c, nodes, none);
    json_array_foreach(nodes, i, o) if (json_object_get(o, "namespaces") == NULL &&
                                        json_integer_value(json_object_get(o, "partitions")) > 0)
        sum = -1;
    if (sum == 0)
        json_array_foreach(rows, i, o) sum += json_integer_value(json_object_get(o, "dirty")) -
                                              json_integer_value(json_object_get(o, "parked"));
    json_decref(nodes);
    json_decref(none);
    json_decref(rows);
    return sum;
}

static int print_lsn(struct ctl *c)
{
    const struct fb_member_info *m = ctl_any_sync(c);
    json_t *ask = json_pack("{s:s}", "verb", "sync.lsn"), *reply;
    struct fb_err err;
    int rc = CTL_OK;
    if (m == NULL) {
        rc = ctl_fail(CTL_UNREACHABLE, "no sync process is running");
    } else if (ctl_ask(c, m, ask, &reply, &err) != FB_OK) {
        rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    } else {
        const char *lsn = json_string_value(json_object_get(reply, "lsn"));
        json_t *o = json_pack("{s:s}", "lsn", lsn ? lsn : "");
        if (c->format == CTL_TABLE || c->format == CTL_WIDE || c->format == CTL_NAME)
            puts(lsn ? lsn : "");
        else
            ctl_print_object(c, o);
        json_decref(o);
        json_decref(reply);
    }
    json_decref(ask);
    return rc;
}

/* What is dirty at the start is what counts: later changes may keep the number above zero, so the
 * wait also ends when the oldest change is younger than the flush. */
static bool flushed(struct ctl *c, uint64_t began_ms_ago)
{
    json_t *nodes = gather_nodes(c), *none = json_array(), *rows, *o;
    bool done = true;
    size_t i;
    rows = gather_namespaces(c, nodes, none);
    json_array_foreach(nodes, i, o) done = done && json_object_get(o, "namespaces") != NULL;
    json_array_foreach(rows, i, o)
    {
        json_int_t dirty = json_integer_value(json_object_get(o, "dirty")) -
                           json_integer_value(json_object_get(o, "parked"));
        if (dirty > 0 &&
            (uint64_t)json_integer_value(json_object_get(o, "oldest_age_ms")) >= began_ms_ago)
            done = false;
    }
    json_decref(nodes);
    json_decref(none);
    json_decref(rows);
    return done;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Nodes first: they are to tell what they have before the sync processes look. */
static int ask_flush(struct ctl *c, json_t *ask)
{
    int rc = ask_all(c, FB_MEMBER_NODE, ask);

    return rc == CTL_OK ? ask_all(c, FB_MEMBER_SYNC, ask) : rc;
}

int ctl_sync_flush(struct ctl *c)
{
    json_t *ask = json_pack("{s:s}", "verb", "sync.flush");
    uint64_t start = now_ms();
    int rc = ctl_open(c);

    if (rc == 0)
        rc = ctl_check_namespace(c);
    if (rc == 0 && c->namespace_name != NULL) {
        json_object_set_new(ask, "namespace", json_string(c->namespace_name));
        json_object_set_new(ask, "ns", json_string(c->namespace_name));
    }
    if (rc == 0 && ctl_any_sync(c) == NULL)
        rc = ctl_fail(CTL_UNREACHABLE, "no sync process is running");
    if (rc == 0)
        rc = ask_flush(c, ask);
    json_decref(ask);
    if (rc != 0 || !c->wait)
        return rc;
    while (!flushed(c, now_ms() - start)) {
        struct timespec pause = {.tv_nsec = 50000000};
        if (now_ms() - start > c->timeout_ms)
            return ctl_fail(CTL_TIMEOUT,
                            "%lld objects still wait after %llu s; it goes on in the cluster "
                            "(forebayctl sync status)",
                            (long long)waiting(c), (unsigned long long)c->timeout_ms / 1000);
        nanosleep(&pause, NULL);
    }
    return print_lsn(c);
}

/* control/sync: {"all": bool, "namespaces": [...]} changed by compare-and-swap until it holds. */
static int change_pause(struct ctl *c, bool pause)
{
    for (int attempt = 0; attempt < 20; attempt++) {
        struct fb_buf old = {0};
        struct fb_err err;
        uint64_t rev = 0;
        json_t *o = NULL, *list;
        bool changed = false;
        size_t i;
        json_t *v;
        char *text;
        enum fb_status s = fb_coord_get(c->coord, "control/sync", &old, &rev, &err);
        if (s != FB_OK && s != FB_ENOENT)
            return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
        if (s == FB_OK)
            o = json_loadb((const char *)old.p, old.n, 0, NULL);
        fb_buf_fini(&old);
        if (o == NULL)
            o = json_pack("{s:b, s:[]}", "all", 0, "namespaces");
        list = json_object_get(o, "namespaces");
        if (c->namespace_name == NULL) {
            changed = json_is_true(json_object_get(o, "all")) != pause ||
                      (!pause && json_array_size(list) > 0);
            json_object_set_new(o, "all", json_boolean(pause));
            if (!pause)
                json_array_clear(list);
        } else {
            size_t at = SIZE_MAX;
            json_array_foreach(list, i, v) if (strcmp(json_string_value(v), c->namespace_name) == 0)
                at = i;
            if (pause && at == SIZE_MAX) {
                json_array_append_new(list, json_string(c->namespace_name));
                changed = true;
            } else if (!pause && at != SIZE_MAX) {
                json_array_remove(list, at);
                changed = true;
            }
        }
        if (!changed) {
            json_decref(o);
            ctl_note(c, "nothing to change");
            return c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
        }
        if (c->dry_run) {
            json_decref(o);
            ctl_note(c, "write-behind of %s would %s (nothing was changed)",
                     c->namespace_name ? c->namespace_name : "all namespaces",
                     pause ? "pause" : "go on");
            return CTL_OK;
        }
        text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
        s = fb_coord_cas(c->coord, "control/sync", rev, fb_bytes_str(text), &rev, &err);
        free(text);
        if (s == FB_OK)
            return CTL_OK;
        if (s != FB_EMISMATCH)
            return ctl_fail(CTL_FAILED, "%s", err.msg);
    }
    return ctl_fail(CTL_FAILED, "somebody else keeps changing the same setting; try again");
}

static int pause_verb(struct ctl *c, bool pause)
{
    int rc = ctl_open(c);
    if (rc == 0)
        rc = ctl_check_namespace(c);
    if (rc != 0)
        return rc;
    if (pause && !c->dry_run &&
        !ctl_confirm(c, "Stop writing to PostgreSQL? Changes wait in memory until resume."))
        return CTL_FAILED;
    return change_pause(c, pause);
}

int ctl_sync_pause(struct ctl *c)
{
    return pause_verb(c, true);
}

int ctl_sync_resume(struct ctl *c)
{
    return pause_verb(c, false);
}

int ctl_sync_go_on(struct ctl *c)
{
    json_t *ask = json_pack("{s:s}", "verb", "sync.flush");
    int rc = CTL_OK;

    if (c->cluster->sync_paused_all || c->cluster->paused_count > 0)
        rc = change_pause(c, false);
    if (rc == CTL_OK)
        rc = ask_flush(c, ask);
    json_decref(ask);
    return rc;
}

int ctl_conflict_list(struct ctl *c)
{
    static const struct ctl_column columns[] = {
        {"KEY", "key", false},     {"POLICY", "policy", false}, {"OUTCOME", "outcome", false},
        {"AT", "at", false},       {"VERSION", "ver", false},   {"OURS", "ours", true},
        {"THEIRS", "theirs", true}};
    const struct fb_member_info *m;
    json_t *ask, *reply, *rows, *o;
    struct fb_err err;
    enum fb_status s;
    size_t i;
    int rc = ctl_open(c);

    if (rc == 0)
        rc = ctl_check_namespace(c);
    if (rc != 0)
        return rc;
    m = ctl_any_sync(c);
    if (m == NULL)
        return ctl_fail(
            CTL_UNREACHABLE,
            "no sync process is running: the conflicts are in table forebay.conflict_log");
    ask = json_pack("{s:s, s:I}", "verb", "conflict.list", "limit", (json_int_t)c->limit);
    if (c->namespace_name != NULL)
        json_object_set_new(ask, "ns", json_string(c->namespace_name));
    s = ctl_ask(c, m, ask, &reply, &err);
    json_decref(ask);
    if (s != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    rows = json_object_get(reply, "conflicts");
    json_array_foreach(rows, i, o)
    {
        const char *ns = json_string_value(json_object_get(o, "ns"));
        bool def = strcmp(ns, "default") == 0;
        json_object_set_new(o, "key",
                            json_sprintf("%s%s%s", def ? "" : ns, def ? "" : ":",
                                         json_string_value(json_object_get(o, "id"))));
    }
    ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(reply);
    return CTL_OK;
}
