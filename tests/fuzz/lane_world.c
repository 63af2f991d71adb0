/* A lane with everything around it that a node's worker does (lane_world.h). */
#include "tests/fuzz/lane_world.h"

#include "node/core/message.h"
#include "node/core/read.h"
#include "proto/base/compiler.h"
#include "proto/cluster/slot.h"
#include "proto/wire/version.h"

#include <stdio.h>
#include <stdlib.h>

#define SETS 6u

static struct fb_column columns[] = {
    {.name = "id",
     .type = "integer",
     .attnum = 1,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1,
     .not_null = true,
     .is_key = true},
    {.name = "name",
     .type = "text",
     .attnum = 2,
     .check = FB_TYPE_TEXT,
     .length = -1,
     .scale = -1,
     .not_null = true},
    {.name = "n",
     .type = "integer",
     .attnum = 3,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1,
     .has_default = true},
    {.name = "made",
     .type = "integer",
     .attnum = 4,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1,
     .generated = true},
    {.name = "abc", .type = "bytea", .attnum = 70, .check = FB_TYPE_BYTEA, .length = -1},
};
static struct fb_schema rows = {
    .ns = "u", .column_count = 5, .columns = columns, .key_count = 1, .key_columns = {0}};
static struct fb_column text_columns[] = {
    {.name = "k",
     .type = "text",
     .attnum = 1,
     .check = FB_TYPE_TEXT,
     .length = -1,
     .not_null = true,
     .is_key = true},
    {.name = "v", .type = "text", .attnum = 2, .check = FB_TYPE_TEXT, .length = -1},
};
static struct fb_schema texts = {
    .ns = "c", .column_count = 2, .columns = text_columns, .key_count = 1, .key_columns = {0}};

/* What is served, by turns. */
static const char *const set_texts[SETS] = {
    "[namespace u]\ntable = app.u\nkey = id\nvalue = row\nttl = 5s\nconflict = merge-columns\n"
    "on_delete = delete\n"
    "[namespace c]\ntable = app.c\nkey = k\nvalue = column:v\non_delete = delete\n"
    "conflict = db-wins\n"
    "[namespace d]\ndurability = database\nttl = 2s\n"
    "[namespace k]\nmax_value = 100B\n",
    "[namespace u]\ntable = app.u\nkey = id\nvalue = row\nconflict = cache-wins\n"
    "on_delete = null:name\non_row_gone = reinsert\n"
    "[namespace c]\ntable = app.c\nkey = k\nvalue = column:v\nread_only = yes\n",
    "[namespace u]\ntable = app.other\nkey = id\nvalue = row\n"
    "[namespace d]\ndurability = durable\nmax_dirty_bytes = 4KiB\n",
    "",
    "[namespace c]\ntable = app.c\nkey = k\nvalue = column:v\nconflict = cache-wins\n"
    "on_row_gone = reinsert\n[namespace u]\nttl = 1s\n",
    "[namespace k]\ntable = app.c\nkey = k\nvalue = column:v\nttl = 1s\nblind_writes = yes\n",
};
static struct fb_nsset *sets[SETS];
static const struct fb_schema *schemas[SETS][8];
static uint8_t *large;

static void sets_init(void)
{
    for (uint32_t i = 0; i < SETS; i++) {
        struct fb_err err;
        if (fb_nsset_parse("cluster.conf", fb_bytes_str(set_texts[i]), &sets[i], NULL, &err) !=
            FB_OK) {
            fprintf(stderr, "%s\n", err.msg);
            abort();
        }
        for (uint32_t k = 0; k < sets[i]->count; k++)
            if (sets[i]->ns[k].mapped)
                schemas[i][k] = sets[i]->ns[k].value == FB_VALUE_ROW ? &rows : &texts;
    }
    schemas[2][1] = NULL; /* another table, not read yet */
    large = fb_xmalloc(WORLD_LARGE);
    memset(large, '7', WORLD_LARGE);
}

static void saw_ver(struct world *w, uint64_t ver)
{
    w->vers[w->vers_n++ % WORLD_VERS] = ver;
}

