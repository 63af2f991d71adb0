/* First placement and restart of a node's own partitions. */
#include "node/control/assign.h"

#include "proto/cluster/placement.h"

#include <stdio.h>
#include <stdlib.h>

static enum fb_status own_partition(const struct fb_map *map, uint16_t p,
                                    const struct assign_self *self, uint32_t last_epoch,
                                    struct assign_step *step, struct fb_err *err)
{
    const struct fb_part_record *rec = &map->parts[p];
    struct fb_record_event ev = {.kind = FB_REC_LAST_SET};

    if (rec->epoch < last_epoch)
        return fb_err_set(
            err, FB_ESTALE,
            "partition %u: the coordinator says epoch %u but this node's log has epoch %u: the "
            "coordinator "
            "was restored or this data directory belongs to another time; nothing was changed",
            p, rec->epoch, last_epoch);
    step->part = p;
    if (rec->primary.inc == self->inc) {
        step->action = ASSIGN_SERVE;
        step->next = *rec;
        return FB_OK;
    }
    /* Others of the set may have more than this node, which only promotion and the recovery of the
     * whole set can tell. */
    if (rec->isr_count > 1) {
        step->action = ASSIGN_CLOSE;
        return FB_OK;
    }
    /* A restart is a new member (I17), and it is the last set. */
    snprintf(ev.member.node, sizeof(ev.member.node), "%s", self->node);
    ev.member.inc = self->inc;
    step->action = ASSIGN_CAS;
    step->rev = map->part_revs[p];
    return fb_record_next(rec, &ev, &step->next, err);
}

/* Only the first of the live nodes places, so that several rarely compete; the compare-and-swap
 * keeps it right anyway. */
static bool is_first_alive(const struct fb_map *map, const char *self)
{
    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind == FB_MEMBER_NODE && m->alive)
            return strcmp(m->name, self) == 0;
    }
    return false;
}

static enum fb_status first_placement(const struct fb_map *map, const struct assign_self *self,
                                      struct assign_step *steps, uint32_t *count,
                                      struct fb_err *err)
{
    struct fb_place_node nodes[FB_NODES_MAX];
    const struct fb_member_info *info[FB_NODES_MAX];
    struct fb_placement *place;
    uint32_t n = 0;
    enum fb_status s;

    for (uint32_t i = 0; i < map->member_count && n < FB_NODES_MAX; i++) {
        const struct fb_member_info *m = &map->members[i];
        if (m->kind != FB_MEMBER_NODE || !m->alive)
            continue;
        snprintf(nodes[n].name, sizeof(nodes[n].name), "%s", m->name);
        snprintf(nodes[n].zone, sizeof(nodes[n].zone), "%s", m->zone);
        nodes[n].weight = m->weight ? m->weight : 100;
        info[n++] = m;
    }
    if (n == 0)
        return FB_OK;
    place = fb_try_malloc(sizeof(*place));
    if (place == NULL)
        return fb_err_set(err, FB_ENOMEM, "no memory to place the partitions; trying again");
    s = fb_place(nodes, n, map->partitions, 1, map->hash_seed, place, err);
    for (uint32_t p = 0; s == FB_OK && p < map->partitions; p++) {
        struct fb_record_event ev = {.kind = FB_REC_ASSIGN, .min_isr = 1};
        struct assign_step *step = &steps[*count];
        const struct fb_member_info *m;
        if (map->parts[p].epoch != 0)
            continue;
        m = info[place->node[p][0]];
        memcpy(ev.member.node, m->name, sizeof(ev.member.node));
        ev.member.inc = m->inc;
        *step = (struct assign_step){
            .part = (uint16_t)p, .action = ASSIGN_CAS, .rev = map->part_revs[p]};
        s = fb_record_next(&map->parts[p], &ev, &step->next, err);
        if (s == FB_OK)
            (*count)++;
    }
    free(place);
    (void)self;
    return s;
}

enum fb_status assign_plan(const struct fb_map *map, const struct assign_self *self,
                           const uint32_t *last_epoch, struct assign_step *steps, uint32_t *count,
                           struct fb_err *err)
{
    uint32_t unplaced = 0;

    *count = 0;
    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        struct assign_step *step = &steps[*count];
        *step = (struct assign_step){.part = (uint16_t)p};
        if (rec->epoch == 0) {
            unplaced++;
            continue;
        }
        if (strcmp(rec->primary.node, self->node) == 0) {
            enum fb_status s = own_partition(map, (uint16_t)p, self, last_epoch[p], step, err);
            if (s != FB_OK)
                return s;
        } else {
            step->action = ASSIGN_CLOSE;
        }
        (*count)++;
    }
    if (unplaced > 0 && self->settled && is_first_alive(map, self->node))
        return first_placement(map, self, steps, count, err);
    return FB_OK;
}
