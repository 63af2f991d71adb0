/* Goal: requests over several keys that are not resident wait for each other in every order and
 * depth. Method: transactions queued behind loads, answers in every order; ASan finds what is freed
 * too early. */
#include "tests/unit/node/harness.h"

#include "node/core/read_value.h"
#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* MULTI, APPEND a "x", APPEND b "x", EXEC; not ticked. */
static void append_both(struct harness *h, const char *const *keys, uint32_t n)
{
    struct fb_buf list = {0};
    struct fb_req req;

    for (uint32_t i = 0; i < n; i++) {
        struct fb_buf one = {0}, args = {0};
        harness_req(h, &req, NULL, FB_OP_APPEND, keys[i]);
        fb_list_put(&args, fb_bytes_str("x"));
        req.nargs = 1;
        req.args = fb_buf_view(&args);
        fb_req_encode(&one, &req);
        fb_list_put(&list, fb_buf_view(&one));
        fb_buf_fini(&one);
        fb_buf_fini(&args);
    }
    harness_req(h, &req, NULL, FB_OP_TXN, keys[0]);
    req.nargs = n;
    req.args = fb_buf_view(&list);
    lane_request(h->lane, &h->dest, &req);
    fb_buf_fini(&list);
}

/* Answers every load of the last tick, the last one first when `backwards`. Gives the number of
 * replies that came. */
static uint32_t answer_loads(struct harness *h, bool backwards)
{
    struct lane_load loads[FB_COUNT_OF(h->loads)];
    uint32_t n = h->load_n, replies = 0;
    struct fb_rep rep;

    memcpy(loads, h->loads, sizeof loads);
    for (uint32_t i = 0; i < n; i++) {
        struct lane_load *load = &loads[backwards ? n - 1 - i : i];
        struct fb_load_rep r = {.part = load->part, .token = load->token, .status = FB_LOAD_ABSENT};
        lane_load_reply(h->lane, &r);
        do { /* what is left when the log of a tick is full comes with the next ones */
            uint64_t before = h->log.n;
            harness_tick(h);
            assert_true(h->log.n - before < 2 * LANE_TICK_LOG_BYTES);
            while (harness_pop(h, &rep)) {
                assert_int_equal(rep.type, FB_REP_REPS);
                replies++;
            }
            lane_tick(h->lane);
        } while (lane_effects(h->lane)->log.n > 0);
    }
    return replies;
}

static void run(const char *const (*orders)[3], uint32_t order_n, uint32_t keys, uint32_t txns,
                bool backwards)
{
    struct harness h;
    struct fb_rep rep;

    harness_init(&h);
    harness_open(&h, 0, 0);
    for (uint32_t i = 0; i < txns; i++)
        append_both(&h, orders[i % order_n], keys);
    harness_tick(&h);
    assert_int_equal(h.load_n, keys);
    assert_int_equal(answer_loads(&h, backwards), txns);
    assert_int_equal(h.dest.held, 0);
    assert_false(lane_loads_waiting(h.lane));
    for (uint32_t k = 0; k < keys; k++) {
        rep = harness_do(&h, FB_OP_STRLEN, orders[0][k], 0, 0, 0, 0, 0);
        assert_int_equal(rep.num, txns);
    }
    harness_close(&h);
}

static const char *const both_orders[][3] = {{"{q}a", "{q}b"}, {"{q}b", "{q}a"}};
static const char *const three[][3] = {
    {"{q}a", "{q}b", "{q}c"}, {"{q}c", "{q}b", "{q}a"}, {"{q}b", "{q}a", "{q}c"}};

static void test_two_keys(void **state)
{
    (void)state;
    run(both_orders, 2, 2, 2, false);
    run(both_orders, 2, 2, 2, true);
}

static void test_three_keys(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 7; n++) {
        run(three, 3, 3, n, false);
        run(three, 3, 3, n, true);
    }
}

/* Each wakes the other queue: must not take stack for each. */
static void test_deep(void **state)
{
    (void)state;
    run(both_orders, 2, 2, 5000, false);
}

/* A transaction over a loading key and one that failed: the failure is told once, the other key
 * goes on. */
