/* Read-through (PROTOCOL 13): one load per key at a time, everything that comes for the key queues
 * behind it in order.
 *
 * A request that names several keys (TXN) stands in the queue of each; it runs when it is first in
 * all of them and none is loading. All of its places are taken at once, so two such requests never
 * wait for each other. */
#include "node/core/load_impl.h"

#include "proto/base/mutant.h"

#include <stdio.h>
#include <stdlib.h>

#define TOKEN_INDEX_BITS 24

static void load_send(struct lane *l, struct load_entry *e)
{
    struct lane_effects *fx = &l->fx;
    struct fb_bytes id = fb_key_id(entry_key(e), e->ns_len);
    const uint8_t *was = fx->load_bytes.p;

    if (fx->load_count == fx->load_cap) {
        fx->load_cap = fx->load_cap ? fx->load_cap * 2 : 64;
        fx->loads = fb_xrealloc(fx->loads, fx->load_cap * sizeof *fx->loads);
    }
    fx->loads[fx->load_count++] = (struct lane_load){.part = e->part,
                                                     .ns = l->ns[e->nsid].conf_index,
                                                     .token = e->token,
                                                     .id = fb_bytes(NULL, id.n)};
    fb_buf_put_bytes(&fx->load_bytes, id);
    if (id.n == 0)
        (void)fb_buf_reserve(&fx->load_bytes, 1);
    if (fx->load_bytes.p == was && fx->load_count > 1) {
        const struct lane_load *before = &fx->loads[fx->load_count - 2];
        fx->loads[fx->load_count - 1].id.p = before->id.p + before->id.n;
        return;
    }
    const uint8_t *at = fx->load_bytes.p; /* the buffer moved, the views follow */
    for (size_t i = 0; i < fx->load_count; i++) {
        fx->loads[i].id.p = at;
        at += fx->loads[i].id.n;
    }
}

static void load_start(struct lane *l, struct load_entry *e)
{
    const struct part *p = l->parts[e->part];
    e->loading = true;
    e->epoch = p->epoch;
    e->retry_ns = 0;
    e->deadline_ns = l->mono_ns + LOAD_TIMEOUT_NS;
    fb_assert(e->index < (1u << TOKEN_INDEX_BITS));
    e->token = (uint64_t)++l->loads.generation << TOKEN_INDEX_BITS |
               e->index; /* fresh: an old answer finds no one */
    load_send(l, e);
}

bool load_needed(const struct op *op)
{
    const struct fb_namespace *conf = op->ns->conf;
    const struct object *o = op->cur;
    uint16_t n = op->req->op;

    if (n == FB_OP_EVICT || n == FB_OP_SYNC)
        return false;
    if (o != NULL) {
        int64_t until = object_expires(o);
        bool aged = (object_flags(o) & OBJECT_NEGATIVE) ||
                    ((object_flags(o) & (OBJECT_MAPPED | OBJECT_DIRTY)) == OBJECT_MAPPED);
        return aged && until != 0 && (int64_t)op->now >= until;
    }
    if (n == FB_OP_SET && !(op->req->flags & (FB_REQ_NX | FB_REQ_XX | FB_REQ_GET | FB_REQ_KEEPTTL)))
        return conf->mapped && !(conf->blind_writes && conf->value == FB_VALUE_COLUMN);
    return true;
}

/* Keys of a request, one or those of a transaction, through `fn`; false when fn said so or the
 * request is malformed. */
static bool each_key(struct lane *l, struct part *p, const struct fb_req *req,
                     bool (*fn)(struct lane *, struct part *, const struct fb_req *, void *),
                     void *arg)
{
    struct fb_bytes rest = req->args, item;
    struct fb_req sub;

    if (req->op != FB_OP_TXN)
        return fn(l, p, req, arg);
    while (fb_list_next(&rest, &item)) {
        struct fb_reader in = fb_reader(item);
        if (fb_req_decode(&in, &sub) != FB_OK)
            return false;
        if (!fn(l, p, &sub, arg))
            return false;
    }
    return true;
}

struct survey {
    bool needs, queued;
    uint32_t keys;
};

static bool survey_key(struct lane *l, struct part *p, const struct fb_req *req, void *arg)
{
    struct survey *s = arg;
    struct op op;

    s->keys++;
    if (!op_init(&op, l, p, req))
        return true; /* evaluation will say what is wrong */
    if (load_entry_find(&l->loads, op.key, op.hash) != NULL) {
        s->queued = true;
        return true;
    }
    op.cur = newest_object(l, op.key, op.hash);
    if (load_needed(&op))
        s->needs = true;
    return true;
}

