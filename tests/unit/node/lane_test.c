/* Goal: every rule of the lane one by one. Method: scripted events, replies and effects compared.
 */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static void expect_bulk(struct fb_rep r, const char *s)
{
    assert_int_equal(r.type, FB_REP_BULK);
    assert_int_equal(r.payload.n, strlen(s));
    if (r.payload.n)
        assert_memory_equal(r.payload.p, s, r.payload.n);
}
static void expect_int(struct fb_rep r, int64_t n)
{
    assert_int_equal(r.type, FB_REP_INT);
    assert_int_equal(r.num, n);
}
static void expect_err(struct fb_rep r, const char *prefix)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)(r.payload.n > 200 ? 200 : r.payload.n),
             (const char *)r.payload.p);
    assert_int_equal(r.type, FB_REP_ERR);
    if (strncmp(text, prefix, strlen(prefix)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", prefix, text);
}
static uint16_t part_of(const char *key)
{
    return fb_key_partition(fb_bytes_str(key), HARNESS_PARTS);
}
/* A read by another thread. */
static struct fb_rep read_of(struct harness *h, uint16_t op, const char *key,
                             enum read_outcome *outcome)
{
    static struct fb_buf out;
    struct fb_rep rep = {.type = 255};
    struct fb_req req;
    struct fb_reader r;
    fb_buf_clear(&out);
    harness_req(h, &req, NULL, op, key);
    *outcome = node_read(h->store, &req, &out, false);
    r = fb_reader(fb_buf_view(&out));
    if (*outcome == READ_DONE)
        assert_int_equal(fb_rep_decode(&r, &rep), FB_OK);
    return rep;
}
static void put_key(struct harness *h, const char *key, const char *v)
{
    assert_int_equal(DO(h, SET, key, 0, 0, 0, 0, 1, v).type, FB_REP_OK);
}

static void test_strings(void **state)
{
    struct harness h;
    enum read_outcome o;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    put_key(&h, "k", "v1");
    expect_bulk(read_of(&h, FB_OP_GET, "k", &o), "v1");
    expect_bulk(DO(&h, GET, "k", 0, 0, 0, 0, 0), "v1");
    expect_int(DO(&h, APPEND, "k", 0, 0, 0, 0, 1, "xyz"), 5);
    expect_bulk(DO(&h, GETRANGE, "k", 1, -2, 0, 0, 0), "1xy");
    expect_int(DO(&h, SETRANGE, "k", 7, 0, 0, 0, 1, "e"), 8);
    assert_int_equal(DO(&h, SET, "k", 0, 0, FB_REQ_GET, 0, 1, "9").payload.n, 8);
    expect_bulk(DO(&h, SET, "k", 0, 0, FB_REQ_GET, 0, 1, "10"), "9");
    expect_int(DO(&h, INCRBY, "k", 5, 0, 0, 0, 0), 15);
    expect_bulk(DO(&h, INCRBYFLOAT, "k", 0, 0, 0, 0, 1, "0.1"), "15.1");
    rep = DO(&h, INCRBY, "k", 1, 0, 0, FB_LEVEL_LOCAL, 0);
    expect_err(rep, "ERR value is not an integer or out of range");
    assert_int_equal(rep.level, FB_LEVEL_NONE); /* nothing was written */
    expect_err(DO(&h, HSET, "k", 0, 0, 0, 0, 2, "a", "b"), "WRONGTYPE");
    assert_int_equal(DO(&h, SET, "k", 0, 0, FB_REQ_NX, 0, 1, "n").type, FB_REP_NIL);
    expect_int(DO(&h, DEL, "k", 0, 0, 0, 0, 0), 1);
    expect_int(DO(&h, DEL, "k", 0, 0, 0, 0, 0), 0);
    assert_int_equal(read_of(&h, FB_OP_GET, "k", &o).type, FB_REP_NIL);
    assert_int_equal(o, READ_DONE);
    read_of(&h, FB_OP_GET, "unknown", &o);
    assert_int_equal(o, READ_WRITER);
    harness_close(&h);
}

/* format = json: what a command would leave is judged, not its argument; nothing else is. */
static void test_format_json(void **state)
{
    static const char refusal[] = "ERR value is not JSON: ";
    struct harness h;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "old", 0, 0, 0, 0, 1, "{bytes").type, FB_REP_OK);
    h.set->ns[0].format_json = true;
    expect_bulk(DO(&h, GET, "old", 0, 0, 0, 0, 0), "{bytes");
    expect_int(DO(&h, EXPIREAT, "old", 0, (int64_t)h.wall_ms + 60000, 0, 0, 0), 1);
    expect_bulk(DO(&h, GET, "old", 0, 0, 0, 0, 0), "{bytes");
    expect_err(DO(&h, APPEND, "old", 0, 0, 0, 0, 1, "x"), refusal);
    assert_int_equal(DO(&h, APPEND, "old", 0, 0, 0, 0, 1, "}").type, FB_REP_ERR);
    assert_int_equal(DO(&h, SET, "old", 0, 0, 0, 0, 1, "[1").type, FB_REP_ERR);
    expect_bulk(DO(&h, GET, "old", 0, 0, 0, 0, 0), "{bytes");
    assert_int_equal(DO(&h, SET, "old", 0, 0, 0, 0, 1, "[1]").type, FB_REP_OK);
    expect_err(DO(&h, APPEND, "old", 0, 0, 0, 0, 1, "2"), refusal);
    expect_int(DO(&h, APPEND, "old", 0, 0, 0, 0, 1, " "), 4);
    expect_err(DO(&h, SET, "old", 0, 0, 0, 0, 1, ""), refusal);
    expect_err(DO(&h, SET, "old", 0, 0, 0, 0, 1, "\"\xff\""), refusal);
    expect_bulk(DO(&h, GET, "old", 0, 0, 0, 0, 0), "[1] ");
    expect_int(DO(&h, DEL, "old", 0, 0, 0, 0, 0), 1);
    expect_int(DO(&h, HSET, "old", 0, 0, 0, 0, 2, "f", "{"), 1);
    harness_close(&h);
}
static void test_not_primary(void **state)
{
    struct harness h;
    struct fb_req req;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    harness_req(&h, &req, NULL, FB_OP_DEL, "k");
    req.epoch = 99;
    lane_request(h.lane, &h.dest, &req);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.num, FB_REP_ERR_NOT_PRIMARY);
    req.epoch = h.epoch;
    req.part = (uint16_t)((req.part + 1) % HARNESS_PARTS);
    lane_request(h.lane, &h.dest, &req);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "ERR the key does not belong");
    harness_close(&h);
}

