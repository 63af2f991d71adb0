/* What the result of an operation means for its feeds (PROTOCOL 11, errors by SQLSTATE). */
#include "proto/base/mutant.h"
#include "sync/core/state.h"

#include "proto/base/probe.h"

#include <stdio.h>
#include <stdlib.h>

static struct feed *feed_of(struct sync_core *s, const struct pg_feed *p)
{
    struct feed *f = sync_feed_find(s, fb_bytes_str(p->ns->name), p->part);
    fb_assert(f != NULL);
    return f;
}

static void note_error(struct sync_ns *ns, const struct pg_error *err)
{
    (void)snprintf(ns->last_error, sizeof(ns->last_error), "%s%s%s", err->sqlstate,
                   err->sqlstate[0] ? " " : "", err->remark);
}

/* The batch stays in hand for another try, unless its node went away meanwhile. */
static void keep(struct sync_core *s, struct feed *f)
{
    sync_feed_state(s, f, f->stray ? FEED_IDLE : FEED_HAVE);
}

void sync_lane_outage(struct sync_core *s, uint32_t lane, const char *why)
{
    struct sync_lane *l = &s->lanes[lane];

    l->state = LANE_DOWN;
    l->not_before = s->now + sync_backoff(s, &l->backoff, OUTAGE_BACKOFF_MIN, OUTAGE_BACKOFF_MAX);
    if (s->db_up || !s->db_said)
        sync_event_put(s, SYNC_EVENT_DB_DOWN, NULL, 0, why);
    s->db_up = false;
    s->db_said = true;
}

void sync_core_db_answers(struct sync_core *s)
{
    for (uint32_t i = 0; i < s->config.lanes; i++) {
        struct sync_lane *l = &s->lanes[i];
        if (l->state != LANE_DOWN)
            continue;
        l->backoff = 0;
        l->not_before = s->now;
    }
}

void sync_feed_tell(struct sync_core *s, struct feed *f, uint64_t xid)
{
    struct fb_buf *out = sync_peer_item(s, f->peer, FB_FRAME_FEED_POS);
    struct fb_feed_pos pos = {.part = f->part,
                              .history = f->batch_history,
                              .ns = fb_bytes_str(f->ns->name),
                              .ver = FB_MUTANT(position_ahead) ? f->scan_end : f->ckpt,
                              .dsafe = f->dsafe,
                              .xid = xid};
    FB_PROBE2(ack, f->part, f->ckpt);
    if (out != NULL)
        fb_feed_pos_encode(out, &pos);
}

static uint64_t send_verdict(struct sync_core *s, struct feed *f, struct fb_verdict *v)
{
    struct fb_buf *out = sync_peer_item(s, f->peer, FB_FRAME_VERDICT);

    v->part = f->part;
    v->ns = fb_bytes_str(f->ns->name);
    v->id64 = ++s->verdicts;
    if (out != NULL)
        fb_verdict_encode(out, v);
    return v->id64;
}

void sync_ns_works(struct sync_core *s, struct sync_ns *ns)
{
    if (ns->stopped)
        sync_event_ns(s, SYNC_EVENT_NAMESPACE_BACK, ns, "");
    ns->stopped = false;
    ns->backoff = 0;
    ns->not_before = 0;
    ns->last_error[0] = '\0';
}

static void committed(struct sync_core *s, struct feed *f)
{
    struct sync_ns *ns = f->ns;

    f->backoff = 0;
    f->not_before = 0;
    f->lost = 0;
    f->held = false;
    ns->rows += f->taken;
    ns->batches++;
    sync_ns_works(s, ns);
    f->dirty = f->dirty > f->taken ? f->dirty - f->taken : 0;
    f->bad = f->bad > f->taken ? f->bad - f->taken : 0;
    f->first += f->taken;
    f->taken = 0;
    if (f->stray) {
        sync_feed_state(s, f, FEED_IDLE);
    } else if (f->first < f->count) {
        sync_feed_state(s, f, FEED_HAVE);
    } else {
        bool more = !f->last || (f->hurry && f->last_ver > f->ckpt);
        f->solo = false;
        f->fk_since = 0;
        if (more)
            sync_feed_again(s, f, 0);
        else
            sync_feed_state(s, f, FEED_IDLE);
    }
}

