/* After a takeover every feed's checkpoint is looked at once, also when nothing waits: an old copy
 * of a data directory must be noticed before it is believed, and it may have nothing to write. */
#include "node/core/lane_impl.h"

/* More notes than this at once would be a burst of its own; feeds then are looked at with their
 * next change. */
#define VERIFY_NOTES_MAX 65536u

void feeds_verify(struct lane *l, struct part *p)
{
    if ((uint64_t)l->ns_n * l->config.partitions > VERIFY_NOTES_MAX)
        return;
    for (uint16_t i = 0; i < l->ns_n; i++) {
        struct feed *f;
        if (l->ns[i].conf == NULL)
            continue;
        f = feed_get(p, i);
        if (f->verified_epoch == p->epoch || f->dirty.count > 0)
            continue;
        feed_note_empty(l, p, f);
    }
}
