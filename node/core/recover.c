/* Recovery: the log is replayed into exactly the state that wrote it. Called before a partition is
 * opened. */
#include "node/core/lane_impl.h"

#include "proto/cluster/slot.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

static uint8_t object_flags_of(const struct lane *l, uint16_t nsid, const struct fb_record *r)
{
    bool mapped = l->ns[nsid].conf != NULL && l->ns[nsid].conf->mapped;
    return (uint8_t)((r->flags & FB_RECORD_HAS_BASE ? OBJECT_HAS_BASE : 0) |
                     (r->flags & FB_RECORD_TOKEN_KNOWN ? OBJECT_TOKEN_KNOWN : 0) |
                     (r->flags & FB_RECORD_BLIND ? OBJECT_BLIND : 0) |
                     (mapped ? OBJECT_MAPPED : 0));
}

static uint16_t nsid_of_record(struct lane *l, const struct fb_record *r)
{
    return r->ns_len == 0 ? 0 : nsid_by_name(l, fb_bytes(r->key.p, r->ns_len), true);
}

static enum fb_status bad(struct fb_err *err, const struct fb_record *r, const char *what)
{
    return fb_err_set(err, FB_ECORRUPT, "partition %u, record %s with version %u/%llu: %s", r->part,
                      fb_record_type_name(r->type), fb_ver_epoch(r->ver),
                      (unsigned long long)fb_ver_counter(r->ver), what);
}

bool recover_key_ok(const struct lane *l, const struct fb_record *r)
{
    switch (r->type) {
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
    case FB_RECORD_PARK:
    case FB_RECORD_REFRESH:
        return r->key.n > 0 && fb_key_partition(r->key, l->config.partitions) == r->part;
    default:
        return true;
    }
}

static void replay_write(struct lane *l, struct part *p, const struct fb_record *r)
{
    uint64_t hash = object_hash(r->key);
    const struct object *old = store_find_own(l->store, r->key, hash);
    uint16_t nsid = nsid_of_record(l, r);
    struct object *o;
    struct object_extra *x;

    if (old != NULL && old->ver >= r->ver)
        return; /* the snapshot is newer */
    o = object_new(r->key, r->ns_len, nsid, p->id, r->kind, r->value.n);
    if (r->value.n > 0)
        memcpy(o->bytes + o->klen, r->value.p, r->value.n);
    o->ver = r->ver;
    atomic_store_explicit(&o->base_xid, r->base_xid, memory_order_relaxed);
    atomic_store_explicit(&o->expires_ms, r->expires_ms, memory_order_relaxed);
    atomic_store_explicit(&o->flags, object_flags_of(l, nsid, r) | OBJECT_DIRTY,
                          memory_order_relaxed);
    x = old != NULL ? slot_extra(p, old) : NULL;
    if (x == NULL)
        x = fb_xcalloc(1, sizeof *x);
    free(x->park);
    x->park = NULL;
    x->changed = x->changed_since_feed = r->changed;
    x->emitted_ver = 0;
    maybe_applied(x, r->ver, r->kind);
    x->changed_at_ms = r->ptime_ms;
    x->group_last = r->ver <= p->group_end ? p->group_end : 0;
    part_install(l, p, o, x, hash);
}

void recover_park(struct lane *l, struct part *p, const struct fb_record *r)
{
    struct object *o = store_find_own(l->store, r->key, object_hash(r->key));
    struct object_extra *x = o == NULL ? NULL : slot_extra(p, o);

    if (x == NULL || o->ver != r->obj_ver)
        return;
    free(x->park);
    x->park = fb_xcalloc(1, sizeof *x->park + r->value.n + 1);
    x->park->shared = true; /* not known any more */
    memcpy(x->park->sqlstate, r->sqlstate, sizeof x->park->sqlstate);
    x->park->n = (uint32_t)r->value.n;
    if (r->value.n > 0)
        memcpy(x->park->message, r->value.p, r->value.n);
    if (!(object_flags(o) & OBJECT_PARKED))
        STAT_ADD(l, objects_parked, 1);
    atomic_store_explicit(&o->flags, object_flags(o) | OBJECT_PARKED, memory_order_relaxed);
}

