/* The consumer feed: notes that there is something, and batches of it in version order (PROTOCOL
 * 10). */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

void feed_note(struct lane *l, struct part *p, struct feed *f)
{
    uint64_t now = part_now(l, p);
    struct fb_feed_note n = {.part = p->id,
                             .epoch = p->epoch,
                             .history = p->history,
                             .ns = fb_bytes_str(l->ns[f->nsid].name),
                             .dirty = f->dirty.count,
                             .last_ver = part_safe_ver(p),
                             .due = f->due};
    n.age_ms = f->oldest_ms != 0 && now > f->oldest_ms ? now - f->oldest_ms : 0;
    fb_feed_note_encode(&l->fx.notes, &n);
    l->fx.note_count++;
    f->announced = true;
}

void feed_due(struct lane *l, struct part *p, struct feed *f)
{
    f->due = true;
    l->fx.sync_wanted = true; /* only what is fsynced may leave (I20) */
    feed_note(l, p, f);
}

static void note_oldest(struct lane *l, uint64_t ms)
{
    uint64_t have = atomic_load_explicit(&l->stats.oldest_dirty_wall_ms, memory_order_relaxed);
    if (ms != 0 && (have == 0 || ms < have))
        atomic_store_explicit(&l->stats.oldest_dirty_wall_ms, ms, memory_order_relaxed);
}

void feed_note_empty(struct lane *l, struct part *p, struct feed *f)
{
    f->due = true; /* asked for now: a sync process leaves an empty feed alone otherwise */
    feed_note(l, p, f);
    f->due = false;
    f->announced = false;
}

/* In rounds of notes: feeds that only wait for dsafe (who told the checkpoint may be gone, and with
 * it when it is safe), and feeds that wait for nothing (PostgreSQL may have lost commits while
 * nobody looked). */
#define UNSAFE_ROUNDS 10u
#define VERIFY_ROUNDS 300u

void feeds_tick(struct lane *l)
{
    uint64_t frozen = 0;

    if (l->mono_ns < l->next_note_ns)
        return;
    l->next_note_ns = l->mono_ns + NOTE_PERIOD_NS;
    l->note_round++;
    atomic_store_explicit(&l->stats.oldest_dirty_wall_ms, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        if (p == NULL || !p->open)
            continue;
        for (uint32_t n = 0; n < p->feed_cap; n++) {
            struct feed *f = p->feeds[n];
            const struct fb_namespace *conf;
            if (f == NULL)
                continue;
            conf = l->ns[n].conf;
            waits_tick(l, p, f);
            frozen += feed_frozen(f);
            if (f->dirty.count == 0) {
                if ((f->dsafe < f->ckpt && l->note_round % UNSAFE_ROUNDS == 0) ||
                    (f->ckpt > 0 && (l->note_round + i) % VERIFY_ROUNDS == 0))
                    feed_note_empty(l, p, f);
                continue;
            }
            note_oldest(l, f->oldest_ms);
            if (conf != NULL && conf->max_dirty_age_ms != 0 && f->oldest_ms != 0 &&
                part_now(l, p) > f->oldest_ms + conf->max_dirty_age_ms / 2)
                f->due = true; /* so that writes need not be refused (admission.c) */
            feed_note(l, p, f);
        }
    }
    atomic_store_explicit(&l->stats.feeds_frozen, frozen, memory_order_relaxed);
}

static void emit(struct lane *l, struct feed *f, const struct object *o, struct object_extra *x,
                 struct fb_buf *out)
{
    uint8_t flags = object_flags(o);
    struct fb_feed_object fo = {.ver = o->ver,
                                .kind = o->kind,
                                .base_xid = object_xid(o),
                                .changed = x->changed,
                                .changed_at_ms = x->changed_at_ms,
                                .id = fb_key_id(object_key(o), o->ns_len),
                                .value = object_value(o)};
    fo.expires_ms = flags & OBJECT_MAPPED ? 0 : object_expires(o);
    fo.flags = (uint8_t)((flags & OBJECT_HAS_BASE ? FB_OBJECT_HAS_BASE : 0) |
                         (flags & OBJECT_TOKEN_KNOWN ? FB_OBJECT_TOKEN_KNOWN : 0) |
                         (flags & OBJECT_PARKED ? FB_OBJECT_PARKED : 0) |
                         (flags & OBJECT_BLIND ? FB_OBJECT_BLIND : 0));
    fb_feed_object_encode(out, &fo);
    STAT_ADD(l, feed_rows, 1);
    if (flags & OBJECT_PARKED)
        return;
    if (x->emitted_ver != 0 && x->emitted_ver != o->ver)
        maybe_applied(x, x->emitted_ver,
                      x->emitted_kind); /* to one that has not told what became of it */
    x->emitted_ver = o->ver;
    x->emitted_kind = o->kind;
    if (pending_find(l, object_key(o), object_hash(object_key(o))) != NULL)
        rewritten_note(
            f, x, o->slot); /* its columns are in the mask already: it keeps more than it needs */
    else
        x->changed_since_feed = 0;
}