static void test_loads(void **state)
{
    struct harness h;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    /* a read misses: one load; an append and a second read queue behind it, in order */
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, 0, 0).type, 255);
    assert_int_equal(h.load_n, 1);
    struct lane_load first = h.loads[0];
    assert_int_equal(DO(&h, APPEND, "k", 0, 0, 0, 0, 1, "!").type, 255);
    assert_int_equal(h.load_n, 0);
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, 0, 0).type, 255);
    assert_int_equal(h.dest.held, 3);
    h.loads[0] = first;
    h.loads[0].id = fb_bytes_str("k");
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_STRING, fb_bytes_str("db"), 77, 0);
    assert_true(harness_pop(&h, &rep));
    expect_bulk(rep, "db");
    assert_int_equal(rep.ver, 77);
    assert_true(harness_pop(&h, &rep));
    expect_int(rep, 3);
    assert_true(harness_pop(&h, &rep));
    expect_bulk(rep, "db!");
    assert_int_equal(h.dest.held, 0);
    /* absent: a hint for a while */
    assert_int_equal(DO(&h, DEL, "gone", 0, 0, 0, 0, 0).type, 255);
    harness_load(&h, 0, FB_LOAD_ABSENT, FB_KIND_NONE, fb_bytes("", 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    expect_int(rep, 0);
    expect_int(DO(&h, EXISTS, "gone", 0, 0, 0, 0, 0), 0);
    h.wall_ms += 6000;
    assert_int_equal(DO(&h, EXISTS, "gone", 0, 0, 0, 0, 0).type, 255);
    /* nobody answers */
    h.mono_ns += 11000000000u;
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "DBDOWN PostgreSQL cannot be asked for this key now (no answer within 10 s); "
                    "nothing was changed, try again");
    /* a stale token is ignored */
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_STRING, fb_bytes_str("late"), 1, 0);
    assert_false(harness_pop(&h, &rep));
    assert_int_equal(h.dest.held, 0);
    harness_close(&h);
}

