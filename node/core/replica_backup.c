/* A backup or learner: taking what its primary sends, acknowledging it (PROTOCOL 3, 5, 8). */
#include "node/core/replica_impl.h"
#include "proto/base/mutant.h"

/* The log's end becomes `ver`: what follows conflicts with what the primary has (I10). */
static void cut(struct replica *r, uint64_t ver)
{
    fb_assert(ver >= r->com_ver);
    fb_assert(ver >= r->match_ver);
    runs_cut(&r->runs, ver);
    tail_cut(&r->rl->tail, r->part, ver);
    if (r->written_ver > ver)
        r->written_ver = ver;
    if (r->synced_ver > ver)
        r->synced_ver = ver;
    if ((r->fx & REPLICA_FX_CUT) == 0 || ver < r->cut_to)
        r->cut_to = ver;
    replica_touch(r, REPLICA_FX_CUT);
    replica_unwritten(r);
}

static void say_hello(struct replica *r, struct replica_node *n)
{
    uint8_t runs[FB_TAIL_RUNS_MAX * FB_TAIL_RUN_BYTES];
    struct fb_replica_hello m = {.part = r->part,
                                 .epoch = r->epoch,
                                 .history = r->history,
                                 .com_ver = r->com_ver,
                                 .last_ver = r->runs.last};
    uint32_t count = r->runs.n;

    for (uint32_t i = 0; i < count; i++) {
        fb_put_u64(runs + i * FB_TAIL_RUN_BYTES, r->runs.r[i].first);
        fb_put_u64(runs + i * FB_TAIL_RUN_BYTES + 8, r->runs.r[i].last);
    }
    if (count == 0 && r->runs.last != 0) { /* forgotten but for its end */
        fb_put_u64(runs, r->runs.last);
        fb_put_u64(runs + 8, r->runs.last);
        count = 1;
    }
    m.runs = fb_bytes(runs, (size_t)count * FB_TAIL_RUN_BYTES);
    fb_replica_hello_encode(&n->hellos, &m);
    n->hello_n++;
}

static void say_stale(const struct replica *r, struct replica_node *n)
{
    struct fb_append_ack a = {
        .part = r->part, .status = FB_APPEND_STALE, .epoch = r->epoch, .history = r->history};
    fb_append_ack_encode(&n->acks, &a);
    n->ack_n++;
}

/* All records whole, of this partition, one after the other, of no epoch that is still to come. */
static bool records_ok(const struct fb_append *m)
{
    struct fb_reader in = fb_reader(m->records);
    uint64_t prev = m->prev;

    for (uint32_t i = 0; i < m->count; i++) {
        struct fb_record rec;
        bool start;
        if (fb_record_decode(&in, &rec) != FB_OK || rec.part != m->part || rec.prev != prev)
            return false;
        start = rec.type == FB_RECORD_EPOCH_START;
        if (fb_ver_epoch(rec.ver) == 0 || fb_ver_epoch(rec.ver) > m->epoch ||
            start != (fb_ver_counter(rec.ver) == 0) || (!start && rec.ver != prev + 1) ||
            rec.ver <= prev)
            return false;
        prev = rec.ver;
    }
    return in.n == 0;
}

/* The first record that is new here has its place at the log's end, or above all that is settled:
 * no correct primary asks for anything else (I10). */
static bool place_ok(const struct replica *r, const struct fb_append *m)
{
    struct fb_reader in = fb_reader(m->records);

    for (uint32_t i = 0; i < m->count; i++) {
        struct fb_record rec;
        if (fb_record_decode(&in, &rec) != FB_OK)
            return false;
        if (rec.ver > r->com_ver && !runs_has(&r->runs, rec.ver))
            return rec.prev == r->runs.last ||
                   (rec.prev >= r->com_ver && rec.prev >= r->match_ver &&
                    runs_may_have(&r->runs, rec.prev));
    }
    return true;
}

static void take_records(struct replica *r, const struct fb_append *m, struct fb_buf *log)
{
    struct fb_reader in = fb_reader(m->records);
    uint64_t ver = m->prev;

    for (uint32_t i = 0; i < m->count; i++) {
        const uint8_t *from = in.p;
        struct fb_bytes bytes;
        struct fb_record rec;
        enum fb_status st = fb_record_decode(&in, &rec);
        fb_assert(st == FB_OK); /* records_ok */
        ver = rec.ver;
        if (ver <= r->com_ver || runs_has(&r->runs, ver))
            continue; /* sent again */
        if (r->runs.last != rec.prev)
            cut(r, rec.prev);
        bytes = fb_bytes(from, (size_t)(in.p - from));
        fb_buf_put_bytes(log, bytes);
        runs_append(&r->runs, ver, rec.prev);
        tail_put(&r->rl->tail, r->part, ver, rec.prev, bytes);
    }
    if (ver > r->match_ver)
        r->match_ver = ver;
    replica_unwritten(r);
}

