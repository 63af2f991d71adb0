/* Verdicts of a sync process: what PostgreSQL refused or holds otherwise becomes a committed record
 * here (PROTOCOL 11, 12). Acks leave with the tick that writes the record. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"
#include "proto/cluster/slot.h"

#include <stdlib.h>

struct verdict_ctx {
    struct lane *l;
    struct part *p;
    struct feed *f;
    const struct fb_verdict *v;
    struct fb_bytes key;
    uint64_t hash;
    uint16_t nsid;
    uint8_t ns_len;
    const struct object *cur; /* newest version, NULL = not resident */
    uint8_t outcome;          /* enum fb_outcome, of a conflict */
};

/* A row may exist and hold no value: `value = column:` and the column is NULL. */
static bool row_exists(const struct fb_verdict *v)
{
    return v->kind != FB_KIND_NONE || v->xmin != 0;
}

/* A new version whose base is the row as PostgreSQL has it now. */
static uint64_t put_on_row(struct verdict_ctx *c, uint8_t kind, struct fb_bytes value,
                           uint64_t changed)
{
    struct lane *l = c->l;
    bool exists = row_exists(c->v), mapped = l->ns[c->nsid].conf->mapped;
    int64_t expires = c->cur != NULL && !mapped ? object_expires(c->cur) : 0;
    struct object *o =
        object_new(c->key, c->ns_len, c->nsid, c->p->id, kind, kind == FB_KIND_NONE ? 0 : value.n);
    uint8_t flags = (uint8_t)((mapped ? OBJECT_MAPPED : 0) | (exists ? OBJECT_HAS_BASE : 0) |
                              (exists && c->v->xmin != 0 ? OBJECT_TOKEN_KNOWN : 0));

    if (kind != FB_KIND_NONE && value.n > 0)
        memcpy(o->bytes + o->klen, value.p, value.n);
    atomic_store_explicit(&o->flags, flags, memory_order_relaxed);
    atomic_store_explicit(&o->base_xid, exists ? c->v->xmin : 0, memory_order_relaxed);
    atomic_store_explicit(&o->expires_ms, kind == FB_KIND_NONE ? 0 : expires, memory_order_relaxed);
    return write_object(l, c->p, o, c->hash, kind == FB_KIND_NONE ? FB_RECORD_DEL : FB_RECORD_PUT,
                        c->cur, changed, true);
}

/* PostgreSQL's row becomes ours: its values are written back unchanged, which is harmless, and
 * nothing of ours is left. */
static uint64_t take_row(struct verdict_ctx *c)
{
    return put_on_row(c, c->v->kind, c->v->value, row_writable_mask(&c->l->ns[c->nsid]));
}

static struct object_extra *extra_of(struct verdict_ctx *c)
{
    struct pending *e = pending_find(c->l, c->key, c->hash);
    return e != NULL ? e->extra : c->cur == NULL ? NULL : slot_extra(c->p, c->cur);
}

/* The row with our changed columns over it. Columns that several share bit 63 with come from us
 * together. */
static uint64_t merge_columns(struct verdict_ctx *c)
{
    struct lane *l = c->l;
    const struct fb_schema *s = l->ns[c->nsid].schema;
    struct object_extra *x = extra_of(c);
    uint64_t changed = x != NULL ? x->changed : UINT64_MAX, ver;
    struct fb_buf merged = {0};

    for (uint32_t i = 0; s != NULL && i < s->column_count; i++) {
        const struct fb_column *col = &s->columns[i];
        struct fb_bytes name = fb_bytes_str(col->name), value;
        bool ours = (changed & fb_column_bit(col)) && !col->generated && !col->is_key;
        if (fb_hash_get(ours ? object_value(c->cur) : c->v->value, name, &value))
            fb_hash_put(&merged, name, value);
    }
    /* Their columns and ours may be more than any object holds: then only ours are seen here, as
     * before; PostgreSQL gets the same columns either way. */
    ver = put_on_row(c, FB_KIND_HASH,
                     merged.n <= FB_VALUE_BYTES_MAX ? fb_buf_view(&merged) : object_value(c->cur),
                     changed & row_writable_mask(&l->ns[c->nsid]));
    fb_buf_fini(&merged);
    return ver;
}

