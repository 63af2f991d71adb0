/* What the replica stream does to a partition of the lane: records taken and cut off, leading and
 * following, commits; the end of a tick. */
#include "node/core/copies_impl.h"

#include "proto/base/mutant.h"

/* `bytes` less are left of the log's tail, which ends at `ver` now. */
static void ends_cut(struct copy *c, uint64_t ver, size_t bytes)
{
    while (bytes > 0 && c->n > c->first) {
        struct tick_end *e = &c->ends[c->n - 1];
        size_t n = e->bytes < bytes ? e->bytes : bytes;
        e->bytes -= n;
        bytes -= n;
        if (e->bytes == 0)
            c->n--;
        else
            e->ver = ver;
    }
}

static void copy_cut(struct lane *l, struct copy *c, uint64_t ver)
{
    struct part *p = c->part;
    size_t before = p->tail.bytes.n;

    log_tail_cut(p, ver);
    ends_cut(c, ver, before - p->tail.bytes.n);
    log_mark_cut(l, p, ver);
    p->last_ver = ver;
}

/* A refusal of PostgreSQL that was not committed: who leads now is told again. */
static void unpark_all(struct lane *l, struct part *p)
{
    struct fb_reader in =
        fb_reader(fb_bytes(p->tail.bytes.p + p->tail.head, p->tail.bytes.n - p->tail.head));
    struct fb_record r;

    while (in.n > 0 && fb_record_decode(&in, &r) == FB_OK) {
        struct object *o;
        struct object_extra *x;
        if (r.type != FB_RECORD_PARK)
            continue;
        o = store_find_own(l->store, r.key, object_hash(r.key));
        x = o == NULL || o->ver != r.obj_ver ? NULL : slot_extra(p, o);
        if (x != NULL && x->list == LIST_DIRTY && (object_flags(o) & OBJECT_PARKED))
            part_unpark(l, o, x);
    }
}

/* What its feeds gave out is another's to hear of from now on. */
static void feeds_down(struct lane *l, struct part *p)
{
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        struct feed *f = p->feeds[i];
        if (f == NULL)
            continue;
        for (uint32_t s = f->dirty.head; s != SLOT_NONE; s = slab_slot(p->sp, s)->next) {
            struct object_extra *x = slab_slot(p->sp, s)->extra;
            if (x->emitted_ver != 0)
                maybe_applied(x, x->emitted_ver, x->emitted_kind);
            x->emitted_ver = 0;
            x->rewritten = false;
            x->changed_since_feed = x->changed;
        }
        f->rewritten_n = 0;
        f->announced = f->due = false;
        synced_apply(l, p, f, f->ckpt, 0, false);
    }
}

static void copy_down(struct lane *l, struct copy *c)
{
    struct part *p = c->part;
    bool was_open = p->open;
    uint64_t held_ns = copy_hold_end(l, c);

    copy_read_until(l, p, 0);
    if (was_open)
        part_close(l, p);
    pending_drop(l, p);
    unpark_all(l, p);
    if (was_open)
        feeds_down(l, p);
    copy_waits_fail(l, c);
    copy_count_own(l, c);
    if (was_open)
        copy_event(
            l, &(struct lane_copy_event){
                   .part = p->id, .kind = LANE_COPY_CLOSED, .epoch = p->epoch, .held_ns = held_ns});
}

/* After each call that may change who leads, in the order in which things happened. */
void copy_settle(struct lane *l, struct copy *c)
{
    uint32_t fx = replica_fx_take(c->r, REPLICA_FX_DOWN | REPLICA_FX_CUT | REPLICA_FX_LEAD);

    if (fx & REPLICA_FX_DOWN)
        copy_down(l, c);
    if (fx & REPLICA_FX_CUT)
        copy_cut(l, c, replica_cut_to(c->r));
    if ((fx & REPLICA_FX_LEAD) && replica_role(c->r) == REPLICA_CLOSED) {
        part_epoch_start(l, c->part, replica_epoch(c->r), replica_history(c->r));
        copy_count_own(l, c);
    }
    copy_due(l, c);
}

