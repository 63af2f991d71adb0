/* Who leads in the place of a node that is to stop (leave.h). */
#include "node/control/leave.h"

/* Another node that runs and stays. */
static const struct fb_member_info *other(const struct fb_map *map, const struct fb_member *me,
                                          const char *node)
{
    const struct fb_member_info *m = fb_map_member(map, FB_MEMBER_NODE, node);

    return m != NULL && m->alive && !m->leaving && strcmp(node, me->node) != 0 ? m : NULL;
}

static uint32_t led(const struct fb_map *map, const struct control_leave *out, const char *node)
{
    uint32_t n = 0;

    for (uint32_t p = 0; p < map->partitions; p++)
        n += strcmp(map->parts[p].primary.node, node) == 0 ||
             strcmp(map->parts[p].successor, node) == 0;
    for (uint32_t i = 0; i < out->count; i++)
        n += strcmp(out->steps[i].next.successor, node) == 0;
    return n;
}

static bool filling(const struct fb_map *map, const struct fb_member *me,
                    const struct fb_part_record *rec)
{
    for (uint32_t i = 0; i < rec->learner_count; i++)
        if (other(map, me, rec->learners[i]) != NULL)
            return true;
    return false;
}

static void hand_over(const struct fb_map *map, const struct fb_member *me, uint16_t part,
                      struct control_leave *out)
{
    const struct fb_part_record *rec = &map->parts[part];
    struct control_step *step = &out->steps[out->count];
    struct fb_record_event ev = {.kind = FB_REC_HAND_OVER};
    uint32_t least = UINT32_MAX;
    struct fb_err err;

    for (uint32_t i = 0; i < rec->isr_count; i++) {
        const struct fb_member_info *m = other(map, me, rec->isr[i].node);
        uint32_t has;
        if (m == NULL || m->inc != rec->isr[i].inc)
            continue;
        if (strcmp(rec->successor, m->name) == 0) {
            out->handing++;
            return;
        }
        has = led(map, out, m->name);
        if (has < least) {
            least = has;
            ev.member = rec->isr[i];
        }
    }
    *step = (struct control_step){.part = part, .kind = ev.kind, .rev = map->part_revs[part]};
    if (least != UINT32_MAX && fb_record_next(rec, &ev, &step->next, &err) == FB_OK)
        out->count++;
    else if (filling(map, me, rec))
        out->filling++;
    else
        out->alone++;
}

void control_leave(const struct fb_map *map, const struct fb_member *me, struct control_leave *out)
{
    *out = (struct control_leave){.steps = out->steps};
    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        if (rec->epoch == 0)
            continue;
        if (fb_member_same(&rec->primary, me))
            hand_over(map, me, (uint16_t)p, out);
        else if (fb_part_record_has(rec, me) && other(map, me, rec->primary.node) != NULL)
            out->member++;
    }
}