/* Rows as PostgreSQL stored them go back to the node; nothing waits for it. */
static void send_refreshes(struct sync_core *s, const struct pg_batch *b)
{
    for (size_t i = 0; i < b->refresh_count; i++) {
        const struct pg_conflict *r = &b->refreshes[i];
        const struct pg_feed *p = &b->feeds[r->feed];
        struct fb_verdict v = {.verdict = FB_VERDICT_REFRESH,
                               .id = p->objects[r->object].id,
                               .ver = p->objects[r->object].ver,
                               .kind = r->kind,
                               .xmin = r->xmin,
                               .value = fb_bytes(b->bytes.p + r->value_at, r->value_n)};
        fb_assert(r->feed < b->feed_count && r->object < p->count);
        (void)send_verdict(s, feed_of(s, p), &v);
    }
}

/* What failed as a whole: one feed to a transaction first, then halves of it, then the one object.
 */
static void isolate(struct sync_core *s, struct feed *f, const struct pg_error *err, bool alone)
{
    f->solo = true;
    f->park = *err;
    if (FB_MUTANT(park_any))
        f->bad = 1;
    else if (alone)
        f->bad = f->taken;
    keep(s, f);
}

/* How many feeds had a row in the statement that failed; 0: it was none of a feed's. */
static size_t count_blamed(const struct pg_batch *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->feed_count; i++)
        n += b->feeds[i].blamed;
    return n;
}

/* The other side of the reference may be on its way in another feed. What else is in the
 * transaction goes first, as it may bring it; only then is it worth looking at each feed alone.
 * False: it was waited for long enough. */
static bool wait_for_other_side(struct sync_core *s, struct feed *f, bool alone, bool others)
{
    bool first = f->fk_since == 0;

    if (first)
        f->fk_since = s->now;
    if (s->now - f->fk_since >= f->ns->cfg->fk_wait_ms)
        return false;
    f->solo = f->solo || !(first && others);
    if (alone || (first && others))
        sync_feed_back_off(s, f);
    else
        keep(s, f);
    return true;
}

static void refused_row(struct sync_core *s, struct pg_batch *b, const struct pg_error *err)
{
    size_t blamed = count_blamed(b);
    bool alone = b->feed_count == 1, others = blamed > 0 && blamed < b->feed_count;

    for (size_t i = 0; i < b->feed_count; i++) {
        struct feed *f = feed_of(s, &b->feeds[i]);
        if (blamed > 0 && !b->feeds[i].blamed) {
            keep(s, f);
            continue;
        }
        note_error(f->ns, err);
        if (err->class != PG_FOREIGN_KEY || !wait_for_other_side(s, f, alone, others))
            isolate(s, f, err, alone);
    }
}

static void stop_namespace(struct sync_core *s, struct sync_ns *ns, const struct pg_error *err)
{
    ns->not_before =
        s->now + sync_backoff(s, &ns->backoff, NAMESPACE_BACKOFF_MIN, NAMESPACE_BACKOFF_MAX);
    note_error(ns, err);
    if (!ns->stopped)
        sync_event_ns(s, SYNC_EVENT_NAMESPACE_STOPPED, ns, ns->last_error);
    ns->stopped = true;
}

static void refused_namespace(struct sync_core *s, struct pg_batch *b, const struct pg_error *err)
{
    const struct pg_feed *blamed = err->feed < b->feed_count ? &b->feeds[err->feed] : NULL;
    bool one = true;

    for (size_t i = 1; i < b->feed_count; i++)
        one = one && b->feeds[i].ns == b->feeds[0].ns;
    if (blamed == NULL && one)
        blamed = &b->feeds[0];
    if (blamed != NULL)
        stop_namespace(s, feed_of(s, blamed)->ns, err);
    for (size_t i = 0; i < b->feed_count; i++) {
        struct feed *f = feed_of(s, &b->feeds[i]);
        f->held = f->held || b->feeds[i].blamed;
        if (blamed == NULL)
            f->solo = true; /* which one it was shows when each goes alone */
        if (blamed != NULL && b->feeds[i].ns == blamed->ns && !f->stray)
            sync_feed_again(s, f, f->ns->not_before - s->now);
        else
            keep(s, f);
    }
}

