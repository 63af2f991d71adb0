/* Goal: of a slow command the router tells where its time went, hop by hop, and the hops add up; of
 * a fast one, and of one that was to wait, nothing. SLOWLOG speaks as Redis 7.0. Method: scripted
 * nodes (rig.h) and a clock of the test. */
#include "tests/unit/cmocka.h"
#include "tests/unit/router/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig g;
static struct router_slow last;
static char last_key[64], last_node[64];
static unsigned told;

static void slow(void *arg, const struct router_slow *w)
{
    (void)arg;
    last = *w;
    snprintf(last_key, sizeof(last_key), "%.*s", (int)w->key.n, (const char *)w->key.p);
    snprintf(last_node, sizeof(last_node), "%s", w->node);
    told++;
    assert_int_equal(w->router_us + w->network_us + w->queue_us + w->work_us + w->wait_us +
                         w->unanswered_us,
                     w->total_us);
}

static void get(void *arg, struct fb_buf *out, uint32_t count)
{
    (void)arg;
    fb_buf_printf(out, ":%u\r\n", count);
}

static size_t len(void *arg)
{
    (void)arg;
    return 42;
}

static void reset(void *arg)
{
    (void)arg;
    told = 0;
}

static void adjust(struct router_config *c)
{
    c->slow_ns = UINT64_C(100000000);
    c->hooks.slow = slow;
    c->hooks.slowlog_get = get;
    c->hooks.slowlog_len = len;
    c->hooks.slowlog_reset = reset;
}

static struct router_session *begin(void)
{
    rig_init_config(&g, adjust);
    told = 0;
    return router_session_new(g.r, 1, "1.2.3.4:5", "127.0.0.1:6380", NULL);
}

static void end(struct router_session *s)
{
    router_session_gone(s);
    rig_fini(&g);
}

static void fast_is_not_told(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "GET a\r\n");
    rig_tick(&g, 99);
    rig_reply_bulk(&g, 0, "1");
    assert_int_equal(told, 0);
    rig_input(&g, s, "FB.SYNC a 5000\r\n"); /* to wait is what it is for */
    rig_tick(&g, 3000);
    rig_reply_int(&g, 0, 5);
    assert_int_equal(told, 0);
    end(s);
}

static void hops_of_a_read(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "GET a\r\n");
    rig_tick(&g, 250);
    g.queue_us = 120000;
    g.busy_us = 30000;
    rig_reply_bulk(&g, 0, "1");
    assert_int_equal(told, 1);
    assert_int_equal(last.cmd, RESP_CMD_GET);
    assert_string_equal(last_key, "a");
    assert_int_equal(last.total_us, 250000);
    assert_int_equal(last.router_us, 0);
    assert_int_equal(last.queue_us, 120000);
    assert_int_equal(last.work_us, 30000);
    assert_int_equal(last.network_us, 100000);
    assert_int_equal(last.wait_us, 0);
    assert_false(last.failed);
    end(s);
}

/* What a held reply tells of itself goes before what its frame tells of the others in it. */
static void hops_of_a_held_write(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "SET a 1\r\n");
    rig_tick(&g, 500);
    g.queue_us = 400000;
    g.busy_us = 10000;
    rig_reply(
        &g, 0,
        (struct fb_rep){
            .type = FB_REP_OK, .wait_us = 450000, .queue_us = 5000, .wait_on = FB_WAIT_FSYNC});
    assert_int_equal(told, 1);
    assert_int_equal(last.wait_us, 450000);
    assert_int_equal(last.wait_on, FB_WAIT_FSYNC);
    assert_int_equal(last.queue_us, 5000);
    assert_int_equal(last.work_us, 10000);
    assert_int_equal(last.network_us, 35000);
    /* a node whose clock says nonsense does not make the sum wrong */
    rig_input(&g, s, "SET a 1\r\n");
    rig_tick(&g, 200);
    g.queue_us = g.busy_us = UINT32_MAX;
    rig_reply(&g, 0,
              (struct fb_rep){.type = FB_REP_OK,
                              .wait_us = UINT32_MAX,
                              .queue_us = UINT32_MAX,
                              .wait_on = FB_WAIT_DATABASE});
    assert_int_equal(told, 2);
    assert_int_equal(last.wait_us, 200000);
    end(s);
}

