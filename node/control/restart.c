/* Restart of the only member of a set. */
#include "node/control/restart.h"

#include "proto/base/mutant.h"

enum fb_status control_restart(const struct fb_map *map, const struct fb_member *me,
                               const uint32_t *last_epoch, struct control_step *steps,
                               uint32_t *count, struct fb_err *err)
{
    /* a restart is a new member (I17), and it is the last set */
    const struct fb_record_event ev = {.kind = FB_REC_LAST_SET, .member = *me};

    *count = 0;
    for (uint32_t p = 0; p < map->partitions; p++) {
        const struct fb_part_record *rec = &map->parts[p];
        struct control_step *step = &steps[*count];
        enum fb_status s;

        if (rec->epoch == 0 || strcmp(rec->primary.node, me->node) != 0)
            continue;
        if (rec->epoch < last_epoch[p] && !FB_MUTANT(restored_followed))
            return fb_err_set(err, FB_ESTALE,
                              "partition %u: the coordinator says epoch %u but this node's log has "
                              "epoch %u: the coordinator was restored or this data directory "
                              "belongs to another time; nothing was changed",
                              p, rec->epoch, last_epoch[p]);
        /* Others of a set may have more than this node, which only promotion and the recovery of
         * the whole set can tell. */
        if (rec->primary.inc == me->inc || rec->isr_count > 1)
            continue;
        *step =
            (struct control_step){.part = (uint16_t)p, .kind = ev.kind, .rev = map->part_revs[p]};
        s = fb_record_next(rec, &ev, &step->next, err);
        if (s != FB_OK)
            return s;
        (*count)++;
    }
    return FB_OK;
}
