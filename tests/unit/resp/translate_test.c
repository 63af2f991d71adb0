/* Goal: each command becomes the right operations, and bad arguments get Redis's words (compared
 * with Redis 7.0.15). Method: a table of calls; a plan is written as one line of text: op key a b
 * flags [args], gather and form.
 */
#include "router/resp/translate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/base/bounds.h"

#define NOW 1000000

static uint32_t words(const char *s, struct fb_bytes *argv)
{
    uint32_t n = 0;
    while (*s != 0) {
        const char *end = strchr(s, ' ');
        size_t len = end != NULL ? (size_t)(end - s) : strlen(s);
        argv[n++] = fb_bytes(s, len);
        s += len + (end != NULL);
    }
    return n;
}

static void describe_op(const struct fb_req *r, struct fb_buf *text)
{
    struct fb_bytes rest = r->args, item;
    uint32_t n = 0;
    fb_buf_printf(text, "%s %.*s %lld %lld %x", fb_op_name(r->op), (int)r->key.n,
                  (const char *)r->key.p, (long long)r->a, (long long)r->b, (unsigned)r->flags);
    while (fb_list_next(&rest, &item)) {
        fb_buf_printf(text, " [%.*s]", (int)item.n, (const char *)item.p);
        n++;
    }
    assert_int_equal(rest.n, 0);
    assert_int_equal(n, r->nargs);
    assert_int_equal(r->part, fb_op_class(r->op) == FB_OP_NODE ? FB_PART_NONE : 0);
    fb_buf_put_str(text, "; ");
}

/* the error waits until the key was found */
static bool is_late(const struct resp_plan *plan)
{
    return plan->shape.form == RESP_FORM_LATE_ERROR ||
           plan->shape.form == RESP_FORM_HSCAN_LATE_ERROR;
}

static void describe(const struct resp_plan *plan, struct fb_buf *text, const struct fb_buf *out)
{
    static const char *const gathers[] = {"single",    "sum",       "array", "ok",
                                          "nodes-sum", "nodes-any", "scan"};
    static const char *const forms[] = {"as-is",  "ok-int", "ok",        "simple", "ttl-s",
                                        "ttl-ms", "at-s",   "at-ms",     "hscan",  "scan",
                                        "fbget",  "late",   "hscan late"};
    switch (plan->kind) {
    case RESP_PLAN_ERROR:
        assert_int_equal(plan->nops, 0);
        fb_buf_put(text, out->p, out->n - 2);
        return;
    case RESP_PLAN_CLOSE:
        fb_buf_put_str(text, "close");
        return;
    case RESP_PLAN_LOCAL:
        fb_buf_printf(text, "local %s; ", plan->cmd->name);
        break;
    case RESP_PLAN_OPS:
        assert_int_equal(plan->shape.cmd, plan->cmd->id);
        break;
    }
    for (uint32_t i = 0; i < plan->nops; i++)
        describe_op(&plan->ops[i], text);
    if (plan->kind == RESP_PLAN_OPS)
        fb_buf_printf(text, "%s %s", gathers[plan->shape.gather], forms[plan->shape.form]);
    if (plan->kind == RESP_PLAN_OPS && is_late(plan))
        fb_buf_printf(text, " %.*s", (int)plan->shape.match.n - 2,
                      (const char *)plan->shape.match.p);
}

