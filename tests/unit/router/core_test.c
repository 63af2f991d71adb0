/* Goal: the router's core keeps replies in order, retries what it may, says what it cannot know,
 * and stays within its limits. Method: scripted nodes (rig.h), exact bytes. */
#include "tests/unit/router/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rig g;

static struct router_session *client(void)
{
    return router_session_new(g.r, 1, "1.2.3.4:5", "127.0.0.1:6380", NULL);
}

static const char *fmt(const char *f, ...)
{
    static char text[4][4096];
    static unsigned at;
    va_list ap;
    char *t = text[at++ % 4];
    va_start(ap, f);
    vsnprintf(t, 4096, f, ap);
    va_end(ap);
    return t;
}

static void test_set_get(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "SET a 1\r\n");
    assert_int_equal(g.seen_count, 1);
    assert_int_equal(g.seen[0].req.op, FB_OP_SET);
    assert_int_equal(g.seen[0].req.epoch, 1);
    rig_expect(&g, s, "");
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    rig_input(&g, s, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    assert_int_equal(g.seen[0].req.op, FB_OP_GET);
    assert_int_equal(g.seen[0].req.flags & FB_REQ_ORDERED, 0);
    rig_reply_bulk(&g, 0, "1");
    rig_expect(&g, s, "$1\r\n1\r\n");
    rig_input(&g, s, "GET a\r\n");
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_NIL});
    rig_expect(&g, s, "$-1\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

/* Replies come in any order and leave in the order of the commands. */
static void test_order(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s,
              fmt("GET %s\r\nGET %s\r\nPING\r\nSET %s x\r\nGET %s\r\n", rig_key(0), rig_key(1),
                  rig_key(2), rig_key(2)));
    assert_int_equal(g.frames, 2); /* one for each node */
    assert_int_equal(g.seen_count, 4);
    /* node 0: GET k(0), SET, GET; then node 1 */
    assert_int_equal(g.seen[2].req.op, FB_OP_GET);
    assert_true(g.seen[2].req.flags & FB_REQ_ORDERED); /* behind a write of the same client */
    assert_int_equal(g.seen[0].req.flags & FB_REQ_ORDERED, 0);
    rig_reply_bulk(&g, 2, "d");
    rig_expect(&g, s, "");
    rig_reply_bulk(&g, 2, "b");
    rig_expect(&g, s, "");
    rig_reply_bulk(&g, 0, "a");
    rig_expect(&g, s, "$1\r\na\r\n$1\r\nb\r\n+PONG\r\n");
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n$1\r\nd\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_multi_key(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s,
              fmt("MGET %s %s %s\r\nDEL %s %s\r\nDBSIZE\r\n", rig_key(0), rig_key(1), rig_key(2),
                  rig_key(3), rig_key(4)));
    assert_int_equal(g.seen_count, 7);
    /* node 0: MGET k0, k2, DEL k4, DBSIZE; node 1: MGET k1, DEL k3, DBSIZE. Answered backwards. */
    rig_reply_int(&g, 6, 5);
    rig_reply_int(&g, 5, 1);
    rig_reply_bulk(&g, 4, "one");
    rig_reply_int(&g, 3, 7);
    rig_reply_int(&g, 2, 1);
    rig_reply_bulk(&g, 1, "two");
    rig_expect(&g, s, "");
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_NIL});
    rig_expect(&g, s, "*3\r\n$-1\r\n$3\r\none\r\n$3\r\ntwo\r\n:2\r\n:12\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_scan(void **state)
{
    struct router_session *s;
    struct fb_buf list = {0};
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "SCAN 0\r\n");
    assert_int_equal(g.seen_count, 1);
    assert_int_equal(g.seen[0].node, 0);
    assert_int_equal(g.seen[0].req.part, FB_PART_NONE);
    fb_list_put(&list, fb_bytes_str("0"));
    fb_list_put(&list, fb_bytes_str("x"));
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_LIST, .payload = fb_buf_view(&list)});
    rig_expect(&g, s, "*2\r\n$1\r\n1\r\n*1\r\n$1\r\nx\r\n"); /* cursor 0 of node 1 */
    rig_input(&g, s, "SCAN 1\r\n");
    assert_int_equal(g.seen[0].node, 1);
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_LIST, .payload = fb_buf_view(&list)});
    rig_expect(&g, s, "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nx\r\n");
    rig_input(&g, s, "SCAN 9\r\n"); /* a node that is no more */
    assert_int_equal(g.seen_count, 0);
    rig_expect(&g, s, "*2\r\n$1\r\n0\r\n*0\r\n");
    fb_buf_fini(&list);
    router_session_gone(s);
    rig_fini(&g);
}

