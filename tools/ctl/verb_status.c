/* status, health, node and partition verbs. */
#include "tools/ctl/gather.h"

#include <stdio.h>
#include <stdlib.h>

static bool is(json_t *o, const char *field, const char *value)
{
    const char *s = json_string_value(json_object_get(o, field));
    return s != NULL && strcmp(s, value) == 0;
}

/* Copies in sync whose process runs. */
static uint32_t in_sync(const struct fb_map *map, const struct fb_part_record *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->isr_count; i++) {
        const struct fb_member_info *m = fb_map_member(map, FB_MEMBER_NODE, r->isr[i].node);
        n += m != NULL && m->alive && m->inc == r->isr[i].inc;
    }
    return n;
}

static bool under_replicated(const struct ctl *c, uint32_t p)
{
    const struct fb_part_record *r = &c->cluster->map->parts[p];
    return r->epoch != 0 && c->cluster->namespaces->replicas > 0 &&
           in_sync(c->cluster->map, r) < c->cluster->namespaces->replicas + 1;
}

/* Problems (the cluster does not do its work) and remarks (degraded), as arrays of texts. */
static void judge(struct ctl *c, json_t *nodes, json_t *syncs, json_t *namespaces, json_t *problems,
                  json_t *remarks)
{
    const struct fb_map *map = c->cluster->map;
    uint32_t unassigned = 0, leaderless = 0, routers = 0, under = 0;
    json_int_t open = 0;
    size_t i, up = 0, db = 0;
    json_t *o;
    char text[600];

    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_member_info *m =
            fb_map_member(map, FB_MEMBER_NODE, map->parts[p].primary.node);
        under += under_replicated(c, p);
        if (map->parts[p].epoch == 0)
            unassigned++;
        else if (m == NULL || !m->alive)
            leaderless++;
    }
    json_array_foreach(nodes, i, o)
    {
        open += json_integer_value(json_object_get(o, "open"));
        if (!is(o, "state", "serving")) {
            snprintf(text, sizeof(text), "%s is %s", json_string_value(json_object_get(o, "name")),
                     json_string_value(json_object_get(o, "state")));
            json_array_append_new(
                json_integer_value(json_object_get(o, "partitions")) > 0 ? problems : remarks,
                json_string(text));
        }
    }
    if (unassigned > 0) {
        snprintf(text, sizeof(text), "%u partitions have no node yet", unassigned);
        json_array_append_new(problems, json_string(text));
    }
    if (leaderless > 0) {
        snprintf(text, sizeof(text), "%u partitions are not served: their node is not running",
                 leaderless);
        json_array_append_new(problems, json_string(text));
    } else if (unassigned == 0 && open < (json_int_t)map->partitions) {
        snprintf(text, sizeof(text), "%lld of %u partitions are open", (long long)open,
                 map->partitions);
        json_array_append_new(problems, json_string(text));
    }
    if (under > 0) {
        snprintf(text, sizeof(text),
                 "%u partitions have fewer copies in sync than replicas = %u wants; see forebayctl "
                 "partition list --under-replicated",
                 under, c->cluster->namespaces->replicas);
        json_array_append_new(remarks, json_string(text));
    }
    for (uint32_t m = 0; m < map->member_count; m++)
        routers += map->members[m].kind == FB_MEMBER_ROUTER && map->members[m].alive;
    if (routers == 0)
        json_array_append_new(problems,
                              json_string("no router is running: clients cannot connect"));
    json_array_foreach(syncs, i, o)
    {
        up += is(o, "state", "running");
        db += json_is_true(json_object_get(o, "db_up"));
        if (!is(o, "state", "running")) {
            snprintf(text, sizeof(text), "%s is %s", json_string_value(json_object_get(o, "name")),
                     json_string_value(json_object_get(o, "state")));
            json_array_append_new(remarks, json_string(text));
        }
    }
    if (up == 0)
        json_array_append_new(
            problems,
            json_string("no sync process is running: misses fail and nothing reaches PostgreSQL"));
    else if (db == 0)
        json_array_append_new(
            problems,
            json_string("PostgreSQL does not answer: misses fail, changes wait in memory"));
    json_array_foreach(namespaces, i, o)
    {
        const char *name = json_string_value(json_object_get(o, "namespace"));
        if (!is(o, "problem", "")) {
            snprintf(text, sizeof(text), "namespace %s: %s", name,
                     json_string_value(json_object_get(o, "problem")));
            json_array_append_new(problems, json_string(text));
        }
        if (json_integer_value(json_object_get(o, "parked")) > 0) {
            snprintf(text, sizeof(text),
                     "namespace %s: %lld objects are parked; see forebayctl deadletter list", name,
                     (long long)json_integer_value(json_object_get(o, "parked")));
            json_array_append_new(remarks, json_string(text));
        }
        if (json_is_true(json_object_get(o, "paused"))) {
            snprintf(text, sizeof(text), "namespace %s: write-behind is paused", name);
            json_array_append_new(remarks, json_string(text));
        }
    }
}