static const struct {
    const char *call, *want;
} table[] = {
    {"get k", "GET k 0 0 0; single as-is"},
    {"SET k v", "SET k 0 0 0 [v]; single as-is"},
    {"SET k v EX 5 NX", "SET k 0 1005000 1 [v]; single as-is"},
    {"SET k v px 5 xx get", "SET k 0 1000005 6 [v]; single as-is"},
    {"SET k v EXAT 7", "SET k 0 7000 0 [v]; single as-is"},
    {"SET k v PXAT 7 KEEPTTL", "-ERR syntax error"},
    {"SET k v KEEPTTL", "SET k 0 0 8 [v]; single as-is"},
    {"SET k v EX 0", "-ERR invalid expire time in 'set' command"},
    {"SET k v EX x", "-ERR value is not an integer or out of range"},
    {"SET k v EX", "-ERR syntax error"},
    {"SET k v NX XX", "-ERR syntax error"},
    {"SET k v PERSIST", "-ERR syntax error"},
    {"SET k v EX 9223372036854775807", "-ERR invalid expire time in 'set' command"},
    {"SET k v PX 9223372036854775807", "-ERR invalid expire time in 'set' command"},
    {"SETNX k v", "SET k 0 0 1 [v]; single ok-int"},
    {"SETEX k 5 v", "SET k 0 1005000 0 [v]; single as-is"},
    {"PSETEX k 5 v", "SET k 0 1000005 0 [v]; single as-is"},
    {"PSETEX k 0 v", "-ERR invalid expire time in 'psetex' command"},
    {"GETSET k v", "SET k 0 0 4 [v]; single as-is"},
    {"GETDEL k", "GETDEL k 0 0 0; single as-is"},
    {"GETEX k", "GET k 0 0 0; single as-is"},
    {"GETEX k EX 1", "GETEX k 0 1001000 0; single as-is"},
    {"GETEX k PERSIST", "GETEX k 0 0 10; single as-is"},
    {"GETEX k PERSIST EX 1", "-ERR syntax error"},
    {"GETEX k KEEPTTL", "-ERR syntax error"},
    {"GETEX k EX 0", "GET k 0 0 0; single late -ERR invalid expire time in 'getex' command"},
    {"GETEX k PX x", "GET k 0 0 0; single late -ERR value is not an integer or out of range"},
    {"MGET a b", "GET a 0 0 0; GET b 0 0 0; array as-is"},
    {"MSET a 1 b 2", "SET a 0 0 0 [1]; SET b 0 0 0 [2]; ok as-is"},
    {"MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"},
    {"STRLEN k", "STRLEN k 0 0 0; single as-is"},
    {"APPEND k v", "APPEND k 0 0 0 [v]; single as-is"},
    {"GETRANGE k -3 -1", "GETRANGE k -3 -1 0; single as-is"},
    {"GETRANGE k x -1", "-ERR value is not an integer or out of range"},
    {"SETRANGE k 3 v", "SETRANGE k 3 0 0 [v]; single as-is"},
    {"SETRANGE k -1 v", "-ERR offset is out of range"},
    {"SETRANGE k 600000000 v", "SETRANGE k 600000000 0 0 [v]; single as-is"},
    {"INCR k", "INCRBY k 1 0 0; single as-is"},
    {"DECR k", "INCRBY k -1 0 0; single as-is"},
    {"INCRBY k 5", "INCRBY k 5 0 0; single as-is"},
    {"DECRBY k 5", "INCRBY k -5 0 0; single as-is"},
    {"DECRBY k -9223372036854775808", "-ERR decrement would overflow"},
    {"INCRBY k 1.5", "-ERR value is not an integer or out of range"},
    {"INCRBYFLOAT k 1.5", "INCRBYFLOAT k 0 0 0 [1.5]; single as-is"},
    {"INCRBYFLOAT k x", "INCRBYFLOAT k 0 0 0 [x]; single as-is"}, /* the node says it */
    {"HSET h a 1 b 2", "HSET h 0 0 0 [a] [1] [b] [2]; single as-is"},
    {"HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"},
    {"HMSET h a 1", "HSET h 0 0 0 [a] [1]; single ok"},
    {"HSETNX h a 1", "HSET h 0 0 1 [a] [1]; single as-is"},
    {"HGET h a", "HGET h 0 0 0 [a]; single as-is"},
    {"HMGET h a b", "HMGET h 0 0 0 [a] [b]; single as-is"},
    {"HGETALL h", "HGETALL h 0 0 0; single as-is"},
    {"HDEL h a b", "HDEL h 0 0 0 [a] [b]; single as-is"},
    {"HEXISTS h a", "HEXISTS h 0 0 0 [a]; single as-is"},
    {"HLEN h", "HLEN h 0 0 0; single as-is"},
    {"HKEYS h", "HKEYS h 0 0 0; single as-is"},
    {"HVALS h", "HVALS h 0 0 0; single as-is"},
    {"HSTRLEN h a", "HSTRLEN h 0 0 0 [a]; single as-is"},
    {"HINCRBY h a -2", "HINCRBY h -2 0 0 [a]; single as-is"},
    {"HINCRBY h a x", "-ERR value is not an integer or out of range"},
    {"HINCRBYFLOAT h a 2e1", "HINCRBYFLOAT h 0 0 0 [a] [2e1]; single as-is"},
    {"HINCRBYFLOAT h a inf", "-ERR value is NaN or Infinity"},
    {"HSCAN h 0 MATCH a* COUNT 5", "HGETALL h 0 0 0; single hscan"},
    {"HSCAN h x", "-ERR invalid cursor"},
    {"HSCAN h 0 TYPE x", "HGETALL h 0 0 0; single hscan late -ERR syntax error"},
    {"DEL a", "DEL a 0 0 0; single as-is"},
    {"UNLINK a b", "DEL a 0 0 0; DEL b 0 0 0; sum as-is"},
    {"EXISTS a a", "EXISTS a 0 0 0; EXISTS a 0 0 0; sum as-is"},
    {"TOUCH a b", "EXISTS a 0 0 0; EXISTS b 0 0 0; sum as-is"},
    {"TYPE a", "TYPE a 0 0 0; single simple"},
    {"EXPIRE k 5", "EXPIREAT k 0 1005000 0; single as-is"},
    {"EXPIRE k -5", "EXPIREAT k 0 995000 0; single as-is"},
    {"PEXPIRE k 5 XX GT", "EXPIREAT k 0 1000005 22; single as-is"},
    {"EXPIREAT k 5 lt", "EXPIREAT k 0 5000 40; single as-is"},
    {"PEXPIREAT k 5 NX", "EXPIREAT k 0 5 1; single as-is"},
    {"EXPIRE k x FOO", "-ERR Unsupported option FOO"},
    {"EXPIRE k 1 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"},
    {"EXPIRE k 1 GT LT", "-ERR GT and LT options at the same time are not compatible"},
    {"EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"},
    {"PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"},
    {"TTL k", "EXPIRETIME k 0 0 0; single ttl-s"},
    {"PTTL k", "EXPIRETIME k 0 0 0; single ttl-ms"},
    {"EXPIRETIME k", "EXPIRETIME k 0 0 0; single at-s"},
    {"PEXPIRETIME k", "EXPIRETIME k 0 0 0; single at-ms"},
    {"PERSIST k", "PERSIST k 0 0 0; single as-is"},
    {"SCAN 0", "SCAN  0 10 0 [] []; scan scan"},
    {"SCAN 131 MATCH u:* COUNT 7 TYPE hash", "SCAN  2 7 0 [u:*] [hash]; scan scan"},
    {"SCAN 0 MATCH *", "SCAN  0 10 0 [] []; scan scan"},
    {"SCAN 0 COUNT 0", "-ERR syntax error"},
    {"SCAN 0 COUNT x", "-ERR value is not an integer or out of range"},
    {"SCAN a", "-ERR invalid cursor"},
    {"RANDOMKEY", "RANDOMKEY  0 0 0; nodes-any as-is"},
    {"DBSIZE", "DBSIZE  0 0 0; nodes-sum as-is"},
    {"FLUSHALL ASYNC", "FLUSHALL  0 0 0; nodes-sum ok"},
    {"FLUSHDB x", "-ERR syntax error"},
    {"FB.GET k", "FBGET k 0 0 0; single fbget"},
    {"FB.SETIF k 7 v", "SETIF k 7 0 0 [v]; single as-is"},
    {"FB.SETIF k 0 v EX 1", "SETIF k 0 1001000 0 [v]; single as-is"},
    {"FB.SETIF k -1 v", "-ERR version is not an integer or out of range"},
    {"FB.SETIF k 1 v NX", "-ERR syntax error"},
    {"FB.SETIF k 1 v EX 0", "-ERR invalid expire time in 'fb.setif' command"},
    {"FB.EVICT k", "EVICT k 0 0 0; single as-is"},
    {"FB.SYNC k", "SYNC k 0 0 0; single as-is"},
    {"FB.SYNC k 250", "SYNC k 250 0 0; single as-is"},
    {"FB.SYNC k -1", "-ERR timeout is negative"},
    {"FB.SYNC k 1 2", "-ERR wrong number of arguments for 'fb.sync' command"},
    {"FB.REQUIRE durable", "local fb.require; "},
    {"FB.REQUIRE much", "-ERR unknown level; use NONE, LOCAL, REPLICATED, DURABLE or DATABASE"},
    {"WATCH a b", "local watch; VERSION a 0 0 0; VERSION b 0 0 0; "},
    {"MULTI", "local multi; "},
    {"client setname x", "local client|setname; "},
    {"PING a b", "-ERR wrong number of arguments for 'ping' command"},
    {"SELECT 0", "local select; "},
    {"SELECT 99999999999",
     "-ERR value is out of range, value must between -2147483648 and 2147483647"},
    {"SELECT 1", "-ERR DB index is out of range"},
    {"SELECT x", "-ERR value is not an integer or out of range"},
    {"HELLO x", "-ERR Protocol version is not an integer or out of range"},
    {"HELLO 4", "-NOPROTO unsupported protocol version"},
    {"HELLO 3 SETNAME x", "local hello; "},
    {"WAIT 0 -1", "-ERR timeout is negative"},
    {"WAIT 0 x", "-ERR timeout is not an integer or out of range"},
    {"WAIT 1 0", "local wait; "},
    {"WAIT x -1", "-ERR value is not an integer or out of range"},
    {"WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"},
    {"WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"},
    {"WAITAOF 1 x 0", "-ERR value is not an integer or out of range"},
    {"WAITAOF 1 1 -1", "-ERR timeout is negative"},
    {"WAITAOF 1 1 5", "local waitaof; "},
    {"NOSUCH a", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' "},
    {"POST / HTTP/1.1", "close"},
    {"Host: x", "close"},
};

static void test_table(void **state)
{
    struct resp_arena arena = {0};
    struct fb_buf out = {0}, text = {0};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(table); i++) {
        struct resp_plan plan;
        struct fb_bytes argv[16];
        resp_translate(&plan, &arena, &out, argv, words(table[i].call, argv), NOW);
        assert_int_equal(out.n > 0, plan.kind == RESP_PLAN_ERROR || is_late(&plan));
        describe(&plan, &text, &out);
        if (!fb_bytes_is(fb_buf_view(&text), table[i].want))
            fail_msg("%s: %.*s", table[i].call, (int)text.n, (const char *)text.p);
        fb_buf_clear(&out);
        fb_buf_clear(&text);
    }
    fb_buf_fini(&out);
    fb_buf_fini(&text);
    resp_arena_fini(&arena);
}