/* Another process moved a checkpoint: read them again; a feed that is lost twice belongs to
 * somebody else. */
static void lost(struct sync_core *s, struct pg_batch *b, const struct pg_error *err)
{
    for (size_t i = 0; i < b->feed_count; i++) {
        struct feed *f = feed_of(s, &b->feeds[i]);
        if (err->feed != i && err->feed < b->feed_count) {
            keep(s, f);
            continue;
        }
        f->ckpt_known = false;
        if (b->feed_count == 1 || err->feed == i) {
            f->lost++;
            f->ns->lost++;
            sync_event_put(s, SYNC_EVENT_LOST, f, f->ckpt, err->remark);
        }
        if (f->lost >= 2)
            sync_feed_back_off(s, f);
        else
            sync_feed_again(s, f, 0);
    }
    s->lanes[feed_of(s, &b->feeds[0])->lane].want_attach = true;
}

/* What the batch met is for the node to decide: a conflict is resolved there as a new version, and
 * what was parked, with its letter lost by a fail-over, is tried again as one. */
static void ask_node(struct sync_core *s, struct pg_batch *b, uint8_t verdict)
{
    for (size_t i = 0; i < b->feed_count; i++) {
        struct feed *f = feed_of(s, &b->feeds[i]);
        f->acks = 0;
        f->park_acked = false;
        f->verdict_first = s->verdicts + 1;
        for (size_t c = 0; c < b->conflict_count; c++) {
            const struct pg_conflict *r = &b->conflicts[c];
            struct fb_verdict v = {.verdict = verdict};
            if (r->feed != i)
                continue;
            fb_assert(r->object < b->feeds[i].count);
            v.id = b->feeds[i].objects[r->object].id;
            v.ver = b->feeds[i].objects[r->object].ver;
            v.kind = r->kind;
            v.xmin = r->xmin;
            v.value = fb_bytes(b->bytes.p + r->value_at, r->value_n);
            f->verdict_last = send_verdict(s, f, &v);
            if (f->acks == f->verdict_cap) {
                f->verdict_cap = f->verdict_cap == 0 ? 16 : f->verdict_cap * 2;
                f->verdict_object =
                    fb_xrealloc(f->verdict_object, f->verdict_cap * sizeof(*f->verdict_object));
            }
            f->verdict_object[f->acks] = r->object;
            f->acks++;
        }
        if (f->acks == 0) {
            keep(s, f);
            continue;
        }
        if (verdict == FB_VERDICT_CONFLICT)
            f->ns->conflicts += f->acks;
        sync_event_put(s,
                       verdict == FB_VERDICT_CONFLICT ? SYNC_EVENT_CONFLICT : SYNC_EVENT_NO_LETTER,
                       f, f->acks, "");
        f->until = s->now + ACK_TIMEOUT;
        sync_feed_state(s, f, f->stray ? FEED_IDLE : FEED_VERDICT);
    }
}

