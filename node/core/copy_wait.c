/* Replies of partitions with several copies: none leaves before what it tells of is committed and
 * published, nor when another node may have written since (PROTOCOL 3, 4). */
#include "node/core/copies_impl.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

#define PAYLOAD_POOLED 192u /* bytes: larger ones have memory of their own */
#define TOLD_US 1000u       /* less is not worth the bytes of a reply */

struct copy_wait {
    struct copy_wait *next;
    struct reply_dest *dest;
    uint64_t at;        /* published version that it waits for */
    uint64_t wrote_ver; /* 0: it wrote nothing */
    uint64_t token, since_ns, delay_ns;
    uint32_t epoch;
    uint8_t level, reads;
    bool pooled, asked;
    struct fb_rep rep;
    uint8_t payload[];
};

static struct copy_wait *wait_new(struct copies *s, const struct fb_rep *rep)
{
    bool pooled = rep->payload.n <= PAYLOAD_POOLED;
    struct copy_wait *w = pooled ? s->pool : NULL;

    if (w != NULL)
        s->pool = w->next;
    else
        w = fb_xmalloc(sizeof *w + (pooled ? PAYLOAD_POOLED : rep->payload.n));
    *w = (struct copy_wait){.rep = *rep, .pooled = pooled};
    if (rep->payload.n > 0)
        memcpy(w->payload, rep->payload.p, rep->payload.n);
    w->rep.payload.p = w->payload;
    s->wait_bytes += sizeof *w + rep->payload.n;
    return w;
}

static void wait_free(struct copies *s, struct copy_wait *w, size_t payload)
{
    s->wait_bytes -= sizeof *w + payload;
    if (w->pooled) {
        w->next = s->pool;
        s->pool = w;
    } else {
        free(w);
    }
}

static void append(struct copy_waits *list, struct copy_wait *w)
{
    w->next = NULL;
    if (list->tail != NULL)
        list->tail->next = w;
    else
        list->head = w;
    list->tail = w;
}

static struct copy_wait *take_first(struct copy_waits *list)
{
    struct copy_wait *w = list->head;

    list->head = w->next;
    if (list->head == NULL)
        list->tail = NULL;
    return w;
}

void copy_reply(struct lane *l, struct part *p, struct reply_dest *dest, const struct fb_rep *rep,
                const struct copy_want *want)
{
    struct copy *c = p->copy;
    struct copy_wait *w = wait_new(l->copies, rep);

    w->dest = dest;
    w->wrote_ver = want->wrote_ver;
    w->at = want->need > want->wrote_ver ? want->need : want->wrote_ver;
    if (c->commit.tail != NULL && c->commit.tail->at > w->at)
        w->at = c->commit.tail->at; /* answers leave in order */
    w->level = want->level;
    w->asked = want->asked;
    w->reads = want->reads;
    w->delay_ns = want->delay_ns;
    w->since_ns = l->mono_ns;
    dest->held++;
    append(&c->commit, w);
    copy_due(l, c);
}

/* A copy was lost while the write was under way, and the level that was asked for with it: no
 * success, nor a definite error (I13, I14). */
static void level_missed(struct copy_wait *w)
{
    struct fb_rep *rep = &w->rep;

    if (!w->asked || w->wrote_ver == 0 || rep->type == FB_REP_ERR || rep->level >= w->level ||
        FB_MUTANT(copy_level_missed))
        return;
    rep->type = FB_REP_ERR;
    rep->num = FB_REP_ERR_UNKNOWN;
    rep->payload = fb_bytes_str("it was carried out, and fewer copies have it than were asked for");
}

static void finish(struct lane *l, struct copy_wait *w)
{
    uint64_t waited_ns = l->mono_ns - w->since_ns;
    uint32_t us = (uint32_t)(waited_ns / 1000);
    size_t payload = w->rep.payload.n;

    fb_assert(w->dest->held > 0);
    w->dest->held--;
    level_missed(w);
    if (w->dest->closed) {
        dest_touch(l, w->dest); /* so that the caller sees held reach 0 */
    } else if (w->delay_ns > waited_ns) {
        wait_throttled(l, w->dest, &w->rep, w->delay_ns - waited_ns);
    } else {
        if (us >= w->rep.wait_us && us >= TOLD_US)
            w->rep.wait_on = FB_WAIT_COPIES;
        if (us >= TOLD_US)
            w->rep.wait_us += us;
        reply_now(l, w->dest, &w->rep);
    }
    wait_free(l->copies, w, payload);
}