/* Values read back, or only a new base (kind NONE) of a dirty object. */
static void replay_refresh(struct lane *l, struct part *p, const struct fb_record *r)
{
    uint64_t hash = object_hash(r->key);
    struct object *o = store_find_own(l->store, r->key, hash), *next;
    struct object_extra *x = o == NULL ? NULL : slot_extra(p, o);
    uint8_t base = OBJECT_HAS_BASE | OBJECT_TOKEN_KNOWN | OBJECT_BLIND;

    if (o == NULL || o->ver != r->obj_ver)
        return;
    if (r->kind != FB_KIND_NONE && o->kind != FB_KIND_NONE && x == NULL) {
        next = object_new(r->key, o->ns_len, o->ns, p->id, r->kind, r->value.n);
        if (r->value.n > 0)
            memcpy(next->bytes + next->klen, r->value.p, r->value.n);
        next->ver = o->ver;
        atomic_store_explicit(&next->expires_ms, object_expires(o), memory_order_relaxed);
        atomic_store_explicit(&next->flags, object_flags(o), memory_order_relaxed);
        part_install(l, p, next, x, hash);
        o = next;
    }
    atomic_store_explicit(&o->base_xid, r->base_xid, memory_order_relaxed);
    atomic_store_explicit(
        &o->flags, (uint8_t)((object_flags(o) & ~base) | (object_flags_of(l, o->ns, r) & base)),
        memory_order_relaxed);
    if (x != NULL)
        x->changed = x->changed_since_feed = r->changed;
}

static void replay_synced(struct lane *l, struct part *p, const struct fb_record *r)
{
    struct feed *f = feed_get(p, nsid_by_name(l, r->key, true));

    if (r->flags & FB_RECORD_REGRESSED) {
        if (r->obj_ver < f->ckpt)
            feed_regress(l, p, f, r->obj_ver, false);
        return;
    }
    if (r->obj_ver > f->ckpt)
        f->ckpt = r->obj_ver;
    if (r->changed > f->dsafe)
        f->dsafe = r->changed;
    synced_apply(l, p, f, f->ckpt, r->xid, false);
}

const char *record_wrong(struct lane *l, const struct fb_record *r)
{
    if (!recover_key_ok(l, r))
        return "its key belongs to another partition";
    switch (r->type) {
    case FB_RECORD_EPOCH_START:
        return fb_ver_counter(r->ver) != 0 ? "an epoch starts with counter 0 and no older history"
                                           : NULL;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
        if (nsid_of_record(l, r) == NSID_NONE)
            return "its key has no valid namespace";
        return (r->kind != FB_KIND_NONE) != (r->type == FB_RECORD_PUT) ||
                       (r->kind == FB_KIND_HASH && !fb_hash_valid(r->value))
                   ? "its value is not of its kind"
                   : NULL;
    case FB_RECORD_SYNCED:
        if (nsid_by_name(l, r->key, true) == NSID_NONE)
            return "its namespace has no valid name";
        return r->obj_ver >= r->ver || r->changed > r->obj_ver ? "its checkpoint is above itself"
                                                               : NULL;
    default:
        return NULL;
    }
}

void record_apply(struct lane *l, struct part *p, const struct fb_record *r)
{
    if (r->ptime_ms > p->ptime)
        p->ptime = r->ptime_ms;
    p->epoch = fb_ver_epoch(r->ver);
    switch (r->type) {
    case FB_RECORD_EPOCH_START:
        p->history = r->history;
        if (!l->config.accept_database_ahead)
            part_gap(p, r->prev, r->ver);
        break;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
    case FB_RECORD_EXPIRE:
        replay_write(l, p, r);
        break;
    case FB_RECORD_PARK:
        recover_park(l, p, r);
        break;
    case FB_RECORD_REFRESH:
        replay_refresh(l, p, r);
        break;
    case FB_RECORD_SYNCED:
        replay_synced(l, p, r);
        break;
    case FB_RECORD_GROUP:
        p->group_end = r->ver + r->count;
        break;
    default: /* sessions and metadata: nothing to rebuild with one copy */
        break;
    }
}

/* A log that is one of several copies keeps back what is not known to be committed: the node that
 * wrote it may have cut it off, and another may still ask for that. */
static enum fb_status recover_kept(struct lane *l, struct part *p, const struct fb_record *r,
                                   struct fb_err *err)
{
    struct log_tail *t = &p->tail;
    struct fb_bytes bytes;

