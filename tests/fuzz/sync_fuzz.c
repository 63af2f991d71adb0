/* The write-behind core between nodes and a PostgreSQL that say anything: notes, batches of objects
 * in any order, acks, connections that come and go; operations that end in every class of error,
 * checkpoints and dead letters of anybody; changes of the configuration.
 *
 * Besides assertions and sanitizers: what comes out decodes, and the core becomes quiet when its
 * operations end.
 */
#include "tests/fuzz/input.h"

#include "proto/wire/frame.h"
#include "sync/core/core.h"

#include <stdio.h>
#include <stdlib.h>

#define LANES 2u
#define PEERS 2u
#define ASKED 16u
#define SETS 4u
#define STEPS_MAX 400u

struct asked {
    uint32_t peer;
    uint16_t part;
    char ns[FB_NAME_BYTES_MAX + 1];
    uint64_t from;
    uint32_t max;
};

struct world {
    struct sync_core *core;
    uint64_t now;
    bool up[PEERS];
    struct asked asked[ASKED];
    uint32_t asked_n, asked_next;
    uint64_t verdicts[ASKED];
    uint32_t verdict_n, verdict_next;
    struct sync_op *ops[LANES];
};

static struct fb_column columns[] = {
    {.name = "id",
     .type = "integer",
     .attnum = 1,
     .check = FB_TYPE_INT4,
     .length = -1,
     .is_key = true},
    {.name = "n", .type = "integer", .attnum = 2, .check = FB_TYPE_INT4, .length = -1},
};
static struct fb_schema schema = {
    .ns = "u", .column_count = 2, .columns = columns, .key_count = 1, .key_columns = {0}};
static const char *const set_texts[SETS] = {
    "[namespace u]\ntable = app.u\nkey = id\nvalue = row\nmax_batch = 3\n",
    "[namespace v]\nsync_interval = 100ms\n[namespace u]\ntable = app.u2\nkey = id\nvalue = row\n",
    "",
    "[namespace u]\ntable = app.u\nkey = id\nvalue = row\nconflict = db-wins\nfk_wait = 1s\n",
};
static struct fb_nsset *sets[SETS];
static const struct fb_schema *schemas[SETS][FB_NAMESPACES_MAX];
static bool paused[FB_NAMESPACES_MAX];

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
                schemas[i][k] = &schema;
    }
}

static void configure(struct world *w, uint8_t how)
{
    paused[1] = how & 0x80;
    schemas[0][1] = how & 0x40 ? NULL : &schema;
    sync_core_configure(w->core, sets[how % SETS], schemas[how % SETS], paused);
}

/* --- what comes out --- */

static void take_item(struct world *w, uint32_t peer, enum fb_frame_kind kind, struct fb_reader *in)
{
    struct fb_feed_req q;
    struct fb_feed_pos p;
    struct fb_verdict v;
    enum fb_status s = FB_EPROTO;

    if (kind == FB_FRAME_FEED_REQ) {
        struct asked *a = &w->asked[w->asked_next++ % ASKED];
        s = fb_feed_req_decode(in, &q);
        fb_assert(s == FB_OK);
        *a = (struct asked){.peer = peer, .part = q.part, .from = q.from_ver, .max = q.max};
        memcpy(a->ns, q.ns.p, q.ns.n);
        if (w->asked_n < ASKED)
            w->asked_n++;
    } else if (kind == FB_FRAME_FEED_POS) {
        s = fb_feed_pos_decode(in, &p);
    } else if (kind == FB_FRAME_VERDICT) {
        s = fb_verdict_decode(in, &v);
        fb_assert(s == FB_OK);
        w->verdicts[w->verdict_next++ % ASKED] = v.id64;
        if (w->verdict_n < ASKED)
            w->verdict_n++;
    }
    fb_assert(s == FB_OK);
}

static void take_frames(struct world *w)
{
    for (uint32_t peer = 0; peer < sync_core_peer_count(w->core); peer++) {
        struct fb_buf *out = sync_core_peer_frames(w->core, peer);
        size_t at = 0, size;
        while (at < out->n) {
            struct fb_frame f;
            struct fb_err err;
            struct fb_reader in;
            enum fb_status s = fb_frame_size(fb_bytes(out->p + at, out->n - at), &size);
            fb_assert(s == FB_OK && size > 0 && size <= out->n - at);
            s = fb_frame_decode(fb_bytes(out->p + at, size), &f, &err);
            fb_assert(s == FB_OK);
            in = fb_reader(f.tail);
            for (uint32_t i = 0; i < f.count; i++)
                take_item(w, peer, f.kind, &in);
            fb_assert(in.n == 0);
            at += size;
        }
        fb_buf_clear(out);
    }
}

