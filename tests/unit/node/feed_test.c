/* Goal: what a feed may give out, and how far its checkpoint may go. Method: requests of a sync
 * process by hand. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

/* I22: a batch whose checkpoint passes a version that a newer, unsynced one replaced waits for that
 * one's fsync: a power loss would else bring the passed version back, under the checkpoint and
 * never applied. */
static void test_replaced_unsynced(void **state)
{
    struct harness h;
    struct fb_feed_batch b;
    struct fb_reader r;
    uint16_t p = fb_key_partition(fb_bytes_str("{s}a"), HARNESS_PARTS);
    struct fb_feed_req req = {.part = p, .ns = fb_bytes_str("default"), .max = 1};
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    (void)DO(&h, SET, "{s}a", 0, 0, 0, 0, 1, "1");
    (void)DO(&h, SET, "{s}b", 0, 0, 0, 0, 1, "2");
    harness_sync(&h);
    (void)DO(&h, SET, "{s}a", 0, 0, 0, 0, 1, "3");
    lane_feed_req(h.lane, &h.feeds, &req); /* {s}b alone, synced, and newer than {s}a's old one */
    assert_int_equal(h.feeds.held, 1);
    harness_sync(&h);
    assert_int_equal(h.feeds.held, 0);
    r = fb_reader(fb_buf_view(&h.feeds.batches));
    assert_int_equal(fb_feed_batch_decode(&r, &b), FB_OK);
    assert_int_equal(b.count, 1);
    assert_false(b.last);
    /* nothing unsynced was replaced: at once */
    fb_buf_clear(&h.feeds.batches);
    lane_feed_req(h.lane, &h.feeds, &req);
    assert_int_equal(h.feeds.held, 0);
    assert_true(h.feeds.batches.n > 0);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaced_unsynced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
