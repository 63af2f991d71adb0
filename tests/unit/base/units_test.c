/* Goal: durations and sizes read what people write, refuse the rest with an example, and print back
 * exactly. */
#include "proto/base/units.h"
#include "tests/unit/cmocka.h"

static void duration_is(const char *s, uint64_t want)
{
    uint64_t v;
    struct fb_err err;
    assert_int_equal(fb_duration_parse(fb_bytes_str(s), &v, &err), FB_OK);
    assert_int_equal(v, want);
}

static void size_is(const char *s, uint64_t want)
{
    uint64_t v;
    struct fb_err err;
    assert_int_equal(fb_size_parse(fb_bytes_str(s), &v, &err), FB_OK);
    assert_int_equal(v, want);
}

static void parses(void **state)
{
    (void)state;
    duration_is("none", 0);
    duration_is("0", 0);
    duration_is("0s", 0);
    duration_is("250ms", 250);
    duration_is("5s", 5000);
    duration_is("30m", 1800000);
    duration_is("2h", 7200000);
    duration_is("1d", 86400000);
    duration_is("36500d", UINT64_C(36500) * 86400000);
    size_is("0", 0);
    size_is("none", 0);
    size_is("512B", 512);
    size_is("512", 512);
    size_is("64KiB", 65536);
    size_is("100MB", 100000000);
    size_is("2GiB", UINT64_C(2) << 30);
    size_is("1TiB", UINT64_C(1) << 40);
}

static void refuses(void **state)
{
    static const char *const durations[] = {"",
                                            "5",
                                            "s",
                                            "-5s",
                                            "5 s",
                                            "5S",
                                            "1.5s",
                                            "5sec",
                                            "99999999999999999999s",
                                            "36501d",
                                            "18446744073709551615d",
                                            "none "};
    static const char *const sizes[] = {
        "", "x", "-1", "1kib", "1 MiB", "1.5GiB", "18446744073709551616", "2000000TiB"};
    uint64_t v;
    struct fb_err err;
    (void)state;
    for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
        assert_int_equal(fb_duration_parse(fb_bytes_str(durations[i]), &v, &err), FB_EINVAL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_int_equal(fb_size_parse(fb_bytes_str(sizes[i]), &v, &err), FB_EINVAL);
    assert_int_equal(fb_duration_parse(fb_bytes(NULL, 0), &v, NULL), FB_EINVAL);
}

static void prints_back(void **state)
{
    char text[32];
    (void)state;
    assert_string_equal(fb_duration_text(0, text), "0");
    assert_string_equal(fb_duration_text(90000, text), "90s");
    assert_string_equal(fb_duration_text(60000, text), "1m");
    assert_string_equal(fb_duration_text(1500, text), "1500ms");
    assert_string_equal(fb_size_text(131072, text), "128KiB");
    assert_string_equal(fb_size_text(100000000, text), "100MB");
    assert_string_equal(fb_size_text(1, text), "1B");
    for (uint64_t i = 1, x = 12345; i < 20000; i++) {
        uint64_t v;
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        assert_int_equal(fb_duration_parse(fb_bytes_str(fb_duration_text(x >> 23, text)), &v, NULL),
                         FB_OK);
        assert_int_equal(v, x >> 23);
        assert_int_equal(
            fb_size_parse(fb_bytes_str(fb_size_text(x >> (4 + i % 60), text)), &v, NULL), FB_OK);
        assert_int_equal(v, x >> (4 + i % 60));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parses), cmocka_unit_test(refuses),
                                       cmocka_unit_test(prints_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
