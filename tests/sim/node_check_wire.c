/* What a node says against what is in its log and on its disk (node_check.h). */
#include "tests/sim/node_check_impl.h"

#include "proto/base/hash.h"

#include <stdlib.h>

static struct asked *asked_at(struct node_check *c, const struct sim_conn *conn, uint32_t seq)
{
    uint64_t h = ((uint64_t)sim_conn_id(conn) << 32 | seq) * UINT64_C(0x9e3779b97f4a7c15);
    return &c->asked[h >> 51];
}

void node_check_received(struct node_check *c, const struct sim_conn *conn,
                         const struct fb_frame *f)
{
    struct fb_reader r = fb_reader(f->tail);
    if (f->kind == FB_FRAME_DB_CLOCK)
        node_check_clock_told(c, f);
    if (f->kind != FB_FRAME_REQ)
        return;
    for (uint32_t i = 0; i < f->count; i++) {
        struct fb_req req;
        if (fb_req_decode(&r, &req) != FB_OK)
            return;
        *asked_at(c, conn, req.seq) = (struct asked){.conn = conn,
                                                     .seq = req.seq,
                                                     .part = req.part,
                                                     .epoch = req.epoch,
                                                     .grows = node_check_grows(&req),
                                                     .received_ns = sim_now_ns(c->sim),
                                                     .used = true};
    }
}

static void sent_reply(struct node_check *c, const struct sim_conn *conn, const struct fb_rep *r)
{
    struct asked *a = asked_at(c, conn, r->seq);
    struct part_view *v;
    if (!a->used || a->conn != conn || a->seq != r->seq)
        return; /* its place was taken by a later one */
    a->used = false;
    if (r->type == FB_REP_ERR || a->part >= c->partitions)
        return;
    v = &c->parts[a->part];
    /* Of several copies one that leads no more may still send what it answered while it did: the
     * history judges that. */
    if (ledger_copies(c->ledger) ? a->epoch > v->epoch_started : a->epoch != v->epoch_started)
        sim_violation(c->sim, "I1",
                      "a request of epoch %u for partition %u is answered in epoch %u", a->epoch,
                      a->part, v->epoch_started);
    if (fb_ver_epoch(r->ver) == 0)
        return;
    if (r->ver > v->written)
        sim_violation(c->sim, "I11",
                      "a reply shows version %u/%llu of partition %u, which is not "
                      "in the log",
                      fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver), a->part);
    node_check_grown(c, a, r->ver);
    if (r->level == FB_LEVEL_DURABLE && r->ver > v->durable)
        sim_violation(c->sim, "I13",
                      "a reply says durable for version %u/%llu of partition %u, "
                      "which is not on disk",
                      fb_ver_epoch(r->ver), (unsigned long long)fb_ver_counter(r->ver), a->part);
}

/* Did PostgreSQL's values take the place of what this record had? */
static bool refreshed(const struct part_view *v, const struct seen *s)
{
    for (const struct seen *r = s + 1; r < v->r + v->n; r++)
        if (r->type == FB_RECORD_REFRESH && r->key == s->key && r->obj_ver == s->ver)
            return true;
    return false;
}

/* I21, I22: PostgreSQL is at `end` when it has the batch. Each key with a record in (from, end] is
 * in the batch with the newest of those, or has a newer one above `end`, which must be on disk by
 * now: were that one lost, the key would be passed and never written. */
static void check_passed(const struct node_check *c, const struct fb_feed_batch *b, uint64_t end)
{
    const struct part_view *v = &c->parts[b->part];
    struct passed {
        uint64_t newest, above; /* up to end; above it and on disk */
        bool given;
    } *k = fb_xcalloc(v->keys->n + 1, sizeof *k);
    struct fb_reader r = fb_reader(b->objects);
    const struct seen *s = v->r + v->n;

    while (s > v->r && s[-1].ver > b->from_ver)
        s--;
    for (; s < v->r + v->n && s->ver <= v->durable; s++) {
        if (s->type != FB_RECORD_PUT && s->type != FB_RECORD_DEL && s->type != FB_RECORD_EXPIRE)
            continue;
        if (s->ver <= end)
            k[s->key - 1].newest = s->ver;
        else
            k[s->key - 1].above = s->ver;
    }
    for (uint32_t i = 0; i < b->count; i++) {
        struct fb_feed_object o;
        const struct seen *given;
        if (fb_feed_object_decode(&r, &o) == FB_OK && (given = node_check_seen(v, o.ver)) != NULL)
            k[given->key - 1].given = k[given->key - 1].newest == o.ver;
    }
    for (uint32_t i = 0; i < v->keys->n; i++) {
        struct fb_bytes key = fb_buf_view(&v->keys->k[i].key);
        uint8_t ns_len;
        if (k[i].newest == 0 || k[i].given || k[i].above != 0 ||
            !fb_bytes_is(b->ns,
                         c->namespaces->ns[fb_nsset_of_key(c->namespaces, key, &ns_len)].name))
            continue;
        sim_violation(c->sim, "I22",
                      "a feed of partition %u passes \"%.*s\" at version %u/%llu without giving it "
                      "out, and no newer version of it is on disk",
                      b->part, (int)key.n, (const char *)key.p, fb_ver_epoch(k[i].newest),
                      (unsigned long long)fb_ver_counter(k[i].newest));
    }
    free(k);
}