static void print_texts(const char *title, json_t *texts)
{
    size_t i;
    json_t *t;
    json_array_foreach(texts, i, t)
        printf("%s%s\n", i == 0 ? title : "           ", json_string_value(t));
}

static void print_status(struct ctl *c, json_t *nodes, json_t *syncs, json_t *namespaces,
                         json_t *problems, json_t *remarks)
{
    static const struct ctl_column node_columns[] = {{"NODE", "name", false},
                                                     {"STATE", "state", false},
                                                     {"PARTITIONS", "partitions", false},
                                                     {"OPEN", "open", false},
                                                     {"OBJECTS", "objects", false},
                                                     {"DIRTY", "dirty", false},
                                                     {"MEMORY", "memory_bytes", false},
                                                     {"LISTEN", "listen", true},
                                                     {"ADMIN", "admin", true}};
    static const struct ctl_column sync_columns[] = {
        {"SYNC", "name", false},        {"STATE", "state", false},
        {"POSTGRESQL", "db_up", false}, {"TRANSACTIONS", "transactions", false},
        {"PROBLEM", "problem", false},  {"ADMIN", "admin", true}};
    static const struct ctl_column ns_columns[] = {
        {"NAMESPACE", "namespace", false}, {"TABLE", "table", false},
        {"DIRTY", "dirty", false},         {"OLDEST MS", "oldest_age_ms", false},
        {"ROWS WRITTEN", "rows", false},   {"PARKED", "parked", false},
        {"PAUSED", "paused", false},       {"PROBLEM", "problem", false}};
    printf("cluster    %s, %u partitions, revision %llu\n", c->cluster_url,
           c->cluster->map->partitions, (unsigned long long)c->cluster->map->rev);
    printf("health     %s\n", json_array_size(problems)  ? "UNHEALTHY"
                              : json_array_size(remarks) ? "degraded"
                                                         : "ok");
    print_texts("problems   ", problems);
    print_texts("remarks    ", remarks);
    printf("\n");
    ctl_print_rows(c, nodes, node_columns, FB_COUNT_OF(node_columns));
    printf("\n");
    ctl_print_rows(c, syncs, sync_columns, FB_COUNT_OF(sync_columns));
    for (uint32_t i = 0, first = 1; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        if (m->kind != FB_MEMBER_ROUTER)
            continue;
        printf("%s%-10s %s, clients at %s\n", first ? "\n" : "", m->name,
               m->alive ? "running" : "down", m->client);
        first = 0;
    }
    printf("\n");
    ctl_print_rows(c, namespaces, ns_columns, FB_COUNT_OF(ns_columns));
}

static json_t *router_rows(struct ctl *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        if (m->kind == FB_MEMBER_ROUTER)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", m->name, "state",
                                                  m->alive ? "running" : "down", "client",
                                                  m->client, "admin", m->admin));
    }
    return list;
}

