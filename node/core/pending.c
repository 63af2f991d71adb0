/* Versions written and not published yet: evaluated on, logged, then published (I11). With one copy
 * that is with their tick, with several when they are committed; a key has then one version for
 * each tick that wrote it. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"
#include "proto/base/probe.h"

#include <stdlib.h>

#define NIL UINT32_MAX

static uint32_t probe(const struct pending_set *s, struct fb_bytes key, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (s->table_cap - 1);
    while (s->table[at] != 0) {
        const struct pending *e = &s->e[s->table[at] - 1];
        if (e->hash == hash && fb_bytes_equal(object_key(e->next), key))
            break;
        at = (at + 1) & (s->table_cap - 1);
    }
    return at;
}

struct pending *pending_find(struct lane *l, struct fb_bytes key, uint64_t hash)
{
    struct pending_set *s = &l->pending;
    uint32_t at;
    if (s->n == 0)
        return NULL;
    at = probe(s, key, hash);
    return s->table[at] == 0 ? NULL : &s->e[s->table[at] - 1];
}

const struct object *newest_object(struct lane *l, struct fb_bytes key, uint64_t hash)
{
    struct pending *e = pending_find(l, key, hash);
    return e != NULL && !FB_MUTANT(eval_published) ? e->next : store_find_own(l->store, key, hash);
}

struct pending *pending_below(struct lane *l, const struct pending *e)
{
    return e->below == NIL ? NULL : &l->pending.e[e->below];
}

static void rehash(struct pending_set *s)
{
    for (uint32_t i = s->n == 0 ? NIL : s->oldest; i != NIL; i = s->e[i].newer)
        s->table[probe(s, object_key(s->e[i].next), s->e[i].hash)] = i + 1; /* newest stays */
}

static void grow(struct pending_set *s)
{
    if (s->free_n == 0 && s->top == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->e = fb_xrealloc(s->e, s->cap * sizeof *s->e);
    }
    if (s->n * 2 >= s->table_cap) {
        free(s->table);
        s->table_cap = s->table_cap ? s->table_cap * 2 : 1024;
        s->table = fb_xcalloc(s->table_cap, sizeof *s->table);
        rehash(s);
    }
}

static void list_out(struct pending_set *s, uint32_t i)
{
    struct pending *e = &s->e[i];
    if (e->older != NIL)
        s->e[e->older].newer = e->newer;
    else
        s->oldest = e->newer;
    if (e->newer != NIL)
        s->e[e->newer].older = e->older;
    else
        s->newest = e->older;
}

static void list_in(struct pending_set *s, uint32_t i)
{
    struct pending *e = &s->e[i];
    e->older = s->n == 0 ? NIL : s->newest;
    e->newer = NIL;
    if (e->older != NIL)
        s->e[e->older].newer = i;
    else
        s->oldest = i;
    s->newest = i;
}

static uint32_t entry_take(struct pending_set *s)
{
    uint32_t i = s->free;

    if (s->free_n == 0)
        return s->top++;
    s->free = s->e[i].newer;
    s->free_n--;
    return i;
}

static void entry_give(struct pending_set *s, uint32_t i)
{
    s->e[i].newer = s->free;
    s->free = i;
    s->free_n++;
}

/* The key has no pending version any more: those behind it in the table move up. */
static void table_out(struct pending_set *s, uint32_t at)
{
    uint32_t mask = s->table_cap - 1, hole = at;

    for (uint32_t i = (at + 1) & mask; s->table[i] != 0; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)s->e[s->table[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            s->table[hole] = s->table[i];
            hole = i;
        }
    }
    s->table[hole] = 0;
}

/* The oldest pending version of its key goes. */
static void take_bottom(struct pending_set *s, uint32_t i)
{
    struct pending *e = &s->e[i];

    fb_assert(e->below == NIL);
    if (e->above != NIL)
        s->e[e->above].below = NIL;
    else
        table_out(s, probe(s, object_key(e->next), e->hash));
    list_out(s, i);
    s->n--;
}

