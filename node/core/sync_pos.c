/* The checkpoint moved: SYNCED record, objects become clean, tombstones go, newer versions get a
 * base. */
#include "node/core/lane_impl.h"
#include "proto/base/mutant.h"

#include <stdlib.h>

static void set_base(struct object *o, bool exists, uint64_t xid)
{
    uint8_t flags =
        object_flags(o) & (uint8_t) ~(OBJECT_HAS_BASE | OBJECT_TOKEN_KNOWN | OBJECT_BLIND);
    if (exists)
        flags |= OBJECT_HAS_BASE | (xid != 0 ? OBJECT_TOKEN_KNOWN : 0);
    atomic_store_explicit(&o->base_xid, exists ? (uint32_t)xid : 0, memory_order_relaxed);
    atomic_store_explicit(&o->flags, flags, memory_order_relaxed);
}

/* `o` is newer than what was synced: it keeps only the columns changed since, on the row as it was
 * synced. */
static void rebase(struct lane *l, struct part *p, struct object *o, struct object_extra *x,
                   bool exists, uint64_t xid)
{
    struct fb_record r = {
        .type = FB_RECORD_REFRESH, .kind = FB_KIND_NONE, .ns_len = o->ns_len, .obj_ver = o->ver};

    set_base(o, exists, xid);
    x->changed = x->changed_since_feed;
    x->emitted_ver = x->maybe_first = x->maybe_last = 0;
    x->maybe_gone = false;
    if (!(object_flags(o) & OBJECT_MAPPED))
        return; /* forebay.objects is written by upsert: the base does not matter, nor does a record
                   of it */
    r.flags = (exists ? FB_RECORD_HAS_BASE : 0) | (exists && xid != 0 ? FB_RECORD_TOKEN_KNOWN : 0);
    r.base_xid = object_xid(o);
    r.changed = x->changed;
    r.key = object_key(o);
    log_record(l, p, &r);
}

void maybe_applied(struct object_extra *x, uint64_t ver, uint8_t kind)
{
    if (x->maybe_first == 0 || ver < x->maybe_first)
        x->maybe_first = ver;
    if (ver > x->maybe_last)
        x->maybe_last = ver;
    x->maybe_gone = x->maybe_gone || kind == FB_KIND_NONE;
}

static void unknown_base(struct object *o, const struct object_extra *x)
{
    uint8_t flags = object_flags(o) & (uint8_t) ~(OBJECT_TOKEN_KNOWN | OBJECT_BLIND);
    if (!(flags & OBJECT_HAS_BASE) || x->maybe_gone)
        flags = (flags & (uint8_t)~OBJECT_HAS_BASE) | OBJECT_BLIND;
    atomic_store_explicit(&o->base_xid, 0, memory_order_relaxed);
    atomic_store_explicit(&o->flags, flags, memory_order_relaxed);
}

void base_forget(struct lane *l, struct part *p, struct object *o, struct object_extra *x)
{
    struct pending *e = pending_find(l, object_key(o), object_hash(object_key(o)));
    const struct object *newest = e != NULL ? e->next : o;
    struct fb_record r = {.type = FB_RECORD_REFRESH,
                          .kind = FB_KIND_NONE,
                          .ns_len = o->ns_len,
                          .obj_ver = newest->ver};

    unknown_base(o, x);
    for (; e != NULL; e = pending_below(l, e))
        unknown_base(e->next, x);
    x->maybe_first = x->maybe_last = 0;
    x->maybe_gone = false;
    if (!(object_flags(newest) & OBJECT_MAPPED))
        return; /* as in rebase */
    r.flags = (uint8_t)((object_flags(newest) & OBJECT_HAS_BASE ? FB_RECORD_HAS_BASE : 0) |
                        (object_flags(newest) & OBJECT_BLIND ? FB_RECORD_BLIND : 0));
    r.changed = x->changed;
    r.key = object_key(newest);
    log_record(l, p, &r);
}

/* The checkpoint moved from `was` past a version that may have been applied by somebody who did not
 * say so. */
static void forget_passed(struct lane *l, struct part *p, const struct feed *f, uint64_t was,
                          struct object *o, struct object_extra *x)
{
    const struct pending *e = pending_find(l, object_key(o), object_hash(object_key(o)));
    bool passed = x->maybe_first != 0 && x->maybe_first <= f->ckpt && x->maybe_last > was;
    bool exact = x->emitted_ver != 0 && x->emitted_ver <= f->ckpt;

    if (passed && !exact && (e != NULL ? e->next->ver : o->ver) > f->ckpt)
        base_forget(l, p, o, x);
}

static void rewritten_apply(struct lane *l, struct part *p, struct feed *f, uint64_t was,
                            uint64_t xid)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->rewritten_n; i++) {
        uint32_t slot = f->rewritten[i];
        struct object *o = slab_object(p->sp, slot);
        struct object_extra *x = o == NULL ? NULL : slab_slot(p->sp, slot)->extra;
        struct pending *e;
        if (x == NULL || !x->rewritten || o->ns != f->nsid)
            continue;
        if (x->emitted_ver == 0 || x->emitted_ver > f->ckpt) {
            forget_passed(l, p, f, was, o, x);
            x->rewritten = x->emitted_ver > f->ckpt || x->maybe_last > f->ckpt;
            if (x->rewritten)
                f->rewritten[kept++] = slot;
            continue;
        }
        x->rewritten = false;
        e = pending_find(l, object_key(o), object_hash(object_key(o)));
        if (e == NULL && o->ver <= f->ckpt) {
            x->emitted_ver = 0;
            continue;
        }
        if (o->ver > f->ckpt)
            set_base(o, x->emitted_kind != FB_KIND_NONE, xid);
        for (const struct pending *b = e == NULL ? NULL : pending_below(l, e); b != NULL;
             b = pending_below(l, b))
            set_base(b->next, x->emitted_kind != FB_KIND_NONE, xid);
        rebase(l, p, e != NULL ? e->next : o, x, x->emitted_kind != FB_KIND_NONE, xid);
    }
    f->rewritten_n = kept;
}

