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

/* A checkpoint that was lost and reached again is another: who read in between has no proof of a
 * second loss, and what was parked since stays so. */
static void test_proof_of_a_loss_is_of_one_checkpoint(void **state)
{
    struct harness h;
    struct fb_feed_batch b;
    uint16_t p = part_of("k");
    uint64_t end, old;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    end = harness_feed(&h, p, "default", 0, 10).scan_end;
    harness_pos(&h, p, "default", end, 1);
    old = harness_proof(&h, p, "default");
    assert_int_equal(harness_proof(&h, p, "default"), old);
    b = harness_feed(&h, p, "default", 0, 10);
    assert_int_equal(b.count, 1);
    assert_int_equal(lane_stats(h.lane)->regressions, 1);
    harness_pos(&h, p, "default", end, 2);
    assert_int_equal(feed_find(h.lane->parts[p], 0)->ckpt, end);
    h.stale = true;
    h.proof = old;
    b = harness_feed(&h, p, "default", 0, 10);
    assert_int_equal(b.status, FB_FEED_BEHIND);
    assert_int_equal(b.scan_end, end);
    assert_int_not_equal(b.proof, old);
    assert_int_equal(lane_stats(h.lane)->regressions, 1);
    h.proof = b.proof;
    assert_int_equal(harness_feed(&h, p, "default", 0, 10).status, FB_FEED_OK);
    assert_int_equal(lane_stats(h.lane)->regressions, 2);
    harness_close(&h);
}

/* What one fail-over kept is no safer than it was before: the next standby may be behind it. */
static void test_kept_by_a_fail_over_is_not_safe(void **state)
{
    struct harness h;
    struct fb_feed_batch b;
    uint16_t p = part_of("k");
    uint64_t kept;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    h.dsafe = 0;
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    kept = harness_feed(&h, p, "default", 0, 10).scan_end;
    harness_pos(&h, p, "default", kept, 1);
    assert_int_equal(DO(&h, SET, "{k}lost", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", kept, 10);
    harness_pos(&h, p, "default", b.scan_end, 1);
    b = harness_feed(&h, p, "default", kept, 10); /* the fail-over */
    assert_int_equal(b.count, 1);
    assert_int_equal(lane_stats(h.lane)->regressions, 1);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 0);
    harness_restart(&h);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 0);
    b = harness_feed(&h, p, "default", 0, 10); /* and the next */
    assert_int_equal(b.count, 2);
    assert_int_equal(lane_stats(h.lane)->regressions_lossy, 0);
    h.dsafe = UINT64_MAX;
    harness_pos(&h, p, "default", b.scan_end, 1);
    expect_int(DO(&h, EVICT, "k", 0, 0, 0, 0, 0), 1);
    harness_close(&h);
}

/* PostgreSQL lost the version that a delete has just replaced, before the delete is in the log: the
 * feed gives out neither, and must not say that it has passed it until the delete is on disk (I22).
 */
static void test_regression_of_what_is_being_replaced(void **state)
{
    struct harness h;
    struct fb_req req;
    struct fb_feed_req ask = {.ns = fb_bytes_str("default"), .max = 10};
    struct fb_feed_batch b;
    struct fb_buf args = {0};
    struct fb_reader r;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    harness_sync(&h);
    ask.part = part_of("k");
    b = harness_feed(&h, ask.part, "default", 0, 10);
    harness_pos(&h, ask.part, "default", b.scan_end, 1);
    harness_req(&h, &req, &args, FB_OP_DEL, "k");
    lane_request(h.lane, &h.dest, &req);
    ask.proof = harness_proof(&h, ask.part, "default");
    fb_buf_clear(&h.feeds.batches);
    lane_feed_req(h.lane, &h.feeds, &ask);
    /* the delete may never be committed: then "v" is what PostgreSQL has lost */
    assert_int_equal(lane_stats(h.lane)->objects_dirty, 1);
    harness_tick(&h);
    assert_int_equal(h.feeds.batches.n, 0);
    assert_int_equal(h.feeds.held, 1);
    harness_sync(&h);
    assert_int_equal(h.feeds.held, 0);
    r = fb_reader(fb_buf_view(&h.feeds.batches));
    assert_int_equal(fb_feed_batch_decode(&r, &b), FB_OK);
    assert_int_equal(b.count, 1);
    b = harness_feed(&h, ask.part, "default", b.scan_end, 10);
    assert_int_equal(b.count, 1);
    fb_buf_fini(&args);
    harness_close(&h);
}

static void at(struct harness *h, uint64_t mono_ms, uint64_t wall_ms)
{
    h->mono_ns += mono_ms * 1000000;
    h->wall_ms += wall_ms;
    lane_now(h->lane, h->mono_ns, h->wall_ms);
    lane_tick(h->lane);
    harness_tick(h);
}

/* A clock that jumps ahead does not expire everything: the partitions' time stays within 5 minutes
 * of PostgreSQL's. */
static void test_mass_expiry_guard(void **state)
{
    struct harness h;
    int64_t behind;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    behind = (int64_t)h.wall_ms - (int64_t)(h.mono_ns / 1000000);
    lane_database_clock(h.lane, behind);
    assert_int_equal(DO(&h, SET, "k", 0, (int64_t)h.wall_ms + 600000, 0, 0, 1, "v").type,
                     FB_REP_OK);
    at(&h, 1000, 3600000);
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, FB_REQ_ORDERED, 0).type, FB_REP_BULK);
    assert_in_range(lane_stats(h.lane)->clock_held_ms, 3200000, 3400000);
    assert_int_equal(lane_stats(h.lane)->expired, 0);
    /* PostgreSQL's clock says the same: it was right */
    lane_database_clock(h.lane, behind + 3600000);
    at(&h, 1000, 0);
    assert_int_equal(lane_stats(h.lane)->clock_held_ms, 0);
    assert_int_equal(DO(&h, GET, "k", 0, 0, 0, 0, 0).type, FB_REP_NIL);
    /* and without a jump nothing is held */
    at(&h, 1000, 1000);
    assert_int_equal(lane_stats(h.lane)->clock_held_ms, 0);
    harness_close(&h);
}

