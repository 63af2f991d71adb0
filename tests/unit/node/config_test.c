/* Goal: namespaces come, go and move while requests are under way. Method: lane_configure in the
 * middle of a tick. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The set without its last namespace, or with one more; the harness keeps one to free. */
static struct fb_nsset *with_namespaces(const struct harness *h, const char *const *names,
                                        uint32_t n)
{
    struct fb_nsset *set = calloc(1, sizeof *set);
    *set = *h->set;
    set->count = 1;
    for (uint32_t i = 0; i < n; i++) {
        set->ns[set->count] = h->set->ns[0];
        snprintf(set->ns[set->count].name, sizeof set->ns[0].name, "%s", names[i]);
        set->count++;
    }
    return set;
}

static void request(struct harness *h, uint16_t op, const char *key, const char *arg)
{
    struct fb_buf args = {0};
    struct fb_req req;
    harness_req(h, &req, NULL, op, key);
    if (arg != NULL) {
        fb_list_put(&args, fb_bytes_str(arg));
        req.nargs = 1;
        req.args = fb_buf_view(&args);
    }
    lane_request(h->lane, &h->dest, &req);
    fb_buf_fini(&args);
}

/* A load that waits is asked again under the namespace its key has now, and the earlier answer is
 * not taken. */
static void test_loads_follow(void **state)
{
    struct harness h;
    struct fb_nsset *more, *fewer;
    struct lane_load before;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_namespace(&h, "a");
    harness_namespace(&h, "b");
    harness_open(&h, 0, 0);
    request(&h, FB_OP_GET, "b:1", NULL);
    more = with_namespaces(&h, (const char *const[]){"b", "c"}, 2);
    lane_configure(h.lane, more,
                   h.schemas); /* in the tick of the request: "b" has another number */
    harness_tick(&h);
    assert_int_equal(h.load_n, 1);
    assert_string_equal(more->ns[h.loads[0].ns].name, "b");
    before = h.loads[0];
    fewer = with_namespaces(&h, NULL, 0);
    lane_configure(h.lane, fewer, h.schemas); /* nobody has it: the whole key is of "default" */
    harness_tick(&h);
    assert_int_equal(h.load_n, 1);
    assert_int_equal(h.loads[0].ns, 0);
    assert_true(fb_bytes_is(h.loads[0].id, "b:1"));
    struct fb_load_rep late = {.part = before.part,
                               .token = before.token,
                               .status = FB_LOAD_FOUND,
                               .kind = FB_KIND_STRING,
                               .value = fb_bytes_str("of the other table")};
    lane_load_reply(h.lane, &late);
    harness_tick(&h);
    assert_false(harness_pop(&h, &rep));
    lane_loads_resend(h.lane);
    harness_tick(&h);
    assert_int_equal(h.load_n, 1);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_STRING, fb_bytes_str("right"), 5, 0);
    assert_true(harness_pop(&h, &rep));
    assert_true(fb_bytes_is(rep.payload, "right"));
    harness_close(&h);
    free(more);
    free(fewer);
}

/* With a write pending in the same tick clean objects that no longer fit go at the tick's end. */
static void test_clean_objects_go(void **state)
{
    struct harness h;
    struct fb_nsset *more;
    uint16_t p = fb_key_partition(fb_bytes_str("b:1"), HARNESS_PARTS);
    struct fb_feed_batch b;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(harness_do(&h, FB_OP_SET, "b:1", 0, 0, 0, 0, 1, "old").type, FB_REP_OK);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    harness_pos(&h, p, "default", b.scan_end, 1);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    request(&h, FB_OP_SET, "other", "x");
    more = with_namespaces(&h, (const char *const[]){"b"}, 1);
    lane_configure(h.lane, more, h.schemas);
    harness_tick(&h);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 0);
    harness_close(&h);
    free(more);
}