void sync_apply_outcome(struct sync_core *s, struct sync_op *op)
{
    struct pg_batch *b = &op->batch;
    struct sync_lane *l = &s->lanes[op->lane];

    if (op->class != PG_RETRY)
        l->not_before = 0;
    if ((FB_MUTANT(unknown_done) && op->class == PG_UNKNOWN) ||
        (FB_MUTANT(lost_done) && op->class == PG_LOST) ||
        (FB_MUTANT(conflict_done) && op->class == PG_CONFLICT))
        op->class = PG_OK;
    switch (op->class) {
    case PG_OK:
        s->stats.transactions++;
        s->stats.rows_updated += b->rows_updated;
        s->stats.rows_inserted += b->rows_inserted;
        s->stats.rows_deleted += b->rows_deleted;
        l->backoff = 0;
        /* Positions before refreshes: a refresh is about a version that is synced. */
        s->stats.unconfirmed += b->sync_cancelled;
        for (size_t i = 0; i < b->feed_count; i++) {
            struct feed *f = feed_of(s, &b->feeds[i]);
            f->ckpt = f->high = b->feeds[i].next;
            sync_safe_committed(s, f, b->replicated);
            sync_feed_tell(s, f, b->xid);
        }
        sync_safe_outcome(s, op);
        send_refreshes(s, b); /* reads the objects, which committed() drops */
        for (size_t i = 0; i < b->feed_count; i++)
            committed(s, feed_of(s, &b->feeds[i]));
        break;
    case PG_OUTAGE:
        for (size_t i = 0; i < b->feed_count; i++)
            keep(s, feed_of(s, &b->feeds[i]));
        sync_lane_outage(s, op->lane, op->err.remark);
        break;
    case PG_UNKNOWN:
        for (size_t i = 0; i < b->feed_count; i++) {
            struct feed *f = feed_of(s, &b->feeds[i]);
            f->unsure = f->next_ver;
            f->ckpt_known = false;
            sync_feed_again(s, f, 0);
        }
        sync_lane_outage(s, op->lane, op->err.remark);
        break;
    case PG_RETRY:
        for (size_t i = 0; i < b->feed_count; i++)
            keep(s, feed_of(s, &b->feeds[i]));
        l->not_before = s->now + sync_backoff(s, &l->backoff, 4, OUTAGE_BACKOFF_MAX);
        break;
    case PG_NAMESPACE:
        refused_namespace(s, b, &op->err);
        break;
    case PG_FOREIGN_KEY:
    case PG_ROW:
        refused_row(s, b, &op->err);
        break;
    case PG_LOST:
        lost(s, b, &op->err);
        break;
    case PG_CONFLICT:
        ask_node(s, b, FB_VERDICT_CONFLICT);
        break;
    case PG_NO_LETTER:
        ask_node(s, b, FB_VERDICT_RETRY);
        break;
    }
}

/* The dead letter is written: now the node commits a PARK record, and only then may the checkpoint
 * pass the object. */
void sync_park_outcome(struct sync_core *s, struct sync_op *op)
{
    struct feed *f = feed_of(s, &op->batch.feeds[0]);
    struct fb_feed_object *o = &f->objects[f->first];
    struct fb_verdict v = {.verdict = FB_VERDICT_PARK};

    fb_assert(f->state == FEED_PARKING && f->bad == 1);
    if (op->class == PG_OUTAGE || op->class == PG_UNKNOWN)
        sync_lane_outage(s, op->lane, op->err.remark);
    if (op->class == PG_LOST) {
        lost(s, &op->batch, &op->err);
        return;
    }
    if (op->class != PG_OK || f->stray) {
        keep(s, f);
        if (op->class != PG_OK && op->class != PG_OUTAGE && op->class != PG_UNKNOWN)
            s->lanes[op->lane].not_before =
                s->now + sync_backoff(s, &s->lanes[op->lane].backoff, OUTAGE_BACKOFF_MIN,
                                      OUTAGE_BACKOFF_MAX);
        return;
    }
    v.id = o->id;
    v.ver = o->ver;
    v.message = fb_bytes_str(f->park.message);
    memcpy(v.sqlstate, f->park.sqlstate, sizeof(v.sqlstate));
    f->verdict_first = f->verdict_last = send_verdict(s, f, &v);
    f->acks = 1;
    f->park_acked = true;
    f->until = s->now + ACK_TIMEOUT;
    sync_feed_state(s, f, FEED_VERDICT);
    if (FB_MUTANT(park_unacked)) {
        o->flags |= FB_OBJECT_PARKED;
        f->bad = 0;
        sync_feed_state(s, f, FEED_HAVE);
    }
}

void sync_barrier_outcome(struct sync_core *s, struct sync_op *op)
{
    if (op->class == PG_OUTAGE || op->class == PG_UNKNOWN)
        sync_lane_outage(s, op->lane, op->err.remark);
    else if (op->class == PG_OK)
        sync_safe_outcome(s, op);
    else
        sync_safe_barrier_later(s); /* its row is locked, for example */
}

