/* Snapshots: a partition as records, in slices between ticks. Items are log records: META
 * (versions, time), SYNCED per feed (checkpoint, dsafe, purge_ver), then a PUT or DEL per object
 * with its own version, PARK after a parked one.
 *
 * What PostgreSQL holds and we do not need is left out: clean copies of mapped rows (they may be
 * outdated by the time of a restart) and negative hints. A restart drops those, so their versions
 * are in the purge_ver that ends the snapshot. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

#define META_BYTES 24u

bool lane_snapshot_begin(struct lane *l, uint16_t part, struct lane_snapshot *s)
{
    lane_check_writer(l);
    struct part *p = part < l->config.partitions ? l->parts[part] : NULL;
    *s = (struct lane_snapshot){
        .part = part, .start_log_seq = l->fx.log_seq, .keep = p != NULL && p->tail.voided};
    if (p == NULL || p->last_ver == 0)
        return false;
    if (p->tail.filling != 0)
        return false;
    if (p->tail.kept) { /* what is published; the log has the rest */
        s->start_ver = FB_MUTANT(copy_snapshot_ahead) ? p->last_ver : p->tail.ver;
        s->ptime = p->tail.ptime;
        if (p->copy != NULL)
            s->start_log_seq = copy_log_seq(l, p);
        else if (p->tail.bytes.n > p->tail.head)
            s->start_log_seq = p->tail.log_seq;
        return s->start_ver != 0;
    }
    s->ptime = p->ptime;
    /* pending versions are not in the table yet: replay starts before them */
    s->start_ver = p->last_ver;
    for (uint32_t i = l->pending.n == 0 ? UINT32_MAX : l->pending.oldest; i != UINT32_MAX;
         i = l->pending.e[i].newer)
        if (l->pending.e[i].next->part == part && l->pending.e[i].next->ver <= s->start_ver)
            s->start_ver = l->pending.e[i].next->ver - 1;
    return true;
}

static void put_header(struct lane *l, struct part *p, const struct lane_snapshot *s,
                       struct fb_buf *out)
{
    uint8_t meta[META_BYTES] = {0};
    struct fb_record r = {.type = FB_RECORD_META,
                          .flags = p->tail.kept ? FB_RECORD_COPIES : 0,
                          .part = p->id,
                          .ver = s->start_ver,
                          .ptime_ms = s->ptime,
                          .history = p->history,
                          .value = fb_bytes(meta, sizeof meta)};
    fb_put_u64(meta, s->start_ver);
    fb_put_u64(meta + 8, s->ptime);
    fb_put_u64(meta + 16, p->history);
    fb_record_encode(out, &r);
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        const struct feed *f = p->feeds[i];
        if (f == NULL || (f->ckpt == 0 && f->purge_ver == 0))
            continue;
        r = (struct fb_record){.type = FB_RECORD_SYNCED,
                               .part = p->id,
                               .ver = s->start_ver,
                               .ptime_ms = p->ptime,
                               .obj_ver = f->ckpt,
                               .changed = f->dsafe,
                               .history = f->purge_ver,
                               .key = fb_bytes_str(l->ns[i].name)};
        fb_record_encode(out, &r);
    }
}

/* What was evicted since the header, and what was left out: the objects are not in the snapshot,
 * and not in the log that is replayed on it (I28). */
static void put_purges(struct lane *l, struct part *p, const struct lane_snapshot *s,
                       struct fb_buf *out)
{
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        struct fb_record r = {.type = FB_RECORD_SYNCED, .part = p->id, .ver = s->start_ver};
        const struct feed *f = p->feeds[i];
        if (f == NULL || (f->purge_ver == 0 && f->left_out_ver == 0))
            continue;
        r.history = f->left_out_ver > f->purge_ver ? f->left_out_ver : f->purge_ver;
        r.key = fb_bytes_str(l->ns[i].name);
        fb_record_encode(out, &r);
    }
}