static uint64_t resolve(struct verdict_ctx *c)
{
    const struct fb_namespace *conf = c->l->ns[c->nsid].conf;
    const struct object *cur = c->cur;
    struct object_extra *x = extra_of(c);
    uint64_t all = row_writable_mask(&c->l->ns[c->nsid]);

    STAT_ADD(c->l, conflicts, 1);
    if (!row_exists(c->v)) {
        bool goes = cur->kind == FB_KIND_NONE || conf->on_row_gone == FB_ROW_GONE_DELETE;
        c->outcome = goes ? FB_OUTCOME_DELETED : FB_OUTCOME_REINSERTED;
        if (goes)
            return put_on_row(c, FB_KIND_NONE, fb_bytes("", 0), 0);
        return put_on_row(c, cur->kind, object_value(cur), all); /* reinsert the whole row */
    }
    /* to take over a NULL would delete the row: no value never wins over one */
    c->outcome = FB_OUTCOME_THEIRS;
    if (conf->conflict == FB_CONFLICT_DB_WINS && c->v->kind != FB_KIND_NONE)
        return take_row(c);
    c->outcome = FB_OUTCOME_OURS;
    if (cur->kind == FB_KIND_NONE)
        return put_on_row(c, FB_KIND_NONE, fb_bytes("", 0), UINT64_MAX);
    if (conf->conflict == FB_CONFLICT_MERGE_COLUMNS && cur->kind == FB_KIND_HASH &&
        c->v->kind == FB_KIND_HASH && c->l->ns[c->nsid].schema != NULL) {
        c->outcome = FB_OUTCOME_MERGED;
        return merge_columns(c);
    }
    if (conf->conflict == FB_CONFLICT_LAST_WRITE_WINS && c->v->kind == FB_KIND_HASH &&
        conf->conflict_column[0] != '\0') {
        struct fb_bytes theirs, ours;
        /* both are PostgreSQL's text of a timestamp in one zone, which sorts as text */
        if (fb_hash_get(c->v->value, fb_bytes_str(conf->conflict_column), &theirs) &&
            (cur->kind != FB_KIND_HASH ||
             !fb_hash_get(object_value(cur), fb_bytes_str(conf->conflict_column), &ours) ||
             memcmp(theirs.p, ours.p, theirs.n < ours.n ? theirs.n : ours.n) > 0)) {
            c->outcome = FB_OUTCOME_THEIRS;
            return take_row(c);
        }
    }
    return put_on_row(c, cur->kind, object_value(cur),
                      x != NULL && x->changed != 0 ? x->changed : all);
}

static uint64_t park(struct verdict_ctx *c, struct feed_dest *dest)
{
    struct lane *l = c->l;
    struct object *o = (struct object *)c->cur;
    struct object_extra *x = extra_of(c);
    struct fb_bytes text = c->v->message;
    struct fb_record r = {
        .type = FB_RECORD_PARK, .ns_len = c->ns_len, .obj_ver = c->v->ver, .key = c->key};

    if (text.n > 1024)
        text.n = 1024;
    memcpy(r.sqlstate, c->v->sqlstate, 5);
    r.value = text;
    log_record(l, c->p, &r);
    free(x->park);
    x->park = fb_xcalloc(1, sizeof *x->park + text.n + 1);
    x->park->by = feed_asker(l, dest);
    x->park->shared = x->park->by != c->f->asker || c->v->ver <= c->f->shared_ver;
    memcpy(x->park->sqlstate, r.sqlstate, sizeof r.sqlstate);
    x->park->n = (uint32_t)text.n;
    if (text.n > 0)
        memcpy(x->park->message, text.p, text.n);
    if (!(object_flags(o) & OBJECT_PARKED) && o->slot != SLOT_NONE)
        STAT_ADD(l, objects_parked, 1);
    atomic_store_explicit(&o->flags, object_flags(o) | OBJECT_PARKED, memory_order_relaxed);
    STAT_ADD(l, parks, 1);
    /* nothing of it got into the row: a later version still goes there as this one would have */
    x->emitted_ver = 0;
    x->changed_since_feed = x->changed;
    waits_parked(l, c->f, c->hash, c->v->ver, x->park);
    return r.ver;
}