/* The write is committed: has it reached what was asked for? */
static bool level_reached(const struct copy *c, struct copy_wait *w)
{
    uint8_t level = (uint8_t)replica_level(c->r, w->wrote_ver);

    if (FB_MUTANT(copy_reply_early))
        level = FB_LEVEL_DURABLE;
    if (level == FB_LEVEL_NONE)
        return false;
    w->rep.level = level;
    if (w->level < FB_LEVEL_DURABLE || level >= FB_LEVEL_DURABLE)
        return true;
    /* no other copy counts: the only disk has it, and the answer says that there was just one */
    return level == FB_LEVEL_LOCAL && replica_synced_ver(c->r) >= w->wrote_ver;
}

/* No other node had opened the partition when this was asked, so not when the value was read. */
static bool read_ok(const struct lane *l, const struct copy *c, const struct copy_wait *w)
{
    if (w->reads == FB_READS_STALE || FB_MUTANT(copy_read_unleased))
        return true;
    if (w->reads == FB_READS_LEASE && replica_lease_holds(c->r, l->copies->boot_ns))
        return true;
    return w->token != 0 && replica_read_done(c->r, w->epoch, w->token);
}

static void release_list(struct lane *l, struct copy *c, struct copy_waits *list)
{
    struct copy_wait *w = list->head;

    *list = (struct copy_waits){0};
    while (w != NULL) {
        struct copy_wait *next = w->next;
        if (w->wrote_ver != 0 ? level_reached(c, w) : read_ok(l, c, w))
            finish(l, w);
        else
            append(list, w);
        w = next;
    }
}

void copy_waits_release(struct lane *l, struct copy *c)
{
    if (!c->part->open)
        return;
    if (c->durable.head != NULL)
        release_list(l, c, &c->durable);
    if (c->reads.head != NULL)
        release_list(l, c, &c->reads);
    while (c->commit.head != NULL &&
           (c->commit.head->at <= c->part->tail.ver || FB_MUTANT(copy_reply_early))) {
        struct copy_wait *w = c->commit.head;
        if (w->wrote_ver != 0 && level_reached(c, w)) {
            finish(l, take_first(&c->commit));
        } else if (w->wrote_ver != 0) {
            if (w->level < FB_LEVEL_DURABLE)
                break; /* of the only copy that counts: its fsync is awaited */
            append(&c->durable, take_first(&c->commit));
        } else if (read_ok(l, c, w)) {
            finish(l, take_first(&c->commit));
        } else {
            w->token = replica_read_begin(c->r);
            w->epoch = replica_epoch(c->r);
            l->copies->probing = true;
            append(&c->reads, take_first(&c->commit));
        }
    }
}

static void fail(struct lane *l, struct copy_wait *w)
{
    struct fb_rep rep = {.seq = w->rep.seq, .queue_us = w->rep.queue_us, .type = FB_REP_ERR};

    rep.num = w->wrote_ver != 0 ? FB_REP_ERR_UNKNOWN : FB_REP_ERR_NOT_PRIMARY;
    if (w->wrote_ver != 0)
        rep.payload = fb_bytes_str("another node has taken the partition over; whether it has this "
                                   "write is not known");
    w->dest->held--;
    if (w->dest->closed)
        dest_touch(l, w->dest);
    else
        reply_now(l, w->dest, &rep);
    wait_free(l->copies, w, w->rep.payload.n);
}

void copy_waits_fail(struct lane *l, struct copy *c)
{
    struct copy_waits *lists[] = {&c->commit, &c->durable, &c->reads};

    for (uint32_t i = 0; i < FB_COUNT_OF(lists); i++)
        while (lists[i]->head != NULL)
            fail(l, take_first(lists[i]));
}

void copy_waits_fini(struct copy *c)
{
    struct copy_waits *lists[] = {&c->commit, &c->durable, &c->reads};

    for (uint32_t i = 0; i < FB_COUNT_OF(lists); i++)
        while (lists[i]->head != NULL)
            free(take_first(lists[i]));
}

void copy_pool_fini(struct copies *s)
{
    while (s->pool != NULL) {
        struct copy_wait *w = s->pool;
        s->pool = w->next;
        free(w);
    }
}