static void test_levels_and_feed(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_feed_batch b;
    struct fb_feed_object fo;
    struct fb_feed_req req = {.part = part_of("k"), .ns = fb_bytes_str("default"), .max = 10};
    struct fb_reader r;
    uint16_t p = part_of("k");
    uint64_t ver;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    harness_sync(&h);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DURABLE, 1, "v").type, 255);
    /* I20: nothing leaves before fsync; then the batch does, as it was asked for, although the
     * object is written on */
    lane_feed_req(h.lane, &h.feeds, &req);
    assert_int_equal(h.feeds.batches.n, 0);
    assert_int_equal(h.feeds.held, 1);
    harness_sync(&h);
    assert_int_equal(h.feeds.held, 0);
    r = fb_reader(fb_buf_view(&h.feeds.batches));
    assert_int_equal(fb_feed_batch_decode(&r, &b), FB_OK);
    assert_int_equal(b.status, FB_FEED_OK);
    assert_int_equal(b.count, 1);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_OK);
    assert_int_equal(rep.level, FB_LEVEL_DURABLE);
    ver = rep.ver;
    b = harness_feed(&h, p, "default", 0, 10);
    assert_int_equal(b.count, 1);
    assert_true(b.last);
    r = fb_reader(b.objects);
    assert_int_equal(fb_feed_object_decode(&r, &fo), FB_OK);
    assert_int_equal(fo.ver, ver);
    assert_true(fb_bytes_is(fo.id, "k") && fb_bytes_is(fo.value, "v"));
    /* level database: answered when the checkpoint passes */
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "w").type, 255);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    assert_int_equal(b.count, 1);
    harness_pos(&h, p, "default", b.scan_end, 1234);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.level, FB_LEVEL_DATABASE);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    assert_int_equal(lane_stats(h.lane)->objects_dirty, 0);
    assert_int_equal(lane_stats(h.lane)->dirty_bytes, 0);
    /* tombstone goes with its checkpoint */
    expect_int(DO(&h, DEL, "k", 0, 0, 0, 0, 0), 1);
    harness_sync(&h);
    ver = b.scan_end;
    b = harness_feed(&h, p, "default", ver, 10);
    assert_int_equal(b.count, 1);
    harness_pos(&h, p, "default", b.scan_end, 1235);
    assert_int_equal(store_object_count(h.store), 0);
    /* ahead and behind */
    assert_int_equal(harness_feed(&h, p, "default", UINT64_MAX >> 1, 1).status, FB_FEED_AHEAD);
    h.stale = true;
    b = harness_feed(&h, p, "default", 1, 1);
    assert_int_equal(b.status, FB_FEED_BEHIND); /* an old view is no regression */
    assert_int_equal(b.scan_end, feed_find(h.lane->parts[p], 0)->ckpt);
    assert_int_equal(lane_stats(h.lane)->regressions, 0);
    assert_int_equal(h.dest.held, 0);
    harness_close(&h);
}

static void test_park(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_verdict v = {.verdict = FB_VERDICT_PARK,
                           .ns = fb_bytes_str("default"),
                           .id = fb_bytes_str("k"),
                           .sqlstate = "22001",
                           .message = fb_bytes_str("too long")};
    struct fb_buf json = {0};
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "w").type, 255);
    harness_sync(&h);
    v.part = part_of("k");
    v.ver = lane_last_ver(h.lane, v.part);
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    assert_int_equal(h.feeds.ack_count, 0); /* the checkpoint passes what is acked: on disk first */
    assert_int_equal(h.feeds.held, 1);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "REJECTED 22001 too long (version ");
    assert_int_equal(rep.level, FB_LEVEL_LOCAL); /* it was written all the same */
    harness_sync(&h);
    assert_int_equal(h.feeds.ack_count, 1);
    assert_int_equal(h.feeds.held, 0);
    harness_restart(&h);
    lane_inspect_key(h.lane, fb_bytes_str("k"), &json);
    fb_buf_put_u8(&json, 0);
    assert_non_null(strstr((char *)json.p, "\"state\":\"parked\""));
    assert_non_null(strstr((char *)json.p, "\"reason\":\"too long\""));
    put_key(&h, "k", "better");
    assert_int_equal(lane_stats(h.lane)->objects_parked, 0);
    fb_buf_fini(&json);
    harness_close(&h);
}