static void lane_start(struct world *w)
{
    struct fb_err err;
    if (store_new(WORLD_PARTS, 64, &w->store, &err) != FB_OK)
        abort();
    w->lane = lane_new(&w->config, w->store);
    lane_configure(w->lane, sets[w->set], schemas[w->set]);
    lane_now(w->lane, w->mono_ns, w->wall_ms);
}

static void dests_new(struct world *w)
{
    w->dest = fb_xcalloc(1, sizeof(*w->dest));
    w->feeds = fb_xcalloc(1, sizeof(*w->feeds));
}

/* The lane owes them nothing any more, or is gone. */
static void dests_free(struct world *w)
{
    fb_buf_fini(&w->dest->out);
    fb_buf_fini(&w->feeds->batches);
    fb_buf_fini(&w->feeds->acks);
    free(w->dest);
    free(w->feeds);
}

static void lane_stop(struct world *w)
{
    lane_free(w->lane);
    store_free(w->store);
    dests_free(w);
    w->load_n = 0;
}

struct world *world_new(uint8_t kind)
{
    struct world *w = fb_xcalloc(1, sizeof(*w));
    if (sets[0] == NULL)
        sets_init();
    w->large = large;
    w->config = (struct lane_config){.lanes = 1,
                                     .partitions = WORLD_PARTS,
                                     .memory_limit = kind & 1 ? 2000 : 1u << 20,
                                     .dirty_limit = kind & 2 ? 1500 : 1u << 20,
                                     .accept_database_ahead = (kind & 4) != 0};
    w->set = kind / 8 % SETS;
    w->mono_ns = 1000000000;
    w->wall_ms = WORLD_WALL_MS;
    dests_new(w);
    lane_start(w);
    for (uint16_t p = 0; p < WORLD_PARTS; p++)
        world_reopen(w, p);
    world_tick(w);
    return w;
}

void world_free(struct world *w)
{
    world_tick(w);
    world_synced(w);
    world_restart(w, true);
    lane_stop(w);
    for (uint16_t p = 0; p < WORLD_PARTS; p++)
        fb_buf_fini(&w->snap[p]);
    fb_buf_fini(&w->log);
    free(w);
}

void world_request(struct world *w, const struct fb_req *req)
{
    uint64_t random = req->seq * UINT64_C(0x9e3779b97f4a7c15);

    if (fb_op_class(req->op) == FB_OP_NODE && req->op != FB_OP_FLUSHALL) {
        node_read_all(w->store, req, random, NULL, &w->dest->out);
        w->dest->items++;
        return;
    }
    if (fb_op_class(req->op) == FB_OP_READ && !(req->flags & FB_REQ_ORDERED) &&
        lane_partition_open(w->lane, req->part) &&
        node_read(w->store, req, &w->dest->out, false) == READ_DONE) {
        w->dest->items++;
        return;
    }
    lane_request(w->lane, w->dest, req);
    if (lane_effects(w->lane)->log.n >= LANE_TICK_LOG_BYTES)
        world_tick(w);
}

void world_message(struct world *w, enum fb_frame_kind kind, struct fb_bytes items)
{
    struct fb_reader in = fb_reader(items);
    while (in.n > 0) {
        struct fb_reader item;
        struct fb_bytes bytes;
        uint16_t part = 0;
        if (!lane_message_next(&in, kind, &part, &bytes) || part >= WORLD_PARTS)
            return; /* the connection is closed */
        item = fb_reader(bytes);
        lane_message(w->lane, w->feeds, kind, &item);
        fb_assert(item.n == 0);
    }
}

static void check_reps(struct world *w, struct fb_bytes out, uint32_t items)
{
    struct fb_reader in = fb_reader(out);
    for (uint32_t i = 0; i < items; i++) {
        struct fb_rep rep;
        enum fb_status s = fb_rep_decode(&in, &rep);
        fb_assert(s == FB_OK);
        fb_assert(rep.type != FB_REP_ERR || rep.num <= FB_REP_ERR_UNKNOWN);
        if (rep.type == FB_REP_LIST || rep.type == FB_REP_MAP)
            fb_assert(fb_list_valid(rep.payload));
        if (rep.ver != 0)
            saw_ver(w, rep.ver);
    }
    fb_assert(in.n == 0);
}