    if (r->ver <= p->snapshot_ver) {
        fb_buf_clear(&l->payload);
        fb_record_encode(&l->payload, r);
        copy_recovered(l, p, r, fb_buf_view(&l->payload));
        return FB_OK;
    }
    if (t->dead_ver != 0 && r->prev == t->dead_ver) {
        t->dead_ver = r->ver;
        return FB_OK;
    }
    if (p->last_ver == 0 && r->prev != 0)
        return bad(err, r, "records before it are missing and no snapshot covers them");
    if (r->prev != p->last_ver && r->prev < t->ver && t->ver == p->snapshot_ver) {
        t->dead_ver = r->ver; /* cut off before the snapshot was taken, which is newer */
        return FB_OK;
    }
    if (r->prev > p->last_ver)
        return bad(err, r, "records before it are missing");
    if (r->prev != p->last_ver) { /* the log was cut there */
        if (r->prev < t->ver || !log_tail_has(p, r->prev))
            return bad(err, r, "it does not follow the one before, nor one that may be cut off");
        log_tail_cut(p, r->prev);
    }
    if (r->type == FB_RECORD_EPOCH_START && r->history < p->history)
        return bad(err, r, "an epoch starts with counter 0 and no older history");
    t->dead_ver = 0;
    fb_buf_clear(&l->payload);
    fb_record_encode(&l->payload, r);
    bytes = fb_buf_view(&l->payload);
    log_tail_push(p, bytes);
    copy_recovered(l, p, r, bytes);
    p->recovered = true;
    p->last_ver = r->ver;
    if (r->ptime_ms > p->ptime)
        p->ptime = r->ptime_ms;
    if (r->type == FB_RECORD_EPOCH_START)
        p->history = r->history;
    return FB_OK;
}

/* log_tail_note wrote it. */
static enum fb_status recover_note(struct lane *l, struct part *p, const struct fb_record *r,
                                   struct fb_err *err)
{
    bool copies = r->flags & FB_RECORD_COPIES;

    if (r->count == LOG_NOTE_COPY || r->count == LOG_NOTE_WIPED) {
        copy_void(l, p);
        p->tail.kept = copies;
        p->tail.filling = r->count == LOG_NOTE_COPY;
        return FB_OK;
    }
    if (r->count == LOG_NOTE_COPY_END) {
        if (p->tail.filling == 0 || p->tail.ver == 0)
            return bad(err, r, "the end of a copy that did not begin");
        p->tail.filling = 0;
        p->unsorted = true;
        snapshot_sort(p);
        return FB_OK;
    }
    if (r->obj_ver > p->last_ver)
        return bad(err, r, "records before it are missing");
    if (!p->tail.kept) {
        p->tail.kept = copies;
        p->tail.ver = p->last_ver;
        p->tail.ptime = p->ptime;
        return FB_OK;
    }
    log_tail_apply(l, p, copies ? r->obj_ver : UINT64_MAX, !copies);
    p->tail.kept = copies;
    return FB_OK;
}

enum fb_status lane_recover_record(struct lane *l, const struct fb_record *r, struct fb_err *err)
{
    const char *wrong;
    struct part *p;

    lane_check_writer(l);
    if (r->part >= l->config.partitions)
        return bad(err, r, "there is no such partition");
    p = part_get(l, r->part);
    fb_assert(!p->open && p->copy == NULL);
    snapshot_sort(p);
    if (r->type == FB_RECORD_META && fb_ver_epoch(r->ver) == 0)
        return recover_note(l, p, r, err);
    if (p->tail.filling != 0)
        return snapshot_item(l, p, r, err);
    if (fb_ver_epoch(r->ver) == 0 || fb_ver_epoch(r->ver) > FB_EPOCH_MAX)
        return bad(err, r, "there is no such epoch");
    wrong = record_wrong(l, r);
    if (wrong != NULL)
        return bad(err, r, wrong);
    if (p->tail.kept)
        return recover_kept(l, p, r, err);
    if (r->ver <= p->snapshot_ver) {
        if (r->type == FB_RECORD_GROUP)
            p->group_end = r->ver + r->count; /* the snapshot may begin within the group */
        return FB_OK;
    }
    if (p->last_ver != 0 && r->prev != p->last_ver && !FB_MUTANT(recover_prev))
        return bad(err, r,
                   r->prev > p->last_ver ? "records before it are missing"
                                         : "it does not follow the one before");
    if (p->last_ver == 0 && r->prev != 0)
        return bad(err, r, "records before it are missing and no snapshot covers them");
    if (r->ptime_ms < p->ptime)
        return bad(err, r, "its time goes back");
    if (r->type == FB_RECORD_EPOCH_START && r->history < p->history)
        return bad(err, r, "an epoch starts with counter 0 and no older history");
    p->recovered = true;
    p->last_ver = r->ver;
    record_apply(l, p, r);
    return FB_OK;
}
