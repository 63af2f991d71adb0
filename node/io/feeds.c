/* Frames of sync processes, sorted out by lane. */
#include "node/io/worker.h"

#include "node/core/message.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

void worker_sync_items(struct worker *w, struct peer *p, enum fb_frame_kind kind,
                       struct fb_bytes items, uint32_t count)
{
    struct fb_reader r = fb_reader(items);
    struct feed_dest *d = &p->lane[w->index].feed;

    if (d->closed)
        return;
    for (uint32_t i = 0; i < count; i++)
        lane_message(w->lane, d, kind, &r);
}

void worker_sync_frame(struct worker *w, struct peer *p, const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);

    for (uint32_t i = 0; i < f->count; i++) {
        struct fb_bytes item;
        uint16_t part = 0;
        uint32_t lane;
        if (!lane_message_next(&r, f->kind, &part, &item) || part >= w->node->partitions) {
            FB_LOG(WARN, "malformed message of a sync process, connection closed",
                   FB_KS("kind", fb_frame_kind_name(f->kind)),
                   FB_KS("peer", fb_conn_peer(p->conn)->name));
            fb_conn_close(p->conn);
            break;
        }
        lane = node_lane_of(w->node, part);
        if (lane == w->index)
            worker_sync_items(w, p, f->kind, item, 1);
        else
            worker_forward(w, lane, item);
    }
    worker_hand_over(w, p, JOB_FEED, f->kind, 0);
}

void worker_clock_frame(struct worker *w, const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);
    uint64_t ms = fb_take_u64(&r);

    if (r.bad || ms > INT64_MAX)
        return;
    atomic_store_explicit(&w->node->db_clock_ms, (int64_t)ms - (int64_t)(fb_mono_ns() / 1000000),
                          memory_order_relaxed);
}
