/* Goal: what PostgreSQL may lose in a fail-over stays in memory, and what it lost is fed again.
 * Method: a lane by hand, told of checkpoints and of what of them is safe. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static uint16_t part_of(const char *key)
{
    return fb_key_partition(fb_bytes_str(key), HARNESS_PARTS);
}

static void expect_int(struct fb_rep r, int64_t n)
{
    assert_int_equal(r.type, FB_REP_INT);
    assert_int_equal(r.num, n);
}

/* What is committed but may be lost with its server stays, is not answered as reached, and goes
 * when it is safe. */
static void test_committed_is_not_safe(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_feed_batch b;
    uint16_t p = part_of("k");
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    h.dsafe = 0;
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(DO(&h, SET, "{k}gone", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    expect_int(DO(&h, DEL, "{k}gone", 0, 0, 0, 0, 0), 1);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    harness_pos(&h, p, "default", b.scan_end, 1);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    assert_int_equal(lane_stats(h.lane)->objects_tombstone, 1); /* waits */
    assert_int_equal(harness_feed(&h, p, "default", b.scan_end, 10).count, 0);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 0);
    assert_int_equal(DO(&h, SYNC, "k", 10000, 0, 0, 0, 0).type, 255); /* held */
    harness_restart(&h); /* and so it is after a restart */
    assert_int_equal(lane_stats(h.lane)->objects_tombstone, 1);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 0);
    assert_int_equal(DO(&h, SYNC, "k", 10000, 0, 0, 0, 0).type, 255);
    h.dsafe = UINT64_MAX;
    harness_pos(&h, p, "default", b.scan_end, 1);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.level, FB_LEVEL_DATABASE);
    assert_int_equal(lane_stats(h.lane)->objects_tombstone, 0);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 1);
    harness_close(&h);
}

/* PostgreSQL is below what was dropped: told, the rest is fed again, and nothing more is dropped
 * until it has caught up. A restart in between forgets nothing of it. */
static void test_regression_below_what_was_dropped(void **state)
{
    struct harness h;
    struct fb_feed_batch b;
    uint16_t p = part_of("k");
    uint64_t end;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(DO(&h, SET, "{k}2", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(DO(&h, SET, "{k}dropped", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    end = b.scan_end;
    harness_pos(&h, p, "default", end, 1);
    expect_int(DO(&h, EVICT, "{k}dropped", 0, 0, 0, 0, 0), 1);
    b = harness_feed(&h, p, "default", 0, 10); /* all is lost */
    assert_int_equal(b.status, FB_FEED_OK);
    assert_int_equal(b.count, 2);
    assert_int_equal(lane_stats(h.lane)->regressions, 1);
    assert_int_equal(lane_stats(h.lane)->regressions_lossy, 1);
    harness_pos(&h, p, "default", fb_ver(1, 1), 1);
    assert_true(feed_frozen(feed_find(h.lane->parts[p], 0)));
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 0);
    harness_restart(&h);
    assert_int_equal(lane_stats(h.lane)->objects_dirty, 2); /* the log still had what was dropped */
    assert_int_equal(feed_find(h.lane->parts[p], 0)->dsafe, fb_ver(1, 1));
    b = harness_feed(&h, p, "default", fb_ver(1, 1), 10);
    assert_int_equal(b.count, 2);
    harness_pos(&h, p, "default", b.scan_end, 1);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 1);
    assert_false(feed_frozen(feed_find(h.lane->parts[p], 0)));
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_committed_is_not_safe),
                                       cmocka_unit_test(test_regression_below_what_was_dropped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