/* A start with a clock far ahead of the last record waits for PostgreSQL's, at most 10 s. */
static void test_start_with_a_wrong_clock(void **state)
{
    struct harness h;
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct lane_config config;
        struct store *store;
        struct fb_err err = {0};
        struct fb_record rec;
        struct fb_reader r;
        struct lane *l;
        harness_init(&h);
        harness_open(&h, 0, 0);
        assert_true(lane_clock_ready(h.lane)); /* nothing that could expire */
        assert_int_equal(DO(&h, SET, "k", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
        config = h.lane->config;
        assert_int_equal(store_new(HARNESS_PARTS, 1024, &store, &err), FB_OK);
        l = lane_new(&config, store);
        lane_configure(l, h.set, h.schemas);
        r = fb_reader(fb_buf_view(&h.log));
        while (r.n > 0) {
            assert_int_equal(fb_record_decode(&r, &rec), FB_OK);
            assert_int_equal(lane_recover_record(l, &rec, &err), FB_OK);
        }
        lane_now(l, h.mono_ns + 1, h.wall_ms + 31536000000);
        assert_false(lane_clock_ready(l));
        assert_true(l->wall_ms <= h.wall_ms);
        if (told) {
            lane_database_clock(l, (int64_t)h.wall_ms - (int64_t)(h.mono_ns / 1000000));
            lane_now(l, h.mono_ns + 2, h.wall_ms + 31536000000);
            assert_true(lane_clock_ready(l));
            assert_true(l->wall_ms <= h.wall_ms + 300000); /* PostgreSQL's */
        } else {
            lane_now(l, h.mono_ns + UINT64_C(9000000000), h.wall_ms + 31536000000);
            assert_false(lane_clock_ready(l));
            lane_now(l, h.mono_ns + UINT64_C(10000000002), h.wall_ms + 31536000000);
            assert_true(lane_clock_ready(l));
            assert_true(l->wall_ms >= h.wall_ms + 31536000000); /* there is no other */
        }
        lane_free(l);
        store_free(store);
        harness_close(&h);
    }
}

/* An object that is evicted and loaded again while a snapshot is taken may be met twice, in two
 * slots: the node starts from it all the same. */
static void test_snapshot_met_twice(void **state)
{
    struct harness h;
    struct fb_buf snap = {0};
    struct lane_snapshot s;
    struct store *store;
    struct lane *lane;
    struct fb_err err;
    const struct object *o;
    struct fb_feed_batch b;
    struct fb_load_rep rep = {.status = FB_LOAD_FOUND,
                              .kind = FB_KIND_STRING,
                              .xmin = 7,
                              .id = fb_bytes_str("{k}1"),
                              .value = fb_bytes_str("v")};
    uint16_t p = part_of("{k}1");
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(DO(&h, SET, "{k}1", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(DO(&h, SET, "{k}2", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    o = store_find_own(h.store, rep.id, object_hash(rep.id));
    rep.stored_ver = o->ver;
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    harness_pos(&h, p, "default", b.scan_end, 7);
    assert_true(lane_snapshot_begin(h.lane, p, &s));
    lane_snapshot_slice(h.lane, &s, &snap, 1); /* the header */
    lane_snapshot_slice(h.lane, &s, &snap, 1); /* the first object */
    assert_int_equal(lane_flush_clean(h.lane), 2);
    assert_int_equal(DO(&h, GET, "{k}1", 0, 0, 0, 0, 0).type, 255);
    rep.part = h.loads[0].part;
    rep.token = h.loads[0].token;
    rep.ckpt_ver = b.scan_end;
    lane_load_reply(h.lane, &rep);
    harness_tick(&h);
    while (!s.done)
        lane_snapshot_slice(h.lane, &s, &snap, 1 << 20);
    assert_int_equal(store_new(HARNESS_PARTS, 1024, &store, &err), FB_OK);
    lane = lane_new(&(struct lane_config){.lanes = 1, .partitions = HARNESS_PARTS}, store);
    lane_configure(lane, h.set, h.schemas);
    assert_int_equal(lane_recover_snapshot(lane, p, fb_buf_view(&snap), &err), FB_OK);
    o = store_find_own(store, rep.id, object_hash(rep.id));
    assert_non_null(o);
    assert_int_equal(o->ver, rep.stored_ver);
    lane_free(lane);
    store_free(store);
    fb_buf_fini(&snap);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_committed_is_not_safe),
                                       cmocka_unit_test(test_regression_below_what_was_dropped),
                                       cmocka_unit_test(test_proof_of_a_loss_is_of_one_checkpoint),
                                       cmocka_unit_test(test_regression_of_what_is_being_replaced),
                                       cmocka_unit_test(test_kept_by_a_fail_over_is_not_safe),
                                       cmocka_unit_test(test_mass_expiry_guard),
                                       cmocka_unit_test(test_start_with_a_wrong_clock),
                                       cmocka_unit_test(test_snapshot_met_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
