/* The scripted world. */
#include "tests/unit/sync/script.h"

#include <stdio.h>
#include <stdlib.h>

static bool quiet_off[FB_NAMESPACES_MAX];
static const struct fb_schema *no_schemas[FB_NAMESPACES_MAX];

struct script *script_new(void)
{
    struct script *s = fb_xcalloc(1, sizeof(*s));
    struct sync_core_config config = {.name = "sync-1", .inc = 7, .lanes = 1, .seed = 42};
    struct fb_err err = {0};

    s->now = 100000;
    s->note_age = 5000;
    fb_assert(fb_nsset_parse("cluster.conf", fb_bytes_str(""), &s->namespaces, NULL, &err) ==
              FB_OK);
    s->core = sync_core_new(&config);
    sync_core_now(s->core, s->now);
    sync_core_configure(s->core, s->namespaces, no_schemas, quiet_off);
    s->node = sync_core_peer_up(s->core, "node-1", 9);
    return s;
}

void script_free(struct script *s)
{
    sync_core_drain(s->core);
    script_settle(s);
    sync_core_free(s->core);
    free(s->namespaces);
    free(s);
}

void script_write(struct script *s, uint16_t part, uint64_t ver, const char *id)
{
    struct script_object *o = &s->objects[part][s->count[part]++];

    fb_assert(s->count[part] <= SCRIPT_OBJECTS);
    o->ver = ver;
    (void)snprintf(o->id, sizeof(o->id), "%s", id);
}

static size_t waiting(const struct script *s, uint16_t part)
{
    size_t n = 0;
    for (size_t i = 0; i < s->count[part]; i++)
        n += s->objects[part][i].ver > s->synced[part];
    return n;
}

void script_note(struct script *s, uint16_t part, uint64_t age_ms, bool due)
{
    struct fb_feed_note n = {.part = part,
                             .epoch = 1,
                             .ns = fb_bytes_str("default"),
                             .dirty = waiting(s, part),
                             .last_ver =
                                 s->count[part] > 0 ? s->objects[part][s->count[part] - 1].ver : 0,
                             .age_ms = age_ms,
                             .due = due};
    sync_core_note(s->core, s->node, &n);
}

/* ---- the node ---- */

static void answer(struct script *s, const struct fb_feed_req *q)
{
    struct fb_buf objects = {0};
    struct fb_feed_batch b = {.part = q->part,
                              .ns = q->ns,
                              .from_ver = q->from_ver,
                              .scan_end = q->from_ver,
                              .last = true};

    s->requests++;
    fb_assert(q->dsafe <= q->from_ver);
    if (q->from_ver < s->knows[q->part] && q->proof != s->knows[q->part]) {
        b.status = FB_FEED_BEHIND;
        b.scan_end = b.proof = s->knows[q->part];
        s->behinds++;
        sync_core_batch(s->core, s->node, &b);
        return;
    }
    if (q->from_ver > s->synced[q->part])
        s->synced[q->part] = q->from_ver;
    if (s->mute)
        return;
    for (size_t i = 0; i < s->count[q->part]; i++) {
        struct script_object *o = &s->objects[q->part][i];
        struct fb_feed_object f = {.ver = o->ver,
                                   .kind = FB_KIND_STRING,
                                   .flags = o->parked ? FB_OBJECT_PARKED : 0,
                                   .id = fb_bytes_str(o->id),
                                   .value = fb_bytes_str("v")};
        if (o->ver <= q->from_ver)
            continue;
        b.scan_end = o->ver;
        if (b.count == q->max) {
            b.last = false;
            continue;
        }
        fb_feed_object_encode(&objects, &f);
        b.count++;
    }
    b.objects = fb_buf_view(&objects);
    sync_core_batch(s->core, s->node, &b);
    fb_buf_fini(&objects);
}

/* A fresh version, as the node makes it. */
static void retry(struct script *s, const struct fb_verdict *v)
{
    struct script_object *o = s->objects[v->part];
    size_t n = s->count[v->part];
    s->retries++;
    for (size_t i = 0; i < n; i++)
        if (o[i].ver == v->ver && o[i].parked) {
            struct script_object again = o[i];
            again.ver = o[n - 1].ver + 1;
            again.parked = false;
            memmove(&o[i], &o[i + 1], (n - 1 - i) * sizeof *o);
            o[n - 1] = again;
            return;
        }
}