/* One batch on its way: what comes meanwhile is collected into one frame, or goes after a while. */
static void test_window(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, fmt("GET %s\r\n", rig_key(0)));
    assert_int_equal(g.frames, 1);
    rig_input(&g, s, fmt("GET %s\r\n", rig_key(0)));
    rig_input(&g, s, fmt("GET %s\r\n", rig_key(2)));
    assert_int_equal(g.frames, 1);
    assert_true(router_deadline_ns(g.r) <= g.now_ns + 1000000);
    rig_reply_bulk(&g, 0, "a");
    assert_int_equal(g.frames, 2);
    assert_int_equal(g.seen_count, 2);
    rig_input(&g, s, fmt("GET %s\r\n", rig_key(4)));
    assert_int_equal(g.frames, 2);
    rig_tick(&g, 2);
    assert_int_equal(g.frames, 3);
    while (g.seen_count > 0)
        rig_reply_bulk(&g, 0, "b");
    router_session_gone(s);
    rig_fini(&g);
}

#define CROWD 16u /* two nodes: 4 operations are enough for one */

static void crowd_config(struct router_config *c)
{
    c->hold_ns = 60000;
}

/* Time of the microseconds in which a batch is held. */
static void pass_us(uint64_t us)
{
    g.now_ns += us * 1000u;
    rig_tick(&g, 0);
}

static void ask(struct router_session *s)
{
    rig_input(&g, s, fmt("GET %s\r\n", rig_key(0)));
}

static void answer_all(void)
{
    while (g.seen_count > 0)
        rig_reply_bulk(&g, 0, "x");
}

/* All clients ask in one poll: nobody waits until the last command is read, and no client's
 * pipeline is torn apart. */
static void test_share(void **state)
{
    enum { CLIENTS = 40, SHARE = CLIENTS / 2 / RIG_NODES };
    struct router_session *s[CLIENTS];
    uint32_t frames;
    char two[1300];
    (void)state;
    rig_init(&g);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        s[i] = client();
        ask(s[i]);
    }
    answer_all();

    frames = g.frames; /* too little work to be worth more than one frame */
    for (uint32_t i = 0; i < CLIENTS; i++)
        rig_read(&g, s[i], fmt("GET %s\r\n", rig_key(0)));
    assert_int_equal(g.frames, frames);
    rig_tick(&g, 0);
    assert_int_equal(g.frames, frames + 1);
    answer_all();

    frames = g.frames;
    snprintf(two, sizeof(two), "SET %s %0600u\r\nSET %s %0600u\r\n", rig_key(0), 1u, rig_key(2),
             2u);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        rig_read(&g, s[i], two);
        assert_int_equal(g.frames, frames + i / SHARE);
        assert_int_equal(g.seen_count, i / SHARE * SHARE * 2);
    }
    rig_tick(&g, 0);
    assert_int_equal(g.frames, frames + CLIENTS / SHARE - 1); /* the last: its window is shut */
    answer_all();
    assert_int_equal(g.frames, frames + CLIENTS / SHARE);

    for (uint32_t i = 0; i < 2 * SHARE; i++) /* few are left: one batch for all of them */
        router_session_gone(s[i]);
    rig_tick(&g, 10);
    for (uint32_t i = 2 * SHARE; i < CLIENTS; i++)
        ask(s[i]);
    answer_all();
    frames = g.frames;
    for (uint32_t i = 2 * SHARE; i < CLIENTS; i++)
        rig_read(&g, s[i], two);
    rig_tick(&g, 0);
    assert_int_equal(g.frames, frames + 1);
    assert_int_equal(g.seen_count, 2 * SHARE * 2);
    answer_all();
    for (uint32_t i = 2 * SHARE; i < CLIENTS; i++)
        router_session_gone(s[i]);
    rig_fini(&g);
}

