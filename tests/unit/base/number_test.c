/* Goal: numbers are read and written as Redis does. Method: tables of edge values, and round trips.
 */
#include "proto/base/number.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "proto/base/compiler.h"

static void test_i64(void **state)
{
    static const struct {
        const char *text;
        int64_t v;
    } good[] = {{"0", 0},
                {"7", 7},
                {"-1", -1},
                {"1000", 1000},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "01",
                                      "-0",
                                      "00",
                                      " 1",
                                      "1 ",
                                      "1a",
                                      "0x1",
                                      "--1",
                                      "-01",
                                      "1.0",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(good); i++) {
        int64_t v = 5;
        char text[FB_NUMBER_BYTES_MAX];
        size_t n;
        assert_true(fb_parse_i64(fb_bytes_str(good[i].text), &v));
        assert_true(v == good[i].v);
        n = fb_format_i64(v, text);
        assert_true(fb_bytes_is(fb_bytes(text, n), good[i].text));
    }
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        int64_t v = 5;
        assert_false(fb_parse_i64(fb_bytes_str(bad[i]), &v));
        assert_true(v == 5);
    }
}

static void test_u64(void **state)
{
    uint64_t v = 5;
    char text[FB_NUMBER_BYTES_MAX];
    (void)state;
    assert_true(fb_parse_u64(fb_bytes_str("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    assert_int_equal(fb_format_u64(v, text), 20);
    assert_false(fb_parse_u64(fb_bytes_str("18446744073709551616"), &v));
    assert_false(fb_parse_u64(fb_bytes_str("-1"), &v));
}

static void test_long_double(void **state)
{
    static const struct {
        const char *text, *out;
    } good[] = {{"10.5", "10.5"}, {"0.1", "0.1"},    {"5.0e3", "5000"}, {"-0", "0"},
                {"3.0", "3"},     {"1e-3", "0.001"}, {"0x10", "16"},    {"+1", "1"}};
    static const char *const bad[] = {"", " 1", "1 ", "abc", "nan", "1e5000", "1e-5000", "1x"};
    char text[FB_LONG_DOUBLE_BYTES_MAX];
    long double v;
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(good); i++) {
        assert_true(fb_parse_long_double(fb_bytes_str(good[i].text), &v));
        assert_true(fb_bytes_is(fb_bytes(text, fb_format_long_double(v, text)), good[i].out));
    }
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++)
        assert_false(fb_parse_long_double(fb_bytes_str(bad[i]), &v));
    assert_true(fb_parse_long_double(fb_bytes_str("inf"), &v));
    assert_true(fb_parse_long_double(fb_bytes_str("1e4900"), &v));
    assert_int_equal(fb_format_long_double(v, text), 4901);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_i64), cmocka_unit_test(test_u64),
                                       cmocka_unit_test(test_long_double)};
    return cmocka_run_group_tests_name("base number", tests, NULL, NULL);
}