/* Dirty bytes are those of the namespace that will write them. */
static void test_dirty_bytes_follow(void **state)
{
    struct harness h;
    struct fb_nsset *more;
    uint16_t p = fb_key_partition(fb_bytes_str("b:1"), HARNESS_PARTS);
    struct fb_feed_batch b;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(harness_do(&h, FB_OP_SET, "b:1", 0, 0, 0, 0, 1, "longer than the next").type,
                     FB_REP_OK);
    more = with_namespaces(&h, (const char *const[]){"b"}, 1);
    more->ns[1].max_dirty_bytes = 1 << 20;
    lane_configure(h.lane, more, h.schemas);
    assert_int_equal(harness_do(&h, FB_OP_SET, "b:1", 0, 0, 0, 0, 1, "v").type, FB_REP_OK);
    assert_int_equal(h.lane->ns[0].dirty_bytes, 0);
    assert_true(h.lane->ns[1].dirty_bytes > 0 && h.lane->ns[1].dirty_bytes < 1000);
    assert_int_equal(harness_do(&h, FB_OP_SET, "b:1", 0, 0, 0, 0, 1, "w").type, FB_REP_OK);
    harness_sync(&h);
    b = harness_feed(&h, p, "b", 0, 10);
    assert_int_equal(b.count, 1);
    harness_pos(&h, p, "b", b.scan_end, 1);
    assert_int_equal(h.lane->ns[1].dirty_bytes, 0);
    assert_int_equal(lane_stats(h.lane)->dirty_bytes, 0);
    harness_close(&h);
    free(more);
}

/* A parked object that the checkpoint has passed is no work for the feed, after a snapshot neither.
 */
static void test_parked_in_snapshot(void **state)
{
    struct harness h;
    struct fb_buf snap = {0};
    struct lane_snapshot s;
    struct lane_namespace_stats stats;
    uint16_t p = fb_key_partition(fb_bytes_str("k"), HARNESS_PARTS);
    struct fb_verdict v = {.verdict = FB_VERDICT_PARK,
                           .part = p,
                           .ns = fb_bytes_str("default"),
                           .id = fb_bytes_str("k"),
                           .sqlstate = "22001",
                           .message = fb_bytes_str("too long")};
    struct fb_feed_batch b;
    struct store *store;
    struct lane *lane;
    struct fb_err err;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    assert_int_equal(harness_do(&h, FB_OP_SET, "k", 0, 0, 0, 0, 1, "w").type, FB_REP_OK);
    harness_sync(&h);
    v.ver = lane_last_ver(h.lane, p);
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    harness_sync(&h);
    b = harness_feed(&h, p, "default", 0, 10);
    harness_pos(&h, p, "default", b.scan_end, 1);
    lane_namespace_stats(h.lane, 0, &stats);
    assert_int_equal(stats.parked, 1);
    assert_true(lane_snapshot_begin(h.lane, p, &s));
    lane_snapshot_slice(h.lane, &s, &snap, 1 << 20);
    assert_true(s.done);
    assert_int_equal(store_new(HARNESS_PARTS, 16, &store, &err), FB_OK);
    lane = lane_new(&(struct lane_config){.lanes = 1, .partitions = HARNESS_PARTS}, store);
    lane_configure(lane, h.set, h.schemas);
    assert_int_equal(lane_recover_snapshot(lane, p, fb_buf_view(&snap), &err), FB_OK);
    lane_open_partition(lane, p, h.epoch + 1, 0, h.wall_ms);
    lane_written(lane);
    lane_effects_clear(lane);
    lane_namespace_stats(lane, 0, &stats);
    assert_int_equal(stats.parked, 1);
    assert_int_equal(stats.dirty, 1);
    assert_int_equal(lane->parts[p]->feeds[0]->dirty.count, 0);
    lane_free(lane);
    store_free(store);
    fb_buf_fini(&snap);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_follow),
        cmocka_unit_test(test_clean_objects_go),
        cmocka_unit_test(test_dirty_bytes_follow),
        cmocka_unit_test(test_parked_in_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