/* Clients in turn: a batch waits for its share of half of them, for a gap, or for its time; a lone
 * client never waits. */
static void test_hold(void **state)
{
    struct router_session *s[CROWD];
    uint32_t frames;
    (void)state;
    rig_init_config(&g, crowd_config);
    for (uint32_t i = 0; i < CROWD; i++)
        s[i] = client();
    ask(s[0]);
    assert_int_equal(g.frames, 1); /* nothing is known yet: at once */
    for (uint32_t i = 1; i < CROWD; i++)
        ask(s[i]);
    assert_int_equal(g.frames, 1);
    rig_reply_bulk(&g, 0, "x");
    assert_int_equal(g.frames, 2);
    assert_int_equal(g.seen_count, CROWD - 1);
    answer_all();

    for (uint32_t i = 0; i < CROWD / 4 - 1; i++) {
        ask(s[i]);
        pass_us(10);
        assert_true(router_holding(g.r));
        assert_true(router_deadline_ns(g.r) <= g.now_ns + 25000);
    }
    assert_int_equal(g.frames, 2);
    ask(s[CROWD / 4 - 1]);
    assert_int_equal(g.frames, 3);
    assert_int_equal(g.seen_count, CROWD / 4);
    assert_false(router_holding(g.r));
    answer_all();

    ask(s[0]);
    pass_us(24);
    assert_int_equal(g.frames, 3);
    pass_us(1); /* nobody came for 25 us */
    assert_int_equal(g.frames, 4);
    answer_all();

    ask(s[0]); /* the batch before was of one: no company is expected */
    assert_int_equal(g.frames, 5);
    for (uint32_t i = 1; i < CROWD / 4 + 1; i++)
        ask(s[i]);
    answer_all();
    frames = g.frames;
    for (uint32_t i = 0; i < 3; i++) {
        ask(s[i]);
        pass_us(20);
    }
    assert_int_equal(g.frames, frames + 1); /* its 60 us are over */
    answer_all();
    for (uint32_t i = 0; i < CROWD; i++)
        router_session_gone(s[i]);
    rig_fini(&g);
}

static void test_not_primary(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, fmt("SET %s 1\r\nSET %s 2\r\n", rig_key(0), rig_key(0)));
    rig_reply_err(&g, 1, FB_REP_ERR_NOT_PRIMARY, "n1"); /* the second is refused first */
    rig_tick(&g, 50);
    assert_int_equal(g.seen_count, 1); /* nothing is sent again while the first is on its way */
    assert_int_equal(rig_input(&g, s, "PING\r\n"), 0); /* and no more commands are taken */
    assert_true(s->stalled);
    rig_reply_err(&g, 0, FB_REP_ERR_NOT_PRIMARY, "n1");
    snprintf(g.map.parts[0].primary.node, sizeof(g.map.parts[0].primary.node), "n1");
    g.map.parts[0].epoch = 2;
    rig_map_apply(&g, false);
    rig_tick(&g, 0);
    assert_int_equal(g.seen_count, 2);
    assert_int_equal(g.seen[0].node, 1);
    assert_int_equal(g.seen[0].req.epoch, 2);
    assert_memory_equal(g.seen[0].req.args.p + 4, "1", 1); /* in the order of the commands */
    assert_memory_equal(g.seen[1].req.args.p + 4, "2", 1);
    assert_ptr_equal(router_next_resume(g.r), s);
    rig_reply_ok(&g, 0);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n+OK\r\n");
    assert_int_equal(router_stats(g.r)->retries[ROUTER_RETRY_NOT_PRIMARY], 2);
    router_session_gone(s);
    rig_fini(&g);
}