struct enqueue {
    struct waiter *w;
};

static bool enqueue_key(struct lane *l, struct part *p, const struct fb_req *req, void *arg)
{
    struct waiter *w = ((struct enqueue *)arg)->w;
    struct load_entry *e;
    struct place *at;
    struct op op;

    if (!op_init(&op, l, p, req))
        return true;
    e = load_entry_find(&l->loads, op.key, op.hash);
    for (uint32_t i = 0; i < w->place_n; i++)
        if (w->places[i].entry == e && e != NULL) {
            op.cur = newest_object(l, op.key, op.hash);
            if (!e->loading && load_needed(&op))
                load_start(l, e);
            return true; /* the key was named before */
        }
    if (e == NULL)
        e = load_entry_new(l, p, op.key, op.hash);
    op.cur = newest_object(l, op.key, op.hash);
    if (!e->loading && load_needed(&op)) {
        STAT_ADD(l, misses, 1);
        if (op.cur != NULL && (object_flags(op.cur) & OBJECT_NEGATIVE))
            STAT_ADD(l, misses_negative, 1);
        else if (op.cur != NULL)
            STAT_ADD(l, misses_aged, 1);
        load_start(l, e);
    } else if (e->loading) {
        STAT_ADD(l, misses_joined, 1);
    }
    at = &w->places[w->place_n++];
    *at = (struct place){.waiter = w, .entry = e};
    if (e->tail != NULL)
        e->tail->next = at;
    else
        e->head = at;
    e->tail = at;
    return true;
}

/* Copied with the request. */
static size_t waiter_bytes(const struct fb_req *req)
{
    return req->key.n + req->args.n;
}

static void waiter_free(struct lane *l, struct waiter *w)
{
    l->loads.waiters--;
    l->loads.waiter_bytes -= waiter_bytes(&w->req);
    fb_assert(w->dest->held > 0);
    w->dest->held--;
    dest_touch(l, w->dest);
    free(w->places);
    free(w->bytes);
    free(w);
}

bool load_defer(struct lane *l, struct reply_dest *dest, struct part *p, const struct fb_req *req)
{
    struct survey s = {0};
    struct waiter *w;

    if (!each_key(l, p, req, survey_key, &s) || (!s.needs && !s.queued))
        return false;
    if (l->loads.waiters >= LOAD_WAITERS_MAX ||
        (l->loads.waiter_bytes > 0 &&
         l->loads.waiter_bytes + waiter_bytes(req) > LOAD_WAITER_BYTES_MAX) ||
        l->loads.count + s.keys >= (1u << TOKEN_INDEX_BITS)) {
        STAT_ADD(l, rejected_overload, 1);
        reply_error(
            l, dest, req->seq, FB_REP_ERR_PLAIN,
            "OVERLOADED too many requests wait for PostgreSQL; nothing happened, try again later");
        return true;
    }
    w = fb_xcalloc(1, sizeof *w);
    w->dest = dest;
    w->since_ns = l->mono_ns;
    w->queue_us = l->queue_us;
    w->req = *req;
    w->part = p->id;
    w->bytes = fb_xmalloc(waiter_bytes(req));
    if (req->key.n > 0)
        memcpy(w->bytes, req->key.p, req->key.n);
    if (req->args.n > 0)
        memcpy(w->bytes + req->key.n, req->args.p, req->args.n);
    w->req.key.p = w->bytes;
    w->req.args.p = w->bytes + req->key.n;
    w->places = fb_xcalloc(s.keys, sizeof *w->places);
    dest->held++;
    l->loads.waiters++;
    l->loads.waiter_bytes += waiter_bytes(req);
    (void)each_key(l, p, &w->req, enqueue_key, &(struct enqueue){w});
    fb_assert(w->place_n > 0);
    return true;
}

/* Take a waiter out of all its queues. Entries stay; the caller goes on with them. */
static void waiter_unlink(struct waiter *w)
{
    for (uint32_t i = 0; i < w->place_n; i++) {
        struct load_entry *e = w->places[i].entry;
        struct place **at = &e->head, *before = NULL;
        while (*at != &w->places[i]) {
            before = *at;
            at = &(*at)->next;
        }
        *at = w->places[i].next;
        if (e->tail == &w->places[i])
            e->tail = before;
    }
}

static bool waiter_ready(const struct waiter *w)
{
    for (uint32_t i = 0; i < w->place_n; i++)
        if (w->places[i].entry->loading || w->places[i].entry->head != &w->places[i])
            return false;
    return true;
}

struct recheck {
    const char *why;
    bool fails, reload;
};

