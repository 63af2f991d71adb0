/* Frames of sync processes, sorted out by lane. */
#include "node/io/worker.h"

#include "proto/base/log.h"

#define DECODE(name, m) (fb_##name##_decode(&r, &(m)) == FB_OK)

void worker_sync_items(struct worker *w, struct peer *p, enum fb_frame_kind kind,
                       struct fb_bytes items, uint32_t count)
{
    struct fb_reader r = fb_reader(items);
    struct feed_dest *d = &p->lane[w->index].feed;

    if (d->closed)
        return;
    for (uint32_t i = 0; i < count; i++) {
        bool ok = false;
        switch (kind) {
        case FB_FRAME_FEED_REQ: {
            struct fb_feed_req m;
            ok = DECODE(feed_req, m);
            if (ok)
                lane_feed_req(w->lane, d, &m);
            break;
        }
        case FB_FRAME_FEED_POS: {
            struct fb_feed_pos m;
            ok = DECODE(feed_pos, m);
            if (ok)
                lane_feed_pos(w->lane, &m);
            break;
        }
        case FB_FRAME_LOAD_REP: {
            struct fb_load_rep m;
            ok = DECODE(load_rep, m);
            if (ok)
                lane_load_reply(w->lane, &m);
            break;
        }
        case FB_FRAME_VERDICT: {
            struct fb_verdict m;
            ok = DECODE(verdict, m);
            if (ok)
                lane_verdict(w->lane, d, &m);
            break;
        }
        default:
            break;
        }
        fb_assert(ok); /* decoded once already in worker_sync_frame */
    }
}

/* Partition of the next item and its bytes; false when malformed. */
static bool next_item(struct fb_reader *in, enum fb_frame_kind kind, uint16_t *part,
                      struct fb_bytes *bytes)
{
    struct fb_reader r = *in;
    bool ok = false;
    switch (kind) {
    case FB_FRAME_FEED_REQ: {
        struct fb_feed_req m = {0};
        ok = DECODE(feed_req, m);
        *part = m.part;
        break;
    }
    case FB_FRAME_FEED_POS: {
        struct fb_feed_pos m = {0};
        ok = DECODE(feed_pos, m);
        *part = m.part;
        break;
    }
    case FB_FRAME_LOAD_REP: {
        struct fb_load_rep m = {0};
        ok = DECODE(load_rep, m) && m.status <= FB_LOAD_REFUSED && m.kind <= FB_KIND_HASH &&
             (m.status != FB_LOAD_FOUND || m.kind != FB_KIND_HASH || fb_hash_valid(m.value));
        *part = m.part;
        break;
    }
    case FB_FRAME_VERDICT: {
        struct fb_verdict m = {0};
        ok = DECODE(verdict, m) && m.verdict >= FB_VERDICT_PARK &&
             m.verdict <= FB_VERDICT_DISCARD && m.kind <= FB_KIND_HASH &&
             (m.kind != FB_KIND_HASH || fb_hash_valid(m.value));
        *part = m.part;
        break;
    }
    default:
        break;
    }
    *bytes = fb_bytes(in->p, (size_t)(r.p - in->p));
    *in = r;
    return ok;
}

void worker_sync_frame(struct worker *w, struct peer *p, const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);

    for (uint32_t i = 0; i < f->count; i++) {
        struct fb_bytes item;
        uint16_t part = 0;
        uint32_t lane;
        if (!next_item(&r, f->kind, &part, &item) || part >= w->node->partitions) {
            FB_LOG(WARN, "malformed message of a sync process, connection closed",
                   FB_KS("kind", fb_frame_kind_name(f->kind)),
                   FB_KS("peer", fb_conn_peer(p->conn)->name));
            fb_conn_close(p->conn);
            break;
        }
        lane = node_lane_of(w->node, part);
        if (lane == w->index) {
            worker_sync_items(w, p, f->kind, item, 1);
        } else {
            fb_buf_put_bytes(&w->forward[lane], item);
            w->forward_count[lane]++;
        }
    }
    for (uint32_t i = 0; i < w->node->worker_count; i++) {
        struct job *j;
        if (w->forward_count[i] == 0)
            continue;
        j = job_new(JOB_FEED);
        j->peer = p;
        atomic_fetch_add(&p->refs, 1);
        j->frame_kind = f->kind;
        j->items = w->forward[i];
        j->count = w->forward_count[i];
        w->forward[i] = (struct fb_buf){0};
        w->forward_count[i] = 0;
        worker_post(w->node->workers[i], j);
    }
}
