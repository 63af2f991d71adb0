/* top: rates between two samples. Counters come from the processes; who was restarted meanwhile has
 * no rate for once. */
#include "proto/base/clock.h"
#include "tools/ctl/gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct top {
    struct ctl *c;
    json_t *last, *next; /* "node/node-1/records": number */
    double seconds;      /* between them; 0 = no sample before */
};

/* What a counter gained per second, or null; remembers it for the next sample. */
static json_t *rate(struct top *t, const char *kind, const char *name, const char *field,
                    json_t *value)
{
    char key[3 * FB_NAME_BYTES_MAX];
    json_t *before;
    json_int_t now = json_integer_value(value);

    if (!json_is_integer(value))
        return json_null();
    snprintf(key, sizeof(key), "%s/%s/%s", kind, name, field);
    json_object_set_new(t->next, key, json_integer(now));
    before = json_object_get(t->last, key);
    if (before == NULL || t->seconds <= 0 || json_integer_value(before) > now)
        return json_null();
    return json_real((double)(now - json_integer_value(before)) / t->seconds);
}

static json_t *sum(json_t *a, json_t *b)
{
    json_t *both = json_is_real(a) && json_is_real(b)
                       ? json_real(json_real_value(a) + json_real_value(b))
                       : json_null();
    json_decref(a);
    json_decref(b);
    return both;
}

static json_t *node_row(struct top *t, json_t *node)
{
    const char *name = json_string_value(json_object_get(node, "name"));
    json_t *status = json_object_get(node, "status"), *row = json_object(), *hits, *reads;

    json_object_set(row, "node", json_object_get(node, "name"));
    json_object_set(row, "state", json_object_get(node, "state"));
    hits = rate(t, "node", name, "hits", json_object_get(status, "hits"));
    reads =
        sum(json_incref(hits), rate(t, "node", name, "misses", json_object_get(status, "misses")));
    json_object_set_new(row, "reads_per_second", reads);
    json_object_set_new(row, "hit_percent",
                        json_is_real(reads) && json_real_value(reads) > 0
                            ? json_real(100 * json_real_value(hits) / json_real_value(reads))
                            : json_null());
    json_decref(hits);
    json_object_set_new(row, "records_per_second",
                        rate(t, "node", name, "records", json_object_get(status, "records")));
    json_object_set(row, "objects", json_object_get(node, "objects"));
    json_object_set(row, "dirty", json_object_get(node, "dirty"));
    json_object_set(row, "oldest_dirty_age_ms", json_object_get(node, "oldest_dirty_age_ms"));
    json_object_set(row, "memory_bytes", json_object_get(node, "memory_bytes"));
    return row;
}

static json_t *namespace_row(struct top *t, json_t *ns)
{
    const char *name = json_string_value(json_object_get(ns, "namespace"));
    json_t *row = json_object();

    json_object_set(row, "namespace", json_object_get(ns, "namespace"));
    json_object_set_new(row, "rows_per_second",
                        rate(t, "namespace", name, "rows", json_object_get(ns, "rows")));
    json_object_set(row, "dirty", json_object_get(ns, "dirty"));
    json_object_set(row, "oldest_age_ms", json_object_get(ns, "oldest_age_ms"));
    json_object_set(row, "parked", json_object_get(ns, "parked"));
    json_object_set(row, "problem", json_object_get(ns, "problem"));
    return row;
}