/* What recovery would refuse is not taken from a node either. */
static bool records_fit(struct lane *l, const struct fb_append *m)
{
    struct fb_reader in = fb_reader(m->records);

    while (in.n > 0) {
        struct fb_record r;
        if (fb_record_decode(&in, &r) != FB_OK || record_wrong(l, &r) != NULL)
            return false;
    }
    return true;
}

static void took(struct lane *l, struct copy *c, struct fb_bytes records)
{
    struct fb_reader in = fb_reader(records);
    struct part *p = c->part;

    while (in.n > 0) {
        const uint8_t *from = in.p;
        struct fb_record r;
        enum fb_status st = fb_record_decode(&in, &r);
        fb_assert(st == FB_OK);
        log_tail_push(p, fb_bytes(from, (size_t)(in.p - from)));
        p->last_ver = r.ver;
        if (r.ptime_ms > p->ptime)
            p->ptime = r.ptime_ms;
        if (r.type == FB_RECORD_EPOCH_START)
            p->history = r.history;
        copy_log_end(l, c, r.ver, r.ptime_ms, (size_t)(in.p - from));
        STAT_ADD(l, records, 1);
    }
    log_mark(l, p);
}

/* The copy a message is about, NULL: nothing has said yet that this node has one. */
static struct copy *addressed(struct lane *l, uint16_t part)
{
    return part < l->config.partitions && l->parts[part] != NULL ? l->parts[part]->copy : NULL;
}

enum fb_status lane_recv_append(struct lane *l, uint16_t node, uint64_t src_inc,
                                const struct fb_append *m)
{
    struct copy *c;
    enum fb_status st;
    size_t at;

    lane_check_writer(l);
    if (m->part >= l->config.partitions || ((m->flags & FB_APPEND_COPY) == 0 && !records_fit(l, m)))
        return FB_EPROTO;
    c = addressed(l, m->part);
    if (c == NULL)
        return FB_OK;
    if (m->flags & FB_APPEND_COPY)
        return copy_fill_take(l, c, node, src_inc, m);
    if (c->part->tail.filling != 0 && m->count > 0) { /* it has all that is needed after all */
        part_wipe(l, c->part);
        log_tail_note(l, c->part, LOG_NOTE_WIPED);
    }
    at = l->fx.log.n;
    st = replica_recv_append(l->copies->rl, node, src_inc, m, &l->fx.log, l->copies->boot_ns);
    copy_settle(l, c);
    if (l->fx.log.n > at)
        took(l, c, fb_bytes(l->fx.log.p + at, l->fx.log.n - at));
    return st;
}

enum fb_status lane_recv_ack(struct lane *l, uint16_t node, uint64_t src_inc,
                             const struct fb_append_ack *m)
{
    struct copy *c;
    enum fb_status st;

    lane_check_writer(l);
    c = addressed(l, m->part);
    if (c == NULL)
        return FB_OK;
    if (m->status == FB_APPEND_COPIED) {
        if (replica_recv_copied(l->copies->rl, node, src_inc, m, l->copies->boot_ns))
            copy_fill_acked(l, c, node, src_inc, m->acked_ver);
        copy_settle(l, c);
        return FB_OK;
    }
    st = replica_recv_ack(l->copies->rl, node, src_inc, m, l->copies->boot_ns);
    copy_settle(l, c);
    return st;
}

enum fb_status lane_recv_hello(struct lane *l, uint16_t node, uint64_t src_inc,
                               const struct fb_replica_hello *m)
{
    struct copy *c;
    enum fb_status st;

    lane_check_writer(l);
    c = addressed(l, m->part);
    if (c == NULL)
        return FB_OK;
    st = replica_recv_hello(l->copies->rl, node, src_inc, m, l->copies->boot_ns);
    copy_settle(l, c);
    return st;
}