static void test_deadline(void **state)
{
    struct router_session *s;
    const char *out;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "GET a\r\n");
    for (int i = 0; i < 2000 && g.seen_count > 0; i++) {
        rig_reply_err(&g, 0, FB_REP_ERR_RETRY, "");
        rig_tick(&g, 100);
        if (g.seen_count == 0)
            rig_tick(&g, 10);
    }
    out = rig_output(&g, s);
    assert_memory_equal(out, "-CLUSTERDOWN", 12);
    assert_true(router_stats(g.r)->retries[ROUTER_RETRY_NOT_OPEN] > 20);
    assert_int_equal(router_ops_in_flight(g.r), 0);
    router_session_gone(s);
    rig_fini(&g);
}

static void test_connection_lost(void **state)
{
    struct router_session *s;
    const char *out;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, fmt("GET %s\r\nSET %s 1\r\n", rig_key(0), rig_key(0)));
    assert_int_equal(g.seen_count, 2);
    rig_input(&g, s, fmt("SET %s 2\r\n", rig_key(0))); /* collected: the window is full */
    assert_int_equal(g.seen_count, 2);
    router_node_down(g.r, 0);
    rig_forget(&g);
    rig_tick(&g, 0);
    rig_expect(&g, s, "");
    router_node_up(g.r, 0, 100);
    rig_tick(&g, 0);
    assert_int_equal(g.seen_count, 2); /* the read and the write that had not left */
    assert_int_equal(g.seen[0].req.op, FB_OP_GET);
    assert_int_equal(g.seen[1].req.op, FB_OP_SET);
    assert_memory_equal(g.seen[1].req.args.p + 4, "2", 1);
    rig_reply_bulk(&g, 0, "old");
    out = rig_output(&g, s);
    assert_memory_equal(out, "$3\r\nold\r\n-INDETERMINATE", 23);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_no_node(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    router_node_down(g.r, 1);
    s = client();
    rig_input(&g, s, fmt("SET %s 1\r\n", rig_key(1)));
    assert_int_equal(g.seen_count, 0);
    rig_tick(&g, 1000);
    router_node_up(g.r, 1, 101);
    rig_tick(&g, 0);
    assert_int_equal(g.seen_count, 1);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

/* A node that is connected and silent. */
static void test_silent(void **state)
{
    struct router_session *s;
    uint32_t seq;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "SET a 1\r\n");
    seq = g.seen[0].req.seq;
    rig_tick(&g, 29000);
    rig_expect(&g, s, "");
    rig_tick(&g, 2000);
    assert_memory_equal(rig_output(&g, s), "-INDETERMINATE", 14);
    rig_reply_ok(&g, 0); /* late: nobody waits any more */
    rig_expect(&g, s, "");
    rig_input(&g, s, "SET a 2\r\n");
    assert_int_not_equal(g.seen[0].req.seq, seq);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

/* After a map with another primary, later commands wait for those sent under the old one. */
static void test_map_change_order(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, fmt("SET %s 1\r\n", rig_key(0)));
    snprintf(g.map.parts[0].primary.node, sizeof(g.map.parts[0].primary.node), "n1");
    g.map.parts[0].epoch = 2;
    rig_map_apply(&g, false);
    assert_int_equal(rig_input(&g, s, fmt("SET %s 2\r\n", rig_key(0))), 0);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    assert_ptr_equal(router_next_resume(g.r), s);
    assert_true(rig_input(&g, s, fmt("SET %s 2\r\n", rig_key(0))) > 0);
    assert_int_equal(g.seen[0].node, 1);
    rig_reply_ok(&g, 0);
    router_session_gone(s);
    rig_fini(&g);
}

static void narrow(struct router_config *c)
{
    c->inflight_per_client = 4;
    c->output_bytes_max = 64;
}

static void test_limits(void **state)
{
    struct router_session *s;
    const char six[] = "GET a\r\nGET a\r\nGET a\r\nGET a\r\nGET a\r\nGET a\r\n";
    size_t n;
    (void)state;
    rig_init_config(&g, narrow);
    s = client();
    n = rig_input(&g, s, six);
    assert_int_equal(n, 4 * 7);
    assert_true(s->stalled);
    assert_null(router_next_resume(g.r));
    rig_reply_bulk(&g, 0, "0123456789");
    assert_ptr_equal(router_next_resume(g.r), s);
    assert_int_equal(rig_input(&g, s, six + n), 7);
    assert_false(s->cut);
    while (g.seen_count > 0)
        rig_reply_bulk(&g, 0, "0123456789"); /* nobody takes the output */
    assert_true(s->cut);
    assert_int_equal(router_stats(g.r)->rejected[ROUTER_REJECT_OUTPUT], 1);
    router_session_gone(s);
    rig_fini(&g);
}

