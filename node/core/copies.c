/* Partitions with several copies: what the replica stream says becomes the lane's, and the other
 * way round. */
#include "node/core/copies_impl.h"

#include "proto/base/mutant.h"

#include <stdlib.h>

#define NOTE_PERIOD (UINT64_C(1000) * 1000 * 1000) /* ns: how much a restart does not know of */

void lane_copies_new(struct lane *l, const struct replica_config *config)
{
    struct copies *s = fb_xcalloc(1, sizeof *s);

    lane_check_writer(l);
    fb_assert(l->copies == NULL && config->partitions == l->config.partitions);
    s->rl = replica_lane_new(config);
    s->tail_bytes = config->tail_bytes;
    s->read_until = fb_xcalloc(l->config.partitions, sizeof *s->read_until);
    for (uint32_t i = 0; i < l->config.partitions; i++)
        atomic_init(&s->read_until[i], UINT64_MAX);
    l->copies = s;
}

void copies_fini(struct lane *l)
{
    struct copies *s = l->copies;

    if (s == NULL)
        return;
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct copy *c = l->parts[i] == NULL ? NULL : l->parts[i]->copy;
        if (c == NULL)
            continue;
        copy_waits_fini(c);
        free(c->ends);
        free(c);
    }
    copy_pool_fini(s);
    replica_lane_free(s->rl);
    fb_buf_fini(&s->slice);
    free(s->read_until);
    free(s->events);
    free(s->commit_ns);
    free(s);
}

void lane_boot_now(struct lane *l, uint64_t boot_ns)
{
    lane_check_writer(l);
    if (boot_ns > l->copies->boot_ns)
        l->copies->boot_ns = boot_ns;
}

void copy_event(struct lane *l, const struct lane_copy_event *e)
{
    struct copies *s = l->copies;

    if (s->event_n == s->event_cap) {
        s->event_cap = s->event_cap ? s->event_cap * 2 : 16;
        s->events = fb_xrealloc(s->events, s->event_cap * sizeof *s->events);
    }
    s->events[s->event_n++] = *e;
}

const struct lane_copy_event *lane_copy_events(const struct lane *l, uint32_t *count)
{
    lane_check_writer(l);
    *count = l->copies->event_n;
    return l->copies->events;
}

void copy_committed(struct copies *s, const struct tick_end *e)
{
    if (s->commit_n == s->commit_cap) {
        s->commit_cap = s->commit_cap ? s->commit_cap * 2 : 16;
        s->commit_ns = fb_xrealloc(s->commit_ns, s->commit_cap * sizeof *s->commit_ns);
    }
    s->commit_ns[s->commit_n++] = s->boot_ns - e->boot_ns;
}

const uint64_t *lane_commit_ns(const struct lane *l, uint32_t *count)
{
    *count = l->copies == NULL ? 0 : l->copies->commit_n;
    return *count == 0 ? NULL : l->copies->commit_ns;
}

void copies_events_clear(struct lane *l)
{
    if (l->copies != NULL)
        l->copies->event_n = l->copies->commit_n = 0;
}

void copy_due(struct lane *l, struct copy *c)
{
    if (c->due)
        return;
    c->due = true;
    c->next_due = l->copies->due;
    l->copies->due = c;
}

void copy_read_until(struct lane *l, const struct part *p, uint64_t ns)
{
    /* release: what was published before may be read by who sees it */
    atomic_store_explicit(&l->copies->read_until[p->id], ns, memory_order_release);
}

uint64_t lane_read_until(const struct lane *l, uint16_t part)
{
    return atomic_load_explicit(&l->copies->read_until[part], memory_order_acquire);
}

/* Bytes of it that its own clients wait for. */
void copy_count_own(struct lane *l, struct copy *c)
{
    const struct log_tail *t = &c->part->tail;
    uint64_t n = replica_role(c->r) >= REPLICA_CLOSED ? t->bytes.n - t->head : 0;

    l->copies->own_bytes += n - c->own_bytes;
    c->own_bytes = n;
}

