/* One feed's way from the first note to a batch in hand. */
#include "proto/base/hash.h"
#include "sync/core/state.h"

#include <stdlib.h>

struct feed *sync_feed_get(struct sync_core *s, struct sync_ns *ns, uint16_t part)
{
    struct feed *f = ns->feeds[part];

    fb_assert(part < FB_PARTITIONS_MAX);
    if (f != NULL)
        return f;
    f = fb_xcalloc(1, sizeof(*f));
    f->ns = ns;
    f->part = part;
    f->lane = (uint32_t)(fb_hash64(ns->name, strlen(ns->name), part) % s->config.lanes);
    f->peer = SYNC_PEER_NONE;
    ns->feeds[part] = f;
    return f;
}

struct feed *sync_feed_find(struct sync_core *s, struct fb_bytes name, uint16_t part)
{
    struct sync_ns *ns = sync_ns_find(s, name);
    return ns == NULL || part >= FB_PARTITIONS_MAX ? NULL : ns->feeds[part];
}

static void unlink_feed(struct sync_lane *l, struct feed *f)
{
    *(f->prev != NULL ? &f->prev->next : &l->head) = f->next;
    *(f->next != NULL ? &f->next->prev : &l->tail) = f->prev;
    f->prev = f->next = NULL;
}

/* IDLE feeds are on no list; a feed that waits again goes to the end of its lane's. */
void sync_feed_state(struct sync_core *s, struct feed *f, enum feed_state state)
{
    struct sync_lane *l = &s->lanes[f->lane];

    if (f->state == FEED_ASKED) {
        fb_assert(l->asked > 0);
        l->asked--;
    }
    if (state == FEED_ASKED)
        l->asked++;
    if (f->state != FEED_IDLE && (state == FEED_IDLE || state == FEED_WAITING))
        unlink_feed(l, f);
    if ((f->state == FEED_IDLE || state == FEED_WAITING) && state != FEED_IDLE) {
        f->prev = l->tail;
        f->next = NULL;
        *(l->tail != NULL ? &l->tail->next : &l->head) = f;
        l->tail = f;
    }
    if (f->state == FEED_IDLE && state != FEED_IDLE)
        f->ns->active++;
    else if (f->state != FEED_IDLE && state == FEED_IDLE)
        f->ns->active--;
    f->state = state;
    if (state == FEED_IDLE || state == FEED_WAITING) {
        sync_feed_drop_batch(f);
        f->stray = false;
    }
}

void sync_feed_drop_batch(struct feed *f)
{
    fb_buf_clear(&f->bytes);
    fb_buf_shrink(&f->bytes, 64u << 10);
    f->count = f->first = f->bad = f->taken = 0;
    f->last = false;
    f->acks = 0;
}

void sync_feed_again(struct sync_core *s, struct feed *f, uint64_t delay)
{
    f->until = s->now + delay;
    if (f->not_before > f->until)
        f->until = f->not_before;
    sync_feed_state(s, f, FEED_WAITING);
}

void sync_feed_back_off(struct sync_core *s, struct feed *f)
{
    f->not_before = s->now + sync_backoff(s, &f->backoff, FEED_BACKOFF_MIN, FEED_BACKOFF_MAX);
    sync_feed_again(s, f, 0);
}

bool sync_feed_may_run(const struct sync_core *s, const struct feed *f)
{
    const struct sync_ns *ns = f->ns;

    if (s->draining || ns->cfg == NULL || ns->paused || s->now < ns->not_before)
        return false;
    return !ns->cfg->mapped || (ns->schema != NULL && ns->schema->problem[0] == '\0');
}

static bool ours(const struct sync_core *s, const struct feed *f, uint64_t age_ms)
{
    uint32_t rank = sync_feed_rank((const char(*)[FB_NAME_BYTES_MAX + 1]) s->members,
                                   s->member_count, s->config.name, f->part, f->ns->name);
    return rank == 0 || age_ms >= f->ns->cfg->sync_interval_ms + (uint64_t)rank * TAKEOVER_GRACE;
}

void sync_core_note(struct sync_core *s, uint32_t peer, const struct fb_feed_note *note)
{
    struct sync_ns *ns = sync_ns_find(s, note->ns);
    uint64_t age = note->age_ms < s->now ? note->age_ms : s->now, due;
    struct feed *f;

    if (ns == NULL || ns->cfg == NULL || note->part >= FB_PARTITIONS_MAX)
        return;
    f = sync_feed_get(s, ns, note->part);
    if (note->epoch < f->epoch)
        return; /* a deposed primary */
    f->epoch = note->epoch;
    f->history = note->history;
    f->dirty = note->dirty;
    f->oldest_ms = s->now - age;
    f->hurry = f->hurry || note->due;
    f->last_ver = note->last_ver;
    if (f->state != FEED_IDLE && f->peer != peer) {
        /* The partition moved; what the old primary was asked is void. */
        if (f->state == FEED_APPLYING || f->state == FEED_PARKING)
            f->stray = true;
        else
            sync_feed_state(s, f, FEED_IDLE);
    }
    f->peer = peer;
    if (f->state == FEED_IDLE && ((note->dirty == 0 && !note->due) || !ours(s, f, note->age_ms))) {
        f->ckpt_known = false; /* others move it */
        return;
    }
    due = f->oldest_ms + ns->cfg->sync_interval_ms;
    if (note->due || due < s->now)
        due = s->now;
    if (due < f->not_before)
        due = f->not_before;
    if (f->state == FEED_IDLE) {
        f->until = due;
        sync_feed_state(s, f, FEED_WAITING);
    } else if (f->state == FEED_WAITING && due < f->until) {
        f->until = due;
    }
}

