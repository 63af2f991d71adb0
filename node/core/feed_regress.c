/* PostgreSQL lost commits: a fail-over to a standby that had not got them, or a server that was put
 * back to an older state. Everything above its checkpoint is still resident (I25) and is given out
 * again. Rare, so a walk over the partition. */
#include "node/core/lane_impl.h"

#include <stdlib.h>

static int by_ver(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    return (x->ver > y->ver) - (x->ver < y->ver);
}

static uint64_t all_columns(const struct lane *l, const struct feed *f)
{
    const struct ns_state *ns = &l->ns[f->nsid];
    return ns->conf != NULL && !ns->conf->mapped ? 0 : row_writable_mask(ns);
}

/* The row it is based on may be lost, with columns that were written before. */
static void forget_row(struct lane *l, struct part *p, struct feed *f, struct object *o,
                       struct object_extra *x, bool live)
{
    x->changed = x->changed_since_feed = all_columns(l, f);
    maybe_applied(x, o->ver, FB_KIND_NONE);
    if (live) /* in a replay the records of this follow */
        base_forget(l, p, o, x);
}

/* Its dead letter may be lost too: it is tried again, and refused again. */
void part_unpark(struct lane *l, struct object *o, struct object_extra *x)
{
    free(x->park);
    x->park = NULL;
    atomic_store_explicit(&o->flags, object_flags(o) & (uint8_t)~OBJECT_PARKED,
                          memory_order_relaxed);
    STAT_SUB(l, objects_parked, 1);
}

/* A clean object is dirty again, under its version; `x` is what its pending versions share, or new.
 */
static struct object *make_dirty(struct lane *l, struct part *p, struct feed *f,
                                 const struct object *o, struct object_extra *x, uint64_t hash)
{
    struct object *copy = object_new(object_key(o), o->ns_len, o->ns, p->id, o->kind, o->vlen);
    uint8_t flags = object_flags(o);

    x->changed = x->changed_since_feed = all_columns(l, f);
    x->changed_at_ms = part_now(l, p);
    memcpy(copy->bytes + copy->klen, object_value(o).p, copy->vlen);
    copy->ver = o->ver;
    /* of a mapped row it is the age of a clean copy */
    atomic_store_explicit(&copy->expires_ms, flags & OBJECT_MAPPED ? 0 : object_expires(o),
                          memory_order_relaxed);
    /* the row may be older or missing: found out when it is written */
    flags =
        (uint8_t)((flags | OBJECT_DIRTY | OBJECT_BLIND) & ~(OBJECT_TOKEN_KNOWN | OBJECT_HAS_BASE));
    atomic_store_explicit(&copy->flags, flags, memory_order_relaxed);
    part_install(l, p, copy, x, hash);
    return copy;
}

void feed_regress(struct lane *l, struct part *p, struct feed *f, uint64_t ver, bool live)
{
    uint32_t used = atomic_load_explicit(&p->sp->used, memory_order_relaxed), n = 0;
    struct object **all = fb_xmalloc((used + 1) * sizeof *all);

    for (uint32_t i = 0; i < used; i++) {
        struct object *o = slab_object(p->sp, i);
        if (o != NULL && o->ns == f->nsid && !(object_flags(o) & OBJECT_NEGATIVE) && o->ver > ver &&
            fb_ver_epoch(o->ver) != 0)
            all[n++] = o;
    }
    qsort(all, n, sizeof *all, by_ver);
    for (uint32_t i = 0; i < n; i++) {
        struct object_extra *x = slot_extra(p, all[i]);
        uint64_t hash = object_hash(object_key(all[i]));
        struct pending *e = live ? pending_find(l, object_key(all[i]), hash) : NULL;
        if (x != NULL && (object_flags(all[i]) & OBJECT_PARKED))
            part_unpark(l, all[i], x);
        if (x != NULL) { /* keeps its place after all that moved before it */
            slot_list_remove(p->sp, feed_list_of(f, x), all[i]->slot);
            slot_list_append(p->sp, &f->dirty, all[i]->slot);
            x->list = LIST_DIRTY;
            forget_row(l, p, f, all[i], x, live);
        } else if (e != NULL) { /* the pending version may never be committed */
            forget_row(l, p, f, make_dirty(l, p, f, all[i], e->extra, hash), e->extra, live);
        } else {
            make_dirty(l, p, f, all[i], fb_xcalloc(1, sizeof *x), hash);
        }
    }
    free(all);
    if (f->oldest_ms == 0 && f->dirty.count > 0)
        f->oldest_ms = part_now(l, p);
    feed_move_ckpt(f, ver);
    /* What it passes again may have been replaced by any of these, also while PostgreSQL still had
     * it: they have to be on disk first (feed.c). */
    f->replaced_ver = p->last_ver;
    /* What survived one fail-over is not safer than it was: the next standby may be behind it. */
    if (f->dsafe > ver)
        f->dsafe = ver;
}

void feed_regressed(struct lane *l, struct part *p, struct feed *f, uint64_t ver)
{
    struct fb_record r = {.type = FB_RECORD_SYNCED,
                          .flags = FB_RECORD_REGRESSED,
                          .key = fb_bytes_str(l->ns[f->nsid].name),
                          .obj_ver = ver,
                          .changed = f->dsafe < ver ? f->dsafe : ver};

    fb_assert(ver < f->ckpt);
    fb_buf_put_u16(&l->fx.regressed, p->id);
    fb_buf_put_u16(&l->fx.regressed, (uint16_t)r.key.n);
    fb_buf_put_bytes(&l->fx.regressed, r.key);
    fb_buf_put_u64(&l->fx.regressed, f->ckpt);
    fb_buf_put_u64(&l->fx.regressed, ver);
    fb_buf_put_u64(&l->fx.regressed, f->purge_ver);
    STAT_ADD(l, regressions, 1);
    if (ver < f->purge_ver)
        STAT_ADD(l, regressions_lossy, 1);
    /* Logged first: after a restart dsafe must not be the one that turned out to be wrong. */
    log_record(l, p, &r);
    feed_regress(l, p, f, ver, true);
}

bool feed_frozen(const struct feed *f)
{
    return f != NULL && f->purge_ver > f->ckpt;
}