static struct copy *copy_get(struct lane *l, struct part *p)
{
    struct copy *c = p->copy;

    if (c != NULL)
        return c;
    fb_assert(!p->open && l->copies != NULL);
    snapshot_sort(p);
    c = p->copy = fb_xcalloc(1, sizeof *c);
    c->part = p;
    if (!p->tail.kept) { /* it had one copy until now: all of it is in force */
        p->tail.kept = true;
        p->tail.ver = p->last_ver;
        p->tail.ptime = p->ptime;
    }
    if (FB_MUTANT(copy_half))
        p->tail.filling = 0;
    if (p->tail.filling != 0) {
        part_wipe(l, p); /* half a copy is none */
        log_tail_note(l, p, LOG_NOTE_WIPED);
    }
    p->synced_ver = p->last_ver;
    c->r = replica_get(l->copies->rl, p->id);
    replica_recovered_end(c->r, p->last_ver);
    replica_start(c->r, p->history, p->tail.ver);
    c->noted_ver = p->tail.ver;
    log_tail_note(l, p, LOG_NOTE_COMMITTED);
    if (p->tail.bytes.n > p->tail.head) {
        fb_assert(p->tail.log_seq != 0); /* lane_recovered */
        copy_log_end(l, c, p->last_ver, p->ptime, p->tail.bytes.n - p->tail.head);
        c->ends[c->first].log_seq = p->tail.log_seq;
    }
    copy_read_until(l, p, 0);
    return c;
}

void copy_void(struct lane *l, struct part *p)
{
    part_wipe(l, p);
    if (l->copies != NULL)
        replica_recovered_end(replica_get(l->copies->rl, p->id), 0);
}

void copy_recovered(struct lane *l, struct part *p, const struct fb_record *r,
                    struct fb_bytes record)
{
    if (l->copies != NULL)
        replica_recovered_record(replica_get(l->copies->rl, p->id), r->ver, r->prev, record);
}

void copy_log_end(struct lane *l, struct copy *c, uint64_t ver, uint64_t ptime, size_t bytes)
{
    struct tick_end *e = c->n > c->first ? &c->ends[c->n - 1] : NULL;

    if (e == NULL || e->log_seq != l->fx.log_seq) {
        if (c->n == c->cap && c->first > c->n / 2) {
            memmove(c->ends, c->ends + c->first, (c->n - c->first) * sizeof *c->ends);
            c->n -= c->first;
            c->first = 0;
        } else if (c->n == c->cap) {
            c->cap = c->cap ? c->cap * 2 : 16;
            c->ends = fb_xrealloc(c->ends, c->cap * sizeof *c->ends);
        }
        e = &c->ends[c->n++];
        *e = (struct tick_end){.log_seq = l->fx.log_seq, .boot_ns = l->copies->boot_ns};
    }
    e->ver = ver;
    e->ptime = ptime;
    e->bytes += bytes;
}

void copy_logged(struct lane *l, struct part *p, uint64_t ver, uint64_t prev,
                 struct fb_bytes record)
{
    struct copy *c = p->copy;

    replica_appended(c->r, ver, prev, record);
    log_tail_push(p, record);
    copy_log_end(l, c, ver, p->ptime, record.n);
    copy_count_own(l, c);
    copy_due(l, c);
}

void copy_logged_all(struct lane *l, struct part *p, struct fb_bytes records)
{
    struct fb_reader in = fb_reader(records);

    while (in.n > 0) {
        const uint8_t *from = in.p;
        struct fb_record r;
        enum fb_status st = fb_record_decode(&in, &r);
        fb_assert(st == FB_OK);
        copy_logged(l, p, r.ver, r.prev, fb_bytes(from, (size_t)(in.p - from)));
    }
}

