/* Goal: globs match as in Redis. Method: a table, taken from Redis's stringmatchlen; and a pattern
 * that is slow there. */
#include "proto/base/glob.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "proto/base/compiler.h"

static void test_table(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool want;
    } t[] = {
        {"*", "abc", true},
        {"a*c", "abbc", true},
        {"a*c", "abbd", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"h[ae]llo", "hallo", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hello", false},
        {"h[^e]llo", "hallo", true},
        {"h[a-c]llo", "hbllo", true},
        {"h[c-a]llo", "hbllo", true},
        {"h[a-c]llo", "hdllo", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"[\\]]", "]", true},
        {"[abc", "b", true},
        {"[abc", "c", true},
        {"[", "a", false},
        {"[^", "a", true},
        {"user:*:x", "user:1:x", true},
        {"user:*:x", "user:1:y", false},
        {"a**b", "ab", true},
        {"", "", true},
        {"", "a", false},
        {"*", "", false},
        {"**", "", false},
        {"**", "a", true},
        {"a", "", false},
        {"?", "", false},
        {"*a*b*c*", "xaybzc", true},
        {"*a*b*c*", "xaybz", false},
        {"a*", "a", true},
        {"[a-]x", "-x", false},
    };
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        if (fb_glob_match(fb_bytes_str(t[i].pattern), fb_bytes_str(t[i].text)) != t[i].want)
            fail_msg("'%s' on '%s' is not %d", t[i].pattern, t[i].text, t[i].want);
    }
    assert_false(fb_glob_is_all(fb_bytes_str("**"))); /* not the empty text */
    assert_false(fb_glob_is_all(fb_bytes_str("")));
    assert_false(fb_glob_is_all(fb_bytes_str("*a")));
}

static void test_hostile(void **state)
{
    char pattern[201], text[2001];
    (void)state;
    for (size_t i = 0; i < 200; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    pattern[199] = 'b';
    pattern[200] = 0;
    memset(text, 'a', 2000);
    text[2000] = 0;
    assert_false(fb_glob_match(fb_bytes_str(pattern), fb_bytes_str(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests_name("base glob", tests, NULL, NULL);
}