/* Values as stored, after our own commit: the object's version stays. */
static uint64_t refresh(struct verdict_ctx *c)
{
    struct lane *l = c->l;
    const struct object *cur = c->cur;
    struct object_extra *x = slot_extra(c->p, cur);
    struct fb_record r = {.type = FB_RECORD_REFRESH,
                          .kind = c->v->kind,
                          .ns_len = c->ns_len,
                          .obj_ver = cur->ver,
                          .base_xid = c->v->xmin,
                          .key = c->key,
                          .value = c->v->value};
    struct object *o;
    uint64_t ver;

    r.flags = FB_RECORD_HAS_BASE | (c->v->xmin != 0 ? FB_RECORD_TOKEN_KNOWN : 0);
    log_record(l, c->p, &r);
    o = object_new(c->key, c->ns_len, c->nsid, c->p->id, c->v->kind, c->v->value.n);
    if (c->v->value.n > 0)
        memcpy(o->bytes + o->klen, c->v->value.p, c->v->value.n);
    o->ver = cur->ver;
    atomic_store_explicit(&o->base_xid, c->v->xmin, memory_order_relaxed);
    atomic_store_explicit(&o->expires_ms, object_expires(cur), memory_order_relaxed);
    atomic_store_explicit(&o->flags,
                          (uint8_t)((object_flags(cur) & ~(OBJECT_BLIND | OBJECT_TOKEN_KNOWN)) |
                                    OBJECT_HAS_BASE | (c->v->xmin != 0 ? OBJECT_TOKEN_KNOWN : 0)),
                          memory_order_relaxed);
    /* what it shows is committed in PostgreSQL already, so it may be seen before the record is on
     * disk */
    ver = o->ver;
    part_install(l, c->p, o, x, c->hash); /* cur is gone from here on */
    return ver;
}

/* A version that was given out did not get into its row, and there is a newer one: the sync process
 * leaves that to it. So the newer one has to bring the columns of both. Was it refused, then the
 * row has not been touched, unless by another sync process with the same batch: its token is
 * unknown. */
static void superseded(struct verdict_ctx *c)
{
    struct object_extra *x = extra_of(c);
    struct object *published = store_find_own(c->l->store, c->key, c->hash);

    if (x == NULL || c->v->ver > c->cur->ver || !(object_flags(c->cur) & OBJECT_DIRTY))
        return;
    x->changed_since_feed = x->changed;
    if (c->v->verdict != FB_VERDICT_PARK || x->emitted_ver != c->v->ver || published == NULL)
        return;
    x->emitted_ver = 0;
    waits_rewritten(c->f, c->hash, c->cur->ver, 0);
    base_forget(c->l, c->p, published, x);
}

uint64_t part_retry(struct lane *l, struct part *p, const struct object *o)
{
    struct fb_bytes key = object_key(o);
    uint64_t hash = object_hash(key);
    struct pending *e = pending_find(l, key, hash);
    const struct object_extra *x = e != NULL ? e->extra : slot_extra(p, o);
    struct object *next = object_new(key, o->ns_len, o->ns, p->id, o->kind, o->vlen);

    memcpy(next->bytes + next->klen, object_value(o).p, o->vlen);
    atomic_store_explicit(&next->expires_ms, object_expires(o), memory_order_relaxed);
    atomic_store_explicit(&next->flags, object_flags(o) & OBJECT_MAPPED, memory_order_relaxed);
    return write_object(l, p, next, hash, o->kind == FB_KIND_NONE ? FB_RECORD_DEL : FB_RECORD_PUT,
                        o, x != NULL ? x->changed : UINT64_MAX, false);
}

static enum fb_status judge(struct verdict_ctx *c, struct feed_dest *dest, uint64_t *ver)
{
    const struct fb_verdict *v = c->v;
    const struct object *cur = c->cur;
    const struct object *published;