/* The newest version of a key; a version of this tick before it makes room, one of a tick before
 * may still be the one that is committed alone. Takes next. */
static struct pending *pending_put(struct lane *l, struct part *p, struct object *next,
                                   uint64_t hash)
{
    struct pending_set *s = &l->pending;
    struct pending *e = pending_find(l, object_key(next), hash);
    const struct object *old;
    uint32_t i, below = NIL;

    if (e != NULL && e->log_seq == l->fx.log_seq) {
        i = (uint32_t)(e - s->e);
        list_out(s, i);
        object_free(e->next);
        e->next = next;
        list_in(s, i);
        return e;
    }
    if (e != NULL)
        below = (uint32_t)(e - s->e);
    grow(s);
    i = entry_take(s);
    e = &s->e[i];
    *e = (struct pending){
        .hash = hash, .next = next, .log_seq = l->fx.log_seq, .below = below, .above = NIL};
    list_in(s, i);
    s->table[probe(s, object_key(next), hash)] = i + 1;
    s->n++;
    if (p->copy != NULL)
        p->pending_n++, s->copies_n++;
    if (below != NIL) {
        s->e[below].above = i;
        e->extra = s->e[below].extra; /* one object, one extra */
        return e;
    }
    old = store_find_own(l->store, object_key(next), hash);
    e->extra = old != NULL ? slot_extra(p, old) : NULL;
    if (e->extra == NULL)
        e->extra = fb_xcalloc(1, sizeof *e->extra);
    return e;
}

void rewritten_note(struct feed *f, struct object_extra *x, uint32_t slot)
{
    if (x->rewritten)
        return;
    x->rewritten = true;
    if (f->rewritten_n == f->rewritten_cap) {
        f->rewritten_cap = f->rewritten_cap ? f->rewritten_cap * 2 : 16;
        f->rewritten = fb_xrealloc(f->rewritten, f->rewritten_cap * sizeof *f->rewritten);
    }
    f->rewritten[f->rewritten_n++] = slot;
}

uint64_t write_object(struct lane *l, struct part *p, struct object *next, uint64_t hash,
                      uint8_t type, const struct object *cur, uint64_t changed, bool fresh_base)
{
    const struct object *published = store_find_own(l->store, object_key(next), hash);
    uint8_t flags = object_flags(next) | OBJECT_DIRTY,
            old = cur == NULL ? OBJECT_BLIND : object_flags(cur);
    struct object_extra *x;
    struct pending *e;
    struct feed *f;
    struct fb_record r = {.type = type, .kind = next->kind, .ns_len = next->ns_len};

    if (!fresh_base) {
        flags |= old & (OBJECT_HAS_BASE | OBJECT_TOKEN_KNOWN | OBJECT_BLIND);
        atomic_store_explicit(&next->base_xid, cur == NULL ? 0 : object_xid(cur),
                              memory_order_relaxed);
    }
    if (cur != NULL && type == FB_RECORD_EXPIRE)
        r.obj_ver = cur->ver;
    atomic_store_explicit(&next->flags, flags, memory_order_relaxed);
    e = pending_put(l, p, next,
                    hash); /* may free cur when that was pending: not to be used below */
    x = e->extra;
    if (fresh_base)
        x->changed = x->changed_since_feed = 0;
    x->changed |= changed;
    x->changed_since_feed |= changed;
    e->group_last = 0;
    if (x->emitted_ver != 0 && published != NULL && published->slot != SLOT_NONE)
        rewritten_note(feed_get(p, published->ns), x, published->slot);

    r.flags = (flags & OBJECT_HAS_BASE ? FB_RECORD_HAS_BASE : 0) |
              (flags & OBJECT_TOKEN_KNOWN ? FB_RECORD_TOKEN_KNOWN : 0) |
              (flags & OBJECT_BLIND ? FB_RECORD_BLIND : 0);
    r.base_xid = object_xid(next);
    r.changed = x->changed;
    r.expires_ms = object_expires(next);
    r.key = object_key(next);
    r.value = object_value(next);
    log_record(l, p, &r);
    next->ver = r.ver;
    f = feed_find(p, next->ns);
    if (f != NULL && f->waits.head != NULL)
        waits_rewritten(f, hash, r.ver, x->emitted_ver);
    FB_PROBE3(apply, p->id, r.ver, type);
    e->changed_at_ms = r.ptime_ms;
    STAT_ADD(l, sync_enqueued, 1);
    if (published != NULL && (object_flags(published) & OBJECT_DIRTY))
        STAT_ADD(l, sync_coalesced, 1);
    return r.ver;
}

