/* A lane fed with whatever routers and sync processes may say (rule 7 of proto/PROTOCOL.md: a peer
 * can never make a process abort): requests, transactions, feed requests, checkpoints, load
 * replies, verdicts, as their codecs let them pass, in any order and at any time, between ticks,
 * restarts, snapshots and changes of the configuration.
 *
 * Besides assertions and sanitizers: what comes out decodes, and the log replays.
 */
#include "tests/fuzz/input.h"
#include "tests/fuzz/lane_world.h"

#include "node/core/message.h"
#include "proto/cluster/slot.h"

#include <stdlib.h>

#define STEPS_MAX 400u

static const uint16_t ops[] = {
#define X(name, number, cls) number,
    FB_OP_LIST(X)
#undef X
};

static struct fb_bytes pick_key(struct fuzz_in *in)
{
    static const char *const keys[] = {"a",          "b",    "{a}c", "u:1",  "u:2",  "u:07", "c:x",
                                       "c:y",        "d:1",  "u:",   ":",    "x:y",  "k:1",  "k:2",
                                       "c:\xc3\xa4", "u:-1", "zz",   "{a}d", "{a}e", ""};
    uint8_t i = fuzz_u8(in);
    return i < 224 ? fb_bytes_str(keys[i % FB_COUNT_OF(keys)]) : fuzz_short(in);
}

/* Small, at a border, a version of ours or its neighbour, or anything. */
static uint64_t pick_number(struct world *w, struct fuzz_in *in)
{
    static const uint64_t borders[] = {0,
                                       1,
                                       2,
                                       INT64_MAX,
                                       (uint64_t)INT64_MIN,
                                       UINT64_MAX,
                                       UINT32_MAX,
                                       FB_VALUE_BYTES_MAX,
                                       FB_VALUE_BYTES_MAX - 1,
                                       UINT64_C(1) << 32,
                                       WORLD_WALL_MS,
                                       WORLD_WALL_MS + 1000};
    uint8_t how = fuzz_u8(in);
    if (how < 80)
        return how % 16;
    if (how < 120)
        return borders[how % FB_COUNT_OF(borders)];
    if (how < 230)
        return w->vers[fuzz_u8(in) % WORLD_VERS] + how % 3 - 1;
    return fuzz_u64(in);
}

static struct fb_bytes pick_value(struct world *w, struct fuzz_in *in)
{
    static const char *const words[] = {"",
                                        "1",
                                        "name",
                                        "n",
                                        "id",
                                        "abc",
                                        "-5",
                                        "x*",
                                        "1.5",
                                        "inf",
                                        "made",
                                        "nosuch",
                                        "9223372036854775807"};
    uint8_t how = fuzz_u8(in);
    if (how < 150)
        return fb_bytes_str(words[how % FB_COUNT_OF(words)]);
    if (how < 152) /* as large as may be, and beyond */
        return fb_bytes(w->large, WORLD_LARGE - (size_t)fuzz_u8(in));
    if (how < 154)
        return fb_bytes(w->large, fuzz_u16(in));
    return fuzz_short(in);
}

static void put_hash(struct world *w, struct fuzz_in *in, struct fb_buf *out)
{
    for (uint32_t i = fuzz_below(in, 5); i-- > 0;) {
        struct fb_bytes name = pick_value(w, in), value = pick_value(w, in);
        if (name.n <= UINT16_MAX)
            fb_hash_put(out, name, value);
    }
}

static void put_request(struct world *w, struct fuzz_in *in, struct fb_buf *out, unsigned depth)
{
    struct fb_buf args = {0};
    struct fb_req r = {.seq = ++w->seq,
                       .op = ops[fuzz_u8(in) % FB_COUNT_OF(ops)],
                       .flags = (uint16_t)(fuzz_u8(in) & 0x1ff)};
    uint8_t odd = fuzz_u8(in);

    r.key = pick_key(in);
    if (r.key.n > FB_KEY_BYTES_MAX)
        r.key.n = FB_KEY_BYTES_MAX;
    r.level = odd % 5;
    r.part = odd == 255 ? fuzz_u16(in) : fb_key_partition(r.key, WORLD_PARTS);
    r.epoch = odd == 254 ? fuzz_u32(in) : w->epoch[r.part % WORLD_PARTS];
    if (odd & 0x20) {
        r.a = (int64_t)pick_number(w, in);
        r.b = (int64_t)pick_number(w, in);
    }
    if (r.op == FB_OP_TXN && depth == 0) {
        for (uint32_t i = r.nargs = fuzz_below(in, 6); i > 0; i--) {
            struct fb_buf one = {0};
            put_request(w, in, &one, depth + 1);
            if (odd & 0x40) /* or items as they stand */
                fb_list_put(&args, fb_buf_view(&one));
            else
                fb_buf_put_bytes(&args, fb_buf_view(&one));
            fb_buf_fini(&one);
        }
        if (!(odd & 0x40))
            r.nargs = fuzz_below(in, 6);
    } else {
        for (uint32_t i = r.nargs = fuzz_below(in, 5); i > 0; i--)
            fb_list_put(&args, pick_value(w, in));
    }
    r.args = fb_buf_view(&args);
    fb_req_encode(out, &r);
    fb_buf_fini(&args);
}

