/* Frames of other nodes, sorted out by lane; what the lane has for them (peers.h). */
#include "node/io/peers.h"

#include "node/core/copies.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdlib.h>

/* A node that has so much to read gets acknowledgements only. */
#define BUSY_BYTES (8u << 20)

/* Every worker for itself: the newest connection is the one that counts. */
void peers_opened(struct worker *w, struct peer *p)
{
    struct peer_lane *pl = &p->lane[w->index];
    const struct fb_hello *hello = fb_conn_peer(p->conn);
    struct peer *old;

    if (pl->linked || pl->reply.closed)
        return;
    pl->linked = true;
    pl->node = lane_node(w->lane, hello->name);
    if (pl->node == REPLICA_NODE_NONE) {
        fb_conn_close(p->conn);
        return;
    }
    old = w->links[pl->node];
    if (old != NULL)
        fb_conn_close(old->conn);
    w->links[pl->node] = p;
    lane_boot_now(w->lane, fb_boot_ns());
    lane_node_up(w->lane, pl->node, hello->inc);
}

void peers_closed(struct worker *w, struct peer *p)
{
    struct peer_lane *pl = &p->lane[w->index];

    if (!pl->linked || pl->node == REPLICA_NODE_NONE || w->links[pl->node] != p)
        return;
    w->links[pl->node] = NULL;
    lane_node_down(w->lane, pl->node);
}

struct item {
    uint16_t part;
    union {
        struct fb_append append;
        struct fb_append_ack ack;
        struct fb_replica_hello hello;
    } u;
};

static enum fb_status take(struct fb_reader *r, enum fb_frame_kind kind, struct item *item)
{
    enum fb_status s;

    if (kind == FB_FRAME_APPEND) {
        s = fb_append_decode(r, &item->u.append);
        item->part = item->u.append.part;
    } else if (kind == FB_FRAME_APPEND_ACK) {
        s = fb_append_ack_decode(r, &item->u.ack);
        item->part = item->u.ack.part;
    } else {
        s = fb_replica_hello_decode(r, &item->u.hello);
        item->part = item->u.hello.part;
    }
    return s;
}

static bool receive(struct worker *w, struct peer *p, enum fb_frame_kind kind,
                    const struct item *item)
{
    uint16_t node = p->lane[w->index].node;
    uint64_t inc = fb_conn_peer(p->conn)->inc;
    enum fb_status s;

    if (node == REPLICA_NODE_NONE || w->links[node] != p)
        return true; /* of a connection that was replaced: nothing sent is taken for received */
    if (kind == FB_FRAME_APPEND)
        s = lane_recv_append(w->lane, node, inc, &item->u.append);
    else if (kind == FB_FRAME_APPEND_ACK)
        s = lane_recv_ack(w->lane, node, inc, &item->u.ack);
    else
        s = lane_recv_hello(w->lane, node, inc, &item->u.hello);
    worker_relieve(w);
    return s == FB_OK;
}

static void refuse(struct peer *p, enum fb_frame_kind kind)
{
    FB_LOG(WARN, "a node says what no node says, connection closed",
           FB_KS("kind", fb_frame_kind_name(kind)), FB_KS("peer", fb_conn_peer(p->conn)->name));
    fb_conn_close(p->conn);
}

void peers_items(struct worker *w, struct peer *p, enum fb_frame_kind kind, struct fb_bytes items,
                 uint32_t count)
{
    struct fb_reader r = fb_reader(items);

    if (p->lane[w->index].reply.closed || w->stop)
        return;
    peers_opened(w, p);
    for (uint32_t i = 0; i < count; i++) {
        struct item item;
        enum fb_status s = take(&r, kind, &item);
        fb_assert(s == FB_OK); /* decoded once already, by the worker it came in at */
        if (!receive(w, p, kind, &item)) {
            refuse(p, kind);
            return;
        }
    }
}

void peers_frame(struct worker *w, struct peer *p, const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);

    peers_opened(w, p);
    if (f->src_inc != fb_conn_peer(p->conn)->inc || f->dst_inc != w->node->inc)
        return; /* from or for another process of that name */
    for (uint32_t i = 0; i < f->count; i++) {
        const uint8_t *start = r.p;
        struct item item;
        uint32_t lane;
        if (take(&r, f->kind, &item) != FB_OK || item.part >= w->node->partitions) {
            refuse(p, f->kind);
            break;
        }
        lane = node_lane_of(w->node, item.part);
        if (lane != w->index) {
            worker_forward(w, lane, fb_bytes(start, (size_t)(r.p - start)));
        } else if (!receive(w, p, f->kind, &item)) {
            refuse(p, f->kind);
            break;
        }
    }
    worker_hand_over(w, p, JOB_REPLICA, f->kind, 0);
}

void peers_busy(struct worker *w)
{
    for (uint32_t i = 0; i < lane_node_count(w->lane); i++)
        if (w->links[i] != NULL)
            lane_node_at(w->lane, (uint16_t)i)->busy =
                fb_conn_send_queue_bytes(w->links[i]->conn) > BUSY_BYTES;
}

static void put_frame(struct worker *w, enum fb_frame_kind kind, uint64_t dst_inc,
                      const struct fb_buf *items, uint32_t count)
{
    struct fb_frame f = {.kind = kind, .src_inc = w->node->inc, .dst_inc = dst_inc};
    size_t mark;

    if (count == 0)
        return;
    mark = fb_frame_begin(&w->scratch, &f);
    fb_buf_put_bytes(&w->scratch, fb_buf_view(items));
    fb_frame_end(&w->scratch, mark, count);
}

void peers_send(struct worker *w)
{
    for (uint32_t i = 0; i < lane_node_count(w->lane); i++) {
        struct replica_node *o = lane_node_at(w->lane, (uint16_t)i);
        struct peer *p = w->links[i];
        if (o->append_n + o->ack_n + o->hello_n == 0)
            continue;
        if (p != NULL) {
            fb_buf_clear(&w->scratch);
            put_frame(w, FB_FRAME_APPEND, o->inc, &o->appends, o->append_n);
            put_frame(w, FB_FRAME_APPEND_ACK, o->inc, &o->acks, o->ack_n);
            put_frame(w, FB_FRAME_REPLICA_HELLO, o->inc, &o->hellos, o->hello_n);
            /* full, or gone: what it misses it is asked for after the next connection */
            if (fb_conn_send(p->conn, &w->scratch) != FB_OK)
                fb_conn_close(p->conn);
        }
        lane_node_sent(w->lane, (uint16_t)i);
    }
}
