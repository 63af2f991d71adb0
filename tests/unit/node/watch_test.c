/* Goal: WATCH of an absent key notices that the key was there in between. Method: every way in
 * which a key becomes absent, between WATCH's version and EXEC's comparison. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static void put_key(struct harness *h, const char *key, const char *v)
{
    assert_int_equal(DO(h, SET, key, 0, 0, 0, 0, 1, v).type, FB_REP_OK);
}

static int64_t del(struct harness *h, const char *key)
{
    return DO(h, DEL, key, 0, 0, 0, 0, 0).num;
}

static int64_t watch(struct harness *h, const char *key)
{
    struct fb_rep rep = DO(h, VERSION, key, 0, 0, 0, 0, 0);
    if (rep.type == 255) { /* a load is asked for */
        harness_load(h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, INT64_MAX);
        assert_true(harness_pop(h, &rep));
    }
    assert_int_equal(rep.type, FB_REP_INT);
    return rep.num;
}

static uint8_t exec_watched(struct harness *h, const char *key, int64_t ver)
{
    struct fb_buf list = {0};
    struct fb_rep rep;
    harness_sub(h, &list, FB_OP_VERSION, key, ver, NULL);
    harness_sub(h, &list, FB_OP_STRLEN, key, 0, NULL);
    rep = harness_txn(h, &list, 2, 1, key);
    if (rep.type == 255) {
        harness_load(h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, INT64_MAX);
        assert_true(harness_pop(h, &rep));
    }
    fb_buf_fini(&list);
    return rep.type;
}

static void test_watch_absent(void **state)
{
    struct harness h;
    uint16_t part = fb_key_partition(fb_bytes_str("{t}a"), HARNESS_PARTS);
    int64_t ver;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    ver = watch(&h, "{t}a");
    assert_true(ver < 0);
    assert_int_equal(exec_watched(&h, "{t}a", ver), FB_REP_REPS);
    assert_int_equal(watch(&h, "{t}a"), ver);
    /* there and gone again: its tombstone tells */
    put_key(&h, "{t}a", "1");
    assert_true(watch(&h, "{t}a") > 0);
    assert_int_equal(del(&h, "{t}a"), 1);
    assert_int_equal(exec_watched(&h, "{t}a", ver), FB_REP_NIL);
    assert_int_equal(exec_watched(&h, "{t}a", watch(&h, "{t}a")), FB_REP_REPS);
    /* and after the tombstone was dropped */
    put_key(&h, "{t}a", "2");
    ver = watch(&h, "{t}b");
    put_key(&h, "{t}b", "1");
    assert_int_equal(del(&h, "{t}b"), 1);
    harness_sync(&h);
    harness_pos(&h, part, "default", lane_last_ver(h.lane, part), 77);
    assert_int_equal(exec_watched(&h, "{t}b", ver), FB_REP_NIL);
    assert_int_equal(exec_watched(&h, "{t}b", watch(&h, "{t}b")), FB_REP_REPS);
    /* evicted while it could expire: absent in PostgreSQL without a record of ours */
    ver = watch(&h, "{t}c");
    assert_int_equal(FB_REP_OK, DO(&h, SET, "{t}c", 0, (int64_t)h.wall_ms + 50, 0, 0, 1, "v").type);
    harness_sync(&h);
    harness_pos(&h, part, "default", lane_last_ver(h.lane, part), 78);
    assert_int_equal(DO(&h, EVICT, "{t}c", 0, 0, 0, 0, 0).num, 1);
    assert_int_equal(exec_watched(&h, "{t}c", ver), FB_REP_NIL);
    /* nor does it compare equal with the version it had */
    assert_true(watch(&h, "{t}c") < 0);
    /* a restart forgets what went, and so changes it for every absent key */
    ver = watch(&h, "{t}b");
    harness_restart(&h);
    assert_int_equal(exec_watched(&h, "{t}b", ver), FB_REP_NIL);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_absent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
