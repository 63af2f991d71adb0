/* Goal: WAIT and WAITAOF are told the truth: of a partition with one copy nobody else has anything,
 * "on disk" is after the fsync, and time-outs, closed partitions and clients that are gone end the
 * waiting. Method: scripted events. Several copies: tests/integration/test_replication.py. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct harness h;

static uint16_t part(void)
{
    return fb_key_partition(fb_bytes_str("k"), HARNESS_PARTS);
}

static void set(const char *value)
{
    assert_int_equal(harness_do(&h, FB_OP_SET, "k", 0, 0, 0, 0, 1, value).type, FB_REP_OK);
}

static void turn(void)
{
    lane_now(h.lane, h.mono_ns, h.wall_ms);
    lane_tick(h.lane);
    harness_tick(&h);
}

static void ask(int64_t copies, int64_t ms, uint16_t flags)
{
    const struct fb_req req = {.seq = 77,
                               .op = FB_OP_COPIES,
                               .part = part(),
                               .epoch = h.epoch,
                               .a = copies,
                               .b = ms,
                               .flags = flags};
    lane_request(h.lane, &h.dest, &req);
}

static void answer(int64_t copies, uint8_t level)
{
    struct fb_rep rep;

    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.seq, 77);
    assert_int_equal(rep.type, FB_REP_INT);
    assert_int_equal(rep.num, copies);
    assert_int_equal(rep.level, level);
    assert_int_equal(h.dest.held, 0);
}

static void none(void)
{
    struct fb_rep rep;

    assert_false(harness_pop(&h, &rep));
    assert_int_equal(h.dest.held, 1);
}

static void test_one_copy(void **state)
{
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    set("1");
    ask(0, 0, 0);
    turn();
    answer(0, FB_LEVEL_LOCAL);
    ask(1, 70, 0);
    turn();
    none();
    h.mono_ns += 100000000;
    turn();
    answer(0, FB_LEVEL_LOCAL);
    harness_close(&h);
}

static void test_on_disk(void **state)
{
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    set("1");
    ask(0, 0, FB_REQ_DISK | FB_REQ_HERE);
    turn();
    none();
    harness_sync(&h);
    answer(0, FB_LEVEL_DURABLE);
    ask(0, 0, FB_REQ_DISK | FB_REQ_HERE);
    turn();
    answer(0, FB_LEVEL_DURABLE);
    harness_close(&h);
}

static void test_ends(void **state)
{
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    set("1");
    ask(1, 0, 0);
    turn();
    none();
    lane_close_partition(h.lane, part());
    turn();
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.num, FB_REP_ERR_NOT_PRIMARY);
    assert_int_equal(h.dest.held, 0);
    harness_close(&h);
}

static void test_client_gone(void **state)
{
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    set("1");
    ask(1, 0, 0);
    h.dest.closed = true;
    turn();
    assert_int_equal(h.dest.held, 0);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_copy),
        cmocka_unit_test(test_on_disk),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_client_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