static void fed(struct world *w, const struct fb_feed_batch *b, const struct fb_feed_object *o)
{
    struct world_fed *f = &w->fed[w->fed_next++ % WORLD_FED];
    f->part = b->part;
    f->ver = o->ver;
    memcpy(f->ns, b->ns.p, b->ns.n);
    f->ns[b->ns.n] = 0;
    f->id_n = (uint16_t)o->id.n;
    if (o->id.n > 0)
        memcpy(f->id, o->id.p, o->id.n);
    if (w->fed_n < WORLD_FED)
        w->fed_n++;
}

/* I21: versions of a batch only grow, and end at or below the position it gives. */
static void check_batches(struct world *w)
{
    struct fb_reader in = fb_reader(fb_buf_view(&w->feeds->batches));
    for (uint32_t i = 0; i < w->feeds->batch_count; i++) {
        struct fb_feed_batch b;
        struct fb_feed_object o;
        struct fb_reader objects;
        uint64_t last;
        enum fb_status s = fb_feed_batch_decode(&in, &b);
        fb_assert(s == FB_OK);
        objects = fb_reader(b.objects);
        last = b.from_ver;
        for (uint32_t k = 0; k < b.count; k++) {
            s = fb_feed_object_decode(&objects, &o);
            fb_assert(s == FB_OK && o.ver > last);
            last = o.ver;
            fed(w, &b, &o);
            saw_ver(w, o.ver);
        }
        fb_assert(objects.n == 0);
        if (b.status == FB_FEED_OK) {
            fb_assert(last <= b.scan_end || !b.last);
            saw_ver(w, b.scan_end);
        }
    }
    fb_assert(in.n == 0);
}

static void check_notes(struct lane_effects *fx)
{
    struct fb_reader in = fb_reader(fb_buf_view(&fx->notes));
    for (uint32_t i = 0; i < fx->note_count; i++) {
        struct fb_feed_note note;
        enum fb_status s = fb_feed_note_decode(&in, &note);
        fb_assert(s == FB_OK);
    }
    fb_assert(in.n == 0);
}

static void take_loads(struct world *w, const struct lane_effects *fx)
{
    for (size_t i = 0; i < fx->load_count; i++) {
        struct world_load *l = &w->loads[w->load_n < WORLD_LOADS ? w->load_n : i % WORLD_LOADS];
        fb_assert(fx->loads[i].id.n <= FB_KEY_BYTES_MAX);
        l->part = fx->loads[i].part;
        l->token = fx->loads[i].token;
        l->id_n = (uint16_t)fx->loads[i].id.n;
        if (l->id_n > 0)
            memcpy(l->id, fx->loads[i].id.p, l->id_n);
        if (w->load_n < WORLD_LOADS)
            w->load_n++;
    }
}

void world_tick(struct world *w)
{
    struct lane_effects *fx = lane_effects(w->lane);
    struct fb_reader refused;

    fb_buf_put_bytes(&w->log, fb_buf_view(&fx->log));
    if (fx->log.n > 0)
        w->log_seq = fx->log_seq;
    lane_written(w->lane);
    check_reps(w, fb_buf_view(&w->dest->out), w->dest->items);
    check_batches(w);
    check_notes(fx);
    take_loads(w, fx);
    refused = fb_reader(fb_buf_view(&fx->refused));
    while (refused.n > 0)
        (void)fb_take(&refused, 18);
    fb_assert(!refused.bad);
    fb_buf_clear(&w->dest->out);
    fb_buf_clear(&w->feeds->batches);
    fb_buf_clear(&w->feeds->acks);
    w->dest->items = w->feeds->batch_count = w->feeds->ack_count = 0;
    lane_effects_clear(w->lane);
}

