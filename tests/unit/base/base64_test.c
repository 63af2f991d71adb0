/* Goal: base64 as RFC 4648 has it, and one text only for the same bytes. Method: its examples,
 * every length there and back, and texts that are none. */
#include "proto/base/base64.h"

#include "proto/base/compiler.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_examples(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"\xff\xfe\xfd", "//79"},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(pairs); i++) {
        struct fb_buf b = {0};
        fb_base64_put(&b, fb_bytes_str(pairs[i][0]));
        assert_true(fb_bytes_is(fb_buf_view(&b), pairs[i][1]));
        fb_buf_clear(&b);
        assert_true(fb_base64_take(&b, fb_bytes_str(pairs[i][1])));
        assert_true(fb_bytes_is(fb_buf_view(&b), pairs[i][0]));
        fb_buf_fini(&b);
    }
}

static void test_there_and_back(void **state)
{
    struct fb_buf in = {0}, text = {0}, out = {0};

    (void)state;
    for (unsigned n = 0; n < 300; n++) {
        fb_buf_clear(&text);
        fb_buf_clear(&out);
        fb_base64_put(&text, fb_buf_view(&in));
        assert_true(fb_base64_take(&out, fb_buf_view(&text)));
        assert_true(fb_bytes_equal(fb_buf_view(&in), fb_buf_view(&out)));
        fb_buf_put_u8(&in, (uint8_t)(n * 37));
    }
    fb_buf_fini(&in);
    fb_buf_fini(&text);
    fb_buf_fini(&out);
}

static void test_what_is_none(void **state)
{
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",       "Zg==Zg==", "====", "Zh==",
                                      "Zm9=", "Z===", "Zm9v\n===", "Zm-v",     "=m9v", "Zm9vZ"};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        struct fb_buf b = {0};
        if (fb_base64_take(&b, fb_bytes_str(bad[i])))
            fail_msg("\"%s\" was taken", bad[i]);
        fb_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples),
                                       cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_what_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