static void do_request(struct world *w, struct fuzz_in *in)
{
    struct fb_buf bytes = {0};
    struct fb_reader r;
    struct fb_req req;

    put_request(w, in, &bytes, 0);
    r = fb_reader(fb_buf_view(&bytes));
    if (fb_req_decode(&r, &req) == FB_OK)
        world_request(w, &req);
    fb_buf_fini(&bytes);
}

static void do_raw(struct world *w, struct fuzz_in *in)
{
    struct fb_bytes raw = fuzz_short(in);
    struct fb_reader r = fb_reader(raw);
    struct fb_req req;
    if (fb_req_decode(&r, &req) == FB_OK) {
        req.part = fb_key_partition(req.key, WORLD_PARTS);
        req.epoch = w->epoch[req.part];
        world_request(w, &req);
    }
}

static struct fb_bytes pick_ns(struct fuzz_in *in)
{
    static const char *const names[] = {"default", "u", "c", "d", "k", "", "nosuch"};
    return fb_bytes_str(names[fuzz_u8(in) % FB_COUNT_OF(names)]);
}

static uint16_t pick_part(struct fuzz_in *in)
{
    uint8_t p = fuzz_u8(in);
    return p < 250 ? p % WORLD_PARTS : fuzz_u16(in);
}

static void put_feed_req(struct world *w, struct fuzz_in *in, struct fb_buf *out)
{
    struct fb_feed_req m = {.part = pick_part(in), .ns = pick_ns(in)};
    uint8_t odd = fuzz_u8(in);
    m.from_ver = pick_number(w, in);
    m.max = odd < 200 ? odd % 8 : fuzz_u32(in);
    m.history = odd & 1 ? pick_number(w, in) : 0;
    m.mapping = odd & 2 ? pick_number(w, in) : 0;
    fb_feed_req_encode(out, &m);
}

static void put_feed_pos(struct world *w, struct fuzz_in *in, struct fb_buf *out)
{
    struct fb_feed_pos m = {.part = pick_part(in), .ns = pick_ns(in)};
    uint8_t odd = fuzz_u8(in);
    m.ver = pick_number(w, in);
    m.dsafe = odd & 1 ? pick_number(w, in) : m.ver;
    m.xid = odd;
    m.history = odd & 2 ? pick_number(w, in) : 0;
    fb_feed_pos_encode(out, &m);
}

static void put_load_rep(struct world *w, struct fuzz_in *in, struct fb_buf *out)
{
    struct fb_buf hash = {0};
    struct fb_load_rep m = {0};
    uint8_t odd = fuzz_u8(in), how = fuzz_u8(in);

    if (w->load_n > 0 && how < 250) {
        const struct world_load *l = &w->loads[how % w->load_n];
        m.part = l->part;
        m.token = l->token;
        m.id = fb_bytes(l->id, l->id_n);
    } else {
        m.part = pick_part(in);
        m.token = pick_number(w, in);
        m.id = pick_key(in);
    }
    m.ns = pick_ns(in);
    m.status = odd & 3;
    m.kind = (odd >> 2) % 4;
    m.xmin = odd & 0x10 ? fuzz_u32(in) : 7;
    m.ckpt_ver = pick_number(w, in);
    if (odd & 0x20) {
        m.history = pick_number(w, in);
        m.expires_ms = (int64_t)pick_number(w, in);
        m.stored_ver = pick_number(w, in);
    }
    if (odd & 0x40)
        put_hash(w, in, &hash);
    m.value = odd & 0x40 ? fb_buf_view(&hash) : pick_value(w, in);
    fb_load_rep_encode(out, &m);
    fb_buf_fini(&hash);
}

