/* Goal: what PostgreSQL would refuse is refused with a message that names column, type and reason;
 * ids have one spelling; texts of schemas read back the same and no text can break a node. Method:
 * accepted and refused values for each type, taken from the input functions of PostgreSQL 15. */
#include "proto/cluster/schema.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static struct fb_column column(enum fb_type_check check, const char *type, int32_t length,
                               int32_t scale)
{
    struct fb_column c = {.check = check, .length = length, .scale = scale, .attnum = 1};
    snprintf(c.name, sizeof(c.name), "col");
    snprintf(c.type, sizeof(c.type), "%s", type);
    return c;
}

static void each(const struct fb_column *c, enum fb_status want, const char *const *values)
{
    for (; *values != NULL; values++) {
        struct fb_err err = {0};
        size_t n = strlen(*values);
        char *exact = malloc(n ? n : 1); /* an overrun is seen by the sanitizer */
        memcpy(exact, *values, n);
        if (fb_column_check(c, fb_bytes(exact, n), &err) != want)
            fail_msg("%s %s: \"%s\": %s", c->type, want == FB_OK ? "refused" : "accepted", *values,
                     err.msg);
        free(exact);
    }
}
#define GOOD(c, ...) each(&(c), FB_OK, (const char *const[]){__VA_ARGS__, NULL})
#define BAD(c, ...) each(&(c), FB_EINVAL, (const char *const[]){__VA_ARGS__, NULL})

static void numbers(void **state)
{
    struct fb_column i2 = column(FB_TYPE_INT2, "smallint", -1, -1),
                     i4 = column(FB_TYPE_INT4, "integer", -1, -1),
                     i8 = column(FB_TYPE_INT8, "bigint", -1, -1),
                     any = column(FB_TYPE_NUMERIC, "numeric", -1, -1),
                     n52 = column(FB_TYPE_NUMERIC, "numeric(5,2)", 5, 2),
                     n3m2 = column(FB_TYPE_NUMERIC, "numeric(3,-2)", 3, -2),
                     n24 = column(FB_TYPE_NUMERIC, "numeric(2,4)", 2, 4),
                     f8 = column(FB_TYPE_FLOAT, "double precision", -1, -1),
                     f4 = column(FB_TYPE_FLOAT, "real", -1, -1);
    (void)state;
    GOOD(i2, "0", "-0", "+5", " 12 ", "\t7\n", "32767", "-32768", "0007");
    BAD(i2, "", " ", "32768", "-32769", "1.0", "1e3", "0x10", "1 2", "+", "--1", "1_000");
    GOOD(i4, "2147483647", "-2147483648");
    BAD(i4, "2147483648", "-2147483649", "99999999999", "abc", "99999999999999999999999x");
    GOOD(i8, "9223372036854775807", "-9223372036854775808");
    BAD(i8, "9223372036854775808", "-9223372036854775809", "18446744073709551616",
        "99999999999999999999999999");
    GOOD(any, "0", "1.5", ".5", "5.", "-1e10", "+1E-10", " NaN ", "nan", "Infinity", "-inf",
         "1e131071", "0e999999");
    BAD(any, "", ".", "e5", "1e", "1e+", "abc", "1.2.3", "1e131072", "1e-20000",
        "1e99999999999999999999", "na", "infinit");
    GOOD(n52, "999.99", "-999.99", "999.994", "0.001", "00000999", "NaN", "1e2", "99999e-2",
         "0.000000000001", "0e10");
    BAD(n52, "1000", "999.995", "999.999", "1e3", "Infinity", "12345", "100000e-2");
    GOOD(n3m2, "99900", "99949", "49", "50", "12345");
    BAD(n3m2, "99950", "100000");
    GOOD(n24, "0.0099", "0.00994", "0", "0.00001");
    BAD(n24, "0.01", "0.00995", "1");
    GOOD(f8, "0", "1.5", "1e308", "-1e-300", "nan", "Infinity", "-inf", " 1 ", ".5", "4.9e-324",
         "0e999");
    BAD(f8, "", "1e309", "1e-400", "abc", "1.5x", "0x10", "1e", "nan(1)");
    GOOD(f4, "3.4e38", "1e-40");
    BAD(f4, "3.5e38", "1e-50");
}