static void router_and_retries(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "SET a 1\r\n");
    for (int i = 0; i < 3; i++) {
        rig_reply_err(&g, 0, FB_REP_ERR_RETRY, "");
        for (int k = 0; k < 50 && g.seen_count == 0; k++)
            rig_tick(&g, 10);
    }
    rig_tick(&g, 150);
    rig_reply_ok(&g, 0);
    assert_int_equal(told, 1);
    assert_int_equal(last.retries, 3);
    assert_int_equal(last.router_us, last.total_us - 150000);
    end(s);
}

static void no_answer(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "SET a 1\r\n");
    rig_tick(&g, 700);
    router_node_down(g.r, g.seen[0].node);
    rig_tick(&g, 0);
    assert_int_equal(told, 1);
    assert_int_equal(last.unanswered_us, 700000);
    assert_true(last.failed);
    rig_forget(&g);
    end(s);
}

/* Of a command with many keys the last answer tells. */
static void many_keys_once(void **state)
{
    struct router_session *s = begin();
    char text[256];
    (void)state;
    snprintf(text, sizeof(text), "MGET %s %s %s\r\n", rig_key(0), rig_key(1), rig_key(2));
    rig_input(&g, s, text);
    rig_tick(&g, 150);
    rig_reply_bulk(&g, 0, "1");
    rig_reply_bulk(&g, 0, "1");
    assert_int_equal(told, 0);
    rig_reply_bulk(&g, 0, "1");
    assert_int_equal(told, 1);
    assert_int_equal(last.operations, 3);
    end(s);
}

static void speaks_as_redis(void **state)
{
    struct router_session *s = begin();
    (void)state;
    rig_input(&g, s, "SLOWLOG GET\r\n");
    rig_expect(&g, s, ":10\r\n");
    rig_input(&g, s, "slowlog get 3\r\n");
    rig_expect(&g, s, ":3\r\n");
    rig_input(&g, s, "SLOWLOG GET -1\r\n");
    rig_expect(&g, s, ":4294967295\r\n");
    rig_input(&g, s, "SLOWLOG LEN\r\n");
    rig_expect(&g, s, ":42\r\n");
    rig_input(&g, s, "SLOWLOG RESET\r\n");
    rig_expect(&g, s, "+OK\r\n");
    rig_input(&g, s, "SLOWLOG GET x\r\nSLOWLOG GET -2\r\n");
    rig_expect(&g, s,
               "-ERR count should be greater than or equal to -1\r\n"
               "-ERR count should be greater than or equal to -1\r\n");
    rig_input(&g, s, "SLOWLOG GET 1 2\r\n");
    rig_expect(&g, s,
               "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG "
               "HELP.\r\n");
    rig_input(&g, s, "SLOWLOG FOO\r\n");
    rig_expect(&g, s, "-ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.\r\n");
    rig_input(&g, s, "SLOWLOG LEN x\r\n");
    rig_expect(&g, s, "-ERR wrong number of arguments for 'slowlog|len' command\r\n");
    rig_input(&g, s, "CONFIG GET slowlog*\r\n");
    rig_expect(&g, s,
               "*4\r\n$23\r\nslowlog-log-slower-than\r\n$6\r\n100000\r\n"
               "$15\r\nslowlog-max-len\r\n$3\r\n128\r\n");
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_is_not_told),
        cmocka_unit_test(hops_of_a_read),
        cmocka_unit_test(hops_of_a_held_write),
        cmocka_unit_test(router_and_retries),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(many_keys_once),
        cmocka_unit_test(speaks_as_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