static void test_failed_load(void **state)
{
    struct harness h;
    struct fb_rep rep;
    (void)state;

    harness_init(&h);
    harness_open(&h, 0, 0);
    append_both(&h, both_orders[0], 2);
    append_both(&h, both_orders[1], 2);
    harness_tick(&h);
    assert_int_equal(h.load_n, 2);
    lane_loads_fail(h.lane, "nobody there");
    harness_tick(&h);
    for (uint32_t round = 0; round < 4 && lane_loads_waiting(h.lane); round++) {
        lane_loads_fail(h.lane, "nobody there");
        harness_tick(&h);
    }
    while (harness_pop(&h, &rep))
        assert_int_equal(rep.type, FB_REP_ERR);
    assert_int_equal(h.dest.held, 0);
    assert_false(lane_loads_waiting(h.lane));
    harness_close(&h);
}

/* What a transaction may log is known before anything of it is done. */
static void test_large_transaction(void **state)
{
    struct harness h;
    struct fb_buf list = {0}, big = {0};
    struct fb_req req;
    struct fb_rep rep;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    h.set->ns[0].max_value = 1 << 20;
    for (uint32_t i = 0; i < (1 << 20) - 8192; i++)
        fb_buf_put_u8(&big, 'x');
    fb_buf_put_u8(&big, 0);
    assert_int_equal(harness_do(&h, FB_OP_SET, "{q}a", 0, 0, 0, 0, 1, (const char *)big.p).type,
                     FB_REP_OK);
    for (uint32_t n = 20; n <= 1000; n += 980) {
        fb_buf_clear(&list);
        for (uint32_t i = 0; i < n; i++) {
            struct fb_buf one = {0}, args = {0};
            harness_req(&h, &req, NULL, FB_OP_APPEND, "{q}a");
            fb_list_put(&args, fb_bytes_str("y"));
            req.nargs = 1;
            req.args = fb_buf_view(&args);
            fb_req_encode(&one, &req);
            fb_list_put(&list, fb_buf_view(&one));
            fb_buf_fini(&one);
            fb_buf_fini(&args);
        }
        harness_req(&h, &req, NULL, FB_OP_TXN, "{q}a");
        req.nargs = n;
        req.args = fb_buf_view(&list);
        lane_request(h.lane, &h.dest, &req);
        assert_true(lane_effects(h.lane)->log.n <= LANE_TXN_LOG_BYTES);
        harness_tick(&h);
        assert_true(harness_pop(&h, &rep));
        assert_int_equal(rep.type, n == 20 ? FB_REP_REPS : FB_REP_ERR);
    }
    fb_buf_fini(&list);
    fb_buf_fini(&big);
    harness_close(&h);
}

/* A reply that no frame could hold is refused: the same field, or the same key, again and again. */
static void test_large_replies(void **state)
{
    struct harness h;
    struct fb_buf big = {0}, args = {0}, list = {0};
    struct fb_req req;
    struct fb_rep rep, sub;
    struct fb_reader r;
    (void)state;
    harness_init(&h);
    harness_open(&h, 0, 0);
    for (uint32_t i = 0; i < 100000; i++)
        fb_buf_put_u8(&big, 'x');
    fb_buf_put_u8(&big, 0);
    assert_int_equal(harness_do(&h, FB_OP_DEL, "{q}h", 0, 0, 0, 0, 0).type, 255);
    harness_load(&h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(
        harness_do(&h, FB_OP_HSET, "{q}h", 0, 0, 0, 0, 2, "f", (const char *)big.p).num, 1);
    assert_int_equal(harness_do(&h, FB_OP_SET, "{q}s", 0, 0, 0, 0, 1, (const char *)big.p).type,
                     FB_REP_OK);
    for (uint32_t i = 0; i < 400; i++) {
        struct fb_buf one = {0};
        fb_list_put(&args, fb_bytes_str("f"));
        harness_req(&h, &req, NULL, FB_OP_GET, "{q}s");
        fb_req_encode(&one, &req);
        fb_list_put(&list, fb_buf_view(&one));
        fb_buf_fini(&one);
    }
    harness_req(&h, &req, NULL, FB_OP_HMGET, "{q}h");
    req.nargs = 400;
    req.args = fb_buf_view(&args);
    lane_request(h.lane, &h.dest, &req);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_ERR);
    harness_req(&h, &req, NULL, FB_OP_TXN, "{q}s");
    req.nargs = 400;
    req.args = fb_buf_view(&list);
    lane_request(h.lane, &h.dest, &req);
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_REPS);
    assert_true(rep.payload.n < READ_REPLY_BYTES_MAX + 100000);
    r = fb_reader(rep.payload);
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(fb_rep_decode(&r, &sub), FB_OK);
        assert_true(sub.type == FB_REP_BULK || (i > 300 && sub.type == FB_REP_ERR));
    }
    assert_int_equal(sub.type, FB_REP_ERR);
    fb_buf_fini(&big);
    fb_buf_fini(&args);
    fb_buf_fini(&list);
    harness_close(&h);
}

