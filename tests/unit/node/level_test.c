/* Goal: level database means that PostgreSQL has the write, whatever happens meanwhile; and what
 * SET without a load must not leave behind. Method: scripted events, replies compared. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static void expect_err(struct fb_rep r, const char *prefix)
{
    assert_int_equal(r.type, FB_REP_ERR);
    assert_true(r.payload.n >= strlen(prefix));
    assert_memory_equal(r.payload.p, prefix, strlen(prefix));
}

static uint16_t part_of(const char *key)
{
    return fb_key_partition(fb_bytes_str(key), HARNESS_PARTS);
}

static void put_key(struct harness *h, const char *key, const char *v)
{
    assert_int_equal(DO(h, SET, key, 0, 0, 0, 0, 1, v).type, FB_REP_OK);
}

/* SET with a time that is over deletes also what is only in PostgreSQL. */
static void test_set_in_the_past(void **state)
{
    struct harness h;
    uint64_t ver;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 5, 0, 0, 1, "v").type, FB_REP_OK); /* not resident */
    assert_int_equal(lane_stats(h.lane)->objects_tombstone, 1);
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, 0, 0).type, FB_REP_NIL);
    assert_int_equal(h.load_n, 0);
    ver = lane_last_ver(h.lane, part_of("k"));
    assert_int_equal(DO(&h, SET, "k", 0, 5, 0, 0, 1, "v").type, FB_REP_OK); /* known to be absent */
    assert_int_equal(lane_last_ver(h.lane, part_of("k")) - ver, 0);
    harness_close(&h);
}

/* PostgreSQL does not get a write of level database in time, or the partition is closed first: that
 * is no success, and the answer says what was reached (I13). */
static void test_level_missed(void **state)
{
    struct harness h;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "w").type, 255);
    assert_int_equal(DO(&h, SYNC, "k", 500, 0, 0, 0, 0).type, 255);
    harness_sync(&h);
    h.mono_ns += 20 * UINT64_C(1000000000);
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "it was carried out and is on disk");
    assert_int_equal(rep.num, FB_REP_ERR_UNKNOWN);
    assert_int_equal(rep.level, FB_LEVEL_DURABLE);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_NIL);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "x").type, 255);
    assert_int_equal(DO(&h, SYNC, "k", 0, 0, 0, 0, 0).type, 255);
    lane_close_partition(h.lane, part_of("k"));
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "it was carried out and is in the log");
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_NIL);
    harness_close(&h);
}

/* The checkpoint passes a version that was replaced before any batch had it: PostgreSQL has neither
 * it nor the newer one, and level database is not reached (I13). */
static void test_level_replaced(void **state)
{
    struct harness h;
    struct fb_rep rep;
    uint16_t part = part_of("k");
    uint64_t first;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "1").type, 255);
    first = lane_last_ver(h.lane, part);
    put_key(&h, "k", "2");
    harness_sync(&h);
    harness_pos(&h, part, "default", first, 1);
    assert_false(harness_pop(&h, &rep));
    harness_pos(&h, part, "default", first + 1, 2);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.level, FB_LEVEL_DATABASE);
    assert_int_equal(rep.ver, first);
    /* one that a batch had counts, whatever was written since */
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "3").type, 255);
    harness_sync(&h);
    first = lane_last_ver(h.lane, part);
    (void)harness_feed(&h, part, "default", first - 2, 10);
    put_key(&h, "k", "4");
    harness_pos(&h, part, "default", first, 3);
    assert_true(harness_pop(&h, &rep));
    /* unless the batch may never have been applied: it is asked for again */
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, FB_LEVEL_DATABASE, 1, "5").type, 255);
    harness_sync(&h);
    first = lane_last_ver(h.lane, part);
    (void)harness_feed(&h, part, "default", first - 2, 10);
    put_key(&h, "k", "6");
    (void)harness_feed(&h, part, "default", first - 2, 10);
    harness_pos(&h, part, "default", first, 4);
    assert_false(harness_pop(&h, &rep));
    harness_close(&h);
}

/* Level `database` of a transaction is reached when every namespace it wrote has reached it. */
static void test_txn_database(void **state)
{
    struct harness h;
    struct fb_buf list = {0};
    struct fb_rep rep;
    struct fb_feed_batch b;
    uint16_t p = part_of("one:{t}");
    (void)state;
    for (int parked = 0; parked < 2; parked++) {
        harness_init(&h);
        harness_namespace(&h, "one")->durability = FB_LEVEL_DATABASE;
        harness_namespace(&h, "two")->durability = FB_LEVEL_DATABASE;
        harness_open(&h, 0, 0);
        harness_sub(&h, &list, FB_OP_SET, "one:{t}", 0, "1");
        harness_sub(&h, &list, FB_OP_SET, "two:{t}", 0, "2");
        rep = harness_txn(&h, &list, 2, 0, "one:{t}");
        assert_int_equal(rep.type, 255); /* nothing yet */
        assert_int_equal(h.dest.held, 1);
        harness_sync(&h);
        b = harness_feed(&h, p, "two", 0, 10);
        assert_int_equal(b.count, 1);
        harness_pos(&h, p, "two", b.scan_end, 5);
        assert_false(harness_pop(&h, &rep));
        b = harness_feed(&h, p, "one", 0, 10);
        assert_int_equal(b.count, 1);
        if (parked) {
            struct fb_verdict v = {.verdict = FB_VERDICT_PARK,
                                   .part = p,
                                   .ns = fb_bytes_str("one"),
                                   .id = fb_bytes_str("{t}"),
                                   .sqlstate = "22001",
                                   .message = fb_bytes_str("too long")};
            struct fb_feed_object fo;
            struct fb_reader r = fb_reader(b.objects);
            assert_int_equal(fb_feed_object_decode(&r, &fo), FB_OK);
            v.ver = fo.ver;
            lane_verdict(h.lane, &h.feeds, &v);
            harness_tick(&h);
            assert_true(harness_pop(&h, &rep));
            expect_err(rep, "REJECTED 22001 too long");
        } else {
            harness_pos(&h, p, "one", b.scan_end, 6);
            assert_true(harness_pop(&h, &rep));
            assert_int_equal(rep.type, FB_REP_REPS);
            assert_int_equal(rep.level, FB_LEVEL_DATABASE);
        }
        assert_int_equal(h.dest.held, 0);
        harness_close(&h);
    }
    fb_buf_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_in_the_past),
        cmocka_unit_test(test_level_missed),
        cmocka_unit_test(test_level_replaced),
        cmocka_unit_test(test_txn_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