/* False: the message is not from the primary of the epoch that counts here; *st says what it is. */
bool backup_accept(struct replica *r, uint16_t node, uint64_t src_inc, const struct fb_append *m,
                   enum fb_status *st)
{
    struct replica_node *n = replica_node_at(r->rl, node);

    *st = FB_OK;
    if (m->history > r->history && r->runs.last == 0)
        r->history = m->history;
    if (m->history > r->history) {
        say_hello(r, n); /* this log is of a history that ended: it has to be copied */
        return false;
    }
    if (m->history < r->history || (m->epoch < r->epoch && !FB_MUTANT(replica_epoch))) {
        say_stale(r, n);
        return false;
    }
    if (m->epoch > r->epoch) {
        replica_adopt(r, m->epoch);
        if (FB_MUTANT(replica_cut_to_commit) && r->runs.last > r->com_ver)
            cut(r, r->com_ver);
    } else if (replica_leads(r)) {
        *st = replica_bad(r->rl); /* I1 */
        return false;
    }
    if (r->lead == REPLICA_NODE_NONE || FB_MUTANT(replica_epoch)) {
        r->lead = node;
        r->lead_inc = src_inc;
    }
    if (r->lead != node || r->lead_inc != src_inc) {
        *st = replica_bad(r->rl); /* I1 */
        return false;
    }
    return true;
}

enum fb_status replica_recv_append(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                                   const struct fb_append *m, struct fb_buf *log, uint64_t now_ns)
{
    struct replica *r;
    enum fb_status st;

    if (m->part >= rl->config.partitions || (m->flags & ~FB_APPEND_GOODBYE) != 0 || !records_ok(m))
        return replica_bad(rl);
    r = replica_get(rl, m->part);
    if ((m->flags & FB_APPEND_GOODBYE) != 0) {
        if (m->history == r->history)
            r->goodbye_epoch = m->epoch;
        if (m->epoch == r->promise_epoch && m->history == r->history)
            r->promise_ns = 0;
        if (replica_leads(r))
            primary_commit(r, now_ns);
        return FB_OK;
    }
    if (!backup_accept(r, node, src_inc, m, &st))
        return st;
    r->heard_ns = now_ns;
    if ((m->prev == 0 && m->count == 0) ||
        (m->prev > r->com_ver && !runs_has(&r->runs, m->prev) && !FB_MUTANT(replica_prev)))
        say_hello(r, replica_node_at(rl, node));
    else if (place_ok(r, m))
        take_records(r, m, log);
    else
        return replica_bad(rl);
    if (m->com_ver <= r->match_ver && !runs_may_have(&r->runs, m->com_ver))
        return replica_bad(rl);
    if (m->com_ver > r->lead_com_ver)
        r->lead_com_ver = m->com_ver;
    if (m->token > r->token) {
        r->token = m->token;
        r->sent_ns = m->sent_ns;
    }
    r->ack_due = true;
    replica_unwritten(r);
    if (FB_MUTANT(replica_ack_early))
        backup_ack(r, now_ns);
    replica_check(r);
    return FB_OK;
}

void backup_commit(struct replica *r)
{
    uint64_t v = r->lead_com_ver;

    if (v > r->match_ver)
        v = r->match_ver; /* committed is what the primary has there, not what this one has */
    if (v > r->written_ver)
        v = r->written_ver;
    if (v <= r->com_ver)
        return;
    r->com_ver = v;
    replica_touch(r, REPLICA_FX_COMMITTED);
}

void backup_ack(struct replica *r, uint64_t now_ns)
{
    struct fb_append_ack a = {.part = r->part,
                              .epoch = r->epoch,
                              .history = r->history,
                              .acked_ver = r->match_ver,
                              .token = r->token,
                              .sent_ns = r->sent_ns};
    struct replica_node *n;

    if (!r->ack_due || r->lead == REPLICA_NODE_NONE)
        return;
    r->ack_due = false;
    if (r->goodbye_epoch == r->epoch)
        return; /* who led it has let go of it within this tick: nothing is to be promised anew */
    n = replica_node_at(r->rl, r->lead);
    if (n->inc != r->lead_inc)
        return;
    if (a.acked_ver > r->written_ver && !FB_MUTANT(replica_ack_early))
        a.acked_ver = r->written_ver; /* I18 */
    a.synced_ver = r->synced_ver < a.acked_ver ? r->synced_ver : a.acked_ver;
    if (r->promise_epoch != r->epoch) {
        if (r->promise_ns > r->promise_before_ns)
            r->promise_before_ns = r->promise_ns;
        r->promise_epoch = r->epoch;
    }
    r->promise_ns = now_ns + r->rl->config.lease_ns;
    fb_append_ack_encode(&n->acks, &a);
    n->ack_n++;
}