static void few(struct router_config *c)
{
    c->inflight_max = 2;
}

static void test_limit_of_all(void **state)
{
    struct router_session *a, *b;
    (void)state;
    rig_init_config(&g, few);
    a = client();
    b = client();
    assert_int_equal(rig_input(&g, a, "GET a\r\nGET a\r\nGET a\r\n"), 14);
    assert_int_equal(rig_input(&g, b, "GET a\r\n"), 0);
    rig_reply_bulk(&g, 0, "x");
    assert_non_null(router_next_resume(g.r));
    assert_non_null(router_next_resume(g.r));
    assert_int_equal(rig_input(&g, b, "GET a\r\n"), 7);
    while (g.seen_count > 0)
        rig_reply_bulk(&g, 0, "x");
    router_session_gone(a);
    router_session_gone(b);
    rig_fini(&g);
}

/* However long somebody was willing to wait: who is gone does not. */
static void test_gone_while_waiting(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "FB.SYNC a 1700000000\r\n");
    rig_tick(&g, 3600000); /* an hour at most, and then some */
    assert_int_equal(router_ops_in_flight(g.r), 1);
    rig_tick(&g, 32000);
    rig_tick(&g, 2000);
    assert_int_equal(router_ops_in_flight(g.r), 0);
    (void)rig_output(&g, s);
    rig_input(&g, s, "FB.SYNC a 60000\r\n");
    router_session_gone(s);
    rig_tick(&g, 29000);
    assert_int_equal(router_ops_in_flight(g.r), 1);
    rig_tick(&g, 2000);
    assert_int_equal(router_ops_in_flight(g.r), 0);
    assert_int_equal(router_session_count(g.r), 0);
    rig_fini(&g);
}

static void test_gone_in_flight(void **state)
{
    struct router_session *a, *b;
    (void)state;
    rig_init(&g);
    a = client();
    b = client();
    rig_input(&g, a,
              fmt("GET %s\r\nSET %s 1\r\nMGET a b c\r\nSET %s 1\r\n", rig_key(0), rig_key(1),
                  rig_key(2)));
    rig_input(&g, b, fmt("GET %s\r\n", rig_key(1)));
    rig_reply_ok(&g, 1);
    router_session_gone(a);
    while (g.seen_count > 0) {
        bool err = g.seen_count % 3 == 0 && g.seen[0].req.op == FB_OP_GET;
        if (err)
            rig_reply_err(&g, 0, FB_REP_ERR_RETRY, "");
        else
            rig_reply_ok(&g, 0);
        rig_tick(&g, 2);
    }
    router_session_gone(b);
    rig_tick(&g, 10000);
    assert_int_equal(router_session_count(g.r), 0);
    rig_fini(&g);
}

static void nothing_to_free(struct router_frame *f)
{
    (void)f;
}

static void test_garbage_from_node(void **state)
{
    struct router_session *s;
    struct router_frame owner = {.refs = 1, .free = nothing_to_free};
    struct fb_frame f = {.kind = FB_FRAME_REP, .count = 3, .tail = fb_bytes("garbage", 7)};
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "GET a\r\n");
    assert_int_equal(router_node_frame(g.r, 0, &f, &owner), FB_EPROTO);
    rig_reply_int(&g, 0, 3);
    rig_expect(&g, s, ":3\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_get),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_multi_key),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_not_primary),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_no_node),
        cmocka_unit_test(test_silent),
        cmocka_unit_test(test_map_change_order),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limit_of_all),
        cmocka_unit_test(test_gone_while_waiting),
        cmocka_unit_test(test_gone_in_flight),
        cmocka_unit_test(test_garbage_from_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
