/* What waits to be told in forebay.*: which objects have a dead letter in PostgreSQL, so that a
 * later version that is synced takes the letter away; and how conflicts were resolved. */
#include "proto/base/hash.h"
#include "sync/core/state.h"

#include <stdio.h>
#include <stdlib.h>

#define RECENT_MS 60000u

static struct sync_dead **bucket_of(struct sync_core *s, const char *ns, struct fb_bytes id)
{
    return &s->dead[fb_hash64(id.p, id.n, fb_hash64(ns, strlen(ns), 0)) % DEAD_BUCKETS];
}

static struct sync_dead **find(struct sync_core *s, const char *ns, struct fb_bytes id)
{
    struct sync_dead **at = bucket_of(s, ns, id);

    while (*at != NULL &&
           !(strcmp((*at)->ns, ns) == 0 && fb_bytes_equal(fb_bytes((*at)->id, (*at)->id_n), id)))
        at = &(*at)->next;
    return at;
}

static void put(struct sync_core *s, const char *ns, struct fb_bytes id, uint64_t ver,
                uint64_t added_ms)
{
    struct sync_dead **at, *d;

    if (id.n > FB_KEY_BYTES_MAX)
        return;
    at = find(s, ns, id);
    if (*at != NULL) {
        (*at)->ver = ver > (*at)->ver ? ver : (*at)->ver;
        (*at)->added_ms = added_ms > (*at)->added_ms ? added_ms : (*at)->added_ms;
        return;
    }
    d = fb_xcalloc(1, sizeof(*d));
    (void)snprintf(d->ns, sizeof(d->ns), "%s", ns);
    d->ver = ver;
    d->added_ms = added_ms;
    d->id_n = (uint16_t)id.n;
    memcpy(d->id, id.p, id.n);
    *at = d;
    s->stats.dead_letters++;
}

void sync_dead_put(struct sync_core *s, const char *ns, struct fb_bytes id, uint64_t ver)
{
    put(s, ns, id, ver, s->now);
}

void sync_dead_superseded(struct sync_core *s, struct feed *f, size_t first, size_t n)
{
    for (size_t i = first; i < first + n && s->stats.dead_letters > 0; i++) {
        const struct fb_feed_object *o = &f->objects[i];
        struct sync_dead **at = find(s, f->ns->name, o->id), *d = *at;
        if (d == NULL || (o->flags & FB_OBJECT_PARKED) != 0 || o->ver < d->ver)
            continue;
        *at = d->next;
        d->ver = o->ver;
        d->next = s->lanes[f->lane].clear;
        s->lanes[f->lane].clear = d;
        s->stats.dead_letters--;
    }
}

void sync_dead_free(struct sync_core *s)
{
    for (size_t i = 0; i < DEAD_BUCKETS; i++)
        while (s->dead[i] != NULL) {
            struct sync_dead *d = s->dead[i];
            s->dead[i] = d->next;
            free(d);
        }
    s->stats.dead_letters = 0;
}

void sync_core_dead_begin(struct sync_core *s)
{
    for (size_t i = 0; i < DEAD_BUCKETS; i++)
        for (struct sync_dead **at = &s->dead[i]; *at != NULL;) {
            struct sync_dead *d = *at;
            if (d->added_ms != 0 && s->now < d->added_ms + RECENT_MS) {
                at = &d->next;
                continue;
            }
            *at = d->next;
            free(d);
            s->stats.dead_letters--;
        }
}

void sync_core_dead_add(struct sync_core *s, const char *ns, struct fb_bytes id, uint64_t ver)
{
    put(s, ns, id, ver, 0);
}

void sync_dead_chain_free(struct sync_dead *d)
{
    while (d != NULL) {
        struct sync_dead *next = d->next;
        free(d);
        d = next;
    }
}

void sync_conflict_resolved(struct sync_core *s, struct feed *f, uint64_t number, uint8_t outcome)
{
    uint64_t k = number - f->verdict_first;
    const struct fb_feed_object *o;
    struct sync_lane *l = &s->lanes[f->lane];
    struct sync_dead *d;

    fb_assert(f->first + f->verdict_object[k] < f->count);
    o = &f->objects[f->first + f->verdict_object[k]];
    if (f->ns->cfg != NULL)
        s->stats.resolved[f->ns->cfg->conflict][outcome]++;
    if (l->resolved_count == RESOLVED_MAX)
        return; /* they stay open in the log */
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
    struct sync_dead **end = &op->clear;

    if (op->class == PG_OUTAGE || op->class == PG_UNKNOWN) {
        while (*end != NULL) {
            end = &(*end)->next;
            l->resolved_count++;
        }
        *end = l->resolved;
        l->resolved = op->clear;
        sync_lane_outage(s, op->lane, op->err.remark);
    } else {
        sync_dead_chain_free(op->clear);
    }
    op->clear = NULL;
}