static void verdict(struct script *s, const struct fb_verdict *v)
{
    struct fb_verdict_ack ack = {.part = v->part, .id64 = v->id64, .status = s->ack_status};

    if (v->verdict == FB_VERDICT_PARK)
        s->parks++;
    else if (v->verdict == FB_VERDICT_CONFLICT)
        s->conflicts++;
    else if (v->verdict == FB_VERDICT_RETRY)
        retry(s, v);
    for (size_t i = 0; v->verdict == FB_VERDICT_PARK && i < s->count[v->part]; i++)
        if (s->objects[v->part][i].ver == v->ver)
            s->objects[v->part][i].parked = true;
    sync_core_ack(s->core, s->node, &ack);
}

static bool node_turn(struct script *s)
{
    struct fb_buf frames = *sync_core_peer_frames(s->core, s->node);
    struct fb_bytes rest = fb_buf_view(&frames);
    bool moved = rest.n > 0;

    *sync_core_peer_frames(s->core, s->node) = (struct fb_buf){0};
    while (rest.n > 0) {
        struct fb_frame f;
        struct fb_err err;
        struct fb_reader in;
        size_t n;
        fb_assert(fb_frame_size(rest, &n) == FB_OK && n > 0 && n <= rest.n);
        fb_assert(fb_frame_decode(fb_bytes(rest.p, n), &f, &err) == FB_OK);
        rest = fb_bytes(rest.p + n, rest.n - n);
        in = fb_reader(f.tail);
        for (uint32_t i = 0; i < f.count; i++) {
            struct fb_feed_req q;
            struct fb_feed_pos p;
            struct fb_verdict v;
            if (f.kind == FB_FRAME_FEED_REQ) {
                fb_assert(fb_feed_req_decode(&in, &q) == FB_OK);
                answer(s, &q);
            } else if (f.kind == FB_FRAME_FEED_POS) {
                fb_assert(fb_feed_pos_decode(&in, &p) == FB_OK);
                fb_assert(p.ver == s->ckpt[p.part]); /* never told before it is committed */
                s->synced[p.part] = p.ver;
                fb_assert(p.dsafe <= p.ver);
                s->dsafe[p.part] = p.dsafe;
                s->positions++;
            } else {
                fb_assert(fb_verdict_decode(&in, &v) == FB_OK);
                verdict(s, &v);
            }
        }
    }
    fb_buf_fini(&frames);
    return moved;
}

/* ---- the database ---- */

static bool has_parked(const struct pg_batch *b)
{
    for (size_t i = 0; i < b->feed_count; i++)
        for (size_t o = 0; o < b->feeds[i].count; o++)
            if ((b->feeds[i].objects[o].flags & FB_OBJECT_PARKED) != 0)
                return true;
    return false;
}

static bool has(const struct pg_batch *b, const char *id)
{
    for (size_t i = 0; id != NULL && i < b->feed_count; i++)
        for (size_t o = 0; o < b->feeds[i].count; o++)
            if (fb_bytes_is(b->feeds[i].objects[o].id, id))
                return true;
    return false;
}

static bool is_poison(const struct script *s, const struct pg_batch *b,
                      const struct fb_feed_object *o)
{
    return s->poison != NULL && (o->flags & FB_OBJECT_PARKED) == 0 &&
           fb_bytes_is(o->id, s->poison) && !s->needed && !has(b, s->needs);
}

static enum pg_class decide(struct script *s, struct pg_batch *b, struct pg_error *err)
{
    if (s->letters_lost && has_parked(b)) {
        s->letters_lost = false;
        return PG_NO_LETTER;
    }
    if (s->next != PG_OK)
        return s->next;
    for (size_t i = 0; i < b->feed_count; i++) {
        err->feed = (uint32_t)i;
        if (b->feeds[i].prev != s->ckpt[b->feeds[i].part])
            return PG_LOST;
        for (size_t o = 0; o < b->feeds[i].count; o++)
            if (is_poison(s, b, &b->feeds[i].objects[o])) {
                for (size_t k = 0; k < b->feed_count; k++)
                    b->feeds[k].blamed = s->vague || k == i;
                err->feed = s->vague ? 0 : err->feed;
                return s->poison_class;
            }
    }
    return PG_OK;
}

