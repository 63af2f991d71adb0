/* Answers to a sync process that wait for an fsync, in batches and acks. An object that is
 * rewritten all the time never has its newest version on disk, so a feed that gave out only what is
 * synced by now would pass it over for ever: the batch is made of the newest versions and held
 * until the disk has them (I20), and those that replaced what the batch's checkpoint passes (I22).
 * A checkpoint passes a refused object, too, as soon as its PARK is acked: if that could be lost,
 * nothing would tell that the object has to be written. */
#include "node/core/lane_impl.h"

#include <stdlib.h>

struct held_answer {
    struct held_answer *next;
    struct feed_dest *dest;
    struct part *part;
    uint32_t epoch;
    uint64_t need; /* part_safe_ver that releases it */
    bool is_ack;
    struct fb_verdict_ack ack;
    struct fb_feed_batch batch;
    struct fb_buf bytes; /* namespace, then objects: what the views of batch show */
    size_t ns_bytes;
};

bool feed_may_hold(const struct lane *l)
{
    return l->held_n < FEED_HELD_MAX && l->held_bytes < FEED_HELD_BYTES_MAX;
}

static struct held_answer *hold(struct lane *l, struct part *p, struct feed_dest *dest,
                                uint64_t need)
{
    struct held_answer *h = fb_xcalloc(1, sizeof *h), **at = &l->held;
    *h = (struct held_answer){.dest = dest, .part = p, .epoch = p->epoch, .need = need};
    while (*at != NULL)
        at = &(*at)->next;
    *at = h;
    dest->held++;
    l->held_n++;
    l->fx.sync_wanted = true;
    return h;
}

void feed_hold(struct lane *l, struct part *p, struct feed_dest *dest,
               const struct fb_feed_batch *b, uint64_t need)
{
    struct held_answer *h = hold(l, p, dest, need);
    h->batch = *b;
    h->ns_bytes = b->ns.n;
    fb_buf_put_bytes(&h->bytes, b->ns);
    fb_buf_put_bytes(&h->bytes, b->objects);
    l->held_bytes += h->bytes.n;
}

void feed_hold_ack(struct lane *l, struct part *p, struct feed_dest *dest,
                   const struct fb_verdict_ack *a)
{
    struct held_answer *h = hold(l, p, dest, a->ver);
    h->is_ack = true;
    h->ack = *a;
}

void feed_ack(struct lane *l, struct feed_dest *dest, const struct fb_verdict_ack *a)
{
    if (dest->closed)
        return;
    fb_verdict_ack_encode(&dest->acks, a);
    dest->ack_count++;
    feed_dest_touch(l, dest);
}

static void release_ack(struct lane *l, struct held_answer *h)
{
    if (!h->part->open || h->part->epoch != h->epoch)
        h->ack.status = FB_EAGAIN;
    feed_ack(l, h->dest, &h->ack);
}

static void release_batch(struct held_answer *h)
{
    struct feed_dest *dest = h->dest;
    h->batch.ns = fb_bytes(h->bytes.p, h->ns_bytes);
    h->batch.objects = fb_bytes(h->bytes.p + h->ns_bytes, h->bytes.n - h->ns_bytes);
    if (!h->part->open || h->part->epoch != h->epoch) {
        h->batch.status = FB_FEED_NOT_PRIMARY;
        h->batch.objects.n = 0;
        h->batch.count = 0;
    }
    if (!dest->closed) {
        fb_feed_batch_encode(&dest->batches, &h->batch);
        dest->batch_count++;
    }
}

static void release(struct lane *l, struct held_answer *h)
{
    if (h->is_ack)
        release_ack(l, h);
    else
        release_batch(h);
    fb_assert(h->dest->held > 0);
    h->dest->held--;
    feed_dest_touch(l, h->dest); /* closed: so that the caller sees held reach 0 */
}

static void held_free(struct lane *l, struct held_answer *h)
{
    l->held_n--;
    l->held_bytes -= h->bytes.n;
    fb_buf_fini(&h->bytes);
    free(h);
}

void feed_held_synced(struct lane *l)
{
    struct held_answer **at = &l->held;
    while (*at != NULL) {
        struct held_answer *h = *at;
        if (h->part->open && h->part->epoch == h->epoch && part_safe_ver(h->part) < h->need) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        release(l, h);
        held_free(l, h);
    }
}

void feed_held_fini(struct lane *l)
{
    while (l->held != NULL) {
        struct held_answer *h = l->held;
        l->held = h->next;
        held_free(l, h);
    }
}