/* Every command has a plan: none reaches the router's own list by being forgotten. */
static void test_all_have_plans(void **state)
{
    struct resp_arena arena = {0};
    struct fb_buf out = {0};
    (void)state;
    for (int id = 1; id < RESP_CMDS; id++) {
        const struct resp_command *c = resp_command_row((enum resp_cmd)id);
        struct fb_bytes argv[8] = {fb_bytes_str(c->name)};
        uint32_t argc = (uint32_t)(c->arity < 0 ? -c->arity : c->arity);
        struct resp_plan plan;
        if (c->parent != RESP_CMD_NONE || resp_command_is_container(c))
            continue;
        assert_true(argc <= 8);
        for (uint32_t i = 1; i < argc; i++)
            argv[i] = fb_bytes_str("1");
        resp_translate(&plan, &arena, &out, argv, argc, NOW);
        if (plan.kind == RESP_PLAN_LOCAL)
            assert_true(c->first_key == 0 || c->id == RESP_CMD_WATCH);
        else if (plan.kind == RESP_PLAN_OPS && c->first_key > 0)
            assert_true(fb_bytes_is(plan.ops[0].key, "1"));
    }
    fb_buf_fini(&out);
    resp_arena_fini(&arena);
}

static void expect_error(struct resp_arena *arena, const struct fb_bytes *argv, uint32_t argc,
                         const char *want)
{
    struct resp_plan plan;
    struct fb_buf out = {0};
    resp_translate(&plan, arena, &out, argv, argc, NOW);
    assert_int_equal(plan.kind, RESP_PLAN_ERROR);
    assert_true(fb_bytes_is(fb_buf_view(&out), want));
    fb_buf_fini(&out);
}

