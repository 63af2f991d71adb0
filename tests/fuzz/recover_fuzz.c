/* Records and snapshot items that no lane wrote, as recovery reads them when every checksum is
 * right: refused as corrupt, or taken; and what was taken can be served, written on, given to
 * feeds, put into snapshots and recovered again. A disk can never make a process abort.
 */
#include "tests/fuzz/input.h"
#include "tests/fuzz/lane_world.h"

#include "proto/cluster/slot.h"
#include "proto/wire/version.h"

#define RECORDS_MAX 100u

static const char *const keys[] = {"a", "b", "{a}c", "u:1", "u:2", "c:x", "d:1", "k:2", "zz"};

struct chain { /* of one partition, so that most records follow each other */
    uint64_t ver, ptime;
};

/* What opens a partition looks before it does (record_next.c). */
static bool used_up(uint64_t ver)
{
    return fb_ver_epoch(ver) <= FB_EPOCH_MAX &&
           (fb_ver_epoch(ver) > FB_EPOCH_MAX - 200 ||
            fb_ver_counter(ver) > FB_VER_COUNTER_MAX - 1000000);
}

static uint64_t pick_ver(struct fuzz_in *in, const struct chain *c)
{
    uint8_t how = fuzz_u8(in);
    if (how < 200)
        return c->ver - how % 8;
    return how < 240 ? 0 : fuzz_u64(in);
}

static void put_value(struct fuzz_in *in, struct fb_record *r, struct fb_buf *hold)
{
    uint8_t how = fuzz_u8(in);
    fb_buf_clear(hold);
    if (how < 100) {
        fb_hash_put(hold, fb_bytes_str("id"), fb_bytes_str("1"));
        fb_hash_put(hold, fb_bytes_str("name"), fuzz_short(in));
    } else {
        fb_buf_put_bytes(hold, fuzz_short(in));
    }
    r->value = fb_buf_view(hold);
}

/* One record, most times one that a lane could have written. */
static void put_record(struct fuzz_in *in, struct chain chains[WORLD_PARTS], bool snapshot,
                       struct fb_buf *out)
{
    static const uint8_t types[] = {
        FB_RECORD_PUT,    FB_RECORD_PUT,         FB_RECORD_PUT,    FB_RECORD_DEL,
        FB_RECORD_EXPIRE, FB_RECORD_PARK,        FB_RECORD_SYNCED, FB_RECORD_REFRESH,
        FB_RECORD_GROUP,  FB_RECORD_EPOCH_START, FB_RECORD_META,   FB_RECORD_SESSION_OPEN};
    uint8_t how = fuzz_u8(in), odd = fuzz_u8(in);
    struct fb_record r = {.type = types[how % FB_COUNT_OF(types)]};
    struct fb_buf hold = {0};
    struct chain *c;
    uint8_t meta[24];

    do /* a snapshot is one partition's */
        r.key = fb_bytes_str(keys[fuzz_u8(in) % FB_COUNT_OF(keys)]);
    while (snapshot && in->n > 0 && fb_key_partition(r.key, WORLD_PARTS) != 0);
    r.part = fb_key_partition(r.key, WORLD_PARTS);
    c = &chains[r.part];
    if (r.key.n > 1 && r.key.p[1] == ':')
        r.ns_len = odd & 1 ? 0 : 1;
    if (r.type == FB_RECORD_SYNCED)
        r.key = fb_bytes_str(odd & 1 ? "default" : odd & 2 ? "u" : "c"), r.ns_len = 0;
    r.prev = c->ver;
    r.ver = c->ver == 0 ? fb_ver(1, 0) : c->ver + 1;
    if (r.type == FB_RECORD_EPOCH_START && fb_ver_epoch(c->ver) < FB_EPOCH_MAX)
        r.ver = fb_ver(fb_ver_epoch(c->ver) + 1, 0);
    r.ptime_ms = c->ptime += odd % 4;
    r.kind = r.type == FB_RECORD_PUT ? 1 + (odd >> 7) : FB_KIND_NONE;
    r.flags = odd % 8;
    if (r.type != FB_RECORD_DEL && r.type != FB_RECORD_EXPIRE)
        put_value(in, &r, &hold);
    r.obj_ver = r.type == FB_RECORD_PUT ? 0 : pick_ver(in, c);
    r.changed = r.type == FB_RECORD_SYNCED ? pick_ver(in, c) : odd;
    r.base_xid = odd & 4 ? 7 : 0;
    if (r.type == FB_RECORD_GROUP)
        r.count = fuzz_u8(in) % 16 ? fuzz_u8(in) % 4 : fuzz_u32(in);
    if (snapshot) {
        r.part = 0;
        r.req_no = odd & 1;
        r.session = 1;
        r.ver = r.ver > 3 ? r.ver - odd % 4 : r.ver;
        r.prev = 0;
        r.history = r.type == FB_RECORD_SYNCED ? pick_ver(in, c) : 0;
        if (r.type == FB_RECORD_META) {
            uint64_t ver = odd & 0x40 ? pick_ver(in, c) : c->ver;
            fb_put_u64(meta, used_up(ver) ? c->ver : ver);
            fb_put_u64(meta + 8, c->ptime);
            fb_put_u64(meta + 16, 0);
            r.value = fb_bytes(meta, sizeof(meta));
        }
    }
    if (how >= 240) { /* something is not as it should be */
        switch (odd % 10) {
        case 0:
            r.ver = fuzz_u64(in);
            break;
        case 1:
            r.prev = fuzz_u64(in);
            break;
        case 2:
            r.ptime_ms = fuzz_u64(in);
            break;
        case 3:
            r.kind = fuzz_u8(in) % 3;
            break;
        case 4:
            r.obj_ver = fuzz_u64(in);
            break;
        case 5:
            r.changed = fuzz_u64(in);
            break;
        case 6:
            r.history = fuzz_u8(in) & 1 ? fuzz_u64(in) : fuzz_u8(in);
            break;
        case 7:
            r.expires_ms = (int64_t)fuzz_u64(in);
            break;
        case 8:
            r.part = fuzz_u16(in);
            break;
        default:
            r.count = fuzz_u32(in);
            break;
        }
    }
    if (r.prev >= r.ver)
        r.prev = r.ver - 1;
    if (used_up(r.ver))
        r.ver = fb_ver(5, 5);
    if (r.prev >= r.ver)
        r.prev = 0;
    if (r.ver == 0)
        r.ver = 1;
    if (!snapshot)
        c->ver = r.ver;
    fb_record_encode(out, &r);
    fb_buf_fini(&hold);
}