/* Two sync processes have the same version: PostgreSQL refuses it to one, and takes it from the
 * other (the row it refers to came in between). It must not stay parked, without a dead letter. */
static void test_park_of_one_of_two(void **state)
{
    struct harness h;
    struct feed_dest other = {0};
    struct fb_feed_req ask = {.ns = fb_bytes_str("default"), .max = 10};
    struct fb_feed_batch b;
    uint64_t at = 0;
    struct fb_verdict v = {.verdict = FB_VERDICT_PARK,
                           .ns = fb_bytes_str("default"),
                           .id = fb_bytes_str("k"),
                           .sqlstate = "23503"};
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    put_key(&h, "k", "v");
    harness_sync(&h);
    v.part = ask.part = part_of("k");
    for (int shared = 1; shared >= 0; shared--) {
        b = harness_feed(&h, v.part, "default", at, 10);
        assert_int_equal(b.count, 1);
        v.ver = at = b.scan_end;
        if (shared) {
            lane_feed_req(h.lane, &other, &ask);
            assert_int_equal(other.batch_count, 1);
        }
        lane_verdict(h.lane, &h.feeds, &v);
        harness_sync(&h);
        assert_int_equal(lane_stats(h.lane)->objects_parked, 1);
        if (shared)
            lane_feed_pos(
                h.lane, &other,
                &(struct fb_feed_pos){.part = v.part, .ns = v.ns, .ver = v.ver, .xid = 1});
        else
            harness_pos(&h, v.part, "default", v.ver, 1);
        harness_sync(&h);
        assert_int_equal(lane_stats(h.lane)->objects_parked, shared ? 0 : 1);
        assert_int_equal(lane_stats(h.lane)->objects_dirty, 1); /* tried again, as a new version */
    }
    fb_buf_fini(&other.batches);
    fb_buf_fini(&other.acks);
    harness_close(&h);
}

/* A verdict for an object of another partition, which may be another worker's: nothing is looked
 * at. */
static void test_verdict_elsewhere(void **state)
{
    struct harness h;
    struct fb_verdict v = {.verdict = FB_VERDICT_PARK,
                           .ns = fb_bytes_str("default"),
                           .id = fb_bytes_str("k"),
                           .sqlstate = "22001",
                           .message = fb_bytes_str("too long")};
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    put_key(&h, "k", "v");
    v.ver = lane_last_ver(h.lane, part_of("k"));
    v.part = (uint16_t)((part_of("k") + 1) % HARNESS_PARTS);
    for (int n = 0; n < 2; n++, v.ver--) { /* the newest version, and one that was replaced */
        lane_verdict(h.lane, &h.feeds, &v);
        harness_sync(&h);
        assert_int_equal(h.feeds.ack_count, n + 1);
    }
    assert_int_equal(lane_stats(h.lane)->objects_parked, 0);
    v.part = part_of("k");
    v.ver = lane_last_ver(h.lane, v.part);
    lane_verdict(h.lane, &h.feeds, &v);
    harness_sync(&h);
    assert_int_equal(lane_stats(h.lane)->objects_parked, 1);
    harness_close(&h);
}

static void test_expiry(void **state)
{
    struct harness h;
    enum read_outcome o;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, (int64_t)h.wall_ms + 100, 0, 0, 1, "v").type, FB_REP_OK);
    expect_int(DO(&h, EXPIRETIME, "k", 0, 0, 0, 0, 0), (int64_t)h.wall_ms + 100);
    h.wall_ms += 100;
    h.mono_ns += 100000000;
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    read_of(&h, FB_OP_GET, "k", &o);
    assert_int_equal(o, READ_WRITER);
    lane_tick(h.lane);
    harness_tick(&h);
    assert_int_equal(lane_stats(h.lane)->expired, 1);
    assert_int_equal(read_of(&h, FB_OP_GET, "k", &o).type, FB_REP_NIL);
    put_key(&h, "k", "v");
    expect_int(DO(&h, EXPIREAT, "k", 0, (int64_t)h.wall_ms + 50, FB_REQ_XX, 0, 0), 0);
    expect_int(DO(&h, EXPIREAT, "k", 0, (int64_t)h.wall_ms + 50, FB_REQ_NX, 0, 0), 1);
    expect_int(DO(&h, PERSIST, "k", 0, 0, 0, 0, 0), 1);
    expect_int(DO(&h, EXPIRETIME, "k", 0, 0, 0, 0, 0), -1);
    expect_int(DO(&h, EXPIREAT, "k", 0, 5, 0, 0, 0), 1);
    expect_int(DO(&h, EXISTS, "k", 0, 0, 0, 0, 0), 0);
    harness_close(&h);
}

