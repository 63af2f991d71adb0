/* The end of a tick: replies, feed data, loads and notes go out, one send a connection. */
#include "node/io/parts.h"

#include "proto/base/clock.h"
#include "proto/base/hash.h"
#include "proto/base/log.h"
#include "proto/base/probe.h"

static void send_or_close(struct peer *p, struct fb_buf *b)
{
    enum fb_status s = fb_conn_send(p->conn, b);
    if (s == FB_OK)
        return;
    if (s == FB_EFULL)
        FB_LOG(WARN, "peer does not read its replies, connection closed",
               FB_KS("peer", fb_conn_peer(p->conn)->name),
               FB_KU("queued_bytes", fb_conn_send_queue_bytes(p->conn)));
    fb_conn_close(p->conn);
    fb_buf_clear(b);
}

/* Replies that were held (loads, levels) are appended by the lane all at once and may outgrow a
 * frame: cut them anew. */
static void split_frame(struct worker *w, struct peer_lane *pl, uint32_t busy_us)
{
    struct fb_buf out = {0};
    struct fb_frame f = {.kind = FB_FRAME_REP, .src_inc = w->node->inc};
    struct fb_reader r;
    uint32_t left = pl->reply.items, items = 0;
    size_t mark, header;

    fb_buf_put(&out, pl->reply.out.p, pl->frame_mark);
    /* where the open frame's tail starts: a frame of nothing tells its header's size */
    header = out.n;
    mark = fb_frame_begin(&out, &f);
    header = out.n - header;
    r = fb_reader(fb_bytes(pl->reply.out.p + pl->frame_mark + header,
                           pl->reply.out.n - pl->frame_mark - header));
    while (left-- > 0) {
        struct fb_rep rep;
        enum fb_status s = fb_rep_decode(&r, &rep);
        fb_assert(s == FB_OK);
        if (items > 0 && out.n - mark + rep.payload.n > FB_FRAME_BYTES_MAX / 4) {
            fb_frame_timing(&out, mark, pl->queue_us, busy_us);
            fb_frame_end(&out, mark, items);
            mark = fb_frame_begin(&out, &f);
            items = 0;
        }
        fb_rep_encode(&out, &rep);
        items++;
    }
    fb_frame_timing(&out, mark, pl->queue_us, busy_us);
    fb_frame_end(&out, mark, items);
    fb_buf_fini(&pl->reply.out);
    pl->reply.out = out;
}

static void flush_replies(struct worker *w, struct lane_effects *e)
{
    uint64_t busy = e->touched != NULL ? (fb_mono_ns() - w->tick_ns) / 1000 : 0;
    uint32_t busy_us = busy < UINT32_MAX ? (uint32_t)busy : UINT32_MAX;

    while (e->touched != NULL) {
        struct reply_dest *d = e->touched;
        struct peer_lane *pl = FB_CONTAINER_OF(d, struct peer_lane, reply);
        struct peer *p = d->owner;
        e->touched = d->next_touched;
        d->touched = false;
        if (d->items == 0)
            continue;
        fb_assert(pl->open);
        FB_PROBE2(ack, w->index, d->items);
        if (d->out.n - pl->frame_mark > FB_FRAME_BYTES_MAX / 2) {
            split_frame(w, pl, busy_us);
        } else {
            fb_frame_timing(&d->out, pl->frame_mark, pl->queue_us, busy_us);
            fb_frame_end(&d->out, pl->frame_mark, d->items);
        }
        pl->queue_us = 0;
        d->items = 0;
        pl->open = false;
        if (d->closed)
            fb_buf_clear(&d->out);
        else
            send_or_close(p, &d->out);
        /* held replies may come at any time: the next frame is always begun */
        (void)worker_dest(w, p);
    }
}

/* A frame is closed at this size: items are bounded each, their sum is not. */
#define FRAME_BYTES_SOFT (FB_FRAME_BYTES_MAX / 8)

/* One item off the reader; they are our own. */
static void skip_item(struct fb_reader *r, enum fb_frame_kind kind)
{
    enum fb_status s = FB_EPROTO;
    if (kind == FB_FRAME_FEED_DATA) {
        struct fb_feed_batch b;
        s = fb_feed_batch_decode(r, &b);
    } else if (kind == FB_FRAME_NOTE) {
        struct fb_feed_note n;
        s = fb_feed_note_decode(r, &n);
    } else if (kind == FB_FRAME_VERDICT_ACK) {
        struct fb_verdict_ack a;
        s = fb_verdict_ack_decode(r, &a);
    }
    fb_assert(s == FB_OK);
}

static void send_items(struct worker *w, struct peer *p, enum fb_frame_kind kind,
                       const struct fb_buf *items, uint32_t count)
{
    struct fb_reader r = fb_reader(fb_buf_view(items));
    for (uint32_t i = 0; i < count;) {
        struct fb_frame f = {.kind = kind, .src_inc = w->node->inc};
        size_t mark;
        uint32_t n = 0;
        fb_buf_clear(&w->scratch);
        mark = fb_frame_begin(&w->scratch, &f);
        do {
            const uint8_t *start = r.p;
            skip_item(&r, kind);
            fb_buf_put(&w->scratch, start, (size_t)(r.p - start));
            n++;
            i++;
        } while (i < count && w->scratch.n < FRAME_BYTES_SOFT);
        fb_frame_end(&w->scratch, mark, n);
        send_or_close(p, &w->scratch);
    }
}