static bool names(const struct lane *l, const struct fb_part_record *rec)
{
    const char *me = replica_lane_config(l->copies->rl)->node;

    for (uint32_t i = 0; i < rec->isr_count; i++)
        if (strcmp(rec->isr[i].node, me) == 0)
            return true;
    for (uint32_t i = 0; i < rec->learner_count; i++)
        if (strcmp(rec->learners[i], me) == 0)
            return true;
    return false;
}

enum fb_status lane_copy_record(struct lane *l, uint16_t part, const struct fb_part_record *rec,
                                uint64_t rev)
{
    struct part *p;
    enum fb_status st;

    lane_check_writer(l);
    if (part >= l->config.partitions || fb_part_record_broken(rec) != NULL)
        return FB_EINVAL;
    p = part_get(l, part);
    if (p->copy == NULL && p->open)
        return FB_EBUSY;
    if (p->copy == NULL && !names(l, rec) && (!p->tail.kept || p->last_ver == 0))
        return FB_OK; /* else what is left of one of several copies goes */
    if (p->copy == NULL && p->led_alone && p->synced_ver < p->last_ver)
        return FB_EAGAIN; /* copies begin with what is synced, all of it */
    st = replica_record(copy_get(l, p)->r, rec, rev, l->copies->boot_ns);
    copy_settle(l, p->copy);
    if (st != FB_OK || names(l, rec))
        p->copy->unnamed_ns = 0;
    else if (p->copy->unnamed_ns == 0)
        p->copy->unnamed_ns = l->copies->boot_ns + 1;
    return st;
}

uint16_t lane_node(struct lane *l, const char *name)
{
    lane_check_writer(l);
    return replica_node_of(l->copies->rl, name);
}

void lane_node_up(struct lane *l, uint16_t node, uint64_t inc)
{
    lane_check_writer(l);
    replica_node_up(l->copies->rl, node, inc);
}

void lane_node_down(struct lane *l, uint16_t node)
{
    lane_check_writer(l);
    replica_node_down(l->copies->rl, node);
}

void lane_node_leaving(struct lane *l, uint16_t node, uint64_t inc)
{
    lane_check_writer(l);
    replica_node_at(l->copies->rl, node)->leaving_inc = inc;
}

struct replica_node *lane_node_at(struct lane *l, uint16_t node)
{
    lane_check_writer(l);
    return replica_node_at(l->copies->rl, node);
}

uint32_t lane_node_count(const struct lane *l)
{
    lane_check_writer(l);
    return replica_node_count(l->copies->rl);
}

void lane_node_sent(struct lane *l, uint16_t node)
{
    struct replica_node *n = lane_node_at(l, node);

    fb_buf_clear(&n->appends);
    fb_buf_clear(&n->acks);
    fb_buf_clear(&n->hellos);
    n->append_n = n->ack_n = n->hello_n = 0;
}

void copy_synced(struct lane *l, struct part *p, uint64_t ver)
{
    replica_synced(p->copy->r, ver);
    copy_due(l, p->copy);
}

static void note_committed(struct lane *l, struct copy *c)
{
    uint64_t now = l->copies->boot_ns;

    if (c->noted_ver == c->part->tail.ver || c->part->tail.filling != 0 ||
        now - c->noted_ns < NOTE_PERIOD)
        return;
    log_tail_note(l, c->part, LOG_NOTE_COMMITTED);
    c->noted_ver = c->part->tail.ver;
    c->noted_ns = now;
}

void copies_tick(struct lane *l)
{
    struct copies *s = l->copies;

    if (s == NULL)
        return;
    replica_tick(s->rl, s->boot_ns);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct copy *c = l->parts[i] == NULL ? NULL : l->parts[i]->copy;
        if (c == NULL)
            continue;
        note_committed(l, c);
        copy_fill(l, c);
        copy_drop(l, c);
        copy_hold(l, c);
    }
}

bool copies_busy(const struct lane *l)
{
    return l->copies != NULL && l->copies->probing;
}

uint64_t copy_log_seq(const struct lane *l, const struct part *p)
{
    const struct copy *c = p->copy;
    return c->n > c->first ? c->ends[c->first].log_seq : l->fx.log_seq;
}

