/* partition map: the placement as a picture. */
#include "tools/ctl/ctl.h"

#include <ctype.h>
#include <stdio.h>

#define ROW_CELLS 64u

static const int colors[] = {41, 42, 43, 44, 45, 46, 101, 102, 103, 104, 105, 106};

/* Nodes have letters in the order of their names; beyond z there is no other. */
static char letter_of(uint32_t node)
{
    return node < 26 ? (char)('A' + node) : '?';
}

static void print_cell(const struct ctl *c, int node, bool runs)
{
    char letter = node < 0 ? '.' : letter_of((uint32_t)node);
    if (node >= 0 && !runs)
        letter = (char)tolower((unsigned char)letter);
    if (c->color && node >= 0)
        printf("\033[30;%dm%c\033[0m", colors[(size_t)node % FB_COUNT_OF(colors)], letter);
    else
        putchar(letter);
}

static int node_index(const struct fb_map *map, const char *name, bool *runs)
{
    int at = 0;
    for (uint32_t i = 0; i < map->member_count; i++) {
        if (map->members[i].kind != FB_MEMBER_NODE)
            continue;
        *runs = map->members[i].alive;
        if (strcmp(map->members[i].name, name) == 0)
            return at;
        at++;
    }
    return -1;
}

static void print_picture(struct ctl *c, const struct fb_map *map)
{
    int at = 0;
    for (uint32_t i = 0; i < map->partitions; i++) {
        bool runs = false;
        int node = node_index(map, map->parts[i].primary.node, &runs);
        if (i % ROW_CELLS == 0)
            printf("%s%5u  ", i > 0 ? "\n" : "", i);
        print_cell(c, node, runs);
    }
    printf("\n\n");
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        uint32_t primaries = 0, copies = 0;
        if (m->kind != FB_MEMBER_NODE)
            continue;
        for (uint32_t p = 0; p < map->partitions; p++) {
            primaries += strcmp(map->parts[p].primary.node, m->name) == 0;
            for (uint32_t k = 0; k < map->parts[p].isr_count; k++)
                copies += strcmp(map->parts[p].isr[k].node, m->name) == 0;
        }
        printf("    ");
        print_cell(c, at++, m->alive);
        printf("  %s%s%s: leads %u, copies %u%s\n", m->name, m->zone[0] ? " in " : "", m->zone,
               primaries, copies, m->alive ? "" : ", down");
    }
}

int ctl_partition_map(struct ctl *c)
{
    const struct fb_map *map;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    map = c->cluster->map;
    if (c->format == CTL_TABLE || c->format == CTL_WIDE) {
        print_picture(c, map);
    } else {
        static const struct ctl_column columns[] = {{"PARTITION", "partition", false}};
        json_t *rows = json_array();
        for (uint32_t i = 0; i < map->partitions; i++) {
            const struct fb_part_record *r = &map->parts[i];
            json_t *in_sync = json_array(), *learners = json_array();
            for (uint32_t k = 0; k < r->isr_count; k++)
                json_array_append_new(in_sync, json_string(r->isr[k].node));
            for (uint32_t k = 0; k < r->learner_count; k++)
                json_array_append_new(learners, json_string(r->learners[k]));
            json_array_append_new(rows, json_pack("{s:i, s:s, s:o, s:o}", "partition", (int)i,
                                                  "primary", r->primary.node, "in_sync", in_sync,
                                                  "learners", learners));
        }
        ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
        json_decref(rows);
    }
    return CTL_OK;
}
