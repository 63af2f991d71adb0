/* rebalance verbs: a plan as tables, as JSON, as a file. */
#include "tools/ctl/plan_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define RATE_BYTES UINT64_C(50000000) /* a second; what moves take by default */

static json_t *text_or_null(const char *s)
{
    return s != NULL ? json_string(s) : json_null();
}

static json_t *move_row(struct ctl *c, const struct fb_plan *p, const struct fb_move *m)
{
    const char *name[3] = {NULL, NULL, NULL};
    const uint8_t node[3] = {m->from, m->to, m->lead};
    json_t *row;

    for (int i = 0; i < 3; i++)
        if (node[i] != FB_PLAN_NO_NODE)
            name[i] = p->node[node[i]].place.name;
    row = json_pack("{s:i, s:s, s:s, s:I, s:I, s:I}", "partition", (int)m->part, "role",
                    m->lead != FB_PLAN_NO_NODE ? "primary" : "backup", "reason",
                    fb_move_reason_name(m->reason), "objects", (json_int_t)m->size.objects, "bytes",
                    (json_int_t)m->size.bytes, "dirty_bytes", (json_int_t)m->size.dirty_bytes);
    if (m->from == FB_PLAN_NO_NODE && m->to == FB_PLAN_NO_NODE) { /* only another leads */
        name[0] = c->cluster->map->parts[m->part].primary.node;
        name[1] = name[2];
    }
    json_object_set_new(row, "from", text_or_null(name[0]));
    json_object_set_new(row, "to", text_or_null(name[1]));
    return row;
}

static void set_loads(json_t *row, const struct fb_plan_load *before,
                      const struct fb_plan_load *after)
{
    const struct {
        const char *name;
        uint64_t before, after;
    } loads[] = {{"primaries", before->primaries, after->primaries},
                 {"copies", before->copies, after->copies},
                 {"bytes", before->bytes, after->bytes}};
    for (size_t i = 0; i < FB_COUNT_OF(loads); i++) {
        char text[64];
        if (loads[i].before == loads[i].after)
            snprintf(text, sizeof(text), "%llu", (unsigned long long)loads[i].after);
        else
            snprintf(text, sizeof(text), "%llu -> %llu", (unsigned long long)loads[i].before,
                     (unsigned long long)loads[i].after);
        json_object_set_new(row, loads[i].name, json_string(text));
    }
}

static void add_load(struct fb_plan_load *sum, const struct fb_plan_load *l)
{
    sum->primaries += l->primaries;
    sum->copies += l->copies;
    sum->bytes += l->bytes;
}

static void print_balance(struct ctl *c, const struct fb_plan *p)
{
    static const struct ctl_column node_columns[] = {
        {"NODE", "name", false},     {"ZONE", "zone", false},           {"STATE", "state", false},
        {"WEIGHT", "weight", false}, {"PRIMARIES", "primaries", false}, {"COPIES", "copies", false},
        {"BYTES", "bytes", false}};
    static const struct ctl_column zone_columns[] = {{"ZONE", "zone", false},
                                                     {"PRIMARIES", "primaries", false},
                                                     {"COPIES", "copies", false},
                                                     {"BYTES", "bytes", false}};
    static const char *const states[] = {"up", "drains", "gone"};
    json_t *nodes = json_array(), *zones = json_array();

    for (uint32_t i = 0; i < p->node_count; i++) {
        const struct fb_plan_node *n = &p->node[i];
        struct fb_plan_load before = {0}, after = {0};
        bool first = n->place.zone[0] != '\0';
        json_t *row =
            json_pack("{s:s, s:s, s:s, s:i}", "name", n->place.name, "zone", n->place.zone, "state",
                      states[n->state], "weight", (int)n->place.weight);
        set_loads(row, &n->before, &n->after);
        json_array_append_new(nodes, row);
        for (uint32_t k = 0; k < p->node_count && first; k++) {
            if (strcmp(p->node[k].place.zone, n->place.zone) != 0)
                continue;
            first = k >= i;
            add_load(&before, &p->node[k].before);
            add_load(&after, &p->node[k].after);
        }
        if (!first)
            continue;
        row = json_pack("{s:s}", "zone", n->place.zone);
        set_loads(row, &before, &after);
        json_array_append_new(zones, row);
    }
    ctl_print_rows(c, nodes, node_columns, FB_COUNT_OF(node_columns));
    if (json_array_size(zones) > 0) {
        printf("\n");
        ctl_print_rows(c, zones, zone_columns, FB_COUNT_OF(zone_columns));
    }
    json_decref(nodes);
    json_decref(zones);
}