static void words(void **state)
{
    struct fb_column b = column(FB_TYPE_BOOL, "boolean", -1, -1),
                     u = column(FB_TYPE_UUID, "uuid", -1, -1),
                     y = column(FB_TYPE_BYTEA, "bytea", -1, -1),
                     t = column(FB_TYPE_TEXT, "text", -1, -1),
                     v = column(FB_TYPE_VARCHAR, "character varying(3)", 3, -1),
                     o = column(FB_TYPE_OTHER, "inet", -1, -1);
    struct fb_column e = column(FB_TYPE_ENUM, "mood", -1, -1);
    char labels[2][FB_NAME_BYTES_MAX + 1] = {"sad", "happy"};
    struct fb_err err;
    (void)state;
    GOOD(b, "true", "T", "tr", "FALSE", "f", "yes", "y", "no", "N", "on", "of", "off", "1", "0",
         " t ");
    BAD(b, "", "o", "2", "truee", "ja", "-1", "00");
    GOOD(u, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
         "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
         "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11");
    BAD(u, "", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-", "g0eebc999c0b4ef8bb6d6bb9bd380a11",
        " a0eebc999c0b4ef8bb6d6bb9bd380a11");
    GOOD(y, "", "\\x", "\\x00ff", "\\xDE AD", "abc", "\\\\", "\\001", "\\377z");
    BAD(y, "\\x0", "\\x0g", "\\", "\\4", "\\400", "\\08", "a\\");
    GOOD(t, "", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    BAD(t, "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82");
    GOOD(v, "", "abc", "\xc3\xa4\xc3\xa4\xc3\xa4");
    BAD(v, "abcd", "abc ");
    GOOD(o, "anything");
    BAD(o, "\xff");
    assert_int_equal(fb_column_check(&t, fb_bytes("a\0b", 3), &err), FB_EINVAL);
    e.labels = labels;
    e.label_count = 2;
    GOOD(e, "sad", "happy");
    BAD(e, "", "Sad", "sad ", "angry");
    assert_int_equal(fb_column_check(&e, fb_bytes_str("angry"), &err), FB_EINVAL);
    assert_string_equal(err.msg, "invalid input for column \"col\" of type mood: \"angry\" is none "
                                 "of its labels (sad, happy)");
}

static void json(void **state)
{
    struct fb_column j = column(FB_TYPE_JSON, "json", -1, -1),
                     b = column(FB_TYPE_JSONB, "jsonb", -1, -1);
    char *deep = malloc(3001);
    (void)state;
#define JSON_GOOD                                                                                  \
    "1", "-0", "0.5e+10", "\"\"", "null", " true ", "[]", "{}", "[1,2,[3]]", "{\"a\":1,\"a\":2}",  \
        "[{\"a\":[{}]},null]", "\"\\u00e4\\n\\/\\ud83d\\ude00\"", "\t[\n1 , 2\r]"
#define JSON_BAD                                                                                   \
    "", " ", "01", "1.", ".5", "+1", "-", "1e", "nul", "nulll", "True", "'a'", "\"a", "\"\\x\"",   \
        "\"\\u12\"", "\"\t\"", "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}",       \
        "[1 2]", "1 2", "[1}", "{\"a\":1]", "[", "{", "]", "\"\xff\"", "NaN"
    GOOD(j, JSON_GOOD, "\"\\u0000\"", "\"\\ud800\"", "1e999999");
    GOOD(b, JSON_GOOD, "1e1000");
    BAD(j, JSON_BAD);
    BAD(b, JSON_BAD, "\"\\u0000\"", "\"\\ud800\"", "\"\\ude00\"", "\"\\ud800\\u0041\"", "1e999999");
    memset(deep, '[', 1000);
    memset(deep + 1000, ']', 1000);
    assert_int_equal(fb_column_check(&j, fb_bytes(deep, 2000), NULL), FB_OK);
    memset(deep, '[', 1500);
    memset(deep + 1500, ']', 1500);
    assert_int_equal(fb_column_check(&j, fb_bytes(deep, 3000), NULL), FB_EINVAL);
    free(deep);
}

static void messages(void **state)
{
    struct fb_column c = column(FB_TYPE_INT4, "integer", -1, -1),
                     v = column(FB_TYPE_VARCHAR, "character varying(3)", 3, -1);
    struct fb_err err;
    (void)state;
    snprintf(c.name, sizeof(c.name), "age");
    (void)!fb_column_check(&c, fb_bytes_str("99999999999"), &err);
    assert_string_equal(
        err.msg, "value for column \"age\" of type integer is out of range: \"99999999999\"");
    (void)!fb_column_check(&c, fb_bytes_str("abc"), &err);
    assert_string_equal(
        err.msg, "invalid input for column \"age\" of type integer: \"abc\" is not an integer");
    (void)!fb_column_check(&c, fb_bytes_str("a\n\"\xff\xc3\xa4"), &err);
    assert_string_equal(err.msg, "invalid input for column \"age\" of type integer: "
                                 "\"a\\x0a\\\"\\xff\xc3\xa4\" is not valid UTF-8");
    (void)!fb_column_check(&v, fb_bytes_str("0123456789012345678901234567890123456789xyz"), &err);
    assert_string_equal(err.msg, "value for column \"col\" of type character varying(3) is too "
                                 "long: 43 characters, at most 3: "
                                 "\"0123456789012345678901234567890123456789...\"");
}

static struct fb_schema *schema(const char *key)
{
    static const char *const checks[] = {"int4", "uuid", "text", "date", "numeric", "varchar"};
    struct fb_buf text = {0};
    struct fb_schema *s;
    struct fb_err err = {0};
    fb_buf_printf(
        &text, "{\"ns\":\"u\",\"config_rev\":7,\"problem\":\"\",\"key\":[%s],\"columns\":[", key);
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        fb_buf_printf(&text,
                      "%s{\"name\":\"%s\",\"type\":\"%s\",\"attnum\":%zu,\"check\":\"%s\","
                      "\"length\":%d,\"scale\":-1,"
                      "\"not_null\":true,\"has_default\":false,\"generated\":false,\"labels\":[]}",
                      i ? "," : "", checks[i], checks[i], i * 20 + 1, checks[i], i == 5 ? 3 : -1);
    fb_buf_put_str(&text, "]}");
    if (fb_schema_decode(fb_buf_view(&text), &s, &err) != FB_OK)
        fail_msg("%s", err.msg);
    fb_buf_fini(&text);
    return s;
}

static void id_is(const struct fb_schema *s, const char *id, enum fb_status want)
{
    struct fb_err err = {0};
    if (fb_schema_check_id(s, fb_bytes_str(id), &err) != want)
        fail_msg("id %s: %s", id, err.msg);
}

static void ids(void **state)
{
    struct fb_schema *s = schema("\"int4\"");
    struct fb_buf scratch = {0};
    struct fb_bytes parts[3];
    (void)state;
    id_is(s, "0", FB_OK);
    id_is(s, "-7", FB_OK);
    id_is(s, "2147483647", FB_OK);
    id_is(s, "", FB_EINVAL);
    id_is(s, "01", FB_EINVAL);
    id_is(s, "+1", FB_EINVAL);
    id_is(s, "-0", FB_EINVAL);
    id_is(s, " 1", FB_EINVAL);
    id_is(s, "2147483648", FB_EINVAL);
    assert_int_equal(fb_column_bit(fb_schema_column(s, fb_bytes_str("int4"))), 1);
    assert_true(fb_column_bit(fb_schema_column(s, fb_bytes_str("numeric"))) == UINT64_C(1) << 63);
    assert_null(fb_schema_column(s, fb_bytes_str("nope")));
    fb_schema_free(s);
    s = schema("\"uuid\"");
    id_is(s, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", FB_OK);
    id_is(s, "A0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", FB_EINVAL);
    id_is(s, "a0eebc999c0b4ef8bb6d6bb9bd380a11", FB_EINVAL);
    fb_schema_free(s);
    s = schema("\"date\"");
    id_is(s, "2024-02-29", FB_OK);
    id_is(s, "12024-01-01", FB_OK);
    id_is(s, "2023-02-29", FB_EINVAL);
    id_is(s, "2023-2-01", FB_EINVAL);
    id_is(s, "0000-01-01", FB_EINVAL);
    id_is(s, "02023-01-01", FB_EINVAL);
    id_is(s, "today", FB_EINVAL);
    fb_schema_free(s);
    s = schema("\"numeric\"");
    id_is(s, "1", FB_EINVAL);
    fb_schema_free(s);
    s = schema("\"text\"");
    id_is(s, "a/b%2f ", FB_OK);
    assert_int_equal(fb_schema_split_id(s, fb_bytes_str("a/b%2f"), &scratch, parts), FB_OK);
    assert_true(fb_bytes_is(parts[0], "a/b%2f"));
    fb_schema_free(s);
    s = schema("\"varchar\",\"int4\",\"text\"");
    id_is(s, "abc/1/x%2Fy%25", FB_OK);
    id_is(s, "/1/", FB_OK);
    id_is(s, "abcd/1/x", FB_EINVAL);
    id_is(s, "abc/01/x", FB_EINVAL);
    id_is(s, "abc/1", FB_EINVAL);
    id_is(s, "abc/1/x/y", FB_EINVAL);
    id_is(s, "abc/1/x%2fy", FB_EINVAL);
    id_is(s, "abc/1/%41", FB_EINVAL);
    id_is(s, "abc/1/%2", FB_EINVAL);
    id_is(s, "abc/1/%", FB_EINVAL);
    fb_buf_fini(&scratch);
    assert_int_equal(fb_schema_split_id(s, fb_bytes_str("abc/1/x%2Fy%25"), &scratch, parts), FB_OK);
    assert_true(fb_bytes_is(parts[0], "abc") && fb_bytes_is(parts[1], "1") &&
                fb_bytes_is(parts[2], "x/y%"));
    assert_int_equal(fb_schema_split_id(s, fb_bytes_str("abc/1"), &scratch, parts), FB_EINVAL);
    assert_int_equal(fb_schema_split_id(s, fb_bytes_str("a/b/c/d"), &scratch, parts), FB_EINVAL);
    fb_buf_fini(&scratch);
    fb_schema_free(s);
}

static void texts(void **state)
{
    struct fb_schema *s = schema("\"varchar\",\"int4\""), *back;
    struct fb_buf text = {0}, again = {0};
    (void)state;
    s->columns[0].labels = fb_xcalloc(2, sizeof(s->columns[0].labels[0]));
    s->columns[0].label_count = 2;
    memcpy(s->columns[0].labels[1], "q\"\\\n", 5);
    memcpy(s->problem, "cut \xc3", 6); /* a message that ends inside of a character */
    fb_schema_encode(&text, s);
    assert_int_equal(fb_schema_decode(fb_buf_view(&text), &back, NULL), FB_OK);
    assert_string_equal(back->problem, "cut ?");
    assert_string_equal(back->columns[0].labels[1], "q\"\\\n");
    assert_int_equal(back->key_count, 2);
    assert_int_equal(back->key_columns[0], 5);
    assert_true(back->columns[0].is_key && back->columns[5].is_key && !back->columns[1].is_key);
    fb_schema_encode(&again, back);
    fb_schema_free(back);
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(fb_schema_decode(fb_bytes(text.p, n), &back, NULL), FB_EPROTO);
    srand(9); /* the same bytes every time */
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(text.n);
        memcpy(copy, text.p, text.n);
        for (int k = 1 + rand() % 3; k > 0; k--)
            copy[(size_t)rand() % text.n] =
                rand() % 2 ? (uint8_t)rand() : (uint8_t) "0123456789-[]{},:\""[rand() % 18];
        if (fb_schema_decode(fb_bytes(copy, text.n), &back, NULL) == FB_OK)
            fb_schema_free(back);
        free(copy);
    }
    fb_buf_fini(&text);
    fb_buf_fini(&again);
    fb_schema_free(s);
    fb_schema_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(words),
                                       cmocka_unit_test(json),    cmocka_unit_test(messages),
                                       cmocka_unit_test(ids),     cmocka_unit_test(texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