static struct feed *feed_of_ack(struct sync_core *s, uint32_t peer,
                                const struct fb_verdict_ack *ack)
{
    for (uint32_t l = 0; l < s->config.lanes; l++)
        for (struct feed *f = s->lanes[l].head; f != NULL; f = f->next)
            if (f->state == FEED_VERDICT && f->part == ack->part && f->peer == peer &&
                ack->id64 >= f->verdict_first && ack->id64 <= f->verdict_last)
                return f;
    return NULL;
}

void sync_core_ack(struct sync_core *s, uint32_t peer, const struct fb_verdict_ack *ack)
{
    struct feed *f = feed_of_ack(s, peer, ack);

    if (f == NULL || f->acks == 0)
        return;
    if (!f->park_acked && ack->outcome != FB_OUTCOME_NONE)
        sync_conflict_resolved(s, f, ack->id64, ack->outcome);
    if (--f->acks > 0)
        return;
    if (!f->park_acked || ack->status != FB_OK) {
        /* Resolved as new versions, or overtaken by one: the feed says what there is now. */
        f->solo = f->solo && f->park_acked;
        sync_feed_again(s, f, 0);
        return;
    }
    f->objects[f->first].flags |= FB_OBJECT_PARKED;
    f->bad = 0;
    f->ns->parked++;
    sync_event_put(s, SYNC_EVENT_PARKED, f, f->objects[f->first].ver, f->park.sqlstate);
    sync_feed_state(s, f, FEED_HAVE);
}

static void checkpoint_is(struct sync_core *s, struct feed *f, uint64_t ver, bool other_server)
{
    bool moved = f->ckpt != ver;

    if (ver < f->high) {
        char text[64];
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)f->high);
        sync_event_put(s, SYNC_EVENT_REGRESSED, f, ver, text);
        s->stats.regressions++;
        if (f->state == FEED_IDLE && f->ns->cfg != NULL && f->peer != SYNC_PEER_NONE)
            sync_feed_again(s, f, 0); /* its node does not know that there is something to do */
    }
    f->ckpt = f->high = ver;
    f->ckpt_known = true;
    if (ver >= f->behind)
        f->behind = f->proof = 0;
    sync_safe_read(s, f, other_server);
    if (f->unsure != 0 && ver >= f->unsure)
        sync_feed_tell(s, f, 0); /* it was committed; which transaction it was is not known */
    f->unsure = 0;
    if (moved && (f->state == FEED_HAVE || f->state == FEED_ASKED || f->state == FEED_VERDICT))
        sync_feed_again(s, f, 0);
}

void sync_attach_outcome(struct sync_core *s, struct sync_op *op)
{
    struct sync_lane *l = &s->lanes[op->lane];
    bool other_server = l->state == LANE_DOWN || l->server != op->standbys.server;

    if (op->class != PG_OK) {
        sync_lane_outage(s, op->lane, op->err.remark);
        return;
    }
    l->server = op->standbys.server;
    sync_safe_standbys(s, &op->standbys);
    if (l->state == LANE_DOWN && !s->db_up) {
        sync_event_put(s, SYNC_EVENT_DB_UP, NULL, 0, "");
        s->db_up = s->db_said = true;
    }
    l->state = LANE_READY;
    l->backoff = 0;
    l->not_before = 0;
    for (size_t i = 0; i < s->ns_count; i++)
        for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++) {
            struct feed *f = s->ns[i]->feeds[p];
            if (f != NULL && f->lane == op->lane)
                f->attach_ver = 0;
        }
    for (size_t i = 0; i < op->ckpt_count; i++) {
        struct feed *f = sync_feed_find(s, fb_bytes_str(op->ckpts[i].ns), op->ckpts[i].part);
        if (f != NULL)
            f->attach_ver = op->ckpts[i].ver;
    }
    for (size_t i = 0; i < s->ns_count; i++)
        for (uint32_t p = 0; p < FB_PARTITIONS_MAX; p++) {
            struct feed *f = s->ns[i]->feeds[p];
            if (f == NULL || f->lane != op->lane)
                continue;
            if (f->behind != 0 && op->number <= f->behind_mark)
                l->want_attach = true; /* read before the node said what it knows */
            else
                checkpoint_is(s, f, f->attach_ver, other_server);
        }
}
