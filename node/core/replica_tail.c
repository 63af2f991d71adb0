/* The newest records of a lane, kept to be sent: one ring, chained by partition. */
#include "node/core/replica_impl.h"

#include <stdlib.h>

#define FILLER UINT32_MAX
#define FIRST_BYTES ((size_t)64 << 10)
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

void tail_init(struct tail *t, size_t max, uint32_t partitions)
{
    fb_assert(max >= 4096 && (max & (max - 1)) == 0);
    t->max = max;
    t->cap = 0;
    t->p = NULL;
    t->head = t->end = max; /* no place is 0 */
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
    size_t n = e->n == FILLER ? (size_t)e->ver : entry_bytes(e->n);

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

/* Twice as large. Every place is where it was in its half of the ring, so that what lay in one
 * piece still does. */
static void grow(struct tail *t)
{
    size_t cap = t->cap == 0 ? (t->max < FIRST_BYTES ? t->max : FIRST_BYTES) : t->cap * 2;
    uint8_t *p = fb_xmalloc(cap);

    for (uint64_t at = t->head; at < t->end;) {
        size_t from = at & (t->cap - 1), n = t->cap - from;
        if (n > t->end - at)
            n = (size_t)(t->end - at);
        memcpy(p + (at & (cap - 1)), t->p + from, n);
        at += n;
    }
    free(t->p);
    t->p = p;
    t->cap = cap;
}

/* What has to be left out up to the ring's end, for n bytes in one piece. */
static size_t filler(const struct tail *t, size_t n)
{
    size_t left = t->cap - (t->end & (t->cap - 1));
    return n > left ? left : 0;
}

/* Place for n bytes in one piece. */
static uint64_t make_room(struct tail *t, size_t n)
{
    size_t left_out;

    while (t->cap == 0 || t->cap - (size_t)(t->end - t->head) < n + filler(t, n))
        if (t->cap < t->max)
            grow(t);
        else
            drop_oldest(t);
    left_out = filler(t, n);
    if (left_out > 0) {
        struct tail_entry *e = (struct tail_entry *)(void *)(t->p + (t->end & (t->cap - 1)));
        t->end += left_out;
        *e = (struct tail_entry){.n = FILLER, .ver = left_out, .part = FB_PART_NONE};
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

    if (n > t->max / 2) { /* whoever needs it is filled by a copy */
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
