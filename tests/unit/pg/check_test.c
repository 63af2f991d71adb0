/* Does proto/cluster judge texts as PostgreSQL does? For each type thousands of seeded texts that
 * are nearly valid go both ways.
 *
 * Values: what fb_column_check accepts, PostgreSQL must accept as the statements of sync/pg send it
 * (cast to the type without its length, then assigned), else an acknowledged write would be parked.
 * What PostgreSQL accepts and fb_column_check refuses must be deliberate; all there is:
 *
 *   - char(n), varchar(n): too long by blanks only, which PostgreSQL would cut off
 *   - date: any spelling but YYYY-MM-DD (also BC), YYYYMMDD and the infinities: no month names,
 *     times of day, two-digit years, slashes, words such as today
 *   - float: hexadecimal, and nan with a sign or in brackets
 *   - numeric, also in jsonb: zero with an exponent of a million or more; blanks inside of a number
 *   - json, jsonb: nested deeper than 1000 levels
 *
 * Ids: fb_schema_check_id accepts exactly the texts that the key column prints again. */
#include "proto/base/utf8.h"
#include "sync/pg/internal.h"
#include "tests/unit/pg/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXTS 3000u
#define TEXT_MAX 200u
#define KEEP 12u /* differences shown for each type */

struct text {
    size_t n;
    char s[TEXT_MAX];
};

struct type {
    const char *sql;      /* of the column */
    const char *alphabet; /* of mutations */
    const char *const *seeds;
    bool (*deliberate)(struct fb_bytes s); /* may be refused although PostgreSQL accepts */
    bool key;
};

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % sides;
}

static void put_char(struct text *t, size_t at, char c)
{
    if (t->n + 1 >= TEXT_MAX)
        return;
    memmove(t->s + at + 1, t->s + at, t->n - at);
    t->s[at] = c;
    t->n++;
}

static void mutate(struct text *t, const char *alphabet)
{
    size_t at = t->n == 0 ? 0 : dice((uint32_t)t->n + 1);
    char c = alphabet[dice((uint32_t)strlen(alphabet))];

    switch (dice(4)) {
    case 0:
        put_char(t, at, c);
        break;
    case 1:
        if (at < t->n) {
            memmove(t->s + at, t->s + at + 1, t->n - at - 1);
            t->n--;
        }
        break;
    case 2:
        if (at < t->n)
            t->s[at] = c;
        break;
    default:
        for (uint32_t i = dice(12); i-- > 0;)
            put_char(t, at, c);
    }
}

static void make(const struct type *type, uint32_t i, struct text *t)
{
    size_t seeds = 0;
    const char *from;

    while (type->seeds[seeds] != NULL)
        seeds++;
    from = type->seeds[i < seeds ? i : dice((uint32_t)seeds)];
    t->n = strlen(from);
    memcpy(t->s, from, t->n);
    if (i < seeds)
        return;
    for (uint32_t k = 1 + dice(3); k-- > 0;)
        mutate(t, type->alphabet);
}

static void put_array_item(struct fb_buf *b, const struct text *t)
{
    fb_buf_put_u8(b, '"');
    for (size_t i = 0; i < t->n; i++) {
        if (t->s[i] == '"' || t->s[i] == '\\')
            fb_buf_put_u8(b, '\\');
        fb_buf_put_u8(b, (uint8_t)t->s[i]);
    }
    fb_buf_put_u8(b, '"');
}

/* A function that tries each text alone: 'f' refused, 'c' taken and printed the same, 't' taken. */
static void make_judge(struct fixture *f, const struct type *type, const struct fb_column *c)
{
    struct fb_buf sql = {0};

    fb_buf_printf(&sql,
                  "create or replace function judge(texts text[]) returns text language plpgsql as "
                  "$$declare s text; r text; answer text[] := '{}'; begin foreach s in array texts "
                  "loop begin"
                  " insert into judged (v) select x.v::");
    pg_put_cast_type(&sql, c);
    fb_buf_printf(
        &sql, " from (select s as v) x returning case when v::text = s then 'c' else 't' end "
              "into r;"
              " answer := answer || r; exception when others then answer := answer || 'f'::text;"
              " end; end loop; return array_to_string(answer, ''); end$$");
    (void)type;
    fixture_sql(f, pg_cstr(&sql));
    fb_buf_fini(&sql);
}

