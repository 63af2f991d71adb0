/* WAIT and WAITAOF: how many other copies have all that was written before the question. */
#include "node/core/copies_impl.h"

#include <stdlib.h>

struct count_wait {
    struct count_wait *next;
    struct reply_dest *dest;
    uint64_t ver;         /* the newest when it was asked */
    uint64_t deadline_ns; /* UINT64_MAX: waits for ever */
    int64_t wanted;
    uint32_t seq, queue_us, epoch;
    uint16_t part;
    bool on_disk, here;
};

static int64_t copies_with(const struct part *p, const struct count_wait *w)
{
    return p->copy == NULL ? 0 : replica_copies(p->copy->r, w->ver, w->on_disk);
}

/* Of what is not committed yet, those who have it are not known yet. */
static bool committed(const struct part *p, const struct count_wait *w)
{
    return p->copy == NULL || replica_com_ver(p->copy->r) >= w->ver;
}

/* True: answered, or nobody is there any more. */
static bool count_answer(struct lane *l, struct count_wait *w)
{
    const struct part *p = l->parts[w->part];
    struct fb_rep rep = {.seq = w->seq, .queue_us = w->queue_us, .type = FB_REP_INT};
    bool here = p->synced_ver >= w->ver;

    if (w->dest->closed) {
        dest_touch(l, w->dest); /* so that the caller sees held reach 0 */
        return true;
    }
    if (!p->open || p->epoch != w->epoch) {
        rep.type = FB_REP_ERR; /* definite: it is asked again where it is led now */
        rep.num = FB_REP_ERR_NOT_PRIMARY;
        reply_now(l, w->dest, &rep);
        return true;
    }
    rep.num = copies_with(p, w);
    rep.level = here ? FB_LEVEL_DURABLE : FB_LEVEL_LOCAL;
    if ((!committed(p, w) || rep.num < w->wanted || (w->here && !here)) &&
        l->mono_ns < w->deadline_ns)
        return false;
    reply_now(l, w->dest, &rep);
    return true;
}

void count_run(struct lane *l)
{
    struct count_wait **at = &l->counts;

    while (*at != NULL) {
        struct count_wait *w = *at;
        if (!count_answer(l, w)) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->dest->held--;
        free(w);
    }
}

void count_request(struct lane *l, struct reply_dest *dest, struct part *p,
                   const struct fb_req *req)
{
    struct count_wait *w = fb_xmalloc(sizeof *w);
    uint64_t ms = req->b > 0 ? (uint64_t)req->b : 0;

    *w = (struct count_wait){.next = l->counts,
                             .dest = dest,
                             .ver = p->last_ver,
                             .deadline_ns = UINT64_MAX,
                             .wanted = req->a,
                             .seq = req->seq,
                             .queue_us = l->queue_us,
                             .epoch = p->epoch,
                             .part = p->id,
                             .on_disk = (req->flags & (FB_REQ_DISK | FB_REQ_HERE)) != 0,
                             .here = (req->flags & FB_REQ_HERE) != 0};
    if (ms > 0 && ms < (UINT64_MAX - l->mono_ns) / 1000000)
        w->deadline_ns = l->mono_ns + ms * 1000000;
    if (w->on_disk && p->synced_ver < w->ver)
        l->fx.sync_wanted = true;
    l->counts = w;
    dest->held++;
    if (p->copy == NULL)
        count_run(l); /* the log is written before this leaves */
}

void count_fini(struct lane *l)
{
    while (l->counts != NULL) {
        struct count_wait *w = l->counts;
        l->counts = w->next;
        free(w);
    }
}