static void flush_feeds(struct worker *w, struct lane_effects *e)
{
    while (e->feeds_touched != NULL) {
        struct feed_dest *d = e->feeds_touched;
        struct peer *p = d->owner;
        e->feeds_touched = d->next_touched;
        d->touched = false;
        if (!d->closed) {
            if (d->batch_count > 0)
                send_items(w, p, FB_FRAME_FEED_DATA, &d->batches, d->batch_count);
            if (d->ack_count > 0)
                send_items(w, p, FB_FRAME_VERDICT_ACK, &d->acks, d->ack_count);
        }
        fb_buf_clear(&d->batches);
        fb_buf_clear(&d->acks);
        d->batch_count = d->ack_count = 0;
    }
}

static size_t loads_begin(struct worker *w)
{
    struct fb_frame f = {.kind = FB_FRAME_LOAD_REQ, .src_inc = w->node->inc};
    fb_buf_clear(&w->scratch);
    return fb_frame_begin(&w->scratch, &f);
}

/* Loads of one object always go to the same of the connected sync processes, so that its batches
 * are full. */
static void flush_loads(struct worker *w, struct lane_effects *e)
{
    const struct fb_nsset *set = w->config ? w->config->state->namespaces : NULL;
    if (w->sync_count == 0 || set == NULL)
        return; /* the lane keeps them and sends again when one connects */
    for (uint32_t s = 0; s < w->sync_count; s++) {
        uint32_t count = 0;
        size_t mark = loads_begin(w);
        for (size_t i = 0; i < e->load_count; i++) {
            const struct lane_load *l = &e->loads[i];
            struct fb_load_req req = {.part = l->part,
                                      .token = l->token,
                                      .ns = fb_bytes_str(set->ns[l->ns].name),
                                      .id = l->id,
                                      .mapping = fb_schema_mapping(&set->ns[l->ns])};
            if ((l->part + l->ns) % w->sync_count != s)
                continue;
            if (w->scratch.n >= FRAME_BYTES_SOFT) {
                fb_frame_end(&w->scratch, mark, count);
                send_or_close(w->syncs[s], &w->scratch);
                mark = loads_begin(w);
                count = 0;
            }
            fb_load_req_encode(&w->scratch, &req);
            count++;
        }
        if (count == 0)
            continue;
        fb_frame_end(&w->scratch, mark, count);
        send_or_close(w->syncs[s], &w->scratch);
    }
}

static void report_refused(struct worker *w, struct lane_effects *e)
{
    struct fb_reader r = fb_reader(fb_buf_view(&e->refused));
    while (r.n > 0) {
        uint16_t part = fb_take_u16(&r);
        uint64_t ckpt = fb_take_u64(&r), ver = fb_take_u64(&r);
        parts_serve(w, part, 0);
        atomic_fetch_add(&w->node->refused_count, 1);
        FB_LOG(ERROR,
               "partition is not served: PostgreSQL has changes that this data directory never "
               "saw; is it an old copy?",
               FB_KU("part", part), FB_KU("checkpoint", ckpt), FB_KU("log_ends", ver),
               FB_KS("data_dir", w->node->dir.path));
    }
}

static void report_regressed(struct lane_effects *e)
{
    struct fb_reader r = fb_reader(fb_buf_view(&e->regressed));
    while (r.n > 0) {
        uint16_t part = fb_take_u16(&r);
        struct fb_bytes ns = fb_take(&r, fb_take_u16(&r));
        uint64_t was = fb_take_u64(&r), now = fb_take_u64(&r), purged = fb_take_u64(&r);
        if (purged > now)
            FB_LOG(ERROR,
                   "PostgreSQL lost more than database_safety says: of this feed versions up to "
                   "`dropped` are not in memory any more, their rows may be old or missing; the "
                   "rest is written again, and nothing is evicted until then",
                   FB_KU("part", part), FB_KB("namespace", ns), FB_KU("checkpoint", now),
                   FB_KU("was", was), FB_KU("dropped", purged));
        else
            FB_LOG(WARN, "PostgreSQL lost commits; what they had is written again",
                   FB_KU("part", part), FB_KB("namespace", ns), FB_KU("checkpoint", now),
                   FB_KU("was", was));
    }
}

void worker_flush(struct worker *w)
{
    struct lane_effects *e = lane_effects(w->lane);
    flush_replies(w, e);
    flush_feeds(w, e);
    if (e->load_count > 0)
        flush_loads(w, e);
    report_refused(w, e);
    report_regressed(e);
    if (e->note_count > 0)
        for (uint32_t s = 0; s < w->sync_count; s++)
            send_items(w, w->syncs[s], FB_FRAME_NOTE, &e->notes, e->note_count);
    lane_effects_clear(w->lane);
}