/* Many sync processes may connect within one tick: loads and notes go out once all the same. */
static void test_asked_again(void **state)
{
    struct harness h;
    struct fb_rep rep;
    uint32_t notes;
    (void)state;

    harness_init(&h);
    harness_open(&h, 0, 0);
    (void)harness_do(&h, FB_OP_SET, "there", 0, 0, 0, 0, 1, "v");
    harness_sync(&h);
    notes = h.notes;
    lane_notes_all(h.lane);
    harness_tick(&h);
    notes = h.notes - notes;
    assert_true(notes > 0);
    (void)harness_do(&h, FB_OP_GET, "a", 0, 0, 0, 0, 0);
    (void)harness_do(&h, FB_OP_GET, "b", 0, 0, 0, 0, 0);
    h.notes = 0;
    for (int i = 0; i < 5; i++) {
        lane_loads_resend(h.lane);
        lane_notes_all(h.lane);
    }
    harness_tick(&h);
    assert_int_equal(h.load_n, 2);
    assert_int_equal(h.notes, notes);
    harness_load(&h, 0, FB_LOAD_ABSENT, FB_KIND_NONE, fb_bytes(NULL, 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_NIL);
    harness_close(&h);
}

/* What waits for PostgreSQL is bounded in bytes, too: requests may carry megabytes each. */
static void test_waiting_bytes(void **state)
{
    struct harness h;
    struct fb_buf args = {0};
    struct fb_req req;
    struct fb_rep rep = {0};
    uint32_t waiting = 0;
    (void)state;

    harness_init(&h);
    harness_open(&h, 0, 0);
    fb_buf_put_u32(&args, 7u << 20);
    memset(fb_buf_grow(&args, 7u << 20), 'x', 7u << 20);
    for (;;) {
        harness_req(&h, &req, NULL, FB_OP_APPEND, "a");
        req.nargs = 1;
        req.args = fb_buf_view(&args);
        lane_request(h.lane, &h.dest, &req);
        harness_tick(&h);
        if (harness_pop(&h, &rep))
            break;
        waiting++;
        assert_true(waiting < 64);
    }
    assert_int_equal(waiting, LOAD_WAITER_BYTES_MAX / (7u << 20));
    assert_int_equal(rep.type, FB_REP_ERR);
    assert_memory_equal(rep.payload.p, "OVERLOADED", 10);
    lane_loads_fail(h.lane, "away"); /* all of it comes back */
    harness_tick(&h);
    for (uint32_t i = 0; i < waiting; i++)
        assert_true(harness_pop(&h, &rep));
    assert_int_equal(h.lane->loads.waiter_bytes, 0);
    (void)harness_do(&h, FB_OP_GET, "b", 0, 0, 0, 0, 0);
    assert_int_equal(h.load_n, 1);
    fb_buf_fini(&args);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_keys),
        cmocka_unit_test(test_three_keys),
        cmocka_unit_test(test_deep),
        cmocka_unit_test(test_failed_load),
        cmocka_unit_test(test_large_transaction),
        cmocka_unit_test(test_large_replies),
        cmocka_unit_test(test_asked_again),
        cmocka_unit_test(test_waiting_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