/* Can PostgreSQL not lose it any more? What it may lose has to be here after a restart (I25). */
static bool leave_out(struct part *p, const struct object *o)
{
    struct feed *f = feed_find(p, o->ns);
    if (f == NULL || (o->ver > f->dsafe && !FB_MUTANT(snapshot_unsafe_rows)))
        return false;
    if (o->ver > f->left_out_ver && !FB_MUTANT(snapshot_forgets))
        f->left_out_ver = o->ver;
    return true;
}

static void put_object(struct part *p, const struct object *o, struct fb_buf *out)
{
    const struct object_extra *x = slot_extra(p, o);
    uint8_t flags = object_flags(o);
    struct fb_record r = {.type = o->kind == FB_KIND_NONE ? FB_RECORD_DEL : FB_RECORD_PUT,
                          .kind = o->kind,
                          .ns_len = o->ns_len,
                          .part = p->id,
                          .ver = o->ver,
                          .key = object_key(o),
                          .value = object_value(o)};

    if ((flags & OBJECT_NEGATIVE) || o->ver == 0)
        return;
    if (x == NULL && (fb_ver_epoch(o->ver) == 0 || ((flags & OBJECT_MAPPED) && leave_out(p, o))))
        return;
    r.flags = (uint8_t)((flags & OBJECT_HAS_BASE ? FB_RECORD_HAS_BASE : 0) |
                        (flags & OBJECT_TOKEN_KNOWN ? FB_RECORD_TOKEN_KNOWN : 0) |
                        (flags & OBJECT_BLIND ? FB_RECORD_BLIND : 0));
    r.base_xid = object_xid(o);
    r.expires_ms = flags & OBJECT_MAPPED ? 0 : object_expires(o);
    r.req_no = x != NULL; /* dirty */
    r.session = 1;        /* so that req_no is encoded */
    if (x != NULL) {
        r.ptime_ms = x->changed_at_ms;
        r.changed = x->changed;
        r.obj_ver = x->group_last;
        r.prev = x->maybe_first != 0 ? x->maybe_first : x->emitted_ver;
        if (r.prev >= o->ver)
            r.prev = 0; /* only an older version needs to be told */
    }
    fb_record_encode(out, &r);
    if (x != NULL && (flags & OBJECT_PARKED) && x->park != NULL) {
        struct fb_record k = {.type = FB_RECORD_PARK,
                              .ns_len = o->ns_len,
                              .part = p->id,
                              .ver = o->ver,
                              .obj_ver = o->ver,
                              .key = object_key(o),
                              .value = fb_bytes(x->park->message, x->park->n)};
        memcpy(k.sqlstate, x->park->sqlstate, sizeof k.sqlstate);
        fb_record_encode(out, &k);
    }
}

void lane_snapshot_slice(struct lane *l, struct lane_snapshot *s, struct fb_buf *out,
                         size_t max_bytes)
{
    struct part *p = l->parts[s->part];
    uint32_t used = atomic_load_explicit(&p->sp->used, memory_order_relaxed);
    size_t start = out->n;

    lane_check_writer(l);
    fb_assert(!s->done);
    if (s->cursor == 0) {
        put_header(l, p, s, out);
        s->cursor = 1; /* slot + 1 */
    }
    for (uint32_t steps = 0; s->cursor - 1 < used; s->cursor++, steps++) {
        const struct object *o;
        if (out->n - start >= max_bytes || steps >= 65536)
            return;
        o = slab_object(p->sp, (uint32_t)(s->cursor - 1));
        if (o != NULL)
            put_object(p, o, out);
    }
    put_purges(l, p, s, out);
    s->done = true;
}

static int by_ver(const void *a, const void *b)
{
    const struct object *x = *(struct object *const *)a, *y = *(struct object *const *)b;
    return (x->ver > y->ver) - (x->ver < y->ver);
}

/* Parked objects and tombstones that the checkpoint has passed: the feed has nothing to do about
 * them. */