static char *judge(struct fixture *f, const struct text *texts, const uint32_t *which, uint32_t n)
{
    struct fb_buf array = {0};
    const char *args[1];
    PGresult *res;
    char *answer;

    fb_buf_put_u8(&array, '{');
    for (uint32_t i = 0; i < n; i++) {
        fb_buf_put_str(&array, i == 0 ? "" : ",");
        put_array_item(&array, &texts[which[i]]);
    }
    fb_buf_put_u8(&array, '}');
    args[0] = pg_cstr(&array);
    res = PQexecParams(f->sql, "select judge($1::text[])", 1, NULL, args, NULL, NULL, 0);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s", PQresultErrorMessage(res));
    answer = fb_xstrdup(PQgetvalue(res, 0, 0));
    assert_int_equal(strlen(answer), n);
    PQclear(res);
    fb_buf_fini(&array);
    return answer;
}

static uint32_t compare(const struct type *type, const struct fb_schema *s, const struct text *t,
                        char answer)
{
    struct fb_bytes text = fb_bytes(t->s, t->n);
    struct fb_err err = {0};
    bool ours = fb_column_check(fb_schema_column(s, fb_bytes_str("v")), text, &err) == FB_OK;
    bool id, bad = false;

    if (ours && answer == 'f')
        bad = true;
    if (!ours && answer != 'f' && !(type->deliberate != NULL && type->deliberate(text)))
        bad = true;
    if (bad)
        print_error("%s: [%.*s] ours %d, PostgreSQL %c %s\n", type->sql, (int)t->n, t->s, ours,
                    answer, ours ? "" : err.msg);
    if (!type->key)
        return bad;
    id = fb_schema_check_id(s, text, &err) == FB_OK;
    if (id != (answer == 'c')) {
        print_error("%s: id [%.*s] ours %d, PostgreSQL %c %s\n", type->sql, (int)t->n, t->s, id,
                    answer, id ? "" : err.msg);
        bad = true;
    }
    return bad;
}

static uint32_t differ(struct fixture *f, const struct type *type)
{
    static struct text texts[TEXTS];
    static uint32_t which[TEXTS];
    struct fb_namespace ns = {.name = "judged",
                              .mapped = true,
                              .table_schema = "public",
                              .table_name = "judged",
                              .value = FB_VALUE_ROW};
    struct fb_schema *s = NULL;
    struct pg_error err;
    char sql[256], *answers;
    uint32_t n = 0, bad = 0;

    (void)snprintf(sql, sizeof(sql), "drop table if exists judged; create table judged (%s, v %s)",
                   type->key ? "w int" : "k int primary key generated always as identity",
                   type->sql);
    fixture_sql(f, sql);
    if (type->key) /* the same key again and again is fine here: rows go away at once */
        fixture_sql(f, "create unique index on judged (v);"
                       "create or replace function empty() returns trigger language plpgsql as "
                       "$$begin delete from judged; return new; end$$;"
                       "create trigger empty before insert on judged for each row execute function "
                       "empty()");
    (void)snprintf(ns.key, sizeof(ns.key), "%s", type->key ? "v" : "k");
    assert_int_equal(pg_read_schema(f->pg, &ns, &s, &err), PG_OK);
    assert_string_equal(s->problem, "");
    make_judge(f, type, fb_schema_column(s, fb_bytes_str("v")));
    for (uint32_t i = 0; i < TEXTS; i++) {
        struct fb_bytes b;
        make(type, i, &texts[i]);
        b = fb_bytes(texts[i].s, texts[i].n);
        if (fb_utf8_valid(b, NULL) && memchr(b.p, 0, b.n) == NULL)
            which[n++] = i;
        else
            assert_int_equal(
                fb_column_check(fb_schema_column(s, fb_bytes_str("v")), b, &(struct fb_err){0}),
                FB_EINVAL);
    }
    answers = judge(f, texts, which, n);
    for (uint32_t i = 0; i < n && bad < KEEP; i++)
        bad += compare(type, s, &texts[which[i]], answers[i]);
    free(answers);
    fb_schema_free(s);
    return bad;
}

static bool has_inner_blank(struct fb_bytes s)
{
    size_t from = 0, to = s.n;
    while (from < to && strchr(" \t\n\v\f\r", s.p[from]) != NULL)
        from++;
    while (to > from && strchr(" \t\n\v\f\r", s.p[to - 1]) != NULL)
        to--;
    for (size_t i = from; i < to; i++)
        if (strchr(" \t\n\v\f\r", s.p[i]) != NULL)
            return true;
    return false;
}

