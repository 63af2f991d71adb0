/* The newest records of a lane, kept to be sent: one ring, chained by partition. */
#include "node/core/replica_impl.h"

#include <stdlib.h>

#define FILLER UINT32_MAX
#define UNIT sizeof(struct tail_entry)
_Static_assert(UNIT == 32, "what is left at the ring's end has room for a filler");

static struct tail_entry *entry(const struct tail *t, uint64_t at)
{
    fb_assert(at >= t->head && at < t->end);
    return (struct tail_entry *)(void *)(t->p + (at & (t->cap - 1)));
}

static size_t entry_bytes(uint32_t n)
{
    return UNIT + (((size_t)n + UNIT - 1) & ~(UNIT - 1));
}

void tail_init(struct tail *t, size_t cap, uint32_t partitions)
{
    fb_assert(cap >= 4096 && (cap & (cap - 1)) == 0);
    t->cap = cap;
    t->p = fb_xmalloc(cap);
    t->head = t->end = cap; /* no place is 0 */
    t->parts = fb_xcalloc(partitions, sizeof *t->parts);
}

void tail_fini(struct tail *t)
{
    free(t->p);
    free(t->parts);
}

static void drop_oldest(struct tail *t)
{
    struct tail_entry *e = entry(t, t->head);
    size_t n = e->n == FILLER ? t->cap - (t->head & (t->cap - 1)) : entry_bytes(e->n);

    if (e->n != FILLER && e->part != FB_PART_NONE) {
        struct tail_part *p = &t->parts[e->part];
        fb_assert(p->first == t->head);
        p->first = e->next;
        if (p->first == 0)
            p->last = 0;
    }
    t->head += n;
    fb_assert(t->head <= t->end);
}

/* Place for n bytes in one piece. */
static uint64_t make_room(struct tail *t, size_t n)
{
    size_t left = t->cap - (t->end & (t->cap - 1));
    size_t filler = n > left ? left : 0;

    while (t->cap - (size_t)(t->end - t->head) < n + filler)
        drop_oldest(t);
    if (filler > 0) {
        struct tail_entry *e = (struct tail_entry *)(void *)(t->p + (t->end & (t->cap - 1)));
        t->end += filler;
        *e = (struct tail_entry){.n = FILLER, .part = FB_PART_NONE};
    }
    t->end += n;
    return t->end - n;
}

/* Forget what is kept of a partition. */
static void forget(struct tail *t, uint16_t part)
{
    for (uint64_t at = t->parts[part].first; at != 0;) {
        struct tail_entry *e = entry(t, at);
        at = e->next;
        e->part = FB_PART_NONE;
    }
    t->parts[part] = (struct tail_part){0, 0};
}

void tail_put(struct tail *t, uint16_t part, uint64_t ver, uint64_t prev, struct fb_bytes record)
{
    size_t n = entry_bytes((uint32_t)record.n);
    struct tail_part *p = &t->parts[part];
    struct tail_entry *e;
    uint64_t at;

    if (n > t->cap / 2) { /* whoever needs it is filled by a copy */
        forget(t, part);
        return;
    }
    at = make_room(t, n);
    e = entry(t, at);
    *e = (struct tail_entry){.ver = ver, .prev = prev, .n = (uint32_t)record.n, .part = part};
    memcpy(e + 1, record.p, record.n);
    if (p->last != 0) {
        fb_assert(entry(t, p->last)->ver == prev);
        entry(t, p->last)->next = at;
    } else {
        p->first = at;
    }
    p->last = at;
}

void tail_cut(struct tail *t, uint16_t part, uint64_t ver)
{
    struct tail_part *p = &t->parts[part];
    uint64_t keep = 0;

    for (uint64_t at = p->first; at != 0;) {
        struct tail_entry *e = entry(t, at);
        uint64_t next = e->next;
        if (e->ver <= ver)
            keep = at;
        else
            e->part = FB_PART_NONE;
        at = next;
    }
    p->last = keep;
    if (keep == 0)
        p->first = 0;
    else
        entry(t, keep)->next = 0;
}

const struct tail_entry *tail_after(const struct tail *t, uint16_t part, uint64_t ver, uint64_t *at)
{
    const struct tail_part *p = &t->parts[part];
    const struct tail_entry *e;
    uint64_t next = p->first;

    if (p->last == 0 || entry(t, p->last)->ver == ver)
        return NULL;
    if (*at >= t->head && *at < t->end && entry(t, *at)->part == part && entry(t, *at)->ver == ver)
        next = entry(t, *at)->next;
    while (next != 0) {
        e = entry(t, next);
        if (e->prev == ver) {
            *at = next;
            return e;
        }
        next = e->next;
    }
    return NULL;
}
