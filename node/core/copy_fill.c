/* A learner that needs more than is kept to be sent gets all there is: a snapshot, slice by slice,
 * then the records behind it (PROTOCOL 8). Its log says so, so that half a copy is none after a
 * restart, and a whole one is as good as the records it stands for. */
#include "node/core/copies_impl.h"

#include "proto/base/mutant.h"

#define SLICE_BYTES_MAX ((size_t)256 << 10)
/* A member that was only slow is added again in less, and then needs less than all; and a
 * connection that is silent for half as long is made anew, so that no primary takes for received
 * what goes. */
#define DROP_NS (UINT64_C(10000) * 1000 * 1000)
#define ANSWER_NS (UINT64_C(3000) * 1000 * 1000) /* the learner may not know yet that it is one */

void part_wipe(struct lane *l, struct part *p)
{
    uint32_t used = atomic_load_explicit(&p->sp->used, memory_order_relaxed);

    fb_assert(!p->open && p->pending_n == 0);
    for (uint32_t i = 0; i < used; i++) {
        struct object *o = slab_object(p->sp, i);
        if (o != NULL)
            part_remove(l, p, o);
    }
    for (uint32_t i = 0; i < p->feed_cap; i++) {
        struct feed *f = p->feeds[i];
        if (f == NULL)
            continue;
        fb_assert(f->dirty.count == 0 && f->waits.head == NULL);
        f->ckpt = f->dsafe = f->purge_ver = f->gone_ver = f->replaced_ver = f->oldest_ms = 0;
        f->rewritten_n = 0;
        f->announced = f->due = false;
    }
    fb_buf_clear(&p->tail.bytes);
    p->tail.head = 0;
    p->tail.ver = p->tail.ptime = p->tail.filling = p->tail.dead_ver = 0;
    p->gap_n = 0;
    p->last_ver = p->snapshot_ver = p->group_end = 0;
    p->unsorted = false;
    log_mark_cut(l, p, 0);
}

static void begin(struct lane *l, struct copy *c)
{
    struct copy_out *o = &c->out;

    if (!replica_copy_wanted(c->r, &o->node, &o->inc) ||
        !lane_snapshot_begin(l, c->part->id, &o->snapshot))
        return;
    replica_copy_begin(c->r, o->node, o->inc);
    o->going = true;
    o->awaited = false;
    o->slice = 0;
}

static uint32_t items_of(struct fb_bytes items)
{
    struct fb_reader in = fb_reader(items);
    struct fb_record r;
    uint32_t n = 0;

    while (in.n > 0 && fb_record_decode(&in, &r) == FB_OK)
        n++;
    return n;
}

void copy_fill(struct lane *l, struct copy *c)
{
    struct copy_out *o = &c->out;
    struct copies *s = l->copies;
    const struct replica_node *n;
    size_t bytes = s->tail_bytes / 16; /* the ring has to last until the copy is there */

    if (o->going && !replica_copying(c->r, o->node, o->inc))
        o->going = false;
    if (o->going && o->awaited && s->boot_ns - o->sent_ns > ANSWER_NS) {
        replica_copy_stop(c->r, o->node, o->inc);
        o->going = false;
    }
    if (!o->going)
        begin(l, c);
    if (!o->going || o->awaited)
        return;
    n = replica_node_at(s->rl, o->node);
    if (n->busy || n->appends.n >= REPLICA_SEND_BYTES)
        return;
    lane_snapshot_slice(l, &o->snapshot, &s->slice,
                        bytes < SLICE_BYTES_MAX ? bytes : SLICE_BYTES_MAX);
    o->awaited = true;
    o->sent_ns = s->boot_ns;
    replica_copy_send(c->r, o->node, ++o->slice, o->snapshot.start_ver, o->snapshot.done,
                      fb_buf_view(&s->slice), items_of(fb_buf_view(&s->slice)));
    fb_buf_clear(&s->slice);
    fb_buf_shrink(&s->slice, SLICE_BYTES_MAX * 2);
}

void copy_fill_acked(struct lane *l, struct copy *c, uint16_t node, uint64_t inc, uint64_t slice)
{
    struct copy_out *o = &c->out;

    if (!o->going || !o->awaited || o->node != node || o->inc != inc || o->slice != slice)
        return; /* of one that was given up */
    o->awaited = false;
    if (o->snapshot.done) {
        o->going = false;
        replica_copy_end(c->r, node, inc, o->snapshot.start_ver);
    } else {
        copy_fill(l, c);
    }
}

void copy_drop(struct lane *l, struct copy *c)
{
    struct part *p = c->part;
    uint64_t now = l->copies->boot_ns;

    if (c->unnamed_ns == 0 || now < c->unnamed_ns + DROP_NS ||
        (p->last_ver == 0 && p->tail.filling == 0) || !replica_unneeded(c->r, now - DROP_NS))
        return;
    part_wipe(l, p);
    c->first = c->n = 0;
    replica_dropped(c->r);
    log_tail_note(l, p, LOG_NOTE_WIPED);
    c->noted_ver = 0;
}

static bool slice_begins(struct lane *l, struct copy *c, const struct fb_append *m)
{
    struct part *p = c->part;

    if (m->prev != 1)
        return p->tail.filling + 1 == m->prev && p->tail.filling != 0;
    part_wipe(l, p);
    c->first = c->n = 0;
    replica_wiped(c->r);
    log_tail_note(l, p, LOG_NOTE_COPY);
    return true;
}

enum fb_status copy_fill_take(struct lane *l, struct copy *c, uint16_t node, uint64_t src_inc,
                              const struct fb_append *m)
{
    struct part *p = c->part;
    struct fb_err err;
    enum fb_status st;
    bool take;

    st = replica_recv_copy(l->copies->rl, node, src_inc, m, l->copies->boot_ns, &take);
    copy_settle(l, c);
    if (st != FB_OK || !take || !slice_begins(l, c, m))
        return st;
    if (items_of(m->records) != m->count ||
        lane_recover_snapshot(l, p->id, m->records, &err) != FB_OK || p->tail.ver != m->com_ver)
        return FB_EPROTO; /* it stays half a copy */
    p->tail.filling = m->prev;
    p->tail.kept = true;
    fb_buf_put_bytes(&l->fx.log, m->records);
    log_mark(l, p);
    if (m->flags & FB_APPEND_COPY_END) {
        snapshot_sort(p);
        p->tail.filling = 0;
        log_tail_note(l, p, LOG_NOTE_COPY_END);
        replica_installed(c->r, p->last_ver);
        c->noted_ver = p->tail.ver;
    }
    c->took_slice = m->prev;
    copy_due(l, c);
    return FB_OK;
}
