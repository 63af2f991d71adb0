/* How conflicts were resolved, on its way to forebay.conflict_log. */
#include "sync/core/state.h"

#include <stdio.h>
#include <stdlib.h>

void sync_resolved_free(struct sync_resolved *r)
{
    while (r != NULL) {
        struct sync_resolved *next = r->next;
        free(r);
        r = next;
    }
}

void sync_conflict_resolved(struct sync_core *s, struct feed *f, uint64_t number, uint8_t outcome)
{
    uint64_t k = number - f->verdict_first;
    const struct fb_feed_object *o;
    struct sync_lane *l = &s->lanes[f->lane];
    struct sync_resolved *d;

    fb_assert(f->first + f->verdict_object[k] < f->count);
    o = &f->objects[f->first + f->verdict_object[k]];
    if (f->ns->cfg != NULL)
        s->stats.resolved[f->ns->cfg->conflict][outcome]++;
    if (l->resolved_count == RESOLVED_MAX)
        return; /* the log says that it was not heard how */
    d = fb_xcalloc(1, sizeof(*d));
    (void)snprintf(d->ns, sizeof(d->ns), "%s", f->ns->name);
    d->ver = o->ver;
    d->outcome = outcome;
    d->id_n = (uint16_t)o->id.n;
    memcpy(d->id, o->id.p, o->id.n);
    d->next = l->resolved;
    l->resolved = d;
    l->resolved_count++;
}

/* Without an answer they are written again, which changes nothing where it was done. */
void sync_conflict_done(struct sync_core *s, struct sync_op *op)
{
    struct sync_lane *l = &s->lanes[op->lane];
    struct sync_resolved **end = &op->resolved;

    if (op->class == PG_OUTAGE || op->class == PG_UNKNOWN) {
        while (*end != NULL) {
            end = &(*end)->next;
            l->resolved_count++;
        }
        *end = l->resolved;
        l->resolved = op->resolved;
        sync_lane_outage(s, op->lane, op->err.remark);
    } else {
        sync_resolved_free(op->resolved);
    }
    op->resolved = NULL;
}