static bool recheck_key(struct lane *l, struct part *p, const struct fb_req *req, void *arg)
{
    struct recheck *r = arg;
    struct op op;

    if (!op_init(&op, l, p, req))
        return true;
    op.cur = newest_object(l, op.key, op.hash);
    /* an old copy or hint counts after its load was answered; nothing at all does not */
    if (!load_needed(&op) ||
        (op.cur != NULL && (r->why == NULL || !(object_flags(op.cur) & OBJECT_NEGATIVE))))
        return true;
    r->fails = true;
    return true;
}

/* Entries whose queue may go on. Each stands here at most once and is freed by its own turn alone,
 * so that what runs in one queue may wake others, back and forth, without recursion. */
static void drain_later(struct loads *q, struct load_entry *e)
{
    if (e->drains)
        return;
    e->drains = true;
    e->drain_next = NULL;
    if (q->drain_tail != NULL)
        q->drain_tail->drain_next = e;
    else
        q->drain_head = e;
    q->drain_tail = e;
}

/* Load again what was evicted while the waiter stood in line. True: a load was started. */
static bool reload(struct lane *l, const struct waiter *w)
{
    bool started = false;
    for (uint32_t i = 0; i < w->place_n; i++) {
        struct load_entry *e = w->places[i].entry;
        if (newest_object(l, entry_key(e), e->hash) == NULL) {
            load_start(l, e);
            started = true;
        }
    }
    return started;
}

static void refuse_waiter(struct lane *l, const struct waiter *w, const char *why)
{
    char text[640];

    snprintf(
        text, sizeof text,
        "DBDOWN PostgreSQL cannot be asked for this key now (%s); nothing was changed, try again",
        why == NULL ? "no answer" : why);
    for (char *c = text; *c != '\0'; c++)
        if (*c == '\r' || *c == '\n')
            *c = ' ';
    STAT_ADD(l, loads_failed, 1);
    reply_error(l, w->dest, w->req.seq, FB_REP_ERR_PLAIN, text);
}

/* The waiters at the head of one queue, as far as they are ready. */
static void drain_one(struct lane *l, struct load_entry *e, const char *why)
{
    while (e->head != NULL && !e->loading) {
        struct waiter *w = e->head->waiter;
        struct part *p = l->parts[w->part];
        struct recheck r = {.why = why};

        if (!waiter_ready(w))
            return;
        if (l->fx.log.n >=
            LANE_TICK_LOG_BYTES) { /* thousands may wait: the rest comes with the next tick */
            drain_later(&l->loads, e);
            return;
        }
        (void)each_key(l, p, &w->req, recheck_key, &r);
        if (r.fails && why == NULL && reload(l, w))
            return;
        waiter_unlink(w);
        for (uint32_t i = 0; i < w->place_n; i++)
            if (w->places[i].entry != e)
                drain_later(&l->loads, w->places[i].entry);
        l->queue_us = w->queue_us;
        l->load_us = (uint32_t)((l->mono_ns - w->since_ns) / 1000);
        if (!p->open)
            reply_error(l, w->dest, w->req.seq, FB_REP_ERR_NOT_PRIMARY, "");
        else if (r.fails)
            refuse_waiter(l, w, why);
        else
            request_run(l, w->dest, p, &w->req, true);
        l->queue_us = l->load_us = 0;
        waiter_free(l, w);
    }
    if (e->head == NULL && !e->loading && !e->drains)
        load_entry_free(l, e);
}

void loads_drain_rest(struct lane *l)
{
    struct loads *q = &l->loads;

    while (q->drain_head != NULL && l->fx.log.n < LANE_TICK_LOG_BYTES) {
        struct load_entry *e = q->drain_head;
        q->drain_head = e->drain_next;
        if (q->drain_head == NULL)
            q->drain_tail = NULL;
        e->drains = false;
        drain_one(l, e, NULL);
    }
}

static void drain(struct lane *l, struct load_entry *first, const char *why)
{
    if (!first->drains)
        drain_one(l, first, why);
    loads_drain_rest(l);
}

static void load_failed(struct lane *l, struct load_entry *e, const char *why)
{
    e->loading = false;
    drain(l, e, why);
}

