/* The plain sync process (raw.h): takes batches in order, answers loads, forgets to say so
 * sometimes. One dictionary, no transactions: each batch is applied whole or not at all. */
#include "tests/sim/raw.h"

#include "proto/base/hash.h"
#include "proto/wire/feed.h"
#include "tests/sim/node_proc.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_MAX 16u
#define BUCKETS 256u

struct raw_sync {
    struct world *w;
    struct sim_net *net;
    struct sim_conn *conn;
    struct raw_row *bucket[BUCKETS];
    struct { /* of a partition and a namespace */
        uint64_t ckpt, dsafe;
        bool asked;
    } feed[WORLD_PARTITIONS_MAX][NS_MAX];
    uint64_t tag;   /* of the connection */
    bool disk_lost; /* once: the log may be older than the rows, until the operator gives it up */
    bool lags;      /* in this run dsafe is behind the checkpoint */
};

static struct raw_row *row_of(struct raw_sync *y, const char *key, bool make)
{
    struct raw_row **at = &y->bucket[fb_hash64(key, strlen(key), 3) % BUCKETS];
    for (; *at != NULL; at = &(*at)->next)
        if (strcmp((*at)->key, key) == 0)
            return *at;
    if (make) {
        *at = fb_xcalloc(1, sizeof **at);
        snprintf((*at)->key, sizeof(*at)->key, "%s", key);
    }
    return *at;
}

const struct raw_row *raw_row(struct world *w, const char *key)
{
    static const struct raw_row none;
    const struct raw_row *r = row_of(w->sync, key, false);
    return r != NULL ? r : &none;
}

void raw_key(uint32_t k, char out[16])
{
    snprintf(out, 16, "key:%u", k);
}

static uint32_t ns_number(struct raw_sync *y, struct fb_bytes ns)
{
    const struct fb_nsset *all = y->w->namespaces;
    for (uint32_t i = 0; i < all->count && i < NS_MAX; i++)
        if (fb_bytes_is(ns, all->ns[i].name))
            return i;
    sim_violation(y->w->sim, "raw", "a feed of an unknown namespace");
}

/* As clients write it. */
static void key_of(char out[RAW_KEY_BYTES], struct fb_bytes ns, struct fb_bytes id)
{
    if (fb_bytes_is(ns, "default"))
        snprintf(out, RAW_KEY_BYTES, "%.*s", (int)id.n, (const char *)id.p);
    else
        snprintf(out, RAW_KEY_BYTES, "%.*s:%.*s", (int)ns.n, (const char *)ns.p, (int)id.n,
                 (const char *)id.p);
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
    uint32_t ns = (uint32_t)(tag >> 8 & 0xff);
    struct fb_feed_req r = {.part = part,
                            .ns = fb_bytes_str(y->w->namespaces->ns[ns].name),
                            .from_ver = y->feed[part][ns].ckpt,
                            .dsafe = y->feed[part][ns].dsafe,
                            .max = 1 + (uint32_t)sim_range(y->w->sim, SIM_SYNC, 0, 30)};
    struct fb_buf b = {0};
    if (tag >> 16 != y->tag || y->conn == NULL || !sim_conn_open(y->conn))
        return;
    fb_feed_req_encode(&b, &r);
    send_item(y, FB_FRAME_FEED_REQ, &b);
    fb_buf_fini(&b);
}

static void ask(struct raw_sync *y, uint16_t part, uint32_t ns, uint64_t after_ns)
{
    sim_after(y->w->sim, after_ns, ask_ev, y, y->tag << 16 | ns << 8 | part);
}

