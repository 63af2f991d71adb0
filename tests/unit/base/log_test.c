/* Goal: every line is well-formed logfmt or JSON whatever the values are, also when it is too long.
 */
#include "proto/base/log.h"
#include "tests/unit/cmocka.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char text[16384];

static void emit(const struct fb_kv *kv, size_t count)
{
    FILE *f = tmpfile();
    int saved = dup(2);
    size_t n;
    dup2(fileno(f), 2);
    fb_log_emit(FB_LOG_INFO, "it happened", kv, count);
    dup2(saved, 2);
    close(saved);
    rewind(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
}

static void logfmt(void **state)
{
    const struct fb_kv kv[] = {
        FB_KS("s", "a b"),      FB_KS("e", ""),   FB_KS("q", "x=\"1\"\n"),
        FB_KU("u", UINT64_MAX), FB_KI("i", -1),   FB_KB("b", fb_bytes("\x00\xff", 2)),
        FB_KD("d", 0.5),        FB_KS("n", NULL), FB_KS("plain", "p-1")};
    (void)state;
    fb_log_setup(FB_LOG_INFO, FB_LOG_LOGFMT, "node", "n1");
    emit(kv, sizeof(kv) / sizeof(kv[0]));
    assert_non_null(
        strstr(text, " level=info process=node name=n1 msg=\"it happened\" s=\"a b\" e=\"\" "
                     "q=\"x=\\\"1\\\"\\n\" "
                     "u=18446744073709551615 i=-1 b=\"\\u0000\\u00ff\" d=0.5 n=\"\" plain=p-1\n"));
    assert_true(strncmp(text, "ts=2", 4) == 0);
}

/* A small reader of one flat JSON object: strings without control characters, bare numbers. */
static bool flat_json(const char *s)
{
    if (*s++ != '{')
        return false;
    for (;;) {
        for (int part = 0; part < 2; part++) {
            if (*s == '"') {
                for (s++; *s != '"'; s++) {
                    if (*s == '\\')
                        s++;
                    if ((unsigned char)*s < 0x20)
                        return false;
                }
                s++;
            } else if (part == 1 && strspn(s, "0123456789.+-einul") > 0) {
                s += strspn(s, "0123456789.+-einul");
            } else {
                return false;
            }
            if (part == 0 && *s++ != ':')
                return false;
        }
        if (*s == '}')
            return strcmp(s, "}\n") == 0;
        if (*s++ != ',')
            return false;
    }
}

static void json_stays_whole(void **state)
{
    char *big = malloc(9001);
    (void)state;
    fb_log_setup(FB_LOG_INFO, FB_LOG_JSON, "node", "");
    for (size_t n = 3700; n <= 4300; n++) {
        struct fb_kv kv[] = {FB_KB("v", fb_bytes(big, n)), FB_KU("after", 1), FB_KD("nan", NAN),
                             FB_KS("last", "x y")};
        memset(big, n % 3 == 0 ? 'a' : n % 3 == 1 ? '\n' : 0x01, n);
        emit(kv, 4);
        if (!flat_json(text))
            fail_msg("%zu: %s", n, text);
    }
    for (size_t many = 1; many < 200; many += 7) {
        struct fb_kv kv[200];
        for (size_t i = 0; i < many; i++)
            kv[i] = FB_KS("a_rather_long_key", "a value \\ with \"marks\"");
        emit(kv, many);
        assert_true(flat_json(text));
    }
    free(big);
}

static void levels(void **state)
{
    enum fb_log_level l;
    (void)state;
    assert_int_equal(fb_log_level_parse("warn", &l), FB_OK);
    assert_int_equal(l, FB_LOG_WARN);
    assert_int_equal(fb_log_level_parse("loud", &l), FB_EINVAL);
    fb_log_set_level(FB_LOG_WARN);
    assert_false(fb_log_enabled(FB_LOG_INFO));
    assert_true(fb_log_enabled(FB_LOG_ERROR));
    emit(NULL, 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(logfmt), cmocka_unit_test(json_stays_whole),
                                       cmocka_unit_test(levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