static void publish(struct lane *l, struct part *p, struct pending *e)
{
    struct object_extra *x = e->extra;
    struct feed *f = feed_get(p, e->next->ns);
    bool was_empty = f->dirty.count == 0;

    fb_assert(e->next->ver <= p->last_ver);
    x->group_last = e->group_last;
    x->changed_at_ms = e->changed_at_ms;
    free(x->park); /* of the version before */
    x->park = NULL;
    part_install(l, p, e->next, x, e->hash);
    if (was_empty || !f->announced)
        f->announced = false;
}

static void reset(struct pending_set *s)
{
    s->n = s->top = s->free_n = 0;
    memset(s->table, 0, s->table_cap * sizeof *s->table);
    if (s->table_cap > 65536) { /* a huge transaction must not slow every later tick */
        free(s->table);
        s->table = NULL;
        s->table_cap = 0;
    }
}

uint32_t pending_publish(struct lane *l)
{
    struct pending_set *s = &l->pending;
    uint32_t published = 0, next;

    if (s->n == 0)
        return 0;
    if (s->copies_n == 0) {
        for (uint32_t i = s->oldest; i != NIL; i = s->e[i].newer)
            publish(l, l->parts[s->e[i].next->part], &s->e[i]);
        published = s->n;
        reset(s);
        return published;
    }
    for (uint32_t i = s->oldest; i != NIL; i = next) {
        struct pending *e = &s->e[i];
        struct part *p = l->parts[e->next->part];
        next = e->newer;
        if (p->copy != NULL && e->next->ver > p->tail.ver)
            continue;
        take_bottom(s, i);
        publish(l, p, e);
        entry_give(s, i);
        published++;
        if (p->copy != NULL)
            p->pending_n--, s->copies_n--;
    }
    if (s->n == 0)
        reset(s);
    return published;
}

void pending_drop(struct lane *l, struct part *p)
{
    struct pending_set *s = &l->pending;
    uint32_t next;

    for (uint32_t i = s->n == 0 ? NIL : s->oldest; i != NIL; i = next) {
        struct pending *e = &s->e[i];
        next = e->newer;
        if (e->next->part != p->id)
            continue;
        take_bottom(s, i);
        if (e->above == NIL) {
            const struct object *old = store_find_own(l->store, object_key(e->next), e->hash);
            if (old == NULL || slot_extra(p, old) != e->extra)
                extra_free(e->extra);
        }
        object_free(e->next);
        entry_give(s, i);
        p->pending_n--, s->copies_n--;
    }
    if (s->n == 0 && s->table != NULL)
        reset(s);
}

void pending_fini(struct lane *l)
{
    struct pending_set *s = &l->pending;

    for (uint32_t i = s->n == 0 ? NIL : s->oldest; i != NIL; i = s->e[i].newer) {
        struct pending *e = &s->e[i];
        const struct object *old = store_find_own(l->store, object_key(e->next), e->hash);
        if (e->above == NIL && (old == NULL || slot_extra(l->parts[old->part], old) != e->extra))
            extra_free(e->extra);
    }
    for (uint32_t i = s->n == 0 ? NIL : s->oldest; i != NIL; i = s->e[i].newer)
        object_free(s->e[i].next);
    free(s->e);
    free(s->table);
}