void world_synced(struct world *w)
{
    lane_synced(w->lane, w->log_seq);
}

void world_pass(struct world *w, uint64_t ms)
{
    w->mono_ns += ms * 1000000;
    w->wall_ms += ms;
    lane_now(w->lane, w->mono_ns, w->wall_ms);
    if (w->mono_ns >= lane_deadline_ns(w->lane))
        lane_tick(w->lane);
}

static bool recover_log(struct world *w, struct fb_err *err)
{
    struct fb_reader in = fb_reader(fb_buf_view(&w->log));
    while (in.n > 0) {
        struct fb_record rec;
        if (fb_record_decode(&in, &rec) != FB_OK ||
            lane_recover_record(w->lane, &rec, err) != FB_OK)
            return false;
        saw_ver(w, rec.ver);
    }
    lane_recovered(w->lane);
    return true;
}

static bool recover(struct world *w, bool use_snapshots, struct fb_err *err)
{
    lane_stop(w);
    dests_new(w);
    lane_start(w);
    for (uint16_t p = 0; use_snapshots && p < WORLD_PARTS; p++)
        if (w->snap[p].n > 0 &&
            lane_recover_snapshot(w->lane, p, fb_buf_view(&w->snap[p]), err) != FB_OK)
            return false;
    return recover_log(w, err);
}

static void open_all(struct world *w)
{
    w->log_seq = 0;
    for (uint16_t p = 0; p < WORLD_PARTS; p++)
        world_reopen(w, p);
    world_tick(w);
    world_synced(w);
}

void world_restart(struct world *w, bool use_snapshots)
{
    struct fb_err err = {0};

    world_tick(w);
    if (!recover(w, use_snapshots, &err)) {
        fprintf(stderr, "replay: %s\n", err.msg);
        abort();
    }
    open_all(w);
}

bool world_recover(struct world *w, const struct fb_bytes snaps[WORLD_PARTS], struct fb_bytes log)
{
    struct fb_err err = {0};

    fb_buf_clear(&w->log);
    fb_buf_put_bytes(&w->log, log);
    for (uint16_t p = 0; p < WORLD_PARTS; p++) {
        fb_buf_clear(&w->snap[p]);
        fb_buf_put_bytes(&w->snap[p], snaps[p]);
    }
    if (recover(w, true, &err)) {
        open_all(w);
        return true;
    }
    fb_assert(err.msg[0] != 0 || err.code == 0);
    fb_buf_clear(&w->log);
    for (uint16_t p = 0; p < WORLD_PARTS; p++)
        fb_buf_clear(&w->snap[p]);
    lane_stop(w);
    dests_new(w);
    lane_start(w);
    open_all(w);
    return false;
}

void world_configure(struct world *w, uint8_t set)
{
    w->set = set % SETS;
    lane_configure(w->lane, sets[w->set], schemas[w->set]);
}

void world_reopen(struct world *w, uint16_t part)
{
    lane_close_partition(w->lane, part);
    w->epoch[part] = fb_ver_epoch(lane_last_ver(w->lane, part)) + 1;
    lane_open_partition(w->lane, part, w->epoch[part], lane_history(w->lane, part), w->wall_ms);
}

void world_snapshot(struct world *w, uint16_t part)
{
    struct lane_snapshot s;

    world_tick(w);
    if (!lane_snapshot_begin(w->lane, part, &s))
        return;
    fb_buf_clear(&w->snap[part]);
    while (!s.done)
        lane_snapshot_slice(w->lane, &s, &w->snap[part], 100);
}

void world_hang_up(struct world *w)
{
    w->dest->closed = w->feeds->closed = true;
    /* until nothing is owed to them: everything is answered or timed out in bounded time */
    for (uint32_t i = 0; w->dest->held > 0 || w->feeds->held > 0; i++) {
        fb_assert(i < 1000);
        world_pass(w, 5000);
        world_tick(w);
        world_synced(w);
        world_tick(w);
    }
    world_tick(w);
    dests_free(w);
    dests_new(w);
}
