/* Appending to the log: the only place that gives out versions. */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

void log_mark(struct lane *l, struct part *p)
{
    if (p->tick_seq == l->fx.log_seq)
        return;
    p->tick_seq = l->fx.log_seq;
    if (l->mark_n == l->mark_cap) {
        if (l->mark_first > l->mark_n / 2) {
            memmove(l->marks, l->marks + l->mark_first,
                    (l->mark_n - l->mark_first) * sizeof *l->marks);
            l->mark_n -= l->mark_first;
            l->mark_first = 0;
        } else {
            l->mark_cap = l->mark_cap ? l->mark_cap * 2 : 64;
            l->marks = fb_xrealloc(l->marks, l->mark_cap * sizeof *l->marks);
        }
    }
    l->marks[l->mark_n++] = (struct synced_mark){.log_seq = l->fx.log_seq, .part = p->id};
}

void log_mark_cut(struct lane *l, struct part *p, uint64_t ver)
{
    for (size_t i = l->mark_first; i < l->mark_n; i++)
        if (l->marks[i].part == p->id && l->marks[i].ver > ver)
            l->marks[i].ver = ver;
    if (p->synced_ver > ver)
        p->synced_ver = ver;
}

void log_record(struct lane *l, struct part *p, struct fb_record *r)
{
    uint64_t now = FB_MUTANT(ptime_back) ? l->wall_ms : part_now(l, p);
    size_t at;

    r->part = p->id;
    r->prev = p->last_ver;
    if (r->type == FB_RECORD_EPOCH_START) {
        r->ver = fb_ver(p->epoch, 0);
    } else {
        fb_assert(fb_ver_epoch(p->last_ver) == p->epoch);
        fb_assert(fb_ver_counter(p->last_ver) < FB_VER_COUNTER_MAX);
        r->ver = p->last_ver + 1;
    }
    fb_assert(r->ver > r->prev);
    fb_assert(now >= p->ptime); /* I30 */
    r->ptime_ms = p->ptime = now;
    at = l->log_to->n;
    fb_record_encode(l->log_to, r);
    p->last_ver = r->ver;
    log_mark(l, p);
    if (p->copy != NULL && l->log_to == &l->fx.log)
        copy_logged(l, p, r->ver, r->prev, fb_bytes(l->fx.log.p + at, l->fx.log.n - at));
    STAT_ADD(l, records, 1);
}
