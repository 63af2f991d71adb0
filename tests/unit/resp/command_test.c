/* Goal: the command table is found in any case, checks counts in Redis's words, and describes
 * itself. Method: tables of calls and expected replies, copied from a Redis 7.0.15.
 */
#include "router/resp/command.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Words of a call, separated by spaces. */
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

static void test_find(void **state)
{
    (void)state;
    for (int id = 1; id < RESP_CMDS; id++) {
        const struct resp_command *c = resp_command_row((enum resp_cmd)id);
        assert_int_equal(c->id, id);
        assert_true(c->summary[0] != 0 && c->since[0] != 0 && c->group[0] != 0 && c->arity != 0);
        if (c->parent == RESP_CMD_NONE) {
            assert_ptr_equal(resp_command_find(fb_bytes_str(c->name)), c);
        } else {
            const struct resp_command *parent = resp_command_row((enum resp_cmd)c->parent);
            assert_true(resp_command_is_container(parent));
            assert_ptr_equal(resp_subcommand_find(parent, fb_bytes_str(strchr(c->name, '|') + 1)),
                             c);
        }
    }
    assert_int_equal(resp_command_find(fb_bytes_str("gEt"))->id, RESP_CMD_GET);
    assert_int_equal(resp_command_find(fb_bytes_str("FB.GET"))->id, RESP_CMD_FB_GET);
    assert_null(resp_command_find(fb_bytes_str("")));
    assert_null(resp_command_find(fb_bytes_str("get ")));
    assert_null(resp_command_find(fb_bytes_str("\0\0\0")));
    assert_null(resp_command_find(fb_bytes_str("client|list")));
}

static void test_resolve(void **state)
{
    static const struct {
        const char *call, *want; /* NULL: fine */
    } t[] = {
        {"get k", NULL},
        {"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
        {"GET a b", "-ERR wrong number of arguments for 'get' command\r\n"},
        {"mset a", "-ERR wrong number of arguments for 'mset' command\r\n"},
        {"client", "-ERR wrong number of arguments for 'client' command\r\n"},
        {"client setname", "-ERR wrong number of arguments for 'client|setname' command\r\n"},
        {"Client Foo", "-ERR unknown subcommand 'Foo'. Try CLIENT HELP.\r\n"},
        {"client setname x", NULL},
        {"exec x", "-EXECABORT Transaction discarded because of: wrong number of arguments for "
                   "'exec' command\r\n"},
        {"foo", "-ERR unknown command 'foo', with args beginning with: \r\n"},
        {"LPUSH a bc", "-ERR unknown command 'LPUSH', with args beginning with: 'a' 'bc' \r\n"},
        {"CLUSTER SLOTS", "-ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' \r\n"},
        {"command", NULL},
        {"object", "-ERR unknown command 'object', with args beginning with: \r\n"},
    };
    struct fb_buf out = {0};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        struct fb_bytes argv[8];
        const struct resp_command *c = resp_command_resolve(&out, argv, words(t[i].call, argv));
        assert_int_equal(c == NULL, t[i].want != NULL);
        assert_int_equal(out.n, t[i].want ? strlen(t[i].want) : 0);
        if (t[i].want != NULL)
            assert_memory_equal(out.p, t[i].want, out.n);
        fb_buf_clear(&out);
    }
    fb_buf_fini(&out);
}

static void test_command(void **state)
{
    static const struct {
        int proto;
        const char *call, *want;
    } t[] = {
        {2, "COMMAND GETKEYS MSET a b c d", "*2\r\n$1\r\na\r\n$1\r\nc\r\n"},
        {2, "COMMAND GETKEYS GET a b",
         "-ERR Invalid number of arguments specified for command\r\n"},
        {2, "COMMAND GETKEYS NOSUCH a", "-ERR Invalid command specified\r\n"},
        {2, "COMMAND GETKEYS PING a", "-ERR The command has no key arguments\r\n"},
        {2, "COMMAND INFO nosuch", "*1\r\n$-1\r\n"},
        {3, "COMMAND INFO nosuch", "*1\r\n_\r\n"},
        {2, "COMMAND LIST FILTERBY PATTERN FB.S*", "*2\r\n$7\r\nfb.sync\r\n$8\r\nfb.setif\r\n"},
        {2, "COMMAND LIST FILTERBY X", "-ERR syntax error\r\n"},
        {3, "COMMAND DOCS strlen nosuch",
         "%1\r\n$6\r\nstrlen\r\n%4\r\n$7\r\nsummary\r\n$43\r\nGet the length of the value stored "
         "in a key\r\n"},
        {2, "COMMAND INFO get",
         "*1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@"
         "read\r\n+@string\r\n"
         "+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_"
         "search\r\n*4\r\n$4\r\n"
         "type\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*"
         "4\r\n$4\r\ntype\r\n"
         "$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$"
         "5\r\nlimit\r\n:0\r\n"
         "*0\r\n"},
    };
    struct fb_buf out = {0};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        struct fb_bytes argv[8];
        uint32_t n = words(t[i].call, argv);
        size_t want_n = strlen(t[i].want);
        assert_non_null(resp_command_resolve(&out, argv, n));
        resp_command_reply(&out, t[i].proto, argv, n);
        if (strstr(t[i].call, "DOCS") == NULL)
            assert_int_equal(out.n, want_n);
        assert_true(out.n >= want_n);
        if (memcmp(out.p, t[i].want, want_n) != 0)
            fail_msg("%s: %.*s", t[i].call, (int)out.n, (const char *)out.p);
        fb_buf_clear(&out);
    }
    fb_buf_fini(&out);
}

static void test_people(void **state)
{
    struct fb_buf out = {0};
    (void)state;
    resp_commands_markdown(&out);
    fb_buf_put_u8(&out, 0);
    assert_non_null(strstr((char *)out.p, "| `SET key value [NX\\|XX] [GET] "));
    assert_non_null(strstr((char *)out.p, "\n## Versions\n"));
    assert_non_null(strstr((char *)out.p, "| `CLIENT SETNAME connection-name` |"));
    fb_buf_clear(&out);
    resp_command_help(&out, resp_command_row(RESP_CMD_CONFIG));
    fb_buf_put_u8(&out, 0);
    assert_non_null(
        strstr((char *)out.p,
               "+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+GET "));
    fb_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_resolve),
                                       cmocka_unit_test(test_command),
                                       cmocka_unit_test(test_people)};
    return cmocka_run_group_tests_name("resp command", tests, NULL, NULL);
}