/* Batches from here on were given out before, and which of them is committed is not known: those of
 * before have a version that was replaced since, those from now on pass it. So the newer version
 * brings the columns of both, and who waits for the older one waits for it. */
static void given_again(struct lane *l, struct part *p, struct feed *f, uint64_t from_ver)
{
    for (uint32_t i = 0; i < f->rewritten_n; i++) {
        const struct object *o = slab_object(p->sp, f->rewritten[i]);
        struct object_extra *x = o == NULL ? NULL : slab_slot(p->sp, f->rewritten[i])->extra;
        uint64_t hash;
        if (x == NULL || !x->rewritten || o->ns != f->nsid || x->emitted_ver <= from_ver)
            continue;
        hash = object_hash(object_key(o));
        if (f->waits.head != NULL)
            waits_rewritten(f, hash, newest_object(l, object_key(o), hash)->ver, 0);
        maybe_applied(x, x->emitted_ver, x->emitted_kind);
        x->emitted_ver = 0;
        x->changed_since_feed = x->changed;
    }
}

uint64_t feed_asker(struct lane *l, struct feed_dest *dest)
{
    if (dest->asker == 0)
        dest->asker = ++l->askers;
    return dest->asker;
}

/* Two sync processes may have the same versions for a while; PostgreSQL takes the commit of one. */
static void asked_by(struct feed *f, uint64_t asker)
{
    if (f->asker != asker)
        f->shared_ver = f->given_ver;
    f->asker = asker;
}

static void answer(struct lane *l, struct feed_dest *dest, struct fb_feed_batch *b)
{
    if (dest->closed)
        return;
    fb_feed_batch_encode(&dest->batches, b);
    dest->batch_count++;
    feed_dest_touch(l, dest);
}

/* Names the checkpoint of this moment. A height would not do: one that was told about, lost and
 * reached again is another, and a reading from in between says nothing about it. */
static uint64_t feed_proof(const struct part *p, const struct feed *f)
{
    return (uint64_t)p->epoch << 32 | f->ckpt_moves;
}

/* This log is an old copy: what it would serve is older than what PostgreSQL has. Nothing is served
 * rather than that. */
static void refuse_partition(struct lane *l, struct part *p, uint64_t ckpt)
{
    fb_buf_put_u16(&l->fx.refused, p->id);
    fb_buf_put_u64(&l->fx.refused, ckpt);
    fb_buf_put_u64(&l->fx.refused, p->last_ver);
    lane_close_partition(l, p->id);
}

