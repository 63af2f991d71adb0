/* Goal: each reply type encodes as Redis 7.0 does in RESP2 and RESP3. Method: exact bytes. */
#include "router/resp/writer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect(struct fb_buf *b, const char *want)
{
    assert_int_equal(b->n, strlen(want));
    assert_memory_equal(b->p, want, b->n);
    fb_buf_clear(b);
}

static void test_types(void **state)
{
    struct fb_buf b = {0};
    (void)state;
    resp_put_ok(&b);
    resp_put_simple(&b, "PONG");
    expect(&b, "+OK\r\n+PONG\r\n");
    resp_put_error(&b, fb_bytes_str("ERR a\r\nb"));
    expect(&b, "-ERR a  b\r\n");
    resp_put_errorf(&b, "ERR no %s", "way");
    expect(&b, "-ERR no way\r\n");
    resp_put_int(&b, INT64_MIN);
    resp_put_int(&b, 0);
    resp_put_int(&b, 10);
    expect(&b, ":-9223372036854775808\r\n:0\r\n:10\r\n");
    resp_put_bulk(&b, fb_bytes("a\r\nb", 4));
    resp_put_bulk(&b, fb_bytes(NULL, 0));
    resp_put_bulk_int(&b, -17);
    expect(&b, "$4\r\na\r\nb\r\n$0\r\n\r\n$3\r\n-17\r\n");
    resp_put_array(&b, 1234);
    expect(&b, "*1234\r\n");
    fb_buf_fini(&b);
}

static void test_versions(void **state)
{
    struct fb_buf b = {0};
    (void)state;
    for (int proto = 2; proto <= 3; proto++) {
        bool three = proto == 3;
        resp_put_null(&b, proto);
        resp_put_null_array(&b, proto);
        expect(&b, three ? "_\r\n_\r\n" : "$-1\r\n*-1\r\n");
        resp_put_map(&b, proto, 2);
        resp_put_set(&b, proto, 2);
        resp_put_push(&b, proto, 3);
        expect(&b, three ? "%2\r\n~2\r\n>3\r\n" : "*4\r\n*2\r\n*3\r\n");
        resp_put_double(&b, proto, 0.1);
        resp_put_double(&b, proto, INFINITY);
        expect(&b, three ? ",0.10000000000000001\r\n,inf\r\n"
                         : "$19\r\n0.10000000000000001\r\n$3\r\ninf\r\n");
        resp_put_bool(&b, proto, true);
        resp_put_bool(&b, proto, false);
        expect(&b, three ? "#t\r\n#f\r\n" : ":1\r\n:0\r\n");
        resp_put_big(&b, proto, fb_bytes_str("123"));
        expect(&b, three ? "(123\r\n" : "$3\r\n123\r\n");
        resp_put_verbatim(&b, proto, "txt", fb_bytes_str("hi"));
        expect(&b, three ? "=6\r\ntxt:hi\r\n" : "$2\r\nhi\r\n");
    }
    fb_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_versions)};
    return cmocka_run_group_tests_name("resp writer", tests, NULL, NULL);
}
