/* The plain sync process (raw.h): takes batches in order, answers loads, forgets to say so
 * sometimes. One dictionary, no transactions: each batch is applied whole or not at all. */
#include "tests/sim/raw.h"

#include "proto/base/number.h"
#include "proto/wire/feed.h"
#include "tests/sim/node_proc.h"

#include <stdio.h>
#include <stdlib.h>

struct raw_sync {
    struct world *w;
    struct sim_net *net;
    struct sim_conn *conn;
    struct raw_row row[RAW_KEYS];
    uint64_t ckpt[WORLD_PARTITIONS_MAX];
    bool asked[WORLD_PARTITIONS_MAX];
    uint64_t tag; /* of the connection */
};

const struct raw_row *raw_row(struct world *w, uint32_t k)
{
    return &((struct raw_sync *)w->sync)->row[k];
}

void raw_key(uint32_t k, char out[16])
{
    snprintf(out, 16, "key:%u", k);
}

static bool key_number(struct fb_bytes id, uint32_t *k)
{
    int64_t n;
    if (id.n < 5 || !fb_parse_i64(fb_bytes(id.p + 4, id.n - 4), &n) || n < 0 || n >= RAW_KEYS)
        return false;
    *k = (uint32_t)n;
    return true;
}

static void send_item(struct raw_sync *y, enum fb_frame_kind kind, const struct fb_buf *item)
{
    struct fb_frame f = {.kind = kind, .src_inc = 1};
    struct fb_buf out = {0};
    size_t mark = fb_frame_begin(&out, &f);
    fb_buf_put_bytes(&out, fb_buf_view(item));
    fb_frame_end(&out, mark, 1);
    (void)!sim_conn_send(y->conn, &out);
    fb_buf_fini(&out);
}

static void ask_ev(void *arg, uint64_t tag)
{
    struct raw_sync *y = arg;
    uint16_t part = (uint16_t)(tag & 0xff);
    struct fb_feed_req r = {.part = part,
                            .ns = fb_bytes_str("default"),
                            .from_ver = y->ckpt[part],
                            .max = 1 + (uint32_t)sim_range(y->w->sim, SIM_SYNC, 0, 30)};
    struct fb_buf b = {0};
    if (tag >> 8 != y->tag || y->conn == NULL || !sim_conn_open(y->conn))
        return;
    fb_feed_req_encode(&b, &r);
    send_item(y, FB_FRAME_FEED_REQ, &b);
    fb_buf_fini(&b);
}

static void ask(struct raw_sync *y, uint16_t part, uint64_t after_ns)
{
    sim_after(y->w->sim, after_ns, ask_ev, y, y->tag << 8 | part);
}

static void apply(struct raw_sync *y, const struct fb_feed_batch *b)
{
    struct fb_reader r = fb_reader(b->objects);
    struct fb_feed_object o;
    uint64_t last = y->ckpt[b->part];
    struct sim *s = y->w->sim;
    bool tell = sim_healed(s) || sim_chance(s, SIM_SYNC, 800000);

    y->asked[b->part] = false;
    if (b->status == FB_FEED_AHEAD || b->status == FB_FEED_RESYNC)
        sim_violation(s, "I20", "partition %u: the database has what the log has not (status %u)",
                      b->part, b->status);
    if (b->status != FB_FEED_OK || b->from_ver != y->ckpt[b->part])
        return;
    if (!sim_healed(s) && sim_chance(s, SIM_SYNC, 100000))
        return; /* the transaction failed */
    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t k;
        if (fb_feed_object_decode(&r, &o) != FB_OK || !key_number(o.id, &k))
            sim_violation(s, "raw", "an object of a feed is none of ours");
        if (o.ver <= y->row[k].ver)
            sim_violation(s, "I24", "key %u gets version %llx after %llx", k,
                          (unsigned long long)o.ver, (unsigned long long)y->row[k].ver);
        last = o.ver;
        y->row[k].ver = o.ver;
        y->row[k].there = o.kind != FB_KIND_NONE;
        sim_trace(s, "raw-sync key:%u is version %llx kind %u \"%.*s\"", k,
                  (unsigned long long)o.ver, o.kind, (int)o.value.n, (const char *)o.value.p);
        snprintf(y->row[k].value, sizeof y->row[k].value, "%.*s", (int)o.value.n,
                 (const char *)o.value.p);
    }
    y->ckpt[b->part] = b->last && b->scan_end > last ? b->scan_end : last;
    sim_trace(s, "raw-sync partition %u: %u objects, checkpoint %llx", b->part, b->count,
              (unsigned long long)y->ckpt[b->part]);
    if (tell) {
        struct fb_feed_pos pos = {.part = b->part,
                                  .ns = fb_bytes_str("default"),
                                  .ver = y->ckpt[b->part],
                                  .dsafe = y->ckpt[b->part],
                                  .xid = 100 + y->ckpt[b->part] % 1000};
        struct fb_buf out = {0};
        fb_feed_pos_encode(&out, &pos);
        send_item(y, FB_FRAME_FEED_POS, &out);
        fb_buf_fini(&out);
    }
    if (!b->last)
        ask(y, b->part, sim_spread(s, SIM_SYNC, 100 * SIM_US, 20 * SIM_MS));
}