static void apply(struct raw_sync *y, const struct fb_feed_batch *b)
{
    struct fb_reader r = fb_reader(b->objects);
    struct fb_feed_object o;
    uint32_t ns = ns_number(y, b->ns);
    uint64_t *ckpt = &y->feed[b->part][ns].ckpt, last = *ckpt;
    struct sim *s = y->w->sim;
    bool tell = sim_healed(s) || sim_chance(s, SIM_SYNC, 800000);

    y->feed[b->part][ns].asked = false;
    if ((b->status == FB_FEED_AHEAD && !y->disk_lost) || b->status == FB_FEED_RESYNC)
        sim_violation(s, "I20", "partition %u: the database has what the log has not (status %u)",
                      b->part, b->status);
    if (b->status != FB_FEED_OK || b->from_ver != *ckpt)
        return;
    if (!sim_healed(s) && sim_chance(s, SIM_SYNC, 100000))
        return; /* the transaction failed */
    for (uint32_t i = 0; i < b->count; i++) {
        char key[RAW_KEY_BYTES];
        struct raw_row *row;
        if (fb_feed_object_decode(&r, &o) != FB_OK)
            sim_violation(s, "raw", "an object of a feed cannot be read");
        key_of(key, b->ns, o.id);
        row = row_of(y, key, true);
        if (o.ver <= row->ver)
            sim_violation(s, "I24", "%s gets version %llx after %llx", key,
                          (unsigned long long)o.ver, (unsigned long long)row->ver);
        last = o.ver;
        row->old_ver = row->ver;
        row->old_ckpt = *ckpt;
        row->old_there = row->there;
        row->old_kind = row->kind;
        row->old_expires_ms = row->expires_ms;
        fb_buf_clear(&row->old_value);
        fb_buf_put_bytes(&row->old_value, fb_buf_view(&row->value));
        row->ver = o.ver;
        row->there = o.kind != FB_KIND_NONE;
        row->kind = o.kind;
        row->expires_ms = o.expires_ms;
        fb_buf_clear(&row->value);
        fb_buf_put_bytes(&row->value, o.value);
        sim_trace(s, "raw-sync %s is version %llx kind %u", key, (unsigned long long)o.ver, o.kind);
    }
    if (!y->lags || sim_healed(s) || sim_chance(s, SIM_SYNC, 200000))
        y->feed[b->part][ns].dsafe = *ckpt;
    *ckpt = b->last && b->scan_end > last ? b->scan_end : last;
    if (!y->lags || sim_healed(s))
        y->feed[b->part][ns].dsafe = *ckpt;
    sim_trace(s, "raw-sync partition %u: %u objects, checkpoint %llx", b->part, b->count,
              (unsigned long long)*ckpt);
    if (tell) {
        struct fb_feed_pos pos = {.part = b->part,
                                  .ns = b->ns,
                                  .ver = *ckpt,
                                  .dsafe = y->feed[b->part][ns].dsafe,
                                  .xid = 100 + *ckpt % 1000};
        struct fb_buf out = {0};
        fb_feed_pos_encode(&out, &pos);
        send_item(y, FB_FRAME_FEED_POS, &out);
        fb_buf_fini(&out);
    }
    if (!b->last)
        ask(y, b->part, ns, sim_spread(s, SIM_SYNC, 100 * SIM_US, 20 * SIM_MS));
}

struct late_reply {
    struct raw_sync *y;
    struct fb_buf item;
};

static void late_ev(void *arg, uint64_t tag)
{
    struct late_reply *l = arg;
    if (l->y->tag == tag && l->y->conn != NULL)
        send_item(l->y, FB_FRAME_LOAD_REP, &l->item);
    fb_buf_fini(&l->item);
    free(l);
}

