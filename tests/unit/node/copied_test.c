/* Goal: a partition that was led alone becomes one of several copies without a restart, and not
 * before everything it has is synced (I18); what is left of one that was moved away goes, also when
 * its process was killed before that, and nothing else does. Method: scripted events, replayed
 * logs. */
#include "tests/unit/node/harness.h"

#include "node/core/copies.h"
#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct replica_config rc = {.node = "a",
                                         .inc = 7,
                                         .partitions = HARNESS_PARTS,
                                         .tail_bytes = 1u << 16,
                                         .lease_ns = 1000000000,
                                         .beat_ns = 200000000,
                                         .silence_ns = 1500000000,
                                         .cas_retry_ns = 500000000};

/* Led by a alone, and b is to have a copy. */
static const struct fb_part_record first_learner = {.primary = {.node = "a", .inc = 7},
                                                    .isr = {{.node = "a", .inc = 7}},
                                                    .isr_count = 1,
                                                    .learners = {"b"},
                                                    .learner_count = 1,
                                                    .min_isr = 1};

static void test_from_one_to_several(void **state)
{
    uint16_t part = fb_key_partition(fb_bytes_str("k"), HARNESS_PARTS);
    struct fb_part_record rec = first_learner;
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

/* Another process of the node, with what the log says. Opens nothing. */
static void recover(struct harness *h, struct store **store, struct lane **lane)
{
    const struct lane_config lc = {.lanes = 1, .partitions = HARNESS_PARTS};
    struct replica_config next = rc;
    struct fb_reader r = fb_reader(fb_buf_view(&h->log));
    struct fb_record rec;
    struct fb_err err;

    next.inc = 8;
    assert_int_equal(store_new(HARNESS_PARTS, 64, store, &err), FB_OK);
    *lane = lane_new(&lc, *store);
    lane_copies_new(*lane, &next);
    lane_configure(*lane, h->set, h->schemas);
    lane_now(*lane, h->mono_ns, h->wall_ms);
    lane_boot_now(*lane, 1);
    while (r.n > 0) {
        assert_int_equal(fb_record_decode(&r, &rec), FB_OK);
        assert_int_equal(lane_recover_record(*lane, &rec, &err), FB_OK);
    }
    lane_recovered(*lane);
}

/* The lane reads that b has it alone, and 20 s go by: is what it had of the partition gone? */
static bool drops(struct harness *h, struct lane *lane, uint16_t part, uint32_t epoch)
{
    struct fb_part_record rec = {.epoch = epoch,
                                 .primary = {.node = "b", .inc = 9},
                                 .isr = {{.node = "b", .inc = 9}},
                                 .isr_count = 1,
                                 .min_isr = 1};

    assert_true(lane_last_ver(lane, part) > 0);
    assert_int_equal(lane_copy_record(lane, part, &rec, 20), FB_OK);
    h->mono_ns += 5000000000;
    lane_now(lane, h->mono_ns, h->wall_ms);
    lane_boot_now(lane, 5000000000);
    lane_tick(lane);
    assert_true(lane_last_ver(lane, part) > 0); /* not yet */
    h->mono_ns += 15000000000;
    lane_now(lane, h->mono_ns, h->wall_ms);
    lane_boot_now(lane, 20000000000);
    lane_tick(lane);
    fb_buf_put_bytes(&h->log, fb_buf_view(&lane_effects(lane)->log));
    lane_written(lane);
    lane_copies_written(lane);
    lane_effects_clear(lane);
    return lane_last_ver(lane, part) == 0;
}

static void end(struct store *store, struct lane *lane)
{
    lane_free(lane);
    store_free(store);
}

static void test_moved_and_killed(void **state)
{
    uint16_t part = fb_key_partition(fb_bytes_str("k"), HARNESS_PARTS);
    struct fb_part_record rec = first_learner;
    struct harness h;
    struct store *store;
    struct lane *lane;
    (void)state;

    /* it led it alone: nothing says that another has it */
    harness_init(&h);
    harness_open(&h, 0, 0);
    lane_copies_new(h.lane, &rc);
    assert_int_equal(harness_do(&h, FB_OP_SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    recover(&h, &store, &lane);
    assert_false(drops(&h, lane, part, h.epoch + 1));
    end(store, lane);

    /* it led it with others */
    lane_close_partition(h.lane, part);
    rec.epoch = h.epoch + 1;
    lane_boot_now(h.lane, 1);
    assert_int_equal(lane_copy_record(h.lane, part, &rec, 11), FB_OK);
    fb_buf_put_bytes(&h.log, fb_buf_view(&lane_effects(h.lane)->log));
    lane_written(h.lane);
    lane_copies_written(h.lane);
    lane_effects_clear(h.lane);
    recover(&h, &store, &lane);
    assert_false(drops(&h, lane, part, h.epoch)); /* the record is older than the log */
    end(store, lane);
    recover(&h, &store, &lane);
    assert_true(drops(&h, lane, part, h.epoch + 2));
    end(store, lane);
    recover(&h, &store, &lane);
    assert_int_equal(lane_last_ver(lane, part), 0);
    assert_int_equal(atomic_load(&lane_stats(lane)->objects_dirty), 0);
    end(store, lane);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_from_one_to_several),
                                       cmocka_unit_test(test_moved_and_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