static void answer_load(struct raw_sync *y, const struct fb_load_req *q)
{
    uint32_t k = 0;
    struct fb_buf b = {0};
    const struct raw_row *row;
    if (!key_number(q->id, &k))
        sim_violation(y->w->sim, "raw", "a load of no key of ours");
    row = &y->row[k];
    struct fb_load_rep rep = {.part = q->part,
                              .token = q->token,
                              .status = row->there ? FB_LOAD_FOUND : FB_LOAD_ABSENT,
                              .kind = row->there ? FB_KIND_STRING : FB_KIND_NONE,
                              .xmin = 7,
                              .ckpt_ver = y->ckpt[q->part],
                              .stored_ver = row->there ? row->ver : 0,
                              .ns = q->ns,
                              .id = q->id,
                              .value = fb_bytes_str(row->there ? row->value : "")};
    if (!sim_healed(y->w->sim) && sim_chance(y->w->sim, SIM_SYNC, 30000))
        rep.status = FB_LOAD_DB_DOWN;
    sim_trace(y->w->sim, "raw-sync key:%u is loaded: status %u checkpoint %llx", k, rep.status,
              (unsigned long long)rep.ckpt_ver);
    fb_load_rep_encode(&b, &rep);
    send_item(y, FB_FRAME_LOAD_REP, &b);
    fb_buf_fini(&b);
}

static void dial_ev(void *arg, uint64_t tag)
{
    struct raw_sync *y = arg;
    (void)tag;
    y->conn = sim_net_dial(y->net, WORLD_NODE_ADDRESS, WORLD_NODE_NAME, NULL);
}

static void opened(void *arg, struct sim_conn *c, const struct fb_hello *peer)
{
    struct raw_sync *y = arg;
    (void)peer;
    (void)c;
    y->tag++;
    memset(y->asked, 0, sizeof y->asked);
}

static void closed(void *arg, struct sim_conn *c, const char *why)
{
    struct raw_sync *y = arg;
    (void)c;
    (void)why;
    y->conn = NULL;
    y->tag++;
    sim_after(y->w->sim, sim_spread(y->w->sim, SIM_SYNC, 10 * SIM_MS, 500 * SIM_MS), dial_ev, y, 0);
}

static void received(void *arg, struct sim_conn *c, const struct fb_frame *f)
{
    struct raw_sync *y = arg;
    struct fb_reader r = fb_reader(f->tail);
    struct sim *s = y->w->sim;
    (void)c;
    for (uint32_t i = 0; i < f->count; i++) {
        struct fb_feed_note note;
        struct fb_feed_batch batch;
        struct fb_load_req load;
        if (f->kind == FB_FRAME_NOTE && fb_feed_note_decode(&r, &note) == FB_OK) {
            if (y->asked[note.part] && !note.due)
                continue;
            y->asked[note.part] = true;
            ask(y, note.part,
                note.due ? SIM_MS : sim_spread(s, SIM_SYNC, 5 * SIM_MS, 800 * SIM_MS));
        } else if (f->kind == FB_FRAME_FEED_DATA && fb_feed_batch_decode(&r, &batch) == FB_OK) {
            apply(y, &batch);
        } else if (f->kind == FB_FRAME_LOAD_REQ && fb_load_req_decode(&r, &load) == FB_OK) {
            answer_load(y, &load);
        }
    }
}

/* All is lost that is not in the database: what the log says from now on is a new history. */
static void lost(void *arg, enum node_loss loss)
{
    (void)arg;
    (void)loss;
}

static void start(struct world *w)
{
    struct raw_sync *y = fb_xcalloc(1, sizeof *y);
    struct sim_net_config c = {.role = FB_ROLE_SYNC,
                               .name = "raw-sync",
                               .has_cluster = true,
                               .inc = 1,
                               .arg = y,
                               .opened = opened,
                               .received = received,
                               .closed = closed};
    y->w = w;
    w->sync = y;
    memcpy(c.cluster, w->cluster, sizeof c.cluster);
    y->net = sim_net_open(w->wire, &c);
    node_proc_on_loss(w, lost, y);
    dial_ev(y, 0);
}

static void heal(struct world *w)
{
    (void)w;
}

static bool settled(struct world *w, char *why, size_t n)
{
    uint64_t dirty = node_proc_dirty(w);
    if (dirty == 0)
        return true;
    snprintf(why, n, "%llu objects are not in the database", (unsigned long long)dirty);
    return false;
}

static void finish(struct world *w)
{
    (void)w;
}

static void stop(struct world *w)
{
    free(w->sync);
    w->sync = NULL;
}

const struct world_module raw_sync_module = {.name = "raw-sync",
                                             .start = start,
                                             .heal = heal,
                                             .settled = settled,
                                             .finish = finish,
                                             .stop = stop};