static void move_passed(struct part *p, struct feed *f)
{
    uint32_t at = f->dirty.head, next;

    for (; at != SLOT_NONE; at = next) {
        const struct object *o = slab_object(p->sp, at);
        next = slab_slot(p->sp, at)->next;
        if (o->ver > f->ckpt)
            break;
        if (object_flags(o) & OBJECT_PARKED)
            feed_list_move(p, f, o, LIST_PARKED);
        else if (o->kind == FB_KIND_NONE)
            feed_list_move(p, f, o, LIST_GRAVES);
    }
    f->oldest_ms =
        f->dirty.head == SLOT_NONE ? 0 : slab_slot(p->sp, f->dirty.head)->extra->changed_at_ms;
}

/* Slices are in slot order, lists are in version order. */
static void sort_list(struct part *p, struct feed *f)
{
    struct object **all = fb_xmalloc(f->dirty.count * sizeof *all);
    uint32_t n = 0;

    for (uint32_t at = f->dirty.head; at != SLOT_NONE; at = slab_slot(p->sp, at)->next)
        all[n++] = slab_object(p->sp, at);
    qsort(all, n, sizeof *all, by_ver);
    f->dirty = SLOT_LIST_EMPTY;
    for (uint32_t k = 0; k < n; k++)
        slot_list_append(p->sp, &f->dirty, all[k]->slot);
    free(all);
}

void snapshot_sort(struct part *p)
{
    if (!p->unsorted)
        return;
    p->unsorted = false;
    if (FB_MUTANT(snapshot_unsorted))
        return;
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        struct feed *f = p->feeds[i];
        if (f == NULL || f->dirty.count == 0)
            continue;
        sort_list(p, f);
        move_passed(p, f);
    }
}

static enum fb_status take_object(struct lane *l, struct part *p, const struct fb_record *r,
                                  struct fb_err *err)
{
    uint16_t nsid = r->ns_len == 0 ? 0 : nsid_by_name(l, fb_bytes(r->key.p, r->ns_len), true);
    uint64_t hash = object_hash(r->key);
    bool dirty = r->req_no == 1, mapped;
    struct feed *f;
    const struct object *met = store_find_own(l->store, r->key, hash);
    struct object_extra *x = NULL;
    struct object *o;

    if (nsid == NSID_NONE || (r->kind == FB_KIND_NONE) != (r->type == FB_RECORD_DEL) ||
        (r->kind == FB_KIND_NONE && !dirty) ||
        (r->kind == FB_KIND_HASH && !fb_hash_valid(r->value)) ||
        (met != NULL && r->ver <= p->snapshot_ver && met->ver != r->ver))
        return fb_err_set(err, FB_ECORRUPT, "partition %u: an object of the snapshot is impossible",
                          p->id);
    /* Written while the snapshot was taken: the log has its record, and from it it gets its place
     * in version order. */
    if (r->ver > p->snapshot_ver)
        return FB_OK;
    if (met != NULL) /* it was evicted and loaded again meanwhile, into another slot */
        return FB_OK;
    mapped = l->ns[nsid].conf != NULL && l->ns[nsid].conf->mapped;
    f = feed_get(p, nsid);
    if (!dirty && mapped && r->ver <= f->dsafe) {
        feed_purged(f, r->ver);
        return FB_OK; /* the namespace became a table: it is loaded when asked for */
    }
    o = object_new(r->key, r->ns_len, nsid, p->id, r->kind, r->value.n);
    if (r->value.n > 0)
        memcpy(o->bytes + o->klen, r->value.p, r->value.n);
    o->ver = r->ver;
    atomic_store_explicit(&o->base_xid, r->base_xid, memory_order_relaxed);
    atomic_store_explicit(&o->expires_ms, r->expires_ms, memory_order_relaxed);
    atomic_store_explicit(&o->flags,
                          (uint8_t)((dirty ? OBJECT_DIRTY : 0) | (mapped ? OBJECT_MAPPED : 0) |
                                    (r->flags & FB_RECORD_HAS_BASE ? OBJECT_HAS_BASE : 0) |
                                    (r->flags & FB_RECORD_TOKEN_KNOWN ? OBJECT_TOKEN_KNOWN : 0) |
                                    (r->flags & FB_RECORD_BLIND ? OBJECT_BLIND : 0)),
                          memory_order_relaxed);
    if (dirty) {
        x = fb_xcalloc(1, sizeof *x);
        x->changed = x->changed_since_feed = r->changed;
        x->changed_at_ms = r->ptime_ms;
        x->group_last = r->obj_ver;
        maybe_applied(x, r->ver, r->kind);
        if (r->prev != 0)
            maybe_applied(x, r->prev, FB_KIND_NONE); /* of which kind is not told: the stricter */
    }
    part_install(l, p, o, x, hash);
    return FB_OK;
}