    if (cur == NULL || (object_flags(cur) & OBJECT_NEGATIVE))
        return FB_ENOENT;
    *ver = cur->ver;
    if (v->kind > FB_KIND_HASH || v->value.n > FB_VALUE_BYTES_MAX ||
        (v->kind == FB_KIND_HASH && !fb_hash_valid(v->value)))
        return FB_EPROTO;
    if (v->verdict == FB_VERDICT_RETRY || v->verdict == FB_VERDICT_DISCARD) {
        if (!(object_flags(cur) & OBJECT_PARKED) || (v->ver != 0 && v->ver != cur->ver))
            return FB_ESTALE;
    } else if (v->ver != cur->ver) {
        if (v->verdict == FB_VERDICT_PARK || v->verdict == FB_VERDICT_CONFLICT)
            superseded(c);
        return FB_ESTALE;
    }
    published = store_find_own(c->l->store, c->key, c->hash);
    switch (v->verdict) {
    case FB_VERDICT_PARK:
        if (!(object_flags(cur) & OBJECT_DIRTY) || cur != published)
            return FB_ESTALE;
        if (!feed_may_hold(c->l))
            return FB_EAGAIN; /* the ack has to wait for the disk, and there is no room for it */
        *ver = park(c, dest);
        return FB_OK;
    case FB_VERDICT_CONFLICT:
        if (!(object_flags(cur) & OBJECT_DIRTY))
            return FB_ESTALE;
        *ver = resolve(c);
        return FB_OK;
    case FB_VERDICT_REFRESH:
        if (cur != published || v->kind == FB_KIND_NONE || cur->kind != v->kind ||
            (object_flags(cur) & OBJECT_DIRTY))
            return FB_ESTALE;
        *ver = refresh(c);
        return FB_OK;
    case FB_VERDICT_RETRY:
        *ver = part_retry(c->l, c->p, cur);
        return FB_OK;
    case FB_VERDICT_DISCARD:
        if (v->kind == FB_KIND_NONE && row_exists(v))
            return FB_EINVAL; /* see resolve */
        *ver = take_row(c);
        return FB_OK;
    default:
        return FB_EPROTO;
    }
}

void lane_verdict(struct lane *l, struct feed_dest *dest, const struct fb_verdict *v)
{
    struct verdict_ctx c = {.l = l, .v = v, .nsid = nsid_by_name(l, v->ns, false)};
    struct fb_verdict_ack ack = {.part = v->part, .id64 = v->id64, .status = FB_OK};
    struct fb_buf key = {0};

    lane_check_writer(l);
    c.p = v->part < l->config.partitions ? l->parts[v->part] : NULL;
    if (c.p == NULL || !c.p->open) {
        ack.status = FB_EAGAIN;
    } else if (c.nsid == NSID_NONE || l->ns[c.nsid].conf == NULL) {
        ack.status = FB_ENOENT;
    } else {
        key_of_id(&key, &l->ns[c.nsid], v->id, &c.ns_len);
        c.key = fb_buf_view(&key);
        /* an object of another partition may be another worker's */
        if (key.n > FB_KEY_BYTES_MAX || fb_key_partition(c.key, l->config.partitions) != v->part) {
            ack.status = FB_EPROTO;
        } else {
            c.hash = object_hash(c.key);
            c.f = feed_get(c.p, c.nsid);
            c.cur = newest_object(l, c.key, c.hash);
            ack.status = (uint16_t)judge(&c, dest, &ack.ver);
            ack.outcome = c.outcome;
            if (v->verdict == FB_VERDICT_CONFLICT && ack.status == FB_ESTALE)
                ack.outcome = FB_OUTCOME_SUPERSEDED;
        }
    }
    fb_buf_fini(&key);
    if (dest->closed)
        return;
    if (ack.status == FB_OK && ack.ver != 0 &&
        ((v->verdict == FB_VERDICT_PARK && !FB_MUTANT(park_unsynced)) || c.p->copy != NULL))
        feed_hold_ack(l, c.p, dest, &ack);
    else
        feed_ack(l, dest, &ack);
}
