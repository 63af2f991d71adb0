/* Goal: a partition that was led alone becomes one of several copies without a restart, and not
 * before everything it has is synced (I18). Method: scripted events. */
#include "tests/unit/node/harness.h"

#include "node/core/copies.h"
#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_from_one_to_several(void **state)
{
    const struct replica_config rc = {.node = "a",
                                      .inc = 7,
                                      .partitions = HARNESS_PARTS,
                                      .tail_bytes = 1u << 16,
                                      .lease_ns = 1000000000,
                                      .beat_ns = 200000000,
                                      .silence_ns = 1500000000,
                                      .cas_retry_ns = 500000000};
    uint16_t part = fb_key_partition(fb_bytes_str("k"), HARNESS_PARTS);
    struct fb_part_record rec = {.primary = {.node = "a", .inc = 7},
                                 .isr = {{.node = "a", .inc = 7}},
                                 .isr_count = 1,
                                 .learners = {"b"},
                                 .learner_count = 1,
                                 .min_isr = 1};
    const struct lane_copy_event *e;
    struct harness h;
    struct lane_copy now;
    struct fb_buf out = {0};
    struct fb_req req;
    struct fb_buf args = {0};
    uint32_t count;
    (void)state;

    harness_init(&h);
    harness_open(&h, 0, 0);
    lane_copies_new(h.lane, &rc);
    assert_int_equal(harness_do(&h, FB_OP_SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    rec.epoch = h.epoch;
    lane_boot_now(h.lane, 1);
    assert_int_equal(lane_copy_record(h.lane, part, &rec, 10), FB_EBUSY);
    lane_close_partition(h.lane, part);
    rec.epoch++;
    assert_int_equal(lane_copy_record(h.lane, part, &rec, 11), FB_EAGAIN);
    assert_false(lane_copy_status(h.lane, part, &now));
    harness_sync(&h);
    assert_int_equal(lane_copy_record(h.lane, part, &rec, 11), FB_OK);
    assert_false(lane_partition_open(h.lane, part)); /* its EPOCH_START is not written */
    lane_written(h.lane);
    lane_boot_now(h.lane, 2);
    lane_copies_written(h.lane);
    e = lane_copy_events(h.lane, &count);
    assert_int_equal(count, 1);
    assert_int_equal(e->kind, LANE_COPY_OPENED);
    assert_int_equal(e->epoch, rec.epoch);
    assert_true(lane_copy_status(h.lane, part, &now));
    assert_int_equal(now.role, REPLICA_OPEN);
    assert_int_equal(now.member_count, 1);                       /* the learner */
    assert_int_equal(lane_read_until(h.lane, part), UINT64_MAX); /* nobody else could lead */
    harness_req(&h, &req, &args, FB_OP_GET, "k");
    assert_int_equal(node_read(h.store, &req, &out, false), READ_DONE);
    lane_effects_clear(h.lane);
    fb_buf_fini(&args);
    fb_buf_fini(&out);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_from_one_to_several)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