static void ask(struct world *w, uint16_t op, const char *key, const char *arg)
{
    struct fb_buf args = {0};
    struct fb_req q = {.seq = ++w->seq, .op = op, .key = fb_bytes_str(key)};
    if (arg != NULL) {
        fb_list_put(&args, fb_bytes_str(arg));
        q.nargs = 1;
        q.args = fb_buf_view(&args);
    }
    q.part = fb_key_partition(q.key, WORLD_PARTS);
    q.epoch = w->epoch[q.part];
    world_request(w, &q);
    fb_buf_fini(&args);
}

static void feed(struct world *w, uint16_t part, const char *ns, uint64_t from)
{
    struct fb_feed_req q = {.part = part, .ns = fb_bytes_str(ns), .from_ver = from, .max = 100};
    struct fb_feed_pos pos = {.part = part, .ns = fb_bytes_str(ns), .ver = from, .dsafe = from};
    struct fb_buf out = {0};
    fb_feed_req_encode(&out, &q);
    world_message(w, FB_FRAME_FEED_REQ, fb_buf_view(&out));
    fb_buf_clear(&out);
    fb_feed_pos_encode(&out, &pos);
    world_message(w, FB_FRAME_FEED_POS, fb_buf_view(&out));
    fb_buf_fini(&out);
}

/* What the lane has is used in every way. */
static void use(struct world *w)
{
    static const char *const spaces[] = {"default", "u", "c"};
    struct fb_buf json = {0};

    for (size_t i = 0; i < FB_COUNT_OF(keys); i++) {
        lane_inspect_key(w->lane, fb_bytes_str(keys[i]), &json);
        ask(w, FB_OP_GET, keys[i], NULL);
        ask(w, FB_OP_FBGET, keys[i], NULL);
        ask(w, i % 2 ? FB_OP_DEL : FB_OP_PERSIST, keys[i], NULL);
        ask(w, FB_OP_SYNC, keys[i], NULL);
    }
    world_tick(w);
    for (uint16_t p = 0; p < WORLD_PARTS; p++) {
        for (size_t i = 0; i < FB_COUNT_OF(spaces); i++)
            feed(w, p, spaces[i], lane_last_ver(w->lane, p) - i);
        lane_inspect_partition(w->lane, p, &json);
        world_snapshot(w, p);
    }
    world_tick(w);
    world_synced(w);
    world_pass(w, 2000);
    ask(w, FB_OP_SET, "a", "v");
    ask(w, FB_OP_HSET, "u:1", "v");
    world_tick(w);
    world_restart(w, true);
    world_restart(w, false);
    fb_buf_fini(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz_in in = {data, n};
    uint8_t kind = fuzz_u8(&in);
    struct world *w = world_new(kind);
    struct chain chains[WORLD_PARTS];
    struct fb_buf log = {0}, snap = {0};
    struct fb_bytes snaps[WORLD_PARTS] = {{NULL, 0}};
    uint32_t snapped = fuzz_u8(&in) % 16;

    for (uint32_t p = 0; p < WORLD_PARTS; p++)
        chains[p] = (struct chain){p == 0 && snapped > 0 ? fb_ver(1, 10) : 0, WORLD_WALL_MS};
    for (uint32_t i = 0; i < snapped && in.n > 0; i++)
        put_record(&in, chains, true, &snap);
    snaps[0] = fb_buf_view(&snap);
    for (uint32_t i = 0; i < RECORDS_MAX && in.n > 0; i++)
        put_record(&in, chains, false, &log);
    if (world_recover(w, snaps, fb_buf_view(&log))) {
        fb_buf_clear(&w->snap[0]); /* world_restart without it would miss what it covers */
        fb_buf_put_bytes(&w->snap[0], snaps[0]);
        if (snap.n == 0)
            use(w);
        else
            world_restart(w, true);
    }
    if (snap.n > 0) /* only with their snapshot do the records make sense */
        for (uint16_t p = 0; p < WORLD_PARTS; p++)
            world_snapshot(w, p);
    world_free(w);
    fb_buf_fini(&log);
    fb_buf_fini(&snap);
    return 0;
}