static uint32_t first_parked(const struct pg_feed *f)
{
    for (uint32_t o = 0; o < f->count; o++)
        if ((f->objects[o].flags & FB_OBJECT_PARKED) != 0)
            return o;
    fb_assert(!"no object is parked");
    return 0;
}

static void apply(struct script *s, struct sync_op *op)
{
    struct pg_batch *b = &op->batch;
    size_t rows = 0;

    s->attempts++;
    op->class = decide(s, b, &op->err);
    b->replicated = s->replicated;
    b->sync_cancelled = s->standbys.sync_names && !s->replicated;
    if (op->class == PG_CONFLICT || op->class == PG_NO_LETTER) {
        b->conflicts = fb_xcalloc(1, sizeof(*b->conflicts));
        b->conflict_count = 1;
        if (op->class == PG_NO_LETTER)
            b->conflicts[0].object = first_parked(&b->feeds[0]);
    }
    if (op->class == PG_OK || (op->class == PG_UNKNOWN && s->next_commits)) {
        for (size_t i = 0; i < b->feed_count; i++) {
            fb_assert(b->feeds[i].next > b->feeds[i].prev);
            s->ckpt[b->feeds[i].part] = b->feeds[i].next;
            for (size_t o = 0; o < b->feeds[i].count; o++)
                rows += (b->feeds[i].objects[o].flags & FB_OBJECT_PARKED) == 0;
        }
        s->needed = s->needed || has(b, s->needs);
        s->rows += (uint32_t)rows;
        s->transactions++;
        s->most_rows = rows > s->most_rows ? rows : s->most_rows;
        s->most_feeds = b->feed_count > s->most_feeds ? b->feed_count : s->most_feeds;
    }
    s->next = PG_OK;
    s->last_feeds = b->feed_count;
    s->last_lock_wait_ms = b->lock_wait_ms;
}

static bool database_turn(struct script *s)
{
    struct sync_op *op = sync_core_take_op(s->core, 0);

    if (op == NULL)
        return false;
    op->err.feed = UINT32_MAX;
    (void)snprintf(op->err.sqlstate, sizeof(op->err.sqlstate), "22P02");
    (void)snprintf(op->err.message, sizeof(op->err.message), "scripted");
    if (s->down) {
        op->class = PG_OUTAGE;
    } else if (op->kind == SYNC_OP_ATTACH) {
        for (uint16_t p = 0; p < SCRIPT_PARTS; p++)
            if (s->ckpt[p] > 0)
                sync_op_add_checkpoint(op, p, "default", 0, s->ckpt[p]);
        op->standbys = s->standbys;
    } else if (op->kind == SYNC_OP_BARRIER) {
        op->batch.replicated = s->replicated;
        op->batch.sync_cancelled = !s->replicated;
        s->barriers++;
    } else if (op->kind == SYNC_OP_APPLY) {
        apply(s, op);
    } else if (op->kind == SYNC_OP_PARK) {
        if (s->park_lost > 0) {
            s->park_lost--;
            op->class = PG_LOST;
        } else {
            s->dead_letters++;
        }
    }
    op->err.class = op->class;
    sync_core_result(s->core, op);
    free(op->batch.conflicts);
    sync_op_free(op);
    return true;
}

void script_settle(struct script *s)
{
    struct sync_event e;
    bool moved = true;

    while (moved) {
        sync_core_step(s->core);
        moved = node_turn(s);
        moved = database_turn(s) || moved;
        while (sync_core_take_event(s->core, &e))
            s->events[e.kind]++;
    }
}

void script_pass(struct script *s, uint64_t ms)
{
    uint64_t end = s->now + ms;

    while (s->now < end) {
        s->now += 10;
        sync_core_now(s->core, s->now);
        for (uint16_t p = 0; s->now % 1000 == 0 && p < SCRIPT_PARTS; p++)
            if (waiting(s, p) > 0)
                script_note(s, p, s->note_age, false);
        script_settle(s);
    }
}

void script_fill(struct script *s, uint16_t part, uint64_t first_ver, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%u/%llu", part, (unsigned long long)(first_ver + i));
        script_write(s, part, first_ver + i, id);
    }
}