static void test_txn(void **state)
{
    struct harness h;
    struct fb_buf list = {0};
    struct fb_rep rep, sub;
    struct fb_reader r;
    struct fb_feed_batch b;
    uint64_t ver;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    put_key(&h, "{t}b", "0");
    put_key(&h, "{t}a", "1");
    ver = lane_last_ver(h.lane, part_of("{t}a"));
    harness_sub(&h, &list, FB_OP_VERSION, "{t}a", (int64_t)ver, NULL);
    harness_sub(&h, &list, FB_OP_INCRBY, "{t}a", 4, NULL);
    harness_sub(&h, &list, FB_OP_SET, "{t}b", 0, "x");
    harness_sub(&h, &list, FB_OP_INCRBY, "{t}b", 4, NULL);
    rep = harness_txn(&h, &list, 4, 1, "{t}a");
    assert_int_equal(rep.type, FB_REP_REPS);
    r = fb_reader(rep.payload);
    assert_int_equal(fb_rep_decode(&r, &sub), FB_OK);
    expect_int(sub, 5);
    assert_int_equal(fb_rep_decode(&r, &sub), FB_OK);
    assert_int_equal(sub.type, FB_REP_OK);
    assert_int_equal(fb_rep_decode(&r, &sub), FB_OK);
    expect_err(sub, "ERR value is not an integer");
    assert_int_equal(r.n, 0);
    /* the watched version moved */
    harness_sub(&h, &list, FB_OP_VERSION, "{t}a", (int64_t)ver, NULL);
    harness_sub(&h, &list, FB_OP_SET, "{t}a", 0, "no");
    assert_int_equal(harness_txn(&h, &list, 2, 1, "{t}a").type, FB_REP_NIL);
    /* a group is never cut by max */
    harness_sync(&h);
    b = harness_feed(&h, part_of("{t}a"), "default", 0, 1);
    assert_int_equal(b.count, 2);
    assert_true(b.last);
    /* a transaction waits for its loads, what comes later for its keys waits behind it */
    harness_sub(&h, &list, FB_OP_INCRBY, "{t}a", 1, NULL);
    harness_sub(&h, &list, FB_OP_INCRBY, "{t}c", 1, NULL);
    assert_int_equal(harness_txn(&h, &list, 2, 0, "{t}a").type, 255);
    assert_int_equal(h.load_n, 1);
    struct lane_load load = h.loads[0];
    assert_int_equal(DO(&h, INCRBY, "{t}a", 10, 0, 0, 0, 0).type, 255);
    h.loads[0] = load;
    harness_load(&h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_REPS);
    assert_true(harness_pop(&h, &rep));
    expect_int(rep, 16);
    assert_int_equal(h.dest.held, 0);
    harness_restart(&h);
    expect_bulk(DO(&h, GET, "{t}a", 0, 0, 0, 0, 0), "16");
    expect_bulk(DO(&h, GET, "{t}c", 0, 0, 0, 0, 0), "1");
    fb_buf_fini(&list);
    harness_close(&h);
}

static void test_hash(void **state)
{
    struct harness h;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, HSET, "h", 0, 0, 0, 0, 4, "a", "1", "b", "2").type, 255);
    harness_load(&h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    expect_int(rep, 2);
    expect_int(DO(&h, HSET, "h", 0, 0, 0, 0, 4, "a", "5", "c", "3"), 1);
    expect_int(DO(&h, HSET, "h", 0, 0, FB_REQ_NX, 0, 2, "a", "9"), 0);
    expect_bulk(DO(&h, HGET, "h", 0, 0, 0, 0, 1, "a"), "5");
    expect_int(DO(&h, HINCRBY, "h", 3, 0, 0, 0, 1, "a"), 8);
    expect_bulk(DO(&h, HINCRBYFLOAT, "h", 0, 0, 0, 0, 2, "b", "0.5"), "2.5");
    expect_int(DO(&h, HLEN, "h", 0, 0, 0, 0, 0), 3);
    expect_int(DO(&h, HDEL, "h", 0, 0, 0, 0, 3, "a", "b", "x"), 2);
    expect_int(DO(&h, HDEL, "h", 0, 0, 0, 0, 1, "c"), 1);
    expect_int(DO(&h, EXISTS, "h", 0, 0, 0, 0, 0), 0);
    harness_close(&h);
}

