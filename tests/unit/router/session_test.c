/* Goal: what a client says about its connection (HELLO, AUTH, MULTI, WATCH, CLIENT, QUIT) and how
 * broken input ends it. Method: scripted nodes (rig.h), exact bytes. */
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
    return router_session_new(g.r, 7, "1.2.3.4:5", "127.0.0.1:6380", NULL);
}

static void ask(struct router_session *s, const char *in, const char *want)
{
    assert_int_equal(rig_input(&g, s, in), strlen(in));
    rig_expect(&g, s, want);
}

static void test_connection(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    ask(s, "PING\r\n", "+PONG\r\n");
    ask(s, "ECHO hi\r\n", "$2\r\nhi\r\n");
    ask(s, "SELECT 0\r\n", "+OK\r\n");
    ask(s, "SELECT 1\r\n", "-ERR DB index is out of range\r\n");
    ask(s, "CLIENT ID\r\n", ":7\r\n");
    ask(s, "CLIENT GETNAME\r\n", "$-1\r\n");
    ask(s, "CLIENT SETNAME bob\r\n", "+OK\r\n");
    ask(s, "CLIENT GETNAME\r\n", "$3\r\nbob\r\n");
    ask(s, "MULTI\r\nWAIT 1 0\r\nWAITAOF 1 1 0\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n*2\r\n:0\r\n:0\r\n");
    ask(s, "FB.REQUIRE durable\r\n", "+OK\r\n");
    rig_input(&g, s, "SET a 1\r\n");
    assert_int_equal(g.seen[0].req.level, FB_LEVEL_DURABLE);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    ask(s, "RESET\r\n", "+RESET\r\n");
    rig_input(&g, s, "SET a 1\r\n");
    assert_int_equal(g.seen[0].req.level, FB_LEVEL_NONE);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "+OK\r\n");
    ask(s, "CONFIG GET maxmemory\r\n", "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n");
    ask(s, "TIME extra\r\n", "-ERR wrong number of arguments for 'time' command\r\n");
    ask(s, "NOSUCH a\r\n", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_hello(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    ask(s, "HELLO 4\r\n", "-NOPROTO unsupported protocol version\r\n");
    ask(s, "HELLO x\r\n", "-ERR Protocol version is not an integer or out of range\r\n");
    ask(s, "HELLO 3 FOO\r\n", "-ERR Syntax error in HELLO option 'FOO'\r\n");
    ask(s, "HELLO 3 SETNAME bob\r\n",
        "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:"
        "3\r\n"
        "$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        "$7\r\nmodules\r\n*0\r\n");
    assert_string_equal(s->name, "bob");
    rig_input(&g, s, "GET a\r\n");
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_NIL});
    rig_expect(&g, s, "_\r\n");
    ask(s, "AUTH x\r\n",
        "-ERR AUTH <password> called without any password configured for the default user. Are you "
        "sure your configuration is correct?\r\n");
    ask(s, "AUTH default x\r\n", "+OK\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void secret(struct router_config *c)
{
    snprintf(c->password, sizeof(c->password), "sesame");
}

static void test_auth(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init_config(&g, secret);
    s = client();
    ask(s, "GET a\r\n", "-NOAUTH Authentication required.\r\n");
    ask(s, "GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
    ask(s, "PING\r\n", "-NOAUTH Authentication required.\r\n");
    ask(s, "AUTH sesam\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    ask(s, "AUTH bob sesame\r\n",
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    assert_int_equal(rig_input(&g, s, "HELLO 2\r\n"), 9);
    assert_memory_equal(rig_output(&g, s), "-NOAUTH HELLO must be called", 28);
    ask(s, "AUTH sesame\r\n", "+OK\r\n");
    ask(s, "PING\r\n", "+PONG\r\n");
    router_session_gone(s);
    s = client();
    rig_input(&g, s, "HELLO 2 AUTH default sesame\r\n");
    assert_memory_equal(rig_output(&g, s), "*14\r\n", 5);
    router_session_gone(s);
    rig_fini(&g);
}

static void test_end(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    rig_input(&g, s, "GET a\r\nQUIT\r\nPING\r\n");
    assert_false(s->close);
    rig_reply_bulk(&g, 0, "1");
    assert_true(s->close);
    rig_expect(&g, s, "$1\r\n1\r\n+OK\r\n");
    router_session_gone(s);
    s = client();
    ask(s, "*1\r\n:1\r\nPING\r\n", "-ERR Protocol error: expected '$', got ':'\r\n");
    assert_true(s->close);
    assert_int_equal(router_stats(g.r)->rejected[ROUTER_REJECT_PROTOCOL], 1);
    router_session_gone(s);
    s = client();
    rig_input(&g, s, "POST / HTTP/1.1\r\n");
    assert_true(s->cut);
    rig_expect(&g, s, "");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_reply_mode(void **state)
{
    struct router_session *s;
    (void)state;
    rig_init(&g);
    s = client();
    ask(s, "CLIENT REPLY SKIP\r\nPING\r\nPING a\r\n", "$1\r\na\r\n");
    rig_input(&g, s, "CLIENT REPLY OFF\r\nSET a 1\r\nPING\r\n");
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "");
    ask(s, "CLIENT REPLY ON\r\nPING\r\n", "+OK\r\n+PONG\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static struct fb_rep txn_reps(struct fb_buf *buf)
{
    struct fb_rep ok = {.type = FB_REP_OK}, five = {.type = FB_REP_INT, .num = 5};
    fb_buf_clear(buf);
    fb_rep_encode(buf, &ok);
    fb_rep_encode(buf, &five);
    return (struct fb_rep){.type = FB_REP_REPS, .payload = fb_buf_view(buf)};
}

static void test_multi(void **state)
{
    struct router_session *s;
    struct fb_buf buf = {0};
    struct fb_bytes rest, item = {0};
    struct fb_req inner;
    struct fb_reader in;
    char key[514] = {0}, text[600];
    (void)state;
    rig_init(&g);
    s = client();
    ask(s, "MULTI\r\nSET {t}a 1\r\nPING\r\nINCR {t}b\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_int_equal(g.seen_count, 0);
    rig_input(&g, s, "EXEC\r\n");
    assert_int_equal(g.seen_count, 1);
    assert_int_equal(g.seen[0].req.op, FB_OP_TXN);
    assert_int_equal(g.seen[0].req.a, 0);
    assert_int_equal(g.seen[0].req.nargs, 2);
    rest = g.seen[0].req.args;
    assert_true(fb_list_next(&rest, &item));
    in = fb_reader(item);
    assert_int_equal(fb_req_decode(&in, &inner), FB_OK);
    assert_int_equal(inner.op, FB_OP_SET);
    assert_int_equal(inner.part, g.seen[0].req.part);
    rig_reply(&g, 0, txn_reps(&buf));
    rig_expect(&g, s, "*3\r\n+OK\r\n+PONG\r\n:5\r\n");
    ask(s, "EXEC\r\n", "-ERR EXEC without MULTI\r\n");
    ask(s, "DISCARD\r\n", "-ERR DISCARD without MULTI\r\n");
    ask(s, "MULTI\r\nMULTI\r\nWATCH a\r\nNOSUCH\r\nEXEC\r\n",
        "+OK\r\n-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n"
        "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"
        "-EXECABORT Transaction discarded because of previous errors.\r\n");
    ask(s, "MULTI\r\nSET a 1\r\nDISCARD\r\nMULTI\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n+OK\r\n+OK\r\n*0\r\n");
    ask(s, "MULTI\r\nDBSIZE\r\nEXEC\r\n",
        "+OK\r\n-ERR Command not allowed inside a transaction\r\n"
        "-EXECABORT Transaction discarded because of previous errors.\r\n");
    /* an argument that is wrong in itself is the answer when its turn comes; the others are run */
    ask(s, "MULTI\r\nSET {t}a 1\r\nSET {t}a 2 EX x\r\nSELECT x\r\nINCR {t}b\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    rig_input(&g, s, "EXEC\r\n");
    assert_int_equal(g.seen_count, 1);
    assert_int_equal(g.seen[0].req.nargs, 2);
    rig_reply(&g, 0, txn_reps(&buf));
    rig_expect(&g, s,
               "*4\r\n+OK\r\n-ERR value is not an integer or out of range\r\n"
               "-ERR value is not an integer or out of range\r\n:5\r\n");
    ask(s, "MULTI\r\nINCRBY a x\r\nEXEC\r\n",
        "+OK\r\n+QUEUED\r\n*1\r\n-ERR value is not an integer or out of range\r\n");
    ask(s, "MULTI\r\nINCRBY a x\r\nDISCARD\r\n", "+OK\r\n+QUEUED\r\n+OK\r\n");
    /* not so what cannot be looked up, or is above a limit of ours */
    ask(s, "MULTI\r\nGET\r\nEXEC\r\n",
        "+OK\r\n-ERR wrong number of arguments for 'get' command\r\n"
        "-EXECABORT Transaction discarded because of previous errors.\r\n");
    memset(key, 'k', sizeof key - 1);
    snprintf(text, sizeof text, "MULTI\r\nGET %s\r\nEXEC\r\n", key);
    ask(s, text,
        "+OK\r\n-ERR key is longer than 512 bytes (nothing changed)\r\n"
        "-EXECABORT Transaction discarded because of previous errors.\r\n");
    fb_buf_fini(&buf);
    router_session_gone(s);
    rig_fini(&g);
}

static void test_crossslot(void **state)
{
    struct router_session *s;
    char text[256];
    const char *out;
    (void)state;
    rig_init(&g);
    s = client();
    snprintf(text, sizeof(text), "MULTI\r\nSET %s 1\r\nINCR %s\r\n", rig_key(0), rig_key(1));
    ask(s, text, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    rig_input(&g, s, "EXEC\r\n");
    out = rig_output(&g, s);
    assert_memory_equal(out, "-CROSSSLOT Keys in request don't hash to the same slot", 54);
    assert_non_null(strstr(out, "transaction=False"));
    assert_int_equal(g.seen_count, 0);
    /* the same with multi = relaxed: a pipeline */
    rig_map_apply(&g, true);
    ask(s, text, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    rig_input(&g, s, "EXEC\r\n");
    assert_int_equal(g.seen_count, 2);
    rig_reply_int(&g, 1, 6);
    rig_reply_ok(&g, 0);
    rig_expect(&g, s, "*2\r\n+OK\r\n:6\r\n");
    router_session_gone(s);
    rig_fini(&g);
}

static void test_watch(void **state)
{
    struct router_session *s;
    struct fb_buf buf = {0};
    size_t n;
    (void)state;
    rig_init(&g);
    s = client();
    /* all at once: nothing behind WATCH is taken until its version is known */
    n = rig_input(&g, s, "WATCH {t}a\r\nMULTI\r\nSET {t}a 1\r\nINCR {t}b\r\nEXEC\r\n");
    assert_int_equal(n, 12);
    assert_int_equal(g.seen[0].req.op, FB_OP_VERSION);
    rig_reply_int(&g, 0, 42);
    rig_expect(&g, s, "+OK\r\n");
    assert_ptr_equal(router_next_resume(g.r), s);
    rig_input(&g, s, "MULTI\r\nSET {t}a 1\r\nINCR {t}b\r\nEXEC\r\n");
    assert_int_equal(g.seen[0].req.op, FB_OP_TXN);
    assert_int_equal(g.seen[0].req.a, 1);
    assert_int_equal(g.seen[0].req.nargs, 3);
    rig_reply(&g, 0, (struct fb_rep){.type = FB_REP_NIL});
    rig_expect(&g, s, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n");
    assert_int_equal(s->watch_count, 0);
    rig_input(&g, s, "WATCH {t}a\r\n");
    rig_reply_int(&g, 0, 42);
    rig_expect(&g, s, "+OK\r\n");
    (void)router_next_resume(g.r);
    ask(s, "UNWATCH\r\n", "+OK\r\n");
    rig_input(&g, s, "MULTI\r\nSET {t}a 1\r\nINCR {t}b\r\nEXEC\r\n");
    assert_int_equal(g.seen[0].req.a, 0);
    rig_reply(&g, 0, txn_reps(&buf));
    rig_expect(&g, s, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:5\r\n");
    fb_buf_fini(&buf);
    router_session_gone(s);
    rig_fini(&g);
}

/* Commands cut into every pair of pieces come out the same. */
static void test_pieces(void **state)
{
    static const char text[] =
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n1\r\n2\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    (void)state;
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        struct router_session *s;
        struct fb_buf in = {0};
        size_t used;
        rig_init(&g);
        s = client();
        fb_buf_put(&in, text, cut);
        used = router_session_input(s, in.p, in.n);
        fb_buf_consume(&in, used);
        fb_buf_put(&in, text + cut, sizeof(text) - 1 - cut);
        used = router_session_input(s, in.p, in.n);
        assert_int_equal(used, in.n);
        rig_tick(&g, 0);
        assert_int_equal(g.seen_count, 2);
        rig_reply_ok(&g, 0);
        rig_reply_bulk(&g, 0, "v");
        rig_expect(&g, s, "+OK\r\n+PONG\r\n$1\r\nv\r\n");
        fb_buf_fini(&in);
        router_session_gone(s);
        rig_fini(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection), cmocka_unit_test(test_hello),
        cmocka_unit_test(test_auth),       cmocka_unit_test(test_end),
        cmocka_unit_test(test_reply_mode), cmocka_unit_test(test_multi),
        cmocka_unit_test(test_crossslot),  cmocka_unit_test(test_watch),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
