/* Nodes: their connections as the core sees them, and the frames that wait for them. */
#include "sync/core/state.h"

#include <stdio.h>

uint32_t sync_core_peer_up(struct sync_core *s, const char *name, uint64_t inc)
{
    uint32_t i;

    for (i = 0; i < s->peer_count && strcmp(s->peers[i]->name, name) != 0; i++)
        ;
    if (i == s->peer_count) {
        /* A name that is down and forgotten by the map makes room for a new one. */
        if (s->peer_count < FB_NODES_MAX)
            s->peers[s->peer_count++] = fb_xcalloc(1, sizeof(struct sync_peer));
        else
            for (i = 0; i < s->peer_count && s->peers[i]->up; i++)
                ;
        if (i == s->peer_count)
            return SYNC_PEER_NONE;
        (void)snprintf(s->peers[i]->name, sizeof(s->peers[i]->name), "%s", name);
    }
    if (s->peers[i]->up)
        sync_core_peer_down(s, i);
    s->peers[i]->inc = inc;
    s->peers[i]->up = true;
    return i;
}

void sync_core_peer_down(struct sync_core *s, uint32_t peer)
{
    struct sync_peer *p = s->peers[peer];

    fb_assert(peer < s->peer_count);
    p->up = false;
    p->open = FRAME_KIND_NONE;
    fb_buf_clear(&p->out);
    for (uint32_t l = 0; l < s->config.lanes; l++) {
        struct feed *next;
        for (struct feed *f = s->lanes[l].head; f != NULL; f = next) {
            next = f->next;
            if (f->peer != peer)
                continue;
            /* What PostgreSQL is doing goes on to its end; the rest is told again when somebody
             * leads the partition. */
            if (f->state == FEED_APPLYING || f->state == FEED_PARKING)
                f->stray = true;
            else
                sync_feed_state(s, f, FEED_IDLE);
        }
    }
}

static void close_frame(struct sync_peer *p)
{
    if (p->open == FRAME_KIND_NONE)
        return;
    fb_frame_end(&p->out, p->mark, p->items);
    p->open = FRAME_KIND_NONE;
}

struct fb_buf *sync_peer_item(struct sync_core *s, uint32_t peer, enum fb_frame_kind kind)
{
    struct sync_peer *p;

    if (peer >= s->peer_count || !s->peers[peer]->up)
        return NULL;
    p = s->peers[peer];
    if (p->open != (uint32_t)kind || p->out.n - p->mark > FRAME_SOFT_BYTES) {
        struct fb_frame f = {.kind = kind, .src_inc = s->config.inc, .dst_inc = p->inc};
        close_frame(p);
        p->mark = fb_frame_begin(&p->out, &f);
        p->open = (uint32_t)kind;
        p->items = 0;
    }
    p->items++;
    return &p->out;
}

struct fb_buf *sync_core_peer_frames(struct sync_core *s, uint32_t peer)
{
    fb_assert(peer < s->peer_count);
    close_frame(s->peers[peer]);
    return &s->peers[peer]->out;
}

uint32_t sync_core_peer_count(const struct sync_core *s)
{
    return s->peer_count;
}
