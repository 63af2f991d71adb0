/* Nodes, flags and sizes for the planner. */
#include "tools/ctl/plan_input.h"

#include "proto/base/number.h"
#include "tools/ctl/gather.h"

#include <stdio.h>
#include <stdlib.h>

static struct fb_plan_node *find(struct plan_input *p, const char *name)
{
    for (uint32_t i = 0; i < p->in.node_count; i++)
        if (strcmp(p->node[i].place.name, name) == 0)
            return &p->node[i];
    return NULL;
}

static bool holds_something(const struct fb_map *map, const char *node)
{
    for (uint32_t i = 0; i < map->partitions; i++) {
        for (uint32_t k = 0; k < map->parts[i].isr_count; k++)
            if (strcmp(map->parts[i].isr[k].node, node) == 0)
                return true;
        for (uint32_t k = 0; k < map->parts[i].learner_count; k++)
            if (strcmp(map->parts[i].learners[k], node) == 0)
                return true;
    }
    return false;
}

static int put_node(struct plan_input *p, const char *name, const char *zone, uint32_t weight)
{
    struct fb_plan_node *n = &p->node[p->in.node_count];
    if (p->in.node_count == FB_NODES_MAX)
        return ctl_fail(CTL_USAGE, "%s would be node number %u; a cluster has at most %u", name,
                        FB_NODES_MAX + 1, FB_NODES_MAX);
    *n = (struct fb_plan_node){.place.weight = weight};
    snprintf(n->place.name, sizeof(n->place.name), "%s", name);
    snprintf(n->place.zone, sizeof(n->place.zone), "%s", zone);
    p->in.node_count++;
    return 0;
}

/* A node whose entry in the coordinator is no more, but that records name. */
static int put_unknown(struct plan_input *p, const char *name)
{
    int rc = find(p, name) != NULL ? 0 : put_node(p, name, "", 100);
    if (rc == 0)
        find(p, name)->state = FB_PLAN_GONE;
    return rc;
}

static int take_members(struct ctl *c, struct plan_input *p)
{
    const struct fb_map *map = c->cluster->map;
    int rc = 0;

    for (uint32_t i = 0; i < map->member_count && rc == 0; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind != FB_MEMBER_NODE || (!m->alive && !holds_something(map, m->name)))
            continue;
        rc = put_node(p, m->name, m->zone, m->weight ? m->weight : 100);
        if (rc == 0 && fb_cluster_state_drains(c->cluster, m->name))
            find(p, m->name)->state = FB_PLAN_DRAIN;
    }
    for (uint32_t i = 0; i < map->partitions && rc == 0; i++) {
        const struct fb_part_record *r = &map->parts[i];
        for (uint32_t k = 0; k < r->isr_count && rc == 0; k++)
            if (find(p, r->isr[k].node) == NULL)
                rc = put_unknown(p, r->isr[k].node);
        for (uint32_t k = 0; k < r->learner_count && rc == 0; k++)
            if (find(p, r->learners[k]) == NULL)
                rc = put_unknown(p, r->learners[k]);
    }
    return rc;
}

/* Calls `one` with each item of a list "a,b,c". */
static int each_item(struct ctl *c, struct plan_input *p, const char *list,
                     int (*one)(struct ctl *c, struct plan_input *p, char *item))
{
    char *text, *rest = NULL;
    int rc = 0;
    if (list == NULL)
        return 0;
    text = fb_xstrdup(list);
    for (char *item = strtok_r(text, ",", &rest); item != NULL && rc == 0;
         item = strtok_r(NULL, ",", &rest))
        rc = one(c, p, item);
    free(text);
    return rc;
}

static int unknown(const char *flag, const char *name)
{
    return ctl_fail(CTL_USAGE, "%s %s: there is no such node; see forebayctl node list", flag,
                    name);
}

static int add_one(struct ctl *c, struct plan_input *p, char *item)
{
    char *zone = strchr(item, ':');
    (void)c;
    if (zone != NULL)
        *zone++ = '\0';
    if (item[0] == '\0' || strlen(item) > FB_NAME_BYTES_MAX ||
        (zone != NULL && strlen(zone) > FB_NAME_BYTES_MAX))
        return ctl_fail(CTL_USAGE, "--add %s: must be a name, or name:zone, of at most %u bytes",
                        item, FB_NAME_BYTES_MAX);
    if (find(p, item) != NULL)
        return ctl_fail(CTL_USAGE, "--add %s: the node is there already", item);
    return put_node(p, item, zone != NULL ? zone : "", 100);
}

static int weigh_one(struct ctl *c, struct plan_input *p, char *item)
{
    char *eq = strchr(item, '=');
    struct fb_plan_node *n;
    uint64_t weight = 0;
    (void)c;
    if (eq == NULL || !fb_parse_u64(fb_bytes_str(eq + 1), &weight) || weight > 1000000)
        return ctl_fail(CTL_USAGE, "--weights %s: must be NODE=W with a number from 0 to 1000000",
                        item);
    *eq = '\0';
    n = find(p, item);
    if (n == NULL)
        return unknown("--weights", item);
    n->place.weight = (uint32_t)weight;
    return 0;
}

static int drain_one(struct ctl *c, struct plan_input *p, char *item)
{
    struct fb_plan_node *n = find(p, item);
    (void)c;
    if (n == NULL)
        return unknown("--drain", item);
    n->state = FB_PLAN_DRAIN;
    return 0;
}