/* What is committed is published: by ticks where this node wrote it, else record by record. */
static void advance(struct lane *l, struct copy *c)
{
    struct part *p = c->part;
    uint64_t com = FB_MUTANT(copy_publish_early) ? p->last_ver : replica_com_ver(c->r);
    size_t before = p->tail.bytes.n - p->tail.head, bytes;

    if (p->open) {
        while (c->n > c->first && c->ends[c->first].ver <= com) {
            const struct tick_end *e = &c->ends[c->first++];
            log_tail_drop(p, e->bytes, e->ver, e->ptime);
            copy_committed(l->copies, e);
        }
    } else {
        log_tail_apply(l, p, com, false);
        bytes = before - (p->tail.bytes.n - p->tail.head);
        while (bytes > 0 && c->n > c->first) {
            struct tick_end *e = &c->ends[c->first];
            size_t n = e->bytes < bytes ? e->bytes : bytes;
            e->bytes -= n;
            bytes -= n;
            if (e->bytes == 0)
                c->first++;
        }
    }
    if (c->first == c->n)
        c->first = c->n = 0;
}

static void feeds_tell(struct lane *l, struct part *p)
{
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        struct feed *f = p->feeds[i];
        if (f != NULL && f->dirty.count > 0 && (!f->announced || f->due))
            feed_note(l, p, f);
    }
}

static void look(struct lane *l, struct copy *c)
{
    struct part *p = c->part;
    uint32_t fx = replica_fx(c->r);

    copy_settle(l, c);
    advance(l, c);
    if ((fx & REPLICA_FX_OPENED) && replica_role(c->r) == REPLICA_OPEN) {
        fb_assert(p->tail.ver >= fb_ver(p->epoch, 0)); /* I9: its start is committed */
        part_outdated(l, p);
        part_open(l, p);
        copy_event(l, &(struct lane_copy_event){
                          .part = p->id, .kind = LANE_COPY_OPENED, .epoch = p->epoch});
    }
    if (fx & REPLICA_FX_CAS) {
        struct lane_copy_event e = {.part = p->id, .kind = LANE_COPY_CAS, .epoch = p->epoch};
        e.change = *replica_cas_event(c->r, &e.rev);
        copy_event(l, &e);
    }
    if (fx & REPLICA_FX_SYNC)
        l->fx.sync_wanted = true;
}

void lane_copies_written(struct lane *l)
{
    struct copies *s = l->copies;
    struct copy *due, *c;
    uint32_t published;
    bool any;

    lane_check_writer(l);
    s->probing = false;
    replica_flush(s->rl, s->boot_ns);
    replica_written(s->rl, s->boot_ns);
    for (struct replica *r = replica_touched(s->rl, NULL); r != NULL; r = replica_touched(s->rl, r))
        if (l->parts[replica_part(r)]->copy != NULL)
            copy_due(l, l->parts[replica_part(r)]->copy);
    due = s->due;
    s->due = NULL;
    any = due != NULL;
    for (c = due; c != NULL; c = c->next_due) {
        c->due = true; /* it stands in this list until the end */
        look(l, c);
    }
    published = pending_publish(l);
    while (due != NULL) {
        c = due;
        due = c->next_due;
        c->due = false;
        c->next_due = NULL;
        if (c->took_slice != 0)
            replica_copy_ack(c->r, c->took_slice);
        c->took_slice = 0;
        copy_count_own(l, c);
        if (!c->part->open)
            continue;
        copy_read_until(l, c->part, replica_lease_until(c->r));
        copy_waits_release(l, c);
        feeds_tell(l, c->part);
        copy_hold(l, c);
    }
    count_run(l);
    replica_fx_clear(s->rl);
    if (any)
        feed_held_synced(l);
    if (l->reconcile_due)
        reconcile_soon(l);
    if (published > 0)
        evict_tick(l, published * 4 + 16);
}