/* I28: a tombstone goes when PostgreSQL cannot lose it any more, and purge_ver follows. */
static void bury(struct lane *l, struct part *p, struct feed *f, struct object *o)
{
    fb_assert(o->kind == FB_KIND_NONE && o->ver <= f->dsafe);
    feed_purged(f, o->ver);
    if (o->ver > f->gone_ver)
        f->gone_ver = o->ver;
    part_remove(l, p, o);
}

static void graves_apply(struct lane *l, struct part *p, struct feed *f, bool live)
{
    uint32_t i, next;

    for (i = f->graves.head; i != SLOT_NONE; i = next) {
        struct object *o = slab_object(p->sp, i);
        next = slab_slot(p->sp, i)->next;
        if (o->ver > f->dsafe)
            break;
        if (!live || pending_find(l, object_key(o), object_hash(object_key(o))) == NULL)
            bury(l, p, f, o);
    }
}

void synced_apply(struct lane *l, struct part *p, struct feed *f, uint64_t was, uint64_t xid,
                  bool live)
{
    uint32_t i, next;

    for (i = f->dirty.head; i != SLOT_NONE; i = next) {
        struct object *o = slab_object(p->sp, i);
        next = slab_slot(p->sp, i)->next;
        if (o->ver > f->ckpt && !FB_MUTANT(synced_newer))
            break;
        if (live && pending_find(l, object_key(o), object_hash(object_key(o))) != NULL)
            continue; /* its newer version takes the place in the list with this tick */
        if (object_flags(o) & OBJECT_PARKED) {
            feed_list_move(p, f, o, LIST_PARKED);
        } else if (o->kind != FB_KIND_NONE) {
            set_base(o, true, xid);
            part_clean(l, p, o);
        } else if (o->ver <= f->dsafe) {
            bury(l, p, f, o);
        } else {
            set_base(o, false, 0);
            feed_list_move(p, f, o, LIST_GRAVES);
        }
    }
    graves_apply(l, p, f, live);
    if (live)
        rewritten_apply(l, p, f, was, xid);
    if (live && f->reopened && f->ckpt > was) {
        /* what was emitted before the restart is not known: once, every dirty object is looked at
         */
        f->reopened = false;
        for (i = f->dirty.head; i != SLOT_NONE; i = slab_slot(p->sp, i)->next)
            forget_passed(l, p, f, was, slab_object(p->sp, i), slab_slot(p->sp, i)->extra);
    }
    i = f->dirty.head;
    f->oldest_ms = i == SLOT_NONE ? 0 : slab_slot(p->sp, i)->extra->changed_at_ms;
}

/* What was refused to one sync process may have been written by another that had it too: then the
 * row it refers to came in between, and there is no dead letter. Who committed its letter is the
 * one it was refused to, and says so; otherwise it is tried again, as a new version. */
static void shared_retry(struct lane *l, struct part *p, const struct feed *f, uint64_t by)
{
    for (uint32_t i = f->dirty.head; i != SLOT_NONE; i = slab_slot(p->sp, i)->next) {
        const struct object *o = slab_object(p->sp, i);
        const struct park_info *park = slab_slot(p->sp, i)->extra->park;
        if (o->ver > f->ckpt)
            break;
        if ((object_flags(o) & OBJECT_PARKED) && park->shared && park->by != by &&
            pending_find(l, object_key(o), object_hash(object_key(o))) == NULL)
            part_retry(l, p, o);
    }
}

void sync_pos(struct lane *l, struct part *p, struct feed *f, uint64_t ver, uint64_t dsafe,
              uint64_t xid, uint64_t by)
{
    struct fb_record r = {.type = FB_RECORD_SYNCED,
                          .key = fb_bytes_str(l->ns[f->nsid].name),
                          .obj_ver = ver,
                          .xid = xid};
    uint64_t was = f->ckpt;

    if (ver < f->ckpt)
        ver = f->ckpt;
    if (dsafe > ver)
        dsafe = ver;
    if (dsafe < f->dsafe)
        dsafe = f->dsafe;
    if (ver == f->ckpt && dsafe == f->dsafe)
        return;
    fb_assert(ver <= p->last_ver);
    r.obj_ver = ver;
    r.changed = dsafe; /* so that replay drops the same tombstones */
    log_record(l, p, &r);
    feed_move_ckpt(f, ver);
    f->dsafe = dsafe;
    f->due = false;
    shared_retry(l, p, f, by);
    synced_apply(l, p, f, was, xid, true);
    waits_dsafe(l, f);
    if (f->waits.head != NULL && f->dirty.count > 0)
        feed_due(l, p, f);
}

void lane_feed_pos(struct lane *l, struct feed_dest *dest, const struct fb_feed_pos *pos)
{
    struct part *p = pos->part < l->config.partitions ? l->parts[pos->part] : NULL;
    uint16_t nsid = nsid_by_name(l, pos->ns, false);

    lane_check_writer(l);
    if (p == NULL || !p->open || nsid == NSID_NONE || pos->history > p->history ||
        pos->ver > part_seen_ver(p))
        return; /* not ours, or impossible: the sync process asks again from what PostgreSQL says */
    sync_pos(l, p, feed_get(p, nsid), pos->ver, pos->dsafe, pos->xid,
             pos->xid == 0 ? 0 : feed_asker(l, dest));
}