static int report(struct ctl *c, bool whole)
{
    json_t *nodes, *syncs, *namespaces, *problems, *remarks;
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    nodes = gather_nodes(c);
    syncs = gather_syncs(c);
    namespaces = gather_namespaces(c, nodes, syncs);
    problems = json_array();
    remarks = json_array();
    judge(c, nodes, syncs, namespaces, problems, remarks);
    if (c->format == CTL_JSON || c->format == CTL_JSONL) {
        json_t *o = json_pack("{s:s, s:O, s:O}", "health",
                              json_array_size(problems)  ? "unhealthy"
                              : json_array_size(remarks) ? "degraded"
                                                         : "ok",
                              "problems", problems, "remarks", remarks);
        if (whole) {
            json_object_set_new(o, "revision", json_integer((json_int_t)c->cluster->map->rev));
            json_object_set_new(o, "partitions",
                                json_integer((json_int_t)c->cluster->map->partitions));
            json_object_set(o, "nodes", nodes);
            json_object_set(o, "syncs", syncs);
            json_object_set_new(o, "routers", router_rows(c));
            json_object_set(o, "namespaces", namespaces);
        }
        ctl_print_object(c, o);
        json_decref(o);
    } else if (whole) {
        print_status(c, nodes, syncs, namespaces, problems, remarks);
    } else {
        printf("%s\n", json_array_size(problems)  ? "unhealthy"
                       : json_array_size(remarks) ? "degraded"
                                                  : "ok");
        print_texts("problems   ", problems);
        print_texts("remarks    ", remarks);
    }
    if (!whole)
        rc = json_array_size(problems)               ? CTL_UNHEALTHY
             : json_array_size(remarks) && c->strict ? CTL_DEGRADED
                                                     : CTL_OK;
    json_decref(nodes);
    json_decref(syncs);
    json_decref(namespaces);
    json_decref(problems);
    json_decref(remarks);
    return rc;
}

int ctl_status(struct ctl *c)
{
    return report(c, true);
}

int ctl_health(struct ctl *c)
{
    return report(c, false);
}

int ctl_node_list(struct ctl *c)
{
    static const struct ctl_column columns[] = {
        {"NODE", "name", false},    {"STATE", "state", false},
        {"ZONE", "zone", false},    {"PARTITIONS", "partitions", false},
        {"OPEN", "open", false},    {"OBJECTS", "objects", false},
        {"DIRTY", "dirty", false},  {"MEMORY", "memory_bytes", false},
        {"LISTEN", "listen", true}, {"ADMIN", "admin", true}};
    json_t *rows;
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    rows = gather_nodes(c);
    ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    return CTL_OK;
}

int ctl_node_describe(struct ctl *c)
{
    json_t *rows;
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    c->node_name = c->args[0];
    rows = gather_nodes(c);
    if (json_array_size(rows) == 0) {
        json_decref(rows);
        return ctl_fail(CTL_FAILED, "there is no node %s; see forebayctl node list", c->args[0]);
    }
    ctl_print_object(c, json_array_get(rows, 0));
    json_decref(rows);
    return CTL_OK;
}

