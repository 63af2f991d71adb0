/* Goal: a clean copy of a row goes only when PostgreSQL cannot lose it, is told as dropped when it
 * goes, and never for a row that is older. Method: scripted events. */
#include "tests/unit/node/mapped_users.h"

#define KEY "users:7"

struct written {
    uint16_t part;
    uint64_t ver, end; /* of the row; of what the feed has passed */
};

/* The row is loaded, written and in PostgreSQL: a clean copy. */
static struct written write_and_sync(struct harness *h)
{
    struct written w = {.part = fb_key_partition(fb_bytes_str(KEY), HARNESS_PARTS)};
    struct fb_buf b = {0};
    struct fb_rep rep;
    assert_int_equal(DO(h, HSET, KEY, 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(h, &rep));
    w.ver = feed_one(h, w.part, 0, &w.end).ver;
    harness_pos(h, w.part, "users", w.end, 501);
    fb_buf_fini(&b);
    return w;
}

/* The copy has been there for longer than it may: who reads it waits for a load. */
static void grow_old(struct harness *h)
{
    h->mono_ns += UINT64_C(61000000000);
    h->wall_ms += 61000;
    harness_tick(h);
    assert_int_equal(DO(h, HGET, KEY, 0, 0, 0, 0, 1, "age").type, 255);
}

static const struct object *copy_in(struct store *store)
{
    struct fb_bytes key = fb_bytes_str(KEY);
    return store_find(store, key, object_hash(key));
}

static uint64_t purge_ver(struct lane *lane, uint16_t part)
{
    uint16_t nsid = nsid_by_name(lane, fb_bytes_str("users"), false);
    return feed_find(lane->parts[part], nsid)->purge_ver;
}

/* Another lane that begins with a snapshot of this one. */
struct restarted {
    struct store *store;
    struct lane *lane;
};

static struct restarted restart(struct harness *h, uint16_t part)
{
    struct restarted r;
    struct fb_buf snap = {0};
    struct lane_snapshot s;
    struct fb_err err;
    assert_true(lane_snapshot_begin(h->lane, part, &s));
    lane_snapshot_slice(h->lane, &s, &snap, 1 << 20);
    assert_int_equal(store_new(HARNESS_PARTS, 1024, &r.store, &err), FB_OK);
    r.lane = lane_new(&(struct lane_config){.lanes = 1, .partitions = HARNESS_PARTS}, r.store);
    lane_configure(r.lane, h->set, h->schemas);
    assert_int_equal(lane_recover_snapshot(r.lane, part, fb_buf_view(&snap), &err), FB_OK);
    fb_buf_fini(&snap);
    return r;
}

static void restarted_free(struct restarted *r)
{
    lane_free(r->lane);
    store_free(r->store);
}

/* A clean row that a fail-over of PostgreSQL may take back stays: a load because of its age does
 * not replace it, and a snapshot has it. */
static void test_row_that_is_not_safe(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_buf b = {0};
    struct written w;
    struct restarted r;
    (void)state;
    open_users(&h);
    h.dsafe = 0;
    w = write_and_sync(&h);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    grow_old(&h);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "6"), 600, w.end);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(copy_in(h.store)->ver, w.ver);
    r = restart(&h, w.part);
    assert_non_null(copy_in(r.store));
    assert_int_equal(copy_in(r.store)->ver, w.ver);
    restarted_free(&r);
    fb_buf_fini(&b);
    harness_close(&h);
}

/* Nor by a row that was read before it. The load that replaces it drops it, and so does a snapshot
 * that leaves it out: purge_ver tells (I28). */
static void test_row_that_is_replaced(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_buf b = {0};
    struct written w;
    struct restarted r;
    (void)state;
    open_users(&h);
    w = write_and_sync(&h);
    r = restart(&h, w.part);
    assert_null(copy_in(r.store));
    assert_int_equal(purge_ver(r.lane, w.part), w.ver);
    restarted_free(&r);
    assert_int_equal(purge_ver(h.lane, w.part), 0); /* it is here still */
    grow_old(&h);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, w.ver - 1);
    assert_false(harness_pop(&h, &rep));
    assert_int_equal(lane_stats(h.lane)->loads_stale, 1);
    assert_int_equal(copy_in(h.store)->ver, w.ver);
    h.mono_ns += UINT64_C(1000000000);
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane); /* it asks again */
    harness_tick(&h);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "6"), 600, w.end);
    assert_true(harness_pop(&h, &rep));
    assert_true(fb_bytes_is(rep.payload, "6"));
    assert_int_equal(purge_ver(h.lane, w.part), w.ver);
    fb_buf_fini(&b);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_row_that_is_not_safe),
                                       cmocka_unit_test(test_row_that_is_replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