void lane_feed_req(struct lane *l, struct feed_dest *dest, const struct fb_feed_req *req)
{
    struct part *p = req->part < l->config.partitions ? l->parts[req->part] : NULL;
    uint16_t nsid = nsid_by_name(l, req->ns, false);
    struct fb_feed_batch b = {
        .part = req->part, .history = req->history, .ns = req->ns, .from_ver = req->from_ver};
    struct fb_buf objects = {0};
    struct feed *f;
    uint64_t prev = req->from_ver, group = 0;
    uint64_t need = 0; /* what has to be on disk before the answer may leave */
    uint64_t safe;
    bool hold;
    uint32_t i,
        max = FB_BATCH_ROWS_MAX - FB_TXN_OPS_MAX; /* a group at the end is given out whole */

    lane_check_writer(l);
    if (req->max != 0 && req->max < max)
        max = req->max;
    b.status = p == NULL || !p->open ? FB_FEED_NOT_PRIMARY
               : nsid == NSID_NONE   ? FB_FEED_NO_NAMESPACE
                                     : FB_FEED_OK;
    if (b.status == FB_FEED_OK && req->mapping != 0 && l->ns[nsid].mapping != 0 &&
        req->mapping != l->ns[nsid].mapping)
        b.status = FB_FEED_NO_NAMESPACE;
    else if (b.status == FB_FEED_OK && req->from_ver > part_seen_ver(p))
        /* of several copies: another node had it committed, and leads by now */
        b.status = p->copy != NULL ? FB_FEED_NOT_PRIMARY : FB_FEED_AHEAD;
    else if (b.status == FB_FEED_OK && req->history > p->history)
        b.status = FB_FEED_RESYNC;
    if (b.status == FB_FEED_OK && part_in_gap(p, req->from_ver)) {
        b.status = FB_FEED_AHEAD;
        refuse_partition(l, p, req->from_ver);
    }
    if (b.status != FB_FEED_OK) {
        answer(l, dest, &b);
        return;
    }
    f = feed_get(p, nsid);
    f->verified_epoch = p->epoch;
    b.history = p->history;
    if (req->from_ver >= f->ckpt) {
        sync_pos(l, p, f, req->from_ver, req->dsafe, 0, 0);
    } else if (req->proof != feed_proof(p, f)) {
        b.status = FB_FEED_BEHIND; /* an old view, or PostgreSQL lost commits: to be read again */
        b.scan_end = f->ckpt;
        b.proof = feed_proof(p, f);
        answer(l, dest, &b);
        return;
    } else {
        feed_regressed(l, p, f, req->from_ver);
    }
    b.purge_ver = f->purge_ver;
    safe = part_safe_ver(p);
    hold = feed_may_hold(l);
    /* A checkpoint passes the versions that newer ones replaced. As long as those are not on disk
     * they can be lost, and what they replaced is then the newest again, passed and never applied
     * (I22). */
    if (f->replaced_ver > safe && !FB_MUTANT(feed_replaced))
        need = f->replaced_ver;
    if (need != 0 && !hold) { /* no room for one more that waits: asked again with the next note */
        b.scan_end = req->from_ver;
        b.last = true;
        answer(l, dest, &b);
        return;
    }
    asked_by(f, feed_asker(l, dest));
    given_again(l, p, f, req->from_ver);
    b.scan_end = safe > req->from_ver ? safe : req->from_ver;
    if (FB_MUTANT(feed_scan_ahead))
        b.scan_end = p->last_ver;
    b.last = true;
    for (i = f->dirty.head; i != SLOT_NONE; i = slab_slot(p->sp, i)->next) {
        const struct object *o = slab_object(p->sp, i);
        struct object_extra *x = slab_slot(p->sp, i)->extra;
        if (o->ver <= req->from_ver)
            continue; /* a tombstone that waits for dsafe */
        if (o->ver > safe && !hold)
            break; /* I20 */
        if ((b.count >= max || objects.n >= FEED_BATCH_BYTES_MAX) && o->ver > group) {
            b.last = false;
            break;
        }
        fb_assert(o->ver > prev); /* I21 */
        prev = o->ver;
        if (x->group_last > group)
            group = x->group_last;
        emit(l, f, o, x, &objects);
        b.count++;
    }
    if (prev > b.scan_end)
        b.scan_end = prev;
    if (prev > f->given_ver)
        f->given_ver = prev;
    b.objects = fb_buf_view(&objects);
    if (b.count > 0 && prev > safe && prev > need)
        need = prev; /* I20 */
    if (need != 0 && !FB_MUTANT(feed_unsynced))
        feed_hold(l, p, dest, &b, need);
    else
        answer(l, dest, &b);
    fb_buf_fini(&objects);
}

void lane_namespace_stats(const struct lane *l, uint32_t ns, struct lane_namespace_stats *out)
{
    lane_check_writer(l);
    *out = (struct lane_namespace_stats){0};
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        const struct part *p = l->parts[i];
        for (uint32_t f = 0; p != NULL && p->open && f < p->feed_cap; f++) {
            const struct feed *feed = p->feeds[f];
            uint64_t now = part_now(l, p), age;
            if (feed == NULL || l->ns[f].conf_index != ns || l->ns[f].conf == NULL)
                continue;
            out->dirty += feed->dirty.count + feed->parked.count;
            out->parked += feed->parked.count;
            age = feed->oldest_ms != 0 && now > feed->oldest_ms ? now - feed->oldest_ms : 0;
            if (age > out->oldest_dirty_age_ms)
                out->oldest_dirty_age_ms = age;
        }
    }
}