static json_t *partition_row(struct ctl *c, uint32_t p)
{
    const struct fb_part_record *r = &c->cluster->map->parts[p];
    const struct fb_member_info *m =
        r->epoch ? fb_map_member(c->cluster->map, FB_MEMBER_NODE, r->primary.node) : NULL;
    json_t *copies = json_array(), *filling = json_array();
    char backups[FB_REPLICAS_MAX * (FB_NAME_BYTES_MAX + 2)] = "";

    for (uint32_t i = 0; i < r->isr_count; i++) {
        const char *node = r->isr[i].node;
        json_array_append_new(copies, json_string(node));
        if (strcmp(node, r->primary.node) != 0)
            snprintf(backups + strlen(backups), sizeof(backups) - strlen(backups), "%s%s",
                     backups[0] ? " " : "", node);
    }
    for (uint32_t i = 0; i < r->learner_count; i++)
        json_array_append_new(filling, json_string(r->learners[i]));
    return json_pack(
        "{s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:o, s:o, s:b}", "partition", (int)p, "state",
        r->epoch == 0   ? "unassigned"
        : m && m->alive ? "open"
                        : "closed",
        "primary", r->epoch ? r->primary.node : "", "epoch", (int)r->epoch, "copies",
        (int)in_sync(c->cluster->map, r), "wanted", (int)c->cluster->namespaces->replicas + 1,
        "min_isr", (int)r->min_isr, "backups", backups, "in_sync", copies, "filling", filling,
        "under_replicated", under_replicated(c, p));
}

int ctl_partition_list(struct ctl *c)
{
    static const struct ctl_column columns[] = {
        {"PARTITION", "partition", false}, {"STATE", "state", false},
        {"PRIMARY", "primary", false},     {"EPOCH", "epoch", false},
        {"COPIES", "copies", false},       {"WANTED", "wanted", true},
        {"BACKUPS", "backups", false}};
    json_t *rows;
    int rc;
    if (c->state != NULL && strcmp(c->state, "open") != 0 && strcmp(c->state, "closed") != 0 &&
        strcmp(c->state, "unassigned") != 0)
        return ctl_fail(CTL_USAGE, "--state %s: must be open, closed or unassigned", c->state);
    rows = json_array();
    rc = ctl_open(c);
    if (rc == 0 && c->node_name != NULL &&
        fb_map_member(c->cluster->map, FB_MEMBER_NODE, c->node_name) == NULL)
        rc = ctl_fail(CTL_FAILED, "there is no node %s; see forebayctl node list", c->node_name);
    for (uint32_t p = 0; rc == 0 && p < c->cluster->map->partitions; p++) {
        json_t *row = partition_row(c, p);
        if ((c->node_name == NULL || is(row, "primary", c->node_name)) &&
            (c->state == NULL || is(row, "state", c->state)) &&
            (!c->under_replicated || json_is_true(json_object_get(row, "under_replicated"))))
            json_array_append(rows, row);
        json_decref(row);
    }
    if (rc == 0)
        ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    return rc;
}

int ctl_partition_describe(struct ctl *c)
{
    const struct fb_member_info *m;
    struct fb_err err;
    json_t *row, *ask, *reply = NULL;
    char *end;
    unsigned long p = strtoul(c->args[0], &end, 10);
    int rc = ctl_open(c);
    if (rc != 0)
        return rc;
    if (*end != '\0' || c->args[0][0] == '\0' || p >= c->cluster->map->partitions)
        return ctl_fail(CTL_USAGE, "partition %s: must be a number from 0 to %u", c->args[0],
                        c->cluster->map->partitions - 1);
    row = partition_row(c, (uint32_t)p);
    json_object_set_new(row, "slots_from",
                        json_integer((json_int_t)((p * FB_SLOTS + c->cluster->map->partitions - 1) /
                                                  c->cluster->map->partitions)));
    json_object_set_new(
        row, "slots_to",
        json_integer((json_int_t)(((p + 1) * FB_SLOTS + c->cluster->map->partitions - 1) /
                                      c->cluster->map->partitions -
                                  1)));
    m = fb_map_member(c->cluster->map, FB_MEMBER_NODE, c->cluster->map->parts[p].primary.node);
    if (m != NULL && m->alive) {
        ask = json_pack("{s:s, s:i}", "verb", "partition.describe", "partition", (int)p);
        if (ctl_ask(c, m, ask, &reply, &err) == FB_OK) {
            json_object_set(row, "on_node", json_object_get(reply, "partition"));
            json_decref(reply);
        } else {
            rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
        }
        json_decref(ask);
    }
    ctl_print_object(c, row);
    json_decref(row);
    return rc;
}