static void sent_batch(struct node_check *c, const struct fb_feed_batch *b)
{
    struct fb_reader r = fb_reader(b->objects);
    struct part_view *v;
    uint64_t last = b->from_ver;
    if (b->status != FB_FEED_OK || b->part >= c->partitions)
        return;
    v = &c->parts[b->part];
    for (uint32_t i = 0; i < b->count; i++) {
        struct fb_feed_object o;
        const struct seen *s;
        if (fb_feed_object_decode(&r, &o) != FB_OK)
            sim_violation(c->sim, "frame", "a feed batch holds what is no object");
        if (o.ver > v->durable)
            sim_violation(c->sim, "I20",
                          "a feed gives out version %u/%llu of partition %u, which "
                          "is not on disk",
                          fb_ver_epoch(o.ver), (unsigned long long)fb_ver_counter(o.ver), b->part);
        if (o.ver <= last)
            sim_violation(c->sim, "I21", "a feed of partition %u goes back", b->part);
        last = o.ver;
        s = node_check_seen(v, o.ver);
        if (s == NULL ||
            (s->type != FB_RECORD_PUT && s->type != FB_RECORD_DEL && s->type != FB_RECORD_EXPIRE))
            sim_violation(c->sim, "I20",
                          "a feed gives out version %u/%llu of partition %u, which "
                          "is no write of its log",
                          fb_ver_epoch(o.ver), (unsigned long long)fb_ver_counter(o.ver), b->part);
        if (s->type == FB_RECORD_PUT && !refreshed(v, s) &&
            fb_hash64(o.value.p, o.value.n, 7) != s->value_hash)
            sim_violation(c->sim, "I20", "a feed gives out another value than the record's");
    }
    if (b->purge_ver <= b->from_ver) /* else PostgreSQL lost more than it said it could */
        check_passed(c, b, b->last ? b->scan_end : last);
    if (b->last && b->scan_end > v->durable && b->scan_end > b->from_ver)
        sim_violation(c->sim, "I20", "a feed of partition %u scans beyond what is on disk",
                      b->part);
}

/* I22: a checkpoint passes the object when this arrives; were its PARK lost then, nothing would
 * tell that the object has to be written. */
static void sent_verdict_ack(const struct node_check *c, const struct fb_verdict_ack *a)
{
    const struct part_view *v;
    const struct seen *s;
    if (a->status != FB_OK || a->ver == 0 || a->part >= c->partitions)
        return;
    v = &c->parts[a->part];
    s = node_check_seen(v, a->ver);
    if (s != NULL && s->type == FB_RECORD_PARK && a->ver > v->durable)
        sim_violation(c->sim, "I22",
                      "the PARK %u/%llu of partition %u is acknowledged and is not on disk",
                      fb_ver_epoch(a->ver), (unsigned long long)fb_ver_counter(a->ver), a->part);
}

struct node_sent node_check_sent(struct node_check *c, const struct sim_conn *conn,
                                 struct fb_bytes frames)
{
    size_t at = 0, size;
    struct node_sent sent = {0};
    if (ledger_copies(c->ledger))
        node_check_open(c);
    while (at < frames.n) {
        struct fb_bytes rest = {frames.p + at, frames.n - at};
        struct fb_frame f;
        struct fb_err err;
        struct fb_reader r;
        if (fb_frame_size(rest, &size) != FB_OK || size == 0 || size > rest.n ||
            fb_frame_decode(fb_bytes(rest.p, size), &f, &err) != FB_OK)
            sim_violation(c->sim, "frame", "the node sends a broken frame");
        at += size;
        r = fb_reader(f.tail);
        for (uint32_t i = 0; i < f.count && f.kind == FB_FRAME_REP; i++) {
            struct fb_rep rep;
            if (fb_rep_decode(&r, &rep) != FB_OK)
                sim_violation(c->sim, "frame", "the node sends a broken reply");
            sent_reply(c, conn, &rep);
        }
        for (uint32_t i = 0; i < f.count && f.kind == FB_FRAME_FEED_DATA; i++) {
            struct fb_feed_batch b;
            if (fb_feed_batch_decode(&r, &b) != FB_OK)
                sim_violation(c->sim, "frame", "the node sends a broken feed batch");
            sent_batch(c, &b);
            sent.fed += b.status == FB_FEED_OK;
        }
        for (uint32_t i = 0; i < f.count && f.kind == FB_FRAME_VERDICT_ACK; i++) {
            struct fb_verdict_ack a;
            if (fb_verdict_ack_decode(&r, &a) != FB_OK)
                sim_violation(c->sim, "frame", "the node sends a broken acknowledgement");
            sent_verdict_ack(c, &a);
        }
        for (uint32_t i = 0; i < f.count && f.kind == FB_FRAME_LOAD_REQ; i++) {
            struct fb_load_req q;
            if (fb_load_req_decode(&r, &q) != FB_OK)
                sim_violation(c->sim, "frame", "the node sends a broken load");
            node_check_load_asked(c, &q);
        }
        if (f.kind == FB_FRAME_VERDICT_ACK)
            sent.verdicts += f.count;
    }
    if (c->proc->fs->errors > c->errors_before)
        sim_violation(c->sim, "I19", "the node sends a frame after its disk failed");
    return sent;
}