uint8_t copy_level(const struct part *p, uint64_t ver)
{
    return (uint8_t)replica_level(p->copy->r, ver);
}

bool copy_full(const struct lane *l, const struct part *p)
{
    return p->copy != NULL && l->copies->own_bytes >= l->copies->tail_bytes / 2;
}

bool copy_refuses(const struct part *p, const struct ns_state *ns, uint8_t level, bool asked)
{
    if (p->copy == NULL || ns->conf == NULL || level < FB_LEVEL_REPLICATED)
        return false;
    /* of the levels above only PostgreSQL's can be reached without another copy */
    return (ns->conf->on_degraded_refuse || (asked && level <= FB_LEVEL_DURABLE)) &&
           replica_degraded(p->copy->r);
}

uint64_t copies_wait_bytes(const struct lane *l)
{
    return l->copies == NULL ? 0 : l->copies->wait_bytes;
}

uint64_t copies_log_bytes(const struct lane *l)
{
    uint64_t n = 0;

    if (l->copies == NULL)
        return 0;
    for (uint32_t i = 0; i < l->config.partitions; i++)
        if (l->parts[i] != NULL)
            n += l->parts[i]->tail.bytes.cap;
    return n + replica_tail_bytes(l->copies->rl);
}

/* What a member has not written is not committed, so it is in the ticks that are not published. */
static uint64_t bytes_after(const struct copy *c, uint64_t ver)
{
    uint64_t n = 0;

    for (uint32_t i = c->n; i > c->first && c->ends[i - 1].ver > ver; i--)
        n += c->ends[i - 1].bytes;
    return n;
}

void lane_copy_lag(const struct lane *l, uint64_t *bytes)
{
    lane_check_writer(l);
    memset(bytes, 0, FB_NODES_MAX * sizeof *bytes);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        const struct copy *c = l->parts[i] == NULL ? NULL : l->parts[i]->copy;
        struct replica_peer peer;
        if (c == NULL || replica_role(c->r) < REPLICA_CLOSED)
            continue;
        for (uint32_t k = 0; replica_peer(c->r, k, &peer); k++)
            if (!peer.learner)
                bytes[peer.node] += bytes_after(c, peer.acked_ver);
    }
}

bool lane_copy_status(const struct lane *l, uint16_t part, struct lane_copy *out)
{
    const struct part *p = part < l->config.partitions ? l->parts[part] : NULL;
    uint64_t now = l->copies->boot_ns, heard;
    struct replica_peer peer;
    const struct replica *r;

    lane_check_writer(l);
    if (p == NULL || p->copy == NULL)
        return false;
    r = p->copy->r;
    *out = (struct lane_copy){.part = part,
                              .role = (uint8_t)replica_role(r),
                              .epoch = replica_epoch(r),
                              .history = replica_history(r),
                              .rev = replica_rev(r),
                              .com_ver = replica_com_ver(r),
                              .last_ver = p->last_ver,
                              .synced_ver = p->synced_ver,
                              .published_ver = p->tail.ver};
    if (out->role < REPLICA_CLOSED) {
        heard = replica_heard_ns(r);
        out->silent_ns = now > heard ? now - heard : 0;
        return true;
    }
    out->degraded = replica_degraded(r);
    out->held = copy_held(p);
    while (out->member_count < FB_COUNT_OF(out->members) &&
           replica_peer(r, out->member_count, &peer)) {
        out->members[out->member_count++] =
            (struct lane_copy_member){.node = replica_node_at(l->copies->rl, peer.node)->name,
                                      .inc = peer.inc,
                                      .learner = peer.learner,
                                      .lost = peer.lost,
                                      .acked_ver = peer.acked_ver,
                                      .synced_ver = peer.synced_ver,
                                      .silent_ns = now > peer.heard_ns ? now - peer.heard_ns : 0};
    }
    return true;
}
