/* Goal: a clean copy of a row goes only when PostgreSQL cannot lose it, is told as dropped when it
 * goes, and never for a row that is older. Method: scripted events. */
#include "tests/unit/node/mapped_users.h"

/* A clean row that a fail-over of PostgreSQL may take back stays: a load because of its age does
 * not replace it, and a snapshot has it. */
static void test_row_that_is_not_safe(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_buf b = {0}, snap = {0};
    struct lane_snapshot s;
    struct store *store;
    struct lane *lane;
    struct fb_err err;
    const struct object *o;
    struct fb_bytes key = fb_bytes_str("users:7");
    uint16_t p = fb_key_partition(key, HARNESS_PARTS);
    uint64_t end, ver;
    (void)state;
    open_users(&h);
    h.dsafe = 0;
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    ver = feed_one(&h, p, 0, &end).ver;
    harness_pos(&h, p, "users", end, 501);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    h.mono_ns += UINT64_C(61000000000);
    h.wall_ms += 61000;
    harness_tick(&h);
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, 255); /* too old */
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "6"), 600, end);
    assert_true(harness_pop(&h, &rep));
    o = store_find(h.store, key, object_hash(key));
    assert_int_equal(o->ver, ver);
    assert_true(lane_snapshot_begin(h.lane, p, &s));
    lane_snapshot_slice(h.lane, &s, &snap, 1 << 20);
    assert_int_equal(store_new(HARNESS_PARTS, 1024, &store, &err), FB_OK);
    lane = lane_new(&(struct lane_config){.lanes = 1, .partitions = HARNESS_PARTS}, store);
    lane_configure(lane, h.set, h.schemas);
    assert_int_equal(lane_recover_snapshot(lane, p, fb_buf_view(&snap), &err), FB_OK);
    o = store_find(store, key, object_hash(key));
    assert_non_null(o);
    assert_int_equal(o->ver, ver);
    lane_free(lane);
    store_free(store);
    fb_buf_fini(&snap);
    fb_buf_fini(&b);
    harness_close(&h);
}

/* Nor by a row that was read before it. The load that replaces it drops it, and so does a snapshot
 * that leaves it out: purge_ver tells (I28). */
static void test_row_that_is_replaced(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_buf b = {0}, snap = {0};
    struct lane_snapshot s;
    struct store *store;
    struct lane *lane;
    struct fb_err err;
    const struct object *o;
    uint16_t nsid;
    struct fb_bytes key = fb_bytes_str("users:7");
    uint16_t p = fb_key_partition(key, HARNESS_PARTS);
    uint64_t end, ver;
    (void)state;
    open_users(&h);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    ver = feed_one(&h, p, 0, &end).ver;
    harness_pos(&h, p, "users", end, 501);
    assert_true(lane_snapshot_begin(h.lane, p, &s));
    lane_snapshot_slice(h.lane, &s, &snap, 1 << 20);
    assert_int_equal(store_new(HARNESS_PARTS, 1024, &store, &err), FB_OK);
    lane = lane_new(&(struct lane_config){.lanes = 1, .partitions = HARNESS_PARTS}, store);
    lane_configure(lane, h.set, h.schemas);
    assert_int_equal(lane_recover_snapshot(lane, p, fb_buf_view(&snap), &err), FB_OK);
    assert_null(store_find(store, key, object_hash(key)));
    nsid = nsid_by_name(lane, fb_bytes_str("users"), false);
    assert_int_equal(feed_find(lane->parts[p], nsid)->purge_ver, ver);
    lane_free(lane);
    store_free(store);
    fb_buf_fini(&snap);
    nsid = nsid_by_name(h.lane, fb_bytes_str("users"), false);
    assert_int_equal(feed_find(h.lane->parts[p], nsid)->purge_ver, 0); /* it is here still */
    h.mono_ns += UINT64_C(61000000000);
    h.wall_ms += 61000;
    harness_tick(&h);
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, 255); /* too old */
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, ver - 1);
    assert_false(harness_pop(&h, &rep));
    assert_int_equal(lane_stats(h.lane)->loads_stale, 1);
    o = store_find(h.store, key, object_hash(key));
    assert_int_equal(o->ver, ver);
    h.mono_ns += UINT64_C(1000000000);
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane); /* it asks again */
    harness_tick(&h);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "6"), 600, end);
    assert_true(harness_pop(&h, &rep));
    assert_true(fb_bytes_is(rep.payload, "6"));
    assert_int_equal(
        feed_find(h.lane->parts[p], nsid_by_name(h.lane, fb_bytes_str("users"), false))->purge_ver,
        ver);
    fb_buf_fini(&b);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_row_that_is_not_safe),
                                       cmocka_unit_test(test_row_that_is_replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