static void answer_load(struct raw_sync *y, const struct fb_load_req *q)
{
    struct fb_buf b = {0};
    const struct raw_row *row;
    char key[RAW_KEY_BYTES];
    key_of(key, q->ns, q->id);
    row = raw_row(y->w, key);
    struct fb_load_rep rep = {.part = q->part,
                              .token = q->token,
                              .status = row->there ? FB_LOAD_FOUND : FB_LOAD_ABSENT,
                              .kind = row->there ? row->kind : FB_KIND_NONE,
                              .xmin = 7,
                              .ckpt_ver = y->feed[q->part][ns_number(y, q->ns)].ckpt,
                              .stored_ver = row->there ? row->ver : 0,
                              .expires_ms = row->there ? row->expires_ms : 0,
                              .ns = q->ns,
                              .id = q->id,
                              .value = row->there ? fb_buf_view(&row->value) : fb_bytes("", 0)};
    if (row->ver != 0 && row->old_ckpt != UINT64_MAX && !sim_healed(y->w->sim) &&
        sim_chance(y->w->sim, SIM_SYNC, 50000)) {
        rep.status = row->old_there ? FB_LOAD_FOUND : FB_LOAD_ABSENT;
        rep.kind = row->old_there ? row->old_kind : FB_KIND_NONE;
        rep.ckpt_ver = row->old_ckpt;
        rep.stored_ver = row->old_there ? row->old_ver : 0;
        rep.expires_ms = row->old_there ? row->old_expires_ms : 0;
        rep.value = row->old_there ? fb_buf_view(&row->old_value) : fb_bytes("", 0);
    }
    if (!sim_healed(y->w->sim) && sim_chance(y->w->sim, SIM_SYNC, 30000))
        rep.status = FB_LOAD_DB_DOWN;
    sim_trace(y->w->sim, "raw-sync %s is loaded: status %u checkpoint %llx", key, rep.status,
              (unsigned long long)rep.ckpt_ver);
    fb_load_rep_encode(&b, &rep);
    if (!sim_healed(y->w->sim) && sim_chance(y->w->sim, SIM_SYNC, 20000)) {
        struct late_reply *l = fb_xcalloc(1, sizeof *l); /* about when the node gives it up */
        *l = (struct late_reply){y, b};
        sim_after(y->w->sim, sim_range(y->w->sim, SIM_SYNC, 8, 13) * SIM_S, late_ev, l, y->tag);
        return;
    }
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
    for (uint32_t p = 0; p < WORLD_PARTITIONS_MAX; p++)
        for (uint32_t n = 0; n < NS_MAX; n++)
            y->feed[p][n].asked = false;
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
            uint32_t ns = ns_number(y, note.ns);
            if (y->feed[note.part][ns].asked && !note.due)
                continue;
            y->feed[note.part][ns].asked = true;
            ask(y, note.part, ns,
                note.due ? SIM_MS : sim_spread(s, SIM_SYNC, 5 * SIM_MS, 800 * SIM_MS));
        } else if (f->kind == FB_FRAME_FEED_DATA && fb_feed_batch_decode(&r, &batch) == FB_OK) {
            apply(y, &batch);
        } else if (f->kind == FB_FRAME_LOAD_REQ && fb_load_req_decode(&r, &load) == FB_OK) {
            answer_load(y, &load);
        }
    }
}

/* A node that has lost everything cannot tell an old view of the database: from here on it is given
 * none of what is there now. */
static void lost(void *arg, enum node_loss loss)
{
    struct raw_sync *y = arg;
    y->disk_lost |= loss == NODE_LOSS_ANY;
    for (uint32_t i = 0; loss == NODE_LOSS_ANY && i < BUCKETS; i++)
        for (struct raw_row *row = y->bucket[i]; row != NULL; row = row->next)
            row->old_ckpt = UINT64_MAX;
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
    y->lags = sim_chance(w->sim, SIM_SYNC, 400000);
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
    struct raw_sync *y = w->sync;
    for (uint32_t i = 0; i < BUCKETS; i++)
        while (y->bucket[i] != NULL) {
            struct raw_row *row = y->bucket[i];
            y->bucket[i] = row->next;
            fb_buf_fini(&row->value);
            fb_buf_fini(&row->old_value);
            free(row);
        }
    free(y);
    w->sync = NULL;
}

const struct world_module raw_sync_module = {.name = "raw-sync",
                                             .start = start,
                                             .heal = heal,
                                             .settled = settled,
                                             .finish = finish,
                                             .stop = stop};
