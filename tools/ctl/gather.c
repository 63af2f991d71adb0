/* What the verbs about the whole cluster ask of everybody, once. */
#include "tools/ctl/gather.h"

#include <stdio.h>

json_t *gather_nodes(struct ctl *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        json_t *row, *reply = NULL, *ask;
        struct fb_err err = {0};
        uint32_t led = 0;
        if (m->kind != FB_MEMBER_NODE ||
            (c->node_name != NULL && strcmp(c->node_name, m->name) != 0))
            continue;
        for (uint32_t p = 0; p < c->cluster->map->partitions; p++)
            led += strcmp(c->cluster->map->parts[p].primary.node, m->name) == 0;
        row = json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", m->name, "zone", m->zone, "listen",
                        m->listen, "admin", m->admin, "partitions", (int)led);
        if (m->alive) {
            ask = json_pack("{s:s}", "verb", "node.status");
            if (ctl_ask(c, m, ask, &reply, &err) == FB_OK) {
                json_t *st = json_object_get(reply, "status"),
                       *objects = json_object_get(st, "objects");
                json_object_set(row, "state", json_object_get(st, "state"));
                json_object_set(row, "open", json_object_get(st, "partitions_open"));
                json_object_set_new(
                    row, "objects",
                    json_integer(json_integer_value(json_object_get(objects, "clean")) +
                                 json_integer_value(json_object_get(objects, "dirty"))));
                json_object_set_new(
                    row, "dirty",
                    json_integer(json_integer_value(json_object_get(objects, "dirty")) +
                                 json_integer_value(json_object_get(objects, "tombstone"))));
                json_object_set(row, "memory_bytes", json_object_get(st, "memory_bytes"));
                json_object_set(row, "oldest_dirty_age_ms",
                                json_object_get(st, "oldest_dirty_age_ms"));
                json_object_set(row, "status", st);
                json_object_set(row, "namespaces", json_object_get(reply, "lanes_namespaces"));
                json_decref(reply);
            } else {
                json_object_set_new(row, "state", json_string("unreachable"));
                json_object_set_new(row, "problem", json_string(err.msg));
            }
            json_decref(ask);
        } else {
            json_object_set_new(row, "state", json_string("down"));
        }
        json_array_append_new(list, row);
    }
    return list;
}

json_t *gather_syncs(struct ctl *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        json_t *row, *reply = NULL, *ask;
        struct fb_err err = {0};
        if (m->kind != FB_MEMBER_SYNC)
            continue;
        row = json_pack("{s:s, s:s, s:s}", "name", m->name, "listen", m->listen, "admin", m->admin);
        if (m->alive) {
            ask = json_pack("{s:s}", "verb", "sync.status");
            if (ctl_ask(c, m, ask, &reply, &err) == FB_OK) {
                json_object_set_new(row, "state", json_string("running"));
                json_object_set(row, "db_up", json_object_get(reply, "db_up"));
                json_object_set(row, "transactions", json_object_get(reply, "transactions"));
                json_object_set(row, "problem", json_object_get(reply, "db_problem"));
                json_object_set(row, "namespaces", json_object_get(reply, "namespaces"));
                json_object_set(row, "safety", json_object_get(reply, "safety"));
                json_decref(reply);
            } else {
                json_object_set_new(row, "state", json_string("unreachable"));
                json_object_set_new(row, "problem", json_string(err.msg));
            }
            json_decref(ask);
        } else {
            json_object_set_new(row, "state", json_string("down"));
        }
        json_array_append_new(list, row);
    }
    return list;
}

static json_int_t int_of(json_t *o, const char *field)
{
    return json_integer_value(json_object_get(o, field));
}

static void add_to(json_t *o, const char *field, json_int_t n)
{
    json_object_set_new(o, field, json_integer(int_of(o, field) + n));
}

/* Dirty counts come from the nodes, which have the objects; rows and errors from the sync
 * processes. */
json_t *gather_namespaces(struct ctl *c, json_t *nodes, json_t *syncs)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < c->cluster->namespaces->count; i++) {
        const struct fb_namespace *ns = &c->cluster->namespaces->ns[i];
        const struct fb_schema *schema =
            ns->mapped ? fb_cluster_state_schema(c->cluster, ns->name) : NULL;
        char table[2 * FB_NAME_BYTES_MAX + 4];
        json_t *row, *p, *n;
        size_t a, b;
        if (c->namespace_name != NULL && strcmp(c->namespace_name, ns->name) != 0)
            continue;
        snprintf(table, sizeof(table), "%s.%s", ns->mapped ? ns->table_schema : "forebay",
                 ns->mapped ? ns->table_name : "objects");
        row = json_pack(
            "{s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:s}", "namespace", ns->name, "table", table,
            "dirty", 0, "parked", 0, "oldest_age_ms", 0, "rows", 0, "paused",
            (int)(c->cluster->sync_paused_all || fb_cluster_state_paused(c->cluster, ns->name)),
            "problem",
            ns->mapped && schema == NULL ? "table not read yet"
            : schema                     ? schema->problem
                                         : "");
        json_array_foreach(nodes, a, p)
        {
            json_array_foreach(json_object_get(p, "namespaces"), b, n)
            {
                if (strcmp(json_string_value(json_object_get(n, "namespace")), ns->name) != 0)
                    continue;
                add_to(row, "dirty", int_of(n, "dirty"));
                add_to(row, "parked", int_of(n, "parked"));
                if (int_of(n, "oldest_dirty_age_ms") > int_of(row, "oldest_age_ms"))
                    json_object_set(row, "oldest_age_ms",
                                    json_object_get(n, "oldest_dirty_age_ms"));
            }
        }
        json_array_foreach(syncs, a, p)
        {
            json_array_foreach(json_object_get(p, "namespaces"), b, n)
            {
                const char *error = json_string_value(json_object_get(n, "last_error"));
                if (strcmp(json_string_value(json_object_get(n, "ns")), ns->name) != 0)
                    continue;
                add_to(row, "rows", int_of(n, "rows"));
                if (error != NULL && error[0] != '\0' &&
                    json_is_true(json_object_get(n, "stopped")))
                    json_object_set_new(row, "problem", json_string(error));
            }
        }
        json_array_append_new(list, row);
    }
    return list;
}