static bool odd_numeric(struct fb_bytes s)
{
    bool zero = true;
    for (size_t i = 0; i < s.n && (s.p[i] | 0x20) != 'e'; i++)
        zero = zero && (s.p[i] < '1' || s.p[i] > '9');
    return zero || has_inner_blank(s);
}

static bool odd_float(struct fb_bytes s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] | 0x20) == 'x' || s.p[i] == '(' ||
            ((s.p[i] | 0x20) == 'n' && i > 0 && (s.p[i - 1] == '+' || s.p[i - 1] == '-')))
            return true;
    return has_inner_blank(s);
}

static bool ends_blank(struct fb_bytes s)
{
    return s.n > 0 && s.p[s.n - 1] == ' ';
}

/* Anything but the forms that are taken: eight digits, or four, one or two, one or two. */
static bool odd_date(struct fb_bytes s)
{
    size_t at = 0, n[3] = {0};
    for (int i = 0; i < 3; i++) {
        for (; at < s.n && s.p[at] >= '0' && s.p[at] <= '9'; at++)
            n[i]++;
        if (i < 2 && at < s.n && s.p[at] == '-')
            at++;
    }
    if (at < s.n)
        return true;
    return (n[0] != 8 || s.n != 8) && (n[0] != 4 || n[1] == 0 || n[1] > 2 || n[2] == 0 || n[2] > 2);
}