static enum fb_status take_item(struct lane *l, struct part *p, const struct fb_record *r,
                                struct fb_err *err)
{
    struct feed *f;
    uint16_t nsid;

    if (p->snapshot_ver == 0 && r->type != FB_RECORD_META)
        return fb_err_set(err, FB_ECORRUPT, "partition %u: a snapshot that does not say of when",
                          p->id);
    switch (r->type) {
    case FB_RECORD_META:
        if (r->value.n != META_BYTES || fb_ver_epoch(fb_get_u64(r->value.p)) == 0 ||
            fb_ver_epoch(fb_get_u64(r->value.p)) > FB_EPOCH_MAX)
            break;
        p->last_ver = p->snapshot_ver = fb_get_u64(r->value.p);
        p->ptime = fb_get_u64(r->value.p + 8);
        p->history = fb_get_u64(r->value.p + 16);
        p->epoch = fb_ver_epoch(p->last_ver);
        p->recovered = true;
        p->tail.kept = r->flags & FB_RECORD_COPIES;
        p->tail.ver = p->last_ver;
        p->tail.ptime = p->ptime;
        return FB_OK;
    case FB_RECORD_SYNCED:
        nsid = nsid_by_name(l, r->key, true);
        if (nsid == NSID_NONE || r->obj_ver > p->snapshot_ver || r->changed > r->obj_ver)
            break;
        f = feed_get(p, nsid);
        if (r->obj_ver > f->ckpt)
            f->ckpt = r->obj_ver;
        if (r->changed > f->dsafe)
            f->dsafe = r->changed;
        feed_purged(f, r->history);
        return FB_OK;
    case FB_RECORD_PUT:
    case FB_RECORD_DEL:
        return take_object(l, p, r, err);
    case FB_RECORD_PARK:
        recover_park(l, p, r);
        return FB_OK;
    default:
        break;
    }
    return fb_err_set(err, FB_ECORRUPT, "partition %u: an item of the snapshot is impossible",
                      p->id);
}

enum fb_status snapshot_item(struct lane *l, struct part *p, const struct fb_record *r,
                             struct fb_err *err)
{
    if (r->part != p->id || !recover_key_ok(l, r))
        return fb_err_set(err, FB_ECORRUPT,
                          "partition %u: an item of the snapshot is of another one", p->id);
    return take_item(l, p, r, err);
}

enum fb_status lane_recover_snapshot(struct lane *l, uint16_t part, struct fb_bytes items,
                                     struct fb_err *err)
{
    struct fb_reader r = fb_reader(items);
    struct part *p;

    lane_check_writer(l);
    if (part >= l->config.partitions)
        return fb_err_set(err, FB_ECORRUPT, "snapshot of partition %u, there are %u", part,
                          l->config.partitions);
    p = part_get(l, part);
    fb_assert(!p->open);
    while (r.n > 0) {
        struct fb_record rec;
        enum fb_status st = fb_record_decode(&r, &rec);
        if (st != FB_OK)
            return fb_err_set(err, FB_ECORRUPT,
                              "partition %u: an item of the snapshot cannot be decoded", part);
        st = snapshot_item(l, p, &rec, err);
        if (st != FB_OK)
            return st;
    }
    p->unsorted = true;
    return FB_OK;
}