static int lose_one(struct ctl *c, struct plan_input *p, char *item)
{
    if (find(p, item) == NULL) { /* down, and out of every set already? */
        const struct fb_member_info *m = fb_map_member(c->cluster->map, FB_MEMBER_NODE, item);
        int rc;
        if (m == NULL)
            return unknown("--gone", item);
        rc = put_node(p, m->name, m->zone, m->weight ? m->weight : 100);
        if (rc != 0)
            return rc;
    }
    find(p, item)->state = FB_PLAN_GONE;
    return 0;
}

/* One that is down may come back; what is to become of its copies is for the operator to say. */
static int check_down(struct ctl *c, struct plan_input *p)
{
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++) {
        const struct fb_member_info *m = &c->cluster->map->members[i];
        const struct fb_plan_node *n;
        if (m->kind != FB_MEMBER_NODE || m->alive)
            continue;
        n = find(p, m->name);
        if (n != NULL && n->state != FB_PLAN_GONE)
            return ctl_fail(CTL_REFUSED,
                            "%s is down and holds copies; start it, or plan as if it were lost: "
                            "--gone %s",
                            m->name, m->name);
    }
    return 0;
}

static uint64_t field(json_t *o, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(o, name));
    return n > 0 ? (uint64_t)n : 0;
}

/* What a partition has by what its primary says. Nodes count objects by partition but bytes in
 * all, so bytes are the node's mean. */
static void take_size(struct ctl *c, struct plan_input *p, json_t *told, const char *node,
                      json_t *status, uint64_t keys)
{
    json_t *feeds = json_object_get(told, "feeds"), *feed;
    uint64_t part = field(told, "partition"), dirty = 0;
    json_t *objects = json_object_get(status, "objects");
    uint64_t node_dirty = field(objects, "dirty") + field(objects, "tombstone");
    struct fb_plan_size *s;
    size_t i;

    if (part >= c->cluster->map->partitions || !json_is_true(json_object_get(told, "open")) ||
        strcmp(c->cluster->map->parts[part].primary.node, node) != 0)
        return;
    json_array_foreach(feeds, i, feed) dirty += field(feed, "dirty");
    s = &p->size[part];
    s->objects = field(told, "keys");
    s->bytes =
        keys > 0
            ? (uint64_t)((double)field(status, "memory_bytes") * (double)s->objects / (double)keys)
            : 0;
    s->dirty_bytes =
        node_dirty > 0
            ? (uint64_t)((double)field(status, "dirty_bytes") * (double)dirty / (double)node_dirty)
            : 0;
    p->unasked--;
}

static void ask_sizes(struct ctl *c, struct plan_input *p)
{
    json_t *nodes = gather_nodes(c), *row, *told;
    size_t i, k;

    p->unasked = c->cluster->map->partitions;
    json_array_foreach(nodes, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        const struct fb_member_info *m = fb_map_member(c->cluster->map, FB_MEMBER_NODE, name);
        json_t *ask, *reply = NULL, *list;
        struct fb_err err = {0};
        uint64_t keys = 0;
        if (json_object_get(row, "status") == NULL)
            continue;
        ask = json_pack("{s:s}", "verb", "partition.list");
        if (ctl_ask(c, m, ask, &reply, &err) == FB_OK) {
            list = json_object_get(reply, "partitions");
            json_array_foreach(list, k, told) keys += field(told, "keys");
            json_array_foreach(list, k, told)
                take_size(c, p, told, name, json_object_get(row, "status"), keys);
            json_decref(reply);
        } else {
            ctl_note(c, "%s", err.msg);
        }
        json_decref(ask);
    }
    json_decref(nodes);
}

int plan_input_fill(struct ctl *c, struct plan_input *p)
{
    int rc;

    memset(p, 0, sizeof(*p));
    p->in.map = c->cluster->map;
    p->in.nodes = p->node;
    p->in.sizes = p->size;
    p->in.copies = c->cluster->namespaces->replicas + 1;
    p->in.max_moves = c->max_moves > UINT32_MAX ? UINT32_MAX : (uint32_t)c->max_moves;
    rc = take_members(c, p);
    if (rc == 0)
        rc = each_item(c, p, c->add, add_one);
    if (rc == 0)
        rc = each_item(c, p, c->weights, weigh_one);
    if (rc == 0)
        rc = each_item(c, p, c->drain, drain_one);
    if (rc == 0)
        rc = each_item(c, p, c->gone, lose_one);
    if (rc == 0)
        rc = check_down(c, p);
    if (rc == 0)
        ask_sizes(c, p);
    return rc;
}

int plan_make(const struct plan_input *p, struct fb_plan **out)
{
    struct fb_err err = {0};
    enum fb_status st = fb_rebalance(&p->in, out, &err);

    if (st != FB_OK)
        return ctl_fail(st == FB_EREFUSED ? CTL_REFUSED : CTL_FAILED, "%s; nothing was changed",
                        err.msg);
    if ((*out)->lost > 0)
        return ctl_fail(CTL_REFUSED,
                        "%u partitions have all their copies on nodes that are gone; "
                        "start one of those nodes first. Nothing was changed",
                        (*out)->lost);
    return 0;
}