static bool odd_jsonb(struct fb_bytes s)
{
    for (size_t i = 0; i + 6 < s.n; i++) /* an exponent of six digits */
        if ((s.p[i] | 0x20) == 'e')
            return true;
    return false;
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define INT_SEEDS                                                                                  \
    LIST("0", "-0", "+0", "1", "-1", " 12 ", "007", "32767", "32768", "-32768", "-32769",          \
         "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807",          \
         "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1e3", "1.0", "",  \
         "-", "+-1", "99999999999999999999", "0x10", "1_000", "\t5\n")
#define NUMERIC_SEEDS                                                                              \
    LIST("0", "-0", "0.0", "1.", ".5", "-.5", "+1.25", "99.995", "99.994", "9.9995", "9.99949",    \
         "999.994", "999.995", "999.4", "999.5", "-999.99", "99999", "99999.4", "99999.5",         \
         "100000", "0.0095", "0.00995", "0.009994", "0.00001", "0.9995", "0.9994", "1e2", "1e3",   \
         "9.9999e2", "1e-1", "1e-40", "1E+4", "1e-20000", "1e-16383", "1e-16384", "1e131071",      \
         "1e131072", "9e131071", "0e200000", "1e", "e5", ".", "nan", "NaN", "-nan", "inf",         \
         "-Infinity", "+inf", "infinit", " 12.50 ", "1 2", "0.000000000000000049999999",           \
         "12345678901234567890123456789.987654321", "1e2147483648", "0.5e-5")
#define FLOAT_SEEDS                                                                                \
    LIST("0", "-0", "1.", ".5", "1e10", "1e38", "3.4028235e38", "3.4028236e38", "3.41e38",         \
         "1e-45", "7e-46", "7.1e-46", "1e-46", "1e308", "1.7976931348623157e308",                  \
         "1.7976931348623159e308", "1e309", "4.9e-324", "2.5e-324", "2.4e-324", "1e-400", "nan",   \
         "NAN", "inf", "-infinity", "+inf", "infin", " 1.5 ", "1e", "0x1p3", ".", "e1", "1 2",     \
         "0e999", "0.0e-999")
#define DATE_SEEDS                                                                                 \
    LIST("2024-02-29", "2023-02-29", "2024-1-2", "1999-12-31", "0001-01-01", "0000-01-01",         \
         "5874897-12-31", "5874898-01-01", "20240229", "20230229", "infinity", "-infinity",        \
         "2024-13-01", "2024-00-10", "10000-01-01", "010000-01-01", "4714-11-24", "99-01-01",      \
         " 2024-01-01 ", "2024/01/02", "2024-01-02 BC", "today", "epoch", "2024-04-31",            \
         "1900-02-29", "2000-02-29", "+2024-01-01", "2024-01-01T10:00", "")
#define JSON_SEEDS                                                                                 \
    LIST("{}", "[]", "null", "true", "false", "\"a\"", "1", "-1.5e10", "[1,2,{\"a\":[]}]",         \
         "{\"a\":1,\"a\":2}", "{\"a\" : \"b\\n\\u00e4\\\"\"}", "\"\\u0000\"",                      \
         "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "01", "-",      \
         "1.", "1e", ".5", "-0", "1e200000", "1e131071", "1e-20000", "1e-16383", "1e-17000",       \
         "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "tru", "nul", "", " ", " [ ] ", "\"\t\"",         \
         "\"\\x\"", "1 2", "[1 2]", "{\"a\":1,}", "NaN", "\"\xc3\xa4\"", "0.000", "-01", "trueX",  \
         "\"\\u12g4\"")

static const struct type types[] = {
    {"int2", "0123456789+- .e\t", INT_SEEDS, has_inner_blank, true},
    {"int4", "0123456789+- .e\t", INT_SEEDS, has_inner_blank, true},
    {"int8", "0123456789+- .e\t", INT_SEEDS, has_inner_blank, true},
    {"bool", "truefalsyno10 \tTF",
     LIST("t", "true", "TRUE", "tr", "f", "false", "y", "yes", "n", "no", "on", "of", "off", "o",
          "1", "0", "2", "", " t ", "yess", "ofF"),
     NULL, false},
    {"uuid", "0123456789abcdefABCDEF-{} g",
     LIST("0b1f2c3d-0000-4000-8000-000000000001", "0B1F2C3D-0000-4000-8000-000000000001",
          "{0b1f2c3d-0000-4000-8000-000000000001}", "0b1f2c3d000040008000000000000001",
          "0b1f-2c3d-0000-4000-8000-0000-0000-0001", "0b1f2c3d-000040008000-000000000001"),
     NULL, true},
    {"numeric", "0123456789+-.e E9", NUMERIC_SEEDS, odd_numeric, false},
    {"numeric(5)", "0123456789+-.e 9", NUMERIC_SEEDS, odd_numeric, false},
    {"numeric(5,2)", "0123456789+-.e 9", NUMERIC_SEEDS, odd_numeric, false},
    {"numeric(3,3)", "0123456789+-.e 9", NUMERIC_SEEDS, odd_numeric, false},
    {"numeric(2,4)", "0123456789+-.e 9", NUMERIC_SEEDS, odd_numeric, false},
    {"numeric(38,10)", "0123456789+-.e 9", NUMERIC_SEEDS, odd_numeric, false},
    {"float4", "0123456789+-.e Enaif", FLOAT_SEEDS, odd_float, false},
    {"float8", "0123456789+-.e Enaif", FLOAT_SEEDS, odd_float, false},
    {"text", "ab \\'\"%\n\xc3\xa4\xff", LIST("", "abc", " a ", "\xc3\xa4\xe2\x82\xac", "\\x41"),
     NULL, true},
    {"varchar(5)", "ab \\'\"\xc3\xa4", LIST("", "abcde", "abcdef", "abcde  ", "\xc3\xa4\xc3\xa4"),
     ends_blank, true},
    {"char(5)", "ab \\'\"\xc3\xa4", LIST("", "abcde", "abcdef", "abcde  ", "\xc3\xa4\xc3\xa4"),
     ends_blank, false},
    {"json", "{}[]\",:0123456789eE+-.\\u \ntrfalsn", JSON_SEEDS, NULL, false},
    {"jsonb", "{}[]\",:0123456789eE+-.\\u \ntrfalsn", JSON_SEEDS, odd_jsonb, false},
    {"mood", "sadokhpy \xc3\xa4,", LIST("sad", "ok", "happy", "", "Sad", "so so", "\xc3\xa4"), NULL,
     true},
    {"bytea", "\\x0123456789abcdefg '\n",
     LIST("\\x", "\\x00ff", "\\xAB cd", "\\x0", "abc", "\\\\", "\\001", "\\400", "\\377", "\\",
          "\\x0 0", "\\X00", "\\x00 ", "\xc3\xa4"),
     NULL, false},
    {"date", "0123456789-+ /", DATE_SEEDS, odd_date, true},
};

static void same_judgement(void **state)
{
    struct fixture *f = fixture_get(state);
    const char *text = getenv("FB_TEST_SEED");
    uint32_t bad = 0;

    seed = text != NULL ? strtoull(text, NULL, 10) | 1 : UINT64_C(0x9e3779b97f4a7c15);
    fixture_sql(f, "create type mood as enum ('sad', 'ok', 'happy', 'so so', '\xc3\xa4');"
                   "set datestyle = 'ISO, YMD'; set client_min_messages = warning");
    for (size_t i = 0; i < FB_COUNT_OF(types); i++)
        bad += differ(f, &types[i]);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_judgement)};
    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