void lane_load_reply(struct lane *l, const struct fb_load_rep *rep)
{
    struct loads *q = &l->loads;
    uint32_t index = (uint32_t)(rep->token & ((1u << TOKEN_INDEX_BITS) - 1));
    struct load_entry *e = index < q->index_n ? q->by_index[index] : NULL;
    struct part *p;
    struct feed *f;
    char why[512];

    lane_check_writer(l);
    if (e == NULL || !e->loading || (e->token != rep->token && !FB_MUTANT(load_token)) ||
        e->part != rep->part) {
        STAT_ADD(l, loads_stale, 1); /* I27: nobody waits for it any more */
        return;
    }
    p = l->parts[e->part];
    if (rep->status == FB_LOAD_DB_DOWN || rep->status == FB_LOAD_REFUSED) {
        snprintf(why, sizeof why, "%.*s", (int)(rep->value.n > 400 ? 400 : rep->value.n),
                 rep->value.n ? (const char *)rep->value.p : "");
        load_failed(l, e, why);
        return;
    }
    f = feed_get(p, e->nsid);
    if (e->epoch != p->epoch || rep->history > p->history ||
        ((rep->ckpt_ver < f->purge_ver || load_is_older(l, p, e, f, rep)) &&
         !FB_MUTANT(load_purged)) ||
        l->ns[e->nsid].conf == NULL) {
        STAT_ADD(l, loads_stale, 1); /* I27 */
        if (e->retries < LOAD_STALE_RETRIES_MAX && l->ns[e->nsid].conf != NULL) {
            e->retry_ns = l->mono_ns + (LOAD_STALE_BACKOFF_NS << e->retries);
            e->retries++;
            e->token = 0;
        } else {
            load_failed(l, e, "its answer is older than what was written here");
        }
        return;
    }
    if (rep->status == FB_LOAD_FOUND && !load_fits(&l->ns[e->nsid], rep)) {
        load_failed(l, e, "the row is too large or cannot be held");
        return;
    }
    load_install(l, p, e, rep);
    e->loading = false;
    drain(l, e, NULL);
}

/* Collect first: draining frees entries, others too. A token is looked up again before use. */
static void each_token(struct lane *l, int32_t part, const char *why,
                       void (*fn)(struct lane *, struct load_entry *, const char *))
{
    struct loads *q = &l->loads;
    uint32_t n = q->index_n;
    for (uint32_t i = 0; i < n && i < q->index_n; i++) {
        struct load_entry *e = q->by_index[i];
        if (e != NULL && e->loading && (part < 0 || e->part == part))
            fn(l, e, why);
    }
}

void lane_loads_fail(struct lane *l, const char *why)
{
    lane_check_writer(l);
    each_token(l, -1, why, load_failed);
}

void loads_close_partition(struct lane *l, uint16_t part)
{
    each_token(l, part, "the partition has moved", load_failed);
}

static void load_again(struct lane *l, struct load_entry *e, const char *why)
{
    (void)why;
    if (e->token != 0) /* else it waits for its retry */
        load_send(l, e);
}

void loads_configure(struct lane *l)
{
    struct loads *q = &l->loads;

    l->fx.load_count = 0; /* of this tick: they name the namespace by its old number */
    fb_buf_clear(&l->fx.load_bytes);
    for (uint32_t i = 0; i < q->index_n; i++) {
        struct load_entry *e = q->by_index[i];
        uint64_t deadline;
        if (e == NULL)
            continue;
        e->nsid = nsid_of_key(l, entry_key(e), &e->ns_len);
        if (!e->loading)
            continue;
        deadline = e->deadline_ns;
        load_start(l, e); /* afresh: an answer under way may be a row of another table */
        e->deadline_ns = deadline;
    }
}

void lane_loads_resend(struct lane *l)
{
    lane_check_writer(l);
    l->fx.load_count = 0; /* they are among those, and several may connect in one tick */
    fb_buf_clear(&l->fx.load_bytes);
    each_token(l, -1, NULL, load_again);
}

bool lane_loads_waiting(const struct lane *l)
{
    lane_check_writer(l);
    return l->loads.count > 0;
}

static void load_tick(struct lane *l, struct load_entry *e, const char *why)
{
    if (l->mono_ns >= e->deadline_ns)
        load_failed(l, e, why);
    else if (e->retry_ns != 0 && l->mono_ns >= e->retry_ns) {
        uint64_t deadline = e->deadline_ns;
        load_start(l, e);
        e->deadline_ns = deadline;
    }
}

void loads_tick(struct lane *l)
{
    if (l->loads.count > 0)
        each_token(l, -1, "no answer within 10 s", load_tick);
}

void loads_fini(struct lane *l)
{
    struct loads *q = &l->loads;
    while (q->entries != NULL) {
        struct load_entry *e = q->entries;
        if (e->head != NULL) {
            struct waiter *w = e->head->waiter;
            waiter_unlink(w);
            free(w->places);
            free(w->bytes);
            free(w);
        } else {
            load_entry_free(l, e);
        }
    }
    free(q->table);
    free(q->by_index);
}
