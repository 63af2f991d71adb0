/* Ids and hashes in forebay.objects: the texts chosen, and that every byte string comes back. */
#include "sync/pg/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void check_id(const char *bytes, size_t n, const char *text)
{
    struct fb_buf out = {0}, back = {0};
    pg_put_id(&out, fb_bytes(bytes, n));
    assert_string_equal(pg_cstr(&out), text);
    assert_true(pg_take_id(&back, (const char *)out.p));
    assert_int_equal(back.n, n);
    assert_memory_equal(back.p == NULL ? (const uint8_t *)"" : back.p, bytes, n);
    fb_buf_fini(&out);
    fb_buf_fini(&back);
}

static void ids(void **state)
{
    (void)state;
    check_id("plain", 5, "plain");
    check_id("gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f");
    check_id("\xff", 1, "\\xff");
    check_id("a\0b", 3, "\\x610062");
    check_id("\\x61", 4, "\\x5c783631");
    check_id("\\y", 2, "\\y");
    check_id("\xed\xa0\x80", 3, "\\xeda080"); /* a surrogate */
    check_id("\xc0\x80", 2, "\\xc080");       /* overlong */
}

static void hashes(void **state)
{
    struct fb_buf h = {0}, json = {0}, back = {0};
    (void)state;
    fb_hash_put(&h, fb_bytes_str("a\"b\\c"), fb_bytes_str("line\nbreak\x01"));
    fb_hash_put(&h, fb_bytes_str(""), fb_bytes_str(""));
    assert_true(pg_hash_is_text(fb_buf_view(&h)));
    pg_put_hash_json(&json, fb_buf_view(&h));
    assert_string_equal(pg_cstr(&json), "{\"a\\\"b\\\\c\":\"line\\u000abreak\\u0001\",\"\":\"\"}");
    assert_true(pg_take_hash_json(&back, (const char *)json.p, json.n));
    assert_int_equal(back.n, h.n);
    assert_memory_equal(back.p, h.p, h.n);
    fb_hash_put(&h, fb_bytes_str("z"), fb_bytes("\0", 1));
    assert_false(pg_hash_is_text(fb_buf_view(&h)));
    fb_buf_clear(&back);
    assert_true(pg_take_hash_json(&back, "{\"n\": 5, \"x\": null, \"l\": [1]}", 29));
    assert_int_equal(fb_hash_count(fb_buf_view(&back)), 2);
    assert_false(pg_take_hash_json(&back, "[1]", 3));
    fb_buf_fini(&h);
    fb_buf_fini(&json);
    fb_buf_fini(&back);
}

static void cast_type(const char *type, const char *want)
{
    struct fb_column c = {0};
    struct fb_buf b = {0};
    strncpy(c.type, type, sizeof(c.type) - 1);
    pg_put_cast_type(&b, &c);
    assert_string_equal(pg_cstr(&b), want);
    fb_buf_fini(&b);
}

static void casts(void **state)
{
    (void)state;
    cast_type("character varying(10)", "character varying");
    cast_type("character varying(10)[]", "character varying[]");
    cast_type("character(5)", "pg_catalog.bpchar");
    cast_type("character(5)[]", "pg_catalog.bpchar[]");
    cast_type("character", "pg_catalog.bpchar");
    cast_type("character[]", "pg_catalog.bpchar[]");
    cast_type("bit", "pg_catalog.\"bit\"");
    cast_type("bit[]", "pg_catalog.\"bit\"[]");
    cast_type("bit(3)", "pg_catalog.\"bit\"");
    cast_type("bit varying(3)", "bit varying");
    cast_type("numeric(10,2)", "numeric");
    cast_type("timestamp(3) with time zone", "timestamp with time zone");
    cast_type("app.\"odd(name\"", "app.\"odd(name\"");
}

static void classes(void **state)
{
    static const struct {
        enum pg_class class;
        const char *states[16];
    } t[] = {
        {PG_OUTAGE, {"", "08006", "57P01", "25P03", "53300", "58030", "XX000", "28000", "3D000"}},
        {PG_RETRY, {"40001", "40P01"}},
        {PG_NAMESPACE, {"42P01", "55P03", "25006", "57014", "40003"}},
        {PG_FOREIGN_KEY, {"23503"}},
        {PG_ROW, {"23505", "22P02", "P0001", "44000", "54000", "38000", "39000", "2F000", "21000"}},
    };
    (void)state;
    assert_int_equal(pg_classify(NULL), PG_OUTAGE);
    for (size_t i = 0; i < FB_COUNT_OF(t); i++)
        for (size_t k = 0; t[i].states[k] != NULL; k++)
            if (pg_classify(t[i].states[k]) != t[i].class)
                fail_msg("\"%s\" is of class %d", t[i].states[k], (int)pg_classify(t[i].states[k]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ids), cmocka_unit_test(hashes),
                                       cmocka_unit_test(casts), cmocka_unit_test(classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