static void test_limits(void **state)
{
    struct resp_arena arena = {0};
    struct resp_plan plan;
    struct fb_buf out = {0};
    size_t argc = RESP_KEYS_MAX + 2;
    struct fb_bytes *argv = calloc(argc, sizeof(*argv));
    uint8_t *big = calloc(1, FB_VALUE_BYTES_MAX + 1);
    (void)state;
    assert_non_null(argv);
    assert_non_null(big);
    argv[0] = fb_bytes_str("SET");
    argv[1] = fb_bytes(big, FB_KEY_BYTES_MAX + 1);
    argv[2] = fb_bytes_str("v");
    expect_error(&arena, argv, 3, "-ERR key is longer than 512 bytes (nothing changed)\r\n");
    argv[1] = fb_bytes(big, 0);
    argv[2] = fb_bytes(big, FB_VALUE_BYTES_MAX + 1);
    expect_error(&arena, argv, 3, "-ERR value is longer than 8388608 bytes (nothing changed)\r\n");
    argv[2].n--;
    resp_translate(&plan, &arena, &out, argv, 3, NOW);
    assert_int_equal(plan.kind, RESP_PLAN_OPS);
    argv[0] = fb_bytes_str("HGET");
    expect_error(&arena, argv, 3, "-ERR field is longer than 65535 bytes (nothing changed)\r\n");
    argv[0] = fb_bytes_str("MGET");
    for (size_t i = 1; i < argc; i++)
        argv[i] = fb_bytes_str("k");
    expect_error(&arena, argv, (uint32_t)argc,
                 "-ERR more than 65536 keys in one command (nothing changed)\r\n");
    resp_translate(&plan, &arena, &out, argv, (uint32_t)argc - 1, NOW);
    assert_int_equal(plan.nops, RESP_KEYS_MAX);
    /* memory of the wide command and of the big value is given back */
    resp_translate(&plan, &arena, &out, argv, 2, NOW);
    assert_true(arena.ops_cap <= 16 && arena.args.cap <= 256u << 10);
    fb_buf_fini(&out);
    resp_arena_fini(&arena);
    free(argv);
    free(big);
}

static void test_shape(void **state)
{
    struct resp_arena arena = {0};
    struct resp_plan plan;
    struct fb_buf out = {0};
    struct fb_bytes argv[8];
    enum fb_level level;
    (void)state;
    resp_translate(&plan, &arena, &out, argv, words("HSCAN h 0 MATCH a*", argv), NOW);
    assert_true(fb_bytes_is(plan.shape.match, "a*"));
    resp_translate(&plan, &arena, &out, argv, words("HSCAN h 0 MATCH *", argv), NOW);
    assert_null(plan.shape.match.p);
    resp_translate(&plan, &arena, &out, argv, words("SCAN 131", argv), NOW);
    assert_int_equal(plan.shape.node, 3);
    assert_int_equal(resp_scan_cursor(2, 3), 131);
    assert_true(resp_level_parse(fb_bytes_str("Database"), &level) && level == FB_LEVEL_DATABASE);
    fb_buf_fini(&out);
    resp_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_all_have_plans),
                                       cmocka_unit_test(test_limits), cmocka_unit_test(test_shape)};
    return cmocka_run_group_tests_name("resp translate", tests, NULL, NULL);
}
