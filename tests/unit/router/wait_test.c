/* Goal: WAIT asks each partition that the connection has written to, and no other; the fewest is
 * the answer. It is asked again where nobody answered, as nothing is changed by it. Method:
 * scripted nodes (rig.h), exact bytes. */
#include "tests/unit/router/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct rig g;

static void test_wait(void **state)
{
    struct router_session *s;
    char text[200];
    (void)state;
    rig_init(&g);
    s = router_session_new(g.r, 1, "1.2.3.4:5", "127.0.0.1:6380", NULL);
    snprintf(text, sizeof(text), "SET %s 1\r\nGET %s\r\nINCR %s\r\n", rig_key(0), rig_key(1),
             rig_key(2));
    rig_input(&g, s, text);
    while (g.seen_count > 0)
        rig_reply_int(&g, 0, 1);
    (void)rig_output(&g, s);
    rig_input(&g, s, "WAIT 2 70\r\n");
    assert_int_equal(g.seen_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(g.seen[i].req.op, FB_OP_COPIES);
        assert_int_equal(g.seen[i].req.part, 2 * i);
        assert_int_equal(g.seen[i].req.a, 2);
        assert_int_equal(g.seen[i].req.b, 70);
        assert_int_equal(g.seen[i].req.flags, 0);
    }
    rig_reply_int(&g, 0, 2);
    rig_reply_err(&g, 0, FB_REP_ERR_NOT_PRIMARY, "");
    rig_expect(&g, s, "");
    rig_tick(&g, 100);
    assert_int_equal(g.seen_count, 1);
    rig_reply_int(&g, 0, 1);
    rig_expect(&g, s, ":1\r\n");
    rig_input(&g, s, "WAITAOF 1 0 0\r\n");
    assert_int_equal(g.seen[0].req.flags, FB_REQ_DISK | FB_REQ_HERE);
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_INT, .num = 3, .level = FB_LEVEL_DURABLE});
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_INT, .num = 4, .level = FB_LEVEL_LOCAL});
    rig_expect(&g, s, "*2\r\n:0\r\n:3\r\n");
    router_session_gone(s);
    s = router_session_new(g.r, 1, "1.2.3.4:5", "127.0.0.1:6380",
                           NULL); /* has written nothing: how many there are */
    rig_input(&g, s, "WAIT 0 0\r\n");
    assert_int_equal(g.seen_count, 1);
    rig_reply_int(&g, 0, 2);
    rig_expect(&g, s, ":2\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