static void print_moves(struct ctl *c, const struct fb_plan *p)
{
    static const struct ctl_column columns[] = {{"PARTITION", "partition", false},
                                                {"ROLE", "role", false},
                                                {"FROM", "from", false},
                                                {"TO", "to", false},
                                                {"OBJECTS", "objects", false},
                                                {"BYTES", "bytes", false},
                                                {"DIRTY BYTES", "dirty_bytes", false},
                                                {"REASON", "reason", false}};
    json_t *rows = json_array();
    for (uint32_t i = 0; i < p->move_count; i++)
        json_array_append_new(rows, move_row(c, p, &p->move[i]));
    ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
}

static void print_plan(struct ctl *c, const struct fb_plan *p)
{
    uint64_t bytes = 0;
    uint32_t made = 0;
    char age[32];

    if (c->format == CTL_JSON || c->format == CTL_JSONL) {
        struct fb_buf text = {0};
        json_t *o;
        fb_plan_encode(&text, p);
        o = json_loadb((const char *)text.p, text.n, 0, NULL);
        ctl_print_object(c, o);
        json_decref(o);
        fb_buf_fini(&text);
        return;
    }
    for (uint32_t i = 0; i < p->move_count; i++) {
        made += p->move[i].to != FB_PLAN_NO_NODE;
        bytes += p->move[i].to != FB_PLAN_NO_NODE ? p->move[i].size.bytes : 0;
    }
    print_moves(c, p);
    if (c->format == CTL_NAME)
        return;
    printf("\n");
    print_balance(c, p);
    printf("\n%u moves, %u copies to make, %llu bytes, about %s at 50MB/s\n", p->move_count, made,
           (unsigned long long)bytes, ctl_age(bytes * 1000 / RATE_BYTES, age));
    if (p->left > 0)
        printf("%u moves more are left out by --max-moves\n", p->left);
}

static int save(const char *path, const struct fb_plan *p)
{
    struct fb_buf text = {0};
    FILE *f = fopen(path, "w");
    bool fine = f != NULL;

    fb_plan_encode(&text, p);
    fine = fine && fwrite(text.p, 1, text.n, f) == text.n;
    fine = (f == NULL || fclose(f) == 0) && fine;
    fb_buf_fini(&text);
    return fine ? 0 : ctl_fail(CTL_FAILED, "%s cannot be written: %s", path, strerror(errno));
}

int ctl_rebalance_plan(struct ctl *c)
{
    struct plan_input *in;
    struct fb_plan *p = NULL;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    in = fb_xcalloc(1, sizeof(*in));
    rc = plan_input_fill(c, in);
    if (rc == 0)
        rc = plan_make(in, &p);
    if (rc == 0 && in->unasked > 0)
        ctl_note(c, "the size of %u partitions is not known: their primaries did not answer",
                 in->unasked);
    if (rc == 0 && c->save != NULL)
        rc = save(c->save, p);
    if (rc == 0)
        print_plan(c, p);
    fb_plan_free(p);
    free(in);
    return rc;
}

int ctl_rebalance_show(struct ctl *c)
{
    struct fb_plan *p = NULL;
    struct fb_err err = {0};
    char *text;
    size_t n;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    text = ctl_read_file(c->args[0], &n);
    if (text == NULL)
        return CTL_FAILED;
    if (fb_plan_decode(fb_bytes(text, n), &p, &err) != FB_OK) {
        rc = ctl_fail(CTL_USAGE, "%s: %s", c->args[0], err.msg);
    } else if (fb_plan_check(p, c->cluster->map, &err) != FB_OK) {
        rc = ctl_fail(CTL_REFUSED, "%s: %s", c->args[0], err.msg);
    } else {
        print_plan(c, p);
    }
    fb_plan_free(p);
    free(text);
    return rc;
}