static void step_core(struct world *w)
{
    struct sync_event e;

    sync_core_step(w->core);
    take_frames(w);
    for (uint32_t i = 0; i < LANES; i++)
        if (w->ops[i] == NULL)
            w->ops[i] = sync_core_take_op(w->core, i);
    while (sync_core_take_event(w->core, &e))
        continue;
}

/* --- nodes --- */

static struct fb_bytes pick_ns(struct fuzz_in *in)
{
    static const char *const names[] = {"default", "u", "v", "nosuch", ""};
    return fb_bytes_str(names[fuzz_u8(in) % FB_COUNT_OF(names)]);
}

static void do_note(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    struct fb_feed_note n = {.part = how % 4,
                             .epoch = 1 + (how >> 6),
                             .ns = pick_ns(in),
                             .dirty = how & 0x30,
                             .last_ver = 100,
                             .age_ms = 6000,
                             .due = how & 4};
    if (how & 8) {
        n.part = fuzz_u16(in);
        n.age_ms = fuzz_u64(in);
        n.dirty = fuzz_u64(in);
        n.history = fuzz_u8(in);
    }
    sync_core_note(w->core, fuzz_u8(in) % PEERS, &n);
}

static void put_objects(struct fuzz_in *in, struct fb_feed_batch *b, struct fb_buf *out)
{
    uint64_t ver = b->from_ver;
    for (uint32_t i = fuzz_below(in, 6); i > 0; i--) {
        uint8_t how = fuzz_u8(in);
        struct fb_feed_object o = {.ver = ver += 1 + how % 4,
                                   .kind = (how >> 2) % 3,
                                   .flags = fuzz_u8(in),
                                   .id = fuzz_bytes(in, how % 8),
                                   .value = fuzz_bytes(in, how % 16)};
        if (how > 250)
            o.ver = fuzz_u64(in);
        fb_feed_object_encode(out, &o);
        b->count++;
    }
    b->scan_end = ver + (b->last ? fuzz_u8(in) % 4 : 0);
}

static void do_batch(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    struct fb_buf objects = {0}, bytes = {0};
    struct fb_feed_batch b = {.last = how & 1}, back;
    struct fb_reader r;
    uint32_t peer = fuzz_u8(in) % PEERS;

    if (w->asked_n > 0 && how < 240) {
        const struct asked *a = &w->asked[(w->asked_next - 1 - how / 2 % w->asked_n) % ASKED];
        peer = a->peer;
        b.part = a->part;
        b.ns = fb_bytes_str(a->ns);
        b.from_ver = a->from;
    } else {
        b.part = fuzz_u16(in);
        b.ns = pick_ns(in);
        b.from_ver = fuzz_u8(in);
    }
    put_objects(in, &b, &objects);
    if (how % 16 == 15) {
        b.status = fuzz_u8(in) % 8;
        b.count = fuzz_u8(in);
        b.scan_end = fuzz_u64(in);
    }
    if (how == 255)
        b.count = fuzz_u32(in);
    b.objects = how % 16 == 14 ? fuzz_short(in) : fb_buf_view(&objects);
    fb_feed_batch_encode(&bytes, &b);
    r = fb_reader(fb_buf_view(&bytes));
    if (fb_feed_batch_decode(&r, &back) == FB_OK)
        sync_core_batch(w->core, peer, &back);
    fb_buf_fini(&objects);
    fb_buf_fini(&bytes);
}

static void do_ack(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    struct fb_verdict_ack a = {.part = how % 4, .status = fuzz_u8(in) % 24, .ver = fuzz_u8(in)};
    a.id64 = w->verdict_n > 0 && how < 240 ? w->verdicts[how % w->verdict_n] : fuzz_u64(in);
    if (how & 0x10)
        a.status = 0;
    sync_core_ack(w->core, fuzz_u8(in) % PEERS, &a);
}

static void do_peer(struct world *w, struct fuzz_in *in)
{
    uint8_t how = fuzz_u8(in);
    uint32_t peer = how % PEERS;
    if (w->up[peer]) {
        sync_core_peer_down(w->core, peer);
    } else {
        char name[8];
        snprintf(name, sizeof(name), "n%u", peer);
        peer = sync_core_peer_up(w->core, name, how);
        fb_assert(peer < PEERS);
    }
    w->up[peer] = !w->up[peer];
}

/* --- PostgreSQL --- */

static void put_results(struct fuzz_in *in, struct pg_batch *b, struct pg_conflict **out,
                        size_t *count)
{
    size_t max = fuzz_u8(in) % 4;
    *out = fb_xcalloc(4, sizeof(**out));
    for (size_t i = 0; i < max; i++) {
        struct pg_conflict *c = &(*out)[*count];
        c->feed = fuzz_u8(in) % (uint32_t)b->feed_count;
        if (b->feeds[c->feed].count == 0)
            continue;
        c->object = fuzz_u8(in) % (uint32_t)b->feeds[c->feed].count;
        c->kind = fuzz_u8(in) % 3;
        c->xmin = fuzz_u8(in);
        c->value_at = b->bytes.n;
        c->value_n = fuzz_u8(in) % 16;
        memset(fb_buf_grow(&b->bytes, c->value_n), 0, c->value_n);
        (*count)++;
    }
}