static json_t *router_rows(struct top *t)
{
    const struct fb_map *map = t->c->cluster->map;
    json_t *list = json_array();

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        json_t *row, *reply = NULL, *status;
        struct fb_err err;
        if (m->kind != FB_MEMBER_ROUTER)
            continue;
        row = json_pack("{s:s, s:s}", "router", m->name, "state", m->alive ? "running" : "down");
        if (m->alive && ctl_http_json(t->c, m, "/statusz", &reply, &err) != FB_OK)
            json_object_set_new(row, "state", json_string("unreachable"));
        status = json_object_get(reply, "status");
        json_object_set_new(
            row, "requests_per_second",
            rate(t, "router", m->name, "commands", json_object_get(status, "commands")));
        json_object_set(row, "clients", json_object_get(status, "clients"));
        json_object_set(row, "in_flight", json_object_get(status, "in_flight"));
        json_decref(reply);
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *sample(struct top *t)
{
    json_t *nodes = gather_nodes(t->c), *syncs = gather_syncs(t->c),
           *namespaces = gather_namespaces(t->c, nodes, syncs), *e, *o;
    char when[40];
    size_t i;

    t->next = json_object();
    o = json_pack("{s:s, s:o, s:[], s:[]}", "at", ctl_time((uint64_t)fb_wall_ms(), when), "routers",
                  router_rows(t), "nodes", "namespaces");
    json_array_foreach(nodes, i, e)
        json_array_append_new(json_object_get(o, "nodes"), node_row(t, e));
    json_array_foreach(namespaces, i, e)
        json_array_append_new(json_object_get(o, "namespaces"), namespace_row(t, e));
    json_decref(nodes);
    json_decref(syncs);
    json_decref(namespaces);
    json_decref(t->last);
    t->last = t->next;
    return o;
}

static void print_screen(struct ctl *c, json_t *o)
{
    static const struct ctl_column routers[] = {{"ROUTER", "router", false},
                                                {"STATE", "state", false},
                                                {"REQUESTS/S", "requests_per_second", false},
                                                {"CLIENTS", "clients", false},
                                                {"IN FLIGHT", "in_flight", false}};
    static const struct ctl_column nodes[] = {{"NODE", "node", false},
                                              {"STATE", "state", false},
                                              {"READS/S", "reads_per_second", false},
                                              {"HIT %", "hit_percent", false},
                                              {"WRITES/S", "records_per_second", false},
                                              {"OBJECTS", "objects", false},
                                              {"DIRTY", "dirty", false},
                                              {"OLDEST MS", "oldest_dirty_age_ms", false},
                                              {"MEMORY", "memory_bytes", false}};
    static const struct ctl_column namespaces[] = {
        {"NAMESPACE", "namespace", false}, {"ROWS/S", "rows_per_second", false},
        {"DIRTY", "dirty", false},         {"OLDEST MS", "oldest_age_ms", false},
        {"PARKED", "parked", false},       {"PROBLEM", "problem", false}};
    printf("\033[H\033[2J%s  %s\n\n", c->cluster_url, json_string_value(json_object_get(o, "at")));
    ctl_print_rows(c, json_object_get(o, "routers"), routers, FB_COUNT_OF(routers));
    printf("\n");
    ctl_print_rows(c, json_object_get(o, "nodes"), nodes, FB_COUNT_OF(nodes));
    printf("\n");
    ctl_print_rows(c, json_object_get(o, "namespaces"), namespaces, FB_COUNT_OF(namespaces));
}

int ctl_top(struct ctl *c)
{
    struct top t = {.c = c, .last = json_object()};
    uint64_t interval = c->interval_ms ? c->interval_ms : 1000;
    struct timespec pause = {.tv_sec = (time_t)(interval / 1000),
                             .tv_nsec = (long)(interval % 1000) * 1000000};
    bool screen = c->screen && (c->format == CTL_TABLE || c->format == CTL_WIDE);
    uint64_t before = fb_mono_ns(), shown = 0;
    int rc = ctl_open(c);

    if (rc == 0)
        json_decref(sample(&t)); /* what the first rates are measured from */
    while (rc == 0 && (c->count == 0 || shown < c->count) && ferror(stdout) == 0) {
        uint64_t now;
        json_t *o;
        nanosleep(&pause, NULL);
        (void)ctl_try_refresh(c);
        now = fb_mono_ns();
        t.seconds = (double)(now - before) / 1e9;
        before = now;
        o = sample(&t);
        if (screen) {
            print_screen(c, o);
        } else {
            char *line = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
            puts(line ? line : "");
            free(line);
        }
        fflush(stdout);
        json_decref(o);
        shown++;
    }
    json_decref(t.last);
    return rc;
}