void sync_feed_ask(struct sync_core *s, struct feed *f, uint32_t max)
{
    struct fb_feed_req req = {.part = f->part,
                              .history = f->history,
                              .ns = fb_bytes_str(f->ns->name),
                              .from_ver = f->ckpt,
                              .max = max,
                              .mapping = f->ns->mapping,
                              .dsafe = f->dsafe,
                              .proof = f->proof};
    struct fb_buf *out = sync_peer_item(s, f->peer, FB_FRAME_FEED_REQ);

    fb_assert(f->state == FEED_WAITING && f->ckpt_known && max > 0);
    if (out == NULL) {
        sync_feed_state(s, f, FEED_IDLE); /* its node is gone; the next one tells */
        return;
    }
    fb_feed_req_encode(out, &req);
    f->hurry = false;
    f->until = s->now + ASK_TIMEOUT;
    sync_feed_state(s, f, FEED_ASKED);
}

void sync_feed_timeouts(struct sync_core *s, struct sync_lane *l)
{
    struct feed *next;

    for (struct feed *f = l->head; f != NULL; f = next) {
        next = f->next;
        if ((f->state == FEED_ASKED || f->state == FEED_VERDICT) && s->now >= f->until)
            sync_feed_back_off(s, f);
    }
}

void sync_feeds_forget_checkpoints(struct sync_core *s)
{
    for (size_t i = 0; i < s->ns_count; i++)
        for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++)
            if (s->ns[i]->feeds[p] != NULL && s->ns[i]->feeds[p]->state == FEED_IDLE)
                s->ns[i]->feeds[p]->ckpt_known = false;
}

/* An object without id and value: what a batch says it has is believed only as far as it can be. */
#define FEED_OBJECT_BYTES_MIN 46u

/* Copy and check the objects: strictly increasing within (from, scan_end]. NULL or what is wrong.
 */
static const char *take_objects(struct feed *f, const struct fb_feed_batch *b)
{
    struct fb_reader in;
    uint64_t ver = b->from_ver;

    if (b->count > FB_BATCH_ROWS_MAX || b->count > b->objects.n / FEED_OBJECT_BYTES_MIN)
        return "more objects than any batch may have";
    if (b->count > f->cap) {
        f->objects = fb_xrealloc(f->objects, b->count * sizeof(*f->objects));
        f->cap = b->count;
    }
    fb_buf_put_bytes(&f->bytes, b->objects);
    in = fb_reader(fb_buf_view(&f->bytes));
    for (uint32_t i = 0; i < b->count; i++) {
        struct fb_feed_object *o = &f->objects[i];
        if (fb_feed_object_decode(&in, o) != FB_OK)
            return "an object is malformed";
        if (o->ver <= ver || o->ver > b->scan_end)
            return "versions are not in order";
        if (o->id.n > FB_KEY_BYTES_MAX || o->value.n > FB_VALUE_BYTES_MAX || o->kind > FB_KIND_HASH)
            return "an object breaks a limit";
        ver = o->ver;
    }
    if (in.n > 0)
        return "bytes after the last object";
    f->count = b->count;
    return NULL;
}

static void feed_refused(struct sync_core *s, struct feed *f, const struct fb_feed_batch *b)
{
    uint8_t status = b->status;

    switch (status) {
    case FB_FEED_NOT_PRIMARY:
        sync_feed_state(s, f, FEED_IDLE); /* whoever leads it sends a note */
        return;
    case FB_FEED_RESYNC:
    case FB_FEED_AHEAD:
        /* Once with a fresh checkpoint: ours may be old because another process moved it. */
        if (f->resynced)
            sync_event_put(s, status == FB_FEED_AHEAD ? SYNC_EVENT_AHEAD : SYNC_EVENT_RESYNC, f,
                           f->ckpt, "");
        f->resynced = true;
        f->ckpt_known = false;
        break;
    case FB_FEED_BEHIND:
        f->behind = b->scan_end;
        f->proof = b->proof;
        f->behind_mark = s->op_number;
        f->ckpt_known = false;
        break;
    default:
        break;
    }
    sync_feed_back_off(s, f);
}

void sync_core_batch(struct sync_core *s, uint32_t peer, const struct fb_feed_batch *b)
{
    struct feed *f = sync_feed_find(s, b->ns, b->part);
    const char *wrong;

    if (f == NULL || f->state != FEED_ASKED || f->peer != peer || b->from_ver != f->ckpt)
        return; /* the answer to something given up */
    if (b->status != FB_FEED_OK) {
        feed_refused(s, f, b);
        return;
    }
    wrong = take_objects(f, b);
    if (wrong != NULL) {
        sync_event_put(s, SYNC_EVENT_BAD_BATCH, f, b->from_ver, wrong);
        sync_feed_back_off(s, f);
        return;
    }
    f->resynced = false;
    f->batch_history = b->history;
    f->scan_end = b->scan_end;
    f->last = b->last;
    if (f->count > 0) {
        sync_feed_state(s, f, FEED_HAVE);
    } else {
        f->dirty = 0;
        f->backoff = 0;
        sync_feed_state(s, f, FEED_IDLE);
    }
}
