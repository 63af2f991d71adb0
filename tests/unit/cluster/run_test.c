/* Goal: what a rebalance keeps in the coordinator reads back the same; what is broken is refused.
 * Method: a plan of the real planner there and back; texts with one thing wrong. */
#include "proto/cluster/run.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static void plan_to_run(void **state)
{
    struct fb_plan_node node[3] = {{.place = {.name = "a", .weight = 1}},
                                   {.place = {.name = "b", .weight = 1}},
                                   {.place = {.name = "c", .weight = 1}}};
    struct fb_move move[2] = {
        {.part = 7, .from = 0, .to = 2, .lead = 2, .reason = FB_MOVE_DRAIN, .size.bytes = 1234},
        {.part = 9,
         .from = FB_PLAN_NO_NODE,
         .to = FB_PLAN_NO_NODE,
         .lead = 1,
         .reason = FB_MOVE_PRIMARIES,
         .size.bytes = 99}};
    struct fb_plan p = {.cluster = {0xab, [15] = 0x01},
                        .goal = FB_PLAN_NEEDED,
                        .copies = 2,
                        .node_count = 3,
                        .node = node,
                        .move_count = 2,
                        .move = move};
    struct fb_buf text = {0};
    struct fb_run *r;
    struct fb_err err;
    (void)state;
    fb_run_encode(&text, &p, 5);
    assert_int_equal(fb_run_decode(fb_buf_view(&text), &r, &err), FB_OK);
    assert_int_equal(r->id, 5);
    assert_memory_equal(r->cluster, p.cluster, 16);
    assert_int_equal(r->goal, FB_PLAN_NEEDED);
    assert_int_equal(r->copies, 2);
    assert_int_equal(r->node_count, 3);
    assert_string_equal(r->node[2], "c");
    assert_int_equal(r->move_count, 2);
    assert_int_equal(r->move[0].part, 7);
    assert_int_equal(r->move[0].from, 0);
    assert_int_equal(r->move[0].to, 2);
    assert_int_equal(r->move[0].lead, 2);
    assert_int_equal(r->move[0].reason, FB_MOVE_DRAIN);
    assert_int_equal(r->move[0].bytes, 1234);
    assert_int_equal(r->move[1].from, FB_PLAN_NO_NODE);
    assert_int_equal(r->move[1].lead, 1);
    assert_int_equal(r->move[1].bytes, 0); /* nothing is copied */
    fb_run_free(r);
    fb_buf_fini(&text);
}

static void broken_runs(void **state)
{
    static const char head[] = "{\"format\":1,\"id\":1,\"cluster\":"
                               "\"00112233445566778899aabbccddeeff\",\"goal\":0,\"copies\":2,"
                               "\"nodes\":[\"a\",\"b\"],\"moves\":";
    static const char *const bad[] = {"[[1,0,1,-1,0]]}",
                                      "[[1,0,2,-1,0,5]]}",
                                      "[[1,-2,1,-1,0,5]]}",
                                      "[[1,-1,-1,-1,0,5]]}",
                                      "[[1,0,0,-1,0,5]]}",
                                      "[[1,0,1,0,0,5]]}",
                                      "[[4096,0,1,-1,0,5]]}",
                                      "[[1,0,1,-1,99,5]]}",
                                      "[[1,0,1,-1,0,-5]]}",
                                      "[[1,0,1,-1,0,\"\"]]}",
                                      "[1]}",
                                      "7}"};
    struct fb_run *r;
    struct fb_err err;
    char text[400];
    (void)state;
    snprintf(text, sizeof(text), "%s%s", head, "[[1,0,1,-1,0,5]]}");
    assert_int_equal(fb_run_decode(fb_bytes_str(text), &r, &err), FB_OK);
    fb_run_free(r);
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        snprintf(text, sizeof(text), "%s%s", head, bad[i]);
        assert_int_equal(fb_run_decode(fb_bytes_str(text), &r, &err), FB_EPROTO);
        assert_null(r);
    }
}

static void wish_and_cursor(void **state)
{
    const struct fb_run_wish w = {.id = 3, .kind = FB_WISH_PAUSE, .parallel = 2, .rate = 50000000};
    char state_of[] = "->+xgm";
    struct fb_run_cursor c = {.id = 3, .began_ms = 10, .ended_ms = 20, .state = state_of}, back;
    struct fb_run_wish again;
    struct fb_run_count n;
    struct fb_buf text = {0};
    struct fb_err err;
    (void)state;
    fb_run_wish_encode(&text, &w);
    assert_int_equal(fb_run_wish_decode(fb_buf_view(&text), &again, &err), FB_OK);
    assert_true(again.id == 3 && again.kind == FB_WISH_PAUSE && again.parallel == 2 &&
                again.rate == 50000000);
    assert_int_equal(fb_run_wish_decode(fb_bytes_str("{\"id\":1,\"wish\":\"stop\",\"parallel\":1,"
                                                     "\"rate\":0}"),
                                        &again, &err),
                     FB_EPROTO);
    fb_buf_clear(&text);
    fb_run_cursor_encode(&text, &c);
    assert_int_equal(fb_run_cursor_decode(fb_buf_view(&text), &back, &err), FB_OK);
    assert_true(back.id == 3 && back.began_ms == 10 && back.ended_ms == 20);
    assert_string_equal(back.state, "->+xgm");
    n = fb_run_counts(back.state);
    assert_true(n.waiting == 1 && n.begun == 1 && n.done == 1 && n.cancelled == 1 &&
                n.left_out == 2);
    free(back.state);
    assert_int_equal(fb_run_cursor_decode(fb_bytes_str("{\"id\":1,\"began_ms\":0,\"ended_ms\":0,"
                                                       "\"states\":\"-?\"}"),
                                          &back, &err),
                     FB_EPROTO);
    assert_null(back.state);
    fb_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plan_to_run), cmocka_unit_test(broken_runs),
                                       cmocka_unit_test(wish_and_cursor)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