static void test_eviction_and_overload(void **state)
{
    struct harness h;
    char key[32], value[1001];
    struct fb_rep rep;
    (void)state;
    memset(value, 'x', 1000);
    value[1000] = 0;
    harness_init(&h);
    harness_open(&h, 100000, 300000);
    for (int i = 0; i < 400; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rep = DO(&h, SET, key, 0, 0, 0, 0, 1, value);
        if (rep.type == FB_REP_ERR)
            break;
    }
    expect_err(rep, "OVERLOADED");
    harness_sync(&h);
    for (uint16_t p = 0; p < HARNESS_PARTS; p++) {
        struct fb_feed_batch b = harness_feed(&h, p, "default", 0, 1000);
        harness_pos(&h, p, "default", b.scan_end, 5);
    }
    assert_int_equal(lane_stats(h.lane)->dirty_bytes, 0);
    for (int i = 0; i < 100; i++) {
        h.mono_ns += 50000000;
        lane_now(h.lane, h.mono_ns, h.wall_ms);
        lane_tick(h.lane);
        harness_tick(&h);
    }
    assert_true(store_resident_bytes(h.store) <= 100000);
    assert_true(lane_stats(h.lane)->evictions > 10);
    /* I27: a load that is older than what was evicted is not believed */
    assert_int_equal(DO(&h, GET, "k0", 0, 0, 0, 0, 0).type, 255);
    if (h.load_n == 1) {
        harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_STRING, fb_bytes_str("old"), 9, 1);
        assert_false(harness_pop(&h, &rep));
    }
    harness_close(&h);
}

/* A log that ends before what PostgreSQL was given is an old copy: nothing of that partition is
 * served any more. */
static void test_old_copy(void **state)
{
    struct harness h;
    uint16_t p = part_of("k");
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    harness_restart(&h); /* epoch 2; the log of epoch 1 ends at 1<<40 | 1 */
    harness_sync(&h);
    assert_int_equal(harness_feed(&h, p, "default", fb_ver(1, 1), 10).status, FB_FEED_OK);
    assert_true(lane_partition_open(h.lane, p));
    assert_int_equal(harness_feed(&h, p, "default", fb_ver(1, 2), 10).status, FB_FEED_AHEAD);
    assert_false(lane_partition_open(h.lane, p));
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, 0, 0).num, FB_REP_ERR_NOT_PRIMARY);
    harness_close(&h);
}

/* Above the soft limit the answer of a write comes later, in order, and reads are answered at once.
 */
static void test_soft_limit(void **state)
{
    struct harness h;
    char key[32], value[1001];
    struct fb_rep rep = {0};
    int i;
    (void)state;
    memset(value, 'x', 1000);
    value[1000] = 0;
    harness_init(&h);
    harness_open(&h, 0, 300000);
    for (i = 0; i < 400; i++) {
        snprintf(key, sizeof key, "k%d", i);
        rep = DO(&h, SET, key, 0, 0, 0, 0, 1, value);
        if (rep.type == 255)
            break; /* nothing answered in this tick */
        assert_int_equal(rep.type, FB_REP_OK);
    }
    assert_int_equal(rep.type, 255);
    assert_true(lane_stats(h.lane)->dirty_bytes * 4 >= UINT64_C(300000) * 3);
    assert_int_equal(lane_stats(h.lane)->throttled, 1);
    assert_int_equal(DO(&h, GET, key, 0, 0, 0, 0, 0).type, FB_REP_BULK);
    assert_true(lane_deadline_ns(h.lane) <= h.mono_ns + 100000000);
    h.mono_ns += 100000000;
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_OK);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_format_json),
        cmocka_unit_test(test_not_primary),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_levels_and_feed),
        cmocka_unit_test(test_park),
        cmocka_unit_test(test_verdict_elsewhere),
        cmocka_unit_test(test_park_of_one_of_two),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_txn),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_eviction_and_overload),
        cmocka_unit_test(test_soft_limit),
        cmocka_unit_test(test_old_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