static void finish(struct world *w, uint32_t lane, struct fuzz_in *in)
{
    struct sync_op *op = w->ops[lane];
    uint8_t how = fuzz_u8(in);

    if (op == NULL)
        return;
    w->ops[lane] = NULL;
    op->class = how < 128 ? PG_OK : (enum pg_class)(how % (PG_UNKNOWN + 1));
    op->err.class = op->class;
    op->err.feed = UINT32_MAX;
    snprintf(op->err.sqlstate, sizeof(op->err.sqlstate), "22P02");
    if (op->kind == SYNC_OP_ATTACH && op->class == PG_OK) {
        for (uint32_t i = how % 4; i > 0; i--) {
            char ns[FB_NAME_BYTES_MAX + 1] = "";
            struct fb_bytes n = pick_ns(in);
            memcpy(ns, n.p, n.n);
            sync_op_add_checkpoint(op, fuzz_u8(in) % 4 ? fuzz_u8(in) % 4 : fuzz_u16(in), ns,
                                   fuzz_u8(in) % 2, fuzz_u8(in));
        }
    } else if (op->kind == SYNC_OP_APPLY) {
        if (how & 1) {
            op->err.feed = fuzz_u8(in) % (uint32_t)op->batch.feed_count;
            op->batch.feeds[op->err.feed].blamed = true;
            op->batch.feeds[fuzz_u8(in) % op->batch.feed_count].blamed = true;
        }
        if (op->class == PG_CONFLICT || op->class == PG_NO_LETTER)
            put_results(in, &op->batch, &op->batch.conflicts, &op->batch.conflict_count);
        else if (op->class == PG_OK)
            put_results(in, &op->batch, &op->batch.refreshes, &op->batch.refresh_count);
    }
    sync_core_result(w->core, op);
    free(op->batch.conflicts);
    free(op->batch.refreshes);
    fb_buf_fini(&op->batch.bytes);
    sync_op_free(op);
}

static void do_members(struct world *w, struct fuzz_in *in)
{
    char names[4][FB_NAME_BYTES_MAX + 1] = {"sync-1", "sync-2", "x", ""};
    uint8_t how = fuzz_u8(in);
    sync_core_members(w->core, (const char(*)[FB_NAME_BYTES_MAX + 1])(names + how % 2), how % 4);
}

static void pass(struct world *w, uint64_t ms)
{
    w->now += ms;
    sync_core_now(w->core, w->now);
}

static void step(struct world *w, struct fuzz_in *in)
{
    uint8_t what = fuzz_u8(in);
    struct sync_ns_status st;

    if (what < 50)
        do_note(w, in);
    else if (what < 110)
        do_batch(w, in);
    else if (what < 130)
        do_ack(w, in);
    else if (what < 180)
        finish(w, what % LANES, in);
    else if (what < 210)
        pass(w, (uint64_t)fuzz_u8(in) << (what % 12));
    else if (what < 218)
        do_peer(w, in);
    else if (what < 222)
        configure(w, fuzz_u8(in));
    else if (what < 226)
        do_members(w, in);
    else if (what < 236)
        sync_core_flush(w->core, what & 1 ? NULL : "u");
    else if (what < 240)
        sync_core_db_answers(w->core);
    else if (what < 241)
        sync_core_drain(w->core);
    for (size_t i = 0; i < sync_core_ns_count(w->core); i++)
        sync_core_ns_status(w->core, i, &st);
    step_core(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct sync_core_config config = {.name = "sync-1", .inc = 7, .lanes = LANES, .seed = 42};
    struct fuzz_in in = {data, n}, none = {NULL, 0};
    struct world w = {.now = 100000};

    if (sets[0] == NULL)
        sets_init();
    w.core = sync_core_new(&config);
    sync_core_now(w.core, w.now);
    configure(&w, fuzz_u8(&in));
    for (uint32_t i = 0; i < PEERS; i++)
        do_peer(&w, &(struct fuzz_in){(const uint8_t *)&(uint8_t){(uint8_t)i}, 1});
    for (uint32_t i = 0; in.n > 0 && i < STEPS_MAX; i++)
        step(&w, &in);
    sync_core_drain(w.core);
    step_core(&w);
    for (uint32_t i = 0; !sync_core_quiet(w.core); i++) {
        fb_assert(i < 100);
        for (uint32_t l = 0; l < LANES; l++)
            finish(&w, l, &none);
        pass(&w, 1000);
        step_core(&w);
    }
    sync_core_free(w.core);
    return 0;
}
