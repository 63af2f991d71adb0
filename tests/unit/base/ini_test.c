/* Goal: the INI reader accepts exactly its grammar, names the line of each problem, and no bytes
 * can break it. Method: table of texts with the items they give; truncation and mutation of a good
 * text. */
#include "proto/base/buf.h"
#include "proto/base/ini.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static enum fb_status collect(void *arg, const struct fb_ini_item *i, struct fb_err *err)
{
    (void)err;
    fb_buf_printf(arg, "%u[%.*s|%.*s]%.*s=%.*s;", i->line, (int)i->section.n,
                  (const char *)i->section.p, (int)i->name.n, (const char *)i->name.p,
                  (int)i->key.n, (const char *)i->key.p, (int)i->value.n, (const char *)i->value.p);
    return FB_OK;
}

static void expect(const char *text, const char *items)
{
    struct fb_buf b = {0};
    struct fb_err err = {0};
    assert_int_equal(fb_ini_parse("f", fb_bytes_str(text), collect, &b, &err), FB_OK);
    fb_buf_put_u8(&b, 0);
    assert_string_equal((char *)b.p, items);
    fb_buf_fini(&b);
}

static void expect_error(const char *text, const char *message)
{
    struct fb_buf b = {0};
    struct fb_err err = {0};
    assert_int_equal(fb_ini_parse("f", fb_bytes_str(text), collect, &b, &err), FB_EINVAL);
    assert_string_equal(err.msg, message);
    fb_buf_fini(&b);
}

static void accepts(void **state)
{
    (void)state;
    expect("", "");
    expect("\n \n# c\n; c\n", "");
    expect("[a]\nk=v", "1[a|]=;2[a|]k=v;");
    expect("\xef\xbb\xbf[a b]\r\n  k =  v w  ; note\r\n", "1[a|b]=;2[a|b]k=v w;");
    expect("[ a   b ] # note\nk=a;b#c\nempty =\n", "1[a|b]=;2[a|b]k=a;b#c;3[a|b]empty=;");
    expect("[a]\nk = a = b\n", "1[a|]=;2[a|]k=a = b;");
}

static void refuses(void **state)
{
    (void)state;
    expect_error("k=v\n", "f:1: key before the first [section]");
    expect_error("[a\n", "f:1: section without closing ']'");
    expect_error("[]\n", "f:1: empty section name");
    expect_error("[a b c]\n", "f:1: a section has at most two words: [kind name]");
    expect_error("[a]\n\nnonsense\n", "f:3: expected \"key = value\", \"[section]\" or a comment");
    expect_error("[a]\n= v\n", "f:2: no key before '='");
    expect_error("[a]\nk k = v\n", "f:2: a key has no blanks in it");
    expect_error("[a] x\n", "f:1: unexpected text after ']'");
    expect_error("[a]\nk = \x01\n", "f:2: control character in the line; is this a text file?");
}

static void problem(void *arg, uint32_t line, const char *what)
{
    fb_buf_printf(arg, "%u: %s\n", line, what);
}

static void walk_names_all(void **state)
{
    struct fb_buf b = {0};
    (void)state;
    fb_ini_walk(fb_bytes_str("[a\nk=v\n[b]\nx\ny=1\n=2\n"), collect, problem, &b);
    fb_buf_put_u8(&b, 0);
    assert_string_equal((char *)b.p, "1: section without closing ']'\n3[b|]=;"
                                     "4: expected \"key = value\", \"[section]\" or a comment\n"
                                     "5[b|]y=1;6: no key before '='\n");
    fb_buf_fini(&b);
}

static void survives_mutation(void **state)
{
    static const char good[] = "[a b]\nkey = value ; c\n# x\n[c]\nk=v\n";
    (void)state;
    srand(1); /* the same bytes every time */
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)rand() % sizeof(good);
        uint8_t *copy = malloc(n ? n : 1);
        struct fb_buf b = {0};
        memcpy(copy, good, n);
        for (int k = rand() % 4; k > 0 && n > 0; k--)
            copy[(size_t)rand() % n] = (uint8_t)rand();
        fb_ini_walk(fb_bytes(copy, n), collect, problem, &b);
        fb_buf_fini(&b);
        free(copy);
    }
}

static void suggests(void **state)
{
    static const char *const words[] = {"listen", "data_dir", "memory", "ttl"};
    (void)state;
#define NEAR(w) fb_nearest(fb_bytes_str(w), words, 4)
    assert_string_equal(NEAR("lisen"), "listen");
    assert_string_equal(NEAR("lsiten"), "listen");
    assert_string_equal(NEAR("datadir"), "data_dir");
    assert_string_equal(NEAR("tl"), "ttl");
    assert_null(NEAR("completely"));
    assert_null(NEAR("x"));
    assert_null(NEAR(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),        cmocka_unit_test(refuses),
        cmocka_unit_test(walk_names_all), cmocka_unit_test(survives_mutation),
        cmocka_unit_test(suggests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