static void put_verdict(struct world *w, struct fuzz_in *in, struct fb_buf *out)
{
    struct fb_buf hash = {0};
    struct fb_verdict m = {.id64 = w->seq, .sqlstate = "23505"};
    uint8_t odd = fuzz_u8(in), how = fuzz_u8(in);
    struct fb_bytes key = pick_key(in);

    if (w->fed_n > 0 && how < 230) { /* about something a feed gave out */
        const struct world_fed *f = &w->fed[how % w->fed_n];
        m.part = f->part;
        m.ns = fb_bytes_str(f->ns);
        m.id = fb_bytes(f->id, f->id_n);
        m.ver = odd & 0x20 ? pick_number(w, in) : f->ver;
    } else {
        m.part = fb_key_partition(key, WORLD_PARTS);
        m.ns = pick_ns(in);
        m.id = key;
        m.ver = pick_number(w, in);
    }
    if (how % 16 == 15) /* a partition that is not the object's */
        m.part = fuzz_u8(in) % WORLD_PARTS;
    m.verdict = odd % 7;
    m.kind = (odd >> 3) % 4;
    m.xmin = odd & 0x10 ? fuzz_u32(in) : 9;
    m.message = pick_value(w, in);
    if (odd & 0x40)
        put_hash(w, in, &hash);
    m.value = odd & 0x40 ? fb_buf_view(&hash) : pick_value(w, in);
    fb_verdict_encode(out, &m);
    fb_buf_fini(&hash);
}

static void do_message(struct world *w, struct fuzz_in *in)
{
    struct fb_buf bytes = {0};
    uint8_t what = fuzz_u8(in);
    enum fb_frame_kind kind;

    if (what < 80) {
        kind = FB_FRAME_FEED_REQ;
        put_feed_req(w, in, &bytes);
    } else if (what < 120) {
        kind = FB_FRAME_FEED_POS;
        put_feed_pos(w, in, &bytes);
    } else if (what < 180) {
        kind = FB_FRAME_LOAD_REP;
        put_load_rep(w, in, &bytes);
    } else if (what < 250) {
        kind = FB_FRAME_VERDICT;
        put_verdict(w, in, &bytes);
    } else {
        kind = (enum fb_frame_kind)(fuzz_u8(in) % 16);
        fb_buf_put_bytes(&bytes, fuzz_short(in));
    }
    world_message(w, kind, fb_buf_view(&bytes));
    fb_buf_fini(&bytes);
}

static void do_inspect(struct world *w, struct fuzz_in *in)
{
    struct lane_namespace_stats st;
    struct fb_buf json = {0};
    uint16_t part = fuzz_u8(in) % WORLD_PARTS;

    lane_inspect_key(w->lane, pick_key(in), &json);
    fb_buf_put_u8(&json, '\n');
    lane_inspect_partition(w->lane, part, &json);
    lane_namespace_stats(w->lane, fuzz_u8(in) % 8, &st);
    fb_buf_fini(&json);
}

static void step(struct world *w, struct fuzz_in *in)
{
    uint8_t what = fuzz_u8(in);

    if (what < 100)
        do_request(w, in);
    else if (what < 160)
        do_message(w, in);
    else if (what < 190)
        world_tick(w);
    else if (what < 205)
        world_synced(w);
    else if (what < 220)
        world_pass(w, (uint64_t)fuzz_u8(in) << (what & 7));
    else if (what < 225)
        world_restart(w, (what & 1) != 0);
    else if (what < 228)
        world_configure(w, fuzz_u8(in));
    else if (what < 230)
        world_reopen(w, fuzz_u8(in) % WORLD_PARTS);
    else if (what < 232)
        lane_close_partition(w->lane, fuzz_u8(in) % WORLD_PARTS);
    else if (what < 236)
        world_snapshot(w, fuzz_u8(in) % WORLD_PARTS);
    else if (what < 238)
        do_raw(w, in);
    else if (what < 240)
        do_inspect(w, in);
    else if (what < 242)
        lane_loads_fail(w->lane, "no sync process");
    else if (what < 244)
        lane_loads_resend(w->lane);
    else if (what < 246)
        lane_notes_all(w->lane);
    else if (what < 248)
        lane_flush(w->lane, fuzz_u8(in) % 8);
    else if (what < 250)
        (void)lane_flush_clean(w->lane);
    else if (what < 252)
        lane_set_disk_low(w->lane, (what & 1) != 0);
    else if (what < 254)
        lane_set_dirty_limit(w->lane, what & 1 ? 2000 : 0);
    else
        world_hang_up(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = {data, n};
    struct world *w = world_new(fuzz_u8(&in));

    for (uint32_t i = 0; in.n > 0 && i < STEPS_MAX; i++)
        step(w, &in);
    world_free(w);
    return 0;
}
