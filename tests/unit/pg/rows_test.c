/* Mapped rows against a real PostgreSQL: every type comes back as PostgreSQL's text, defaults and
 * generated columns are read back. */
#include "tests/unit/pg/rows_util.h"

#include "sync/pg/internal.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *type, *in, *text;
} types[] = {
    {"c_int2", "int2", "-32768", NULL},
    {"c_int4", "int4", "2147483647", NULL},
    {"c_int8", "int8", "-9223372036854775808", NULL},
    {"c_numeric", "numeric", "123456789012345678901234567890.000120", NULL},
    {"c_num102", "numeric(10,2)", "5", "5.00"},
    {"c_float4", "float4", "0.1", NULL},
    {"c_float8", "float8", "0.30000000000000004", NULL},
    {"c_nan", "float8", "NaN", NULL},
    {"c_bool", "bool", "t", "true"},
    {"c_uuid", "uuid", "0b1f2c3d-0000-4000-8000-000000000001", NULL},
    {"c_tstz", "timestamptz", "2026-01-02 03:04:05.678901+02", "2026-01-02 01:04:05.678901+00"},
    {"c_ts3", "timestamp(3)", "2026-01-02 03:04:05.678901", "2026-01-02 03:04:05.679"},
    {"c_date", "date", "0044-03-15 BC", NULL},
    {"c_time", "time", "23:59:59.5", NULL},
    {"c_interval", "interval", "1 year 2 mons 3 days 04:05:06.7", NULL},
    {"c_texta", "text[]", "{a,NULL,\"b c\",\"d\\\"e\\\\f\",\"\"}", NULL},
    {"c_inta", "int[]", "{{1,2},{3,4}}", NULL},
    {"c_vca", "varchar(3)[]", "{abc,de}", NULL},
    {"c_enum", "app.\"Mood\"", "so, so", NULL},
    {"c_jsonb", "jsonb", "{\"b\":1,\"a\":[ ]}", "{\"a\": [], \"b\": 1}"},
    {"c_json", "json", "{\"b\":1,  \"a\":[ ]}", NULL},
    {"c_bytea", "bytea", "\\x00ff27", NULL},
    {"c_varchar", "varchar(10)", "gr\xc3\xbc\xc3\x9f 'x\\", NULL},
    {"c_char", "char(5)", "ab", NULL},
    {"c_inet", "inet", "10.0.0.0/8", NULL},
    {"c_bit", "bit(3)", "101", NULL},
    {"c_varbit", "varbit(5)", "10110", NULL},
    {"c_range", "int4range", "[1,5)", NULL},
    {"c_domain", "app.positive", "7", NULL},
    {"c_point", "point", "(1.5,2)", NULL},
    {"c_empty", "text", "", NULL},
    {"odd \"name\"", "text", "quoted", NULL},
};

static void every_type(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("all", "all_types", "id");
    struct fb_buf sql = {0}, row = {0};
    struct fb_schema *s;
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_load_rep rep;
    fixture_sql(f, "create type app.\"Mood\" as enum ('good', 'so, so'); create domain "
                   "app.positive as int check (value > 0)");
    fb_buf_put_str(&sql,
                   "create table app.all_types (id bigint primary key, gen text generated always "
                   "as ('g' || id) stored,"
                   " ident int generated always as identity, dflt text not null default 'dd'");
    for (size_t i = 0; i < FB_COUNT_OF(types); i++) {
        fb_buf_put_str(&sql, ", ");
        fb_buf_put_str(&sql, types[i].name[0] == 'o' ? "\"odd \"\"name\"\"\"" : types[i].name);
        fb_buf_printf(&sql, " %s", types[i].type);
    }
    fb_buf_put_str(&sql, ")");
    fb_buf_put_u8(&sql, 0);
    fixture_sql(f, (const char *)sql.p);
    s = rows_usable(f, &ns);
    assert_int_equal(s->column_count, FB_COUNT_OF(types) + 4);
    assert_true(fb_schema_column(s, fb_bytes_str("ident"))->generated);
    assert_true(fb_schema_column(s, fb_bytes_str("dflt"))->has_default);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_enum"))->label_count, 2);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_varchar"))->length, 10);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_num102"))->scale, 2);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_domain"))->check, FB_TYPE_INT4);

    /* Insert: what is stored comes back as a refresh. */
    for (size_t i = 0; i < FB_COUNT_OF(types); i++)
        rows_put(&row, types[i].name, types[i].in);
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("5"), fb_buf_view(&row));
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_int_equal(b.rows_inserted, 1);
    assert_int_equal(b.refresh_count, 1);
    assert_int_equal(b.refreshes[0].xmin, (uint32_t)b.xid);
    rep = fixture_load(f, &ns, s, o.id);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_int_equal(rep.kind, FB_KIND_HASH);
    assert_int_equal(rep.xmin, (uint32_t)b.xid);
    assert_true(fb_bytes_equal(
        rep.value, fb_bytes(b.bytes.p + b.refreshes[0].value_at, b.refreshes[0].value_n)));
    for (size_t i = 0; i < FB_COUNT_OF(types); i++)
        assert_string_equal(rows_field(rep.value, types[i].name),
                            types[i].text == NULL ? types[i].in : types[i].text);
    assert_string_equal(rows_field(rep.value, "gen"), "g5");
    assert_string_equal(rows_field(rep.value, "ident"), "1");
    assert_string_equal(rows_field(rep.value, "dflt"), "dd");
    assert_string_equal(rows_field(rep.value, "id"), "5");

    /* The same texts again by update: nothing differs; then all to null. */
    fb_buf_clear(&row);
    fb_buf_put_bytes(&row, rep.value);
    o = fixture_object(2, FB_KIND_HASH, fb_bytes_str("5"), fb_buf_view(&row));
    o.flags = HAS_ROW;
    o.base_xid = (uint32_t)b.xid;
    o.changed = UINT64_MAX;
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_int_equal(b.rows_updated, 1);
    assert_int_equal(b.refresh_count, 0);
    fb_buf_clear(&row);
    rows_put(&row, "id", "5");
    rows_put(&row, "dflt", "x");
    o.value = fb_buf_view(&row);
    o.base_xid = (uint32_t)b.xid;
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    rep = fixture_load(f, &ns, s, o.id);
    assert_int_equal(fb_hash_count(rep.value), 4);
    pg_batch_fini(&b);
    fb_buf_fini(&sql);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* What is too long is an error, never cut. */
static void too_long(void **state)
{
    static const char *const bad[][3] = {
        {"c_varchar", "12345678901", "22001"}, {"c_char", "abcdef", "22001"},
        {"c_vca", "{abcd}", "22001"},          {"c_bit", "1011", "22026"},
        {"c_int2", "40000", "22003"},          {"c_enum", "bad", "22P02"},
        {"c_domain", "-1", "23514"},           {"c_num102", "123456789.5", "22003"},
    };
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("all", "all_types", "id");
    struct fb_schema *s = rows_usable(f, &ns);
    struct pg_batch b = {0};
    struct pg_error err;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        struct fb_buf row = {0};
        struct fb_feed_object o;
        rows_put(&row, bad[i][0], bad[i][1]);
        o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("6"), fb_buf_view(&row));
        assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
        assert_string_equal(err.sqlstate, bad[i][2]);
        o.id = fb_bytes_str("5");
        o.flags = FB_OBJECT_HAS_BASE;
        o.changed = rows_bit(s, bad[i][0]);
        assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
        assert_string_equal(err.sqlstate, bad[i][2]);
        fb_buf_fini(&row);
    }
    assert_true(pg_connected(f->pg));
    pg_batch_fini(&b);
    fb_schema_free(s);
}

static void composite_keys(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("pair", "Pair", "name,day");
    struct fb_buf row = {0};
    struct fb_schema *s;
    struct fb_feed_object o[2];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_load_rep rep;
    fixture_sql(f,
                "create table app.\"Pair\" (day date, name text, v int, primary key (day, name))");
    s = rows_usable(f, &ns);
    assert_int_equal(s->key_count, 2);
    rows_put(&row, "v", "1");
    o[0] = fixture_object(1, FB_KIND_HASH, fb_bytes_str("a%2Fb'\\/2026-01-02"), fb_buf_view(&row));
    o[1] = fixture_object(2, FB_KIND_HASH, fb_bytes_str("plain/2026-01-03"), fb_buf_view(&row));
    rows_must(rows_apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(b.rows_inserted, 2);
    rep = fixture_load(f, &ns, s, o[0].id);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_string_equal(rows_field(rep.value, "name"), "a/b'\\");
    assert_string_equal(rows_field(rep.value, "day"), "2026-01-02");
    rep = fixture_load(f, &ns, s, fb_bytes_str("plain"));
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    rep = fixture_load(f, &ns, s, fb_bytes_str("plain/notadate"));
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    o[0] = fixture_object(3, FB_KIND_NONE, o[0].id, fb_bytes("", 0));
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from app.\"Pair\""), "1");
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* value = column:<name> */
static void columns(void **state)
{
    static const char *const kinds[][2] = {
        {"t", "text"}, {"v", "varchar(20)"}, {"y", "bytea"}, {"j", "json"}, {"jb", "jsonb"}};
    struct fixture *f = fixture_get(state);
    struct pg_batch b = {0};
    struct pg_error err;
    fixture_sql(f, "create table app.doc (id uuid primary key, t text, v varchar(20), y bytea, j "
                   "json, jb jsonb,"
                   " exp timestamptz, extra int default 5)");
    for (size_t i = 0; i < FB_COUNT_OF(kinds); i++) {
        struct fb_namespace ns = rows_mapping(kinds[i][0], "doc", "id");
        char id[40];
        struct fb_bytes value =
            i == 2 ? fb_bytes("\0\xff\\x'", 5) : fb_bytes_str("{\"k\":  \"v\\\\\"}");
        struct fb_feed_object o;
        struct fb_load_rep rep;
        struct fb_schema *s;
        ns.value = FB_VALUE_COLUMN;
        snprintf(ns.value_column, sizeof(ns.value_column), "%s", kinds[i][0]);
        snprintf(ns.expires_column, sizeof(ns.expires_column), "exp");
        s = rows_usable(f, &ns);
        snprintf(id, sizeof(id), "00000000-0000-0000-0000-00000000000%zu", i);
        o = fixture_object(1, FB_KIND_STRING, fb_bytes_str(id), value);
        o.expires_ms = INT64_C(4102444800123);
        rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
        assert_int_equal(b.refresh_count, i == 4);
        rep = fixture_load(f, &ns, s, o.id);
        assert_int_equal(rep.kind, FB_KIND_STRING);
        assert_int_equal(rep.expires_ms, o.expires_ms);
        if (i == 4)
            assert_true(fb_bytes_equal(rep.value, fb_bytes_str("{\"k\": \"v\\\\\"}")));
        else
            assert_true(fb_bytes_equal(rep.value, value));
        o.flags = HAS_ROW;
        o.base_xid = (uint32_t)b.xid;
        o.expires_ms = 0;
        o.value = fb_bytes_str("{}");
        rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
        assert_int_equal(b.refresh_count, 0);
        rep = fixture_load(f, &ns, s, o.id);
        assert_int_equal(rep.expires_ms, 0);
        assert_true(fb_bytes_equal(rep.value, o.value));
        /* Blind: an upsert without having seen the row. */
        o.flags = FB_OBJECT_BLIND;
        o.value = fb_bytes_str("[1]");
        rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
        assert_true(fb_bytes_equal(fixture_load(f, &ns, s, o.id).value, o.value));
        /* Soft deletion: the row stays without a value. */
        ns.on_delete = FB_ON_DELETE_NULL;
        snprintf(ns.delete_column, sizeof(ns.delete_column), "%s", kinds[i][0]);
        o.kind = FB_KIND_NONE;
        o.flags = HAS_ROW;
        o.base_xid = (uint32_t)b.xid;
        rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
        rep = fixture_load(f, &ns, s, o.id);
        assert_int_equal(rep.status, FB_LOAD_FOUND);
        assert_int_equal(rep.kind, FB_KIND_NONE);
        fb_schema_free(s);
    }
    assert_string_equal(fixture_text(f, "select sum(extra) from app.doc"), "25");
    pg_batch_fini(&b);
}

/* A session whose settings somebody in between has changed: what is no bytea as we asked for it is
 * taken as the text that it is. */
static void bytes_as_text(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("y", "doc", "id");
    struct fb_bytes id = fb_bytes_str("00000000-0000-0000-0000-0000000000bb");
    struct pg_error err;
    struct fb_schema *s;
    ns.value = FB_VALUE_COLUMN;
    snprintf(ns.value_column, sizeof(ns.value_column), "y");
    s = rows_usable(f, &ns);
    fixture_sql(f, "insert into app.doc (id, y) values"
                   " ('00000000-0000-0000-0000-0000000000bb', '\\x00ff')");
    assert_true(fb_bytes_equal(fixture_load(f, &ns, s, id).value, fb_bytes("\0\xff", 2)));
    rows_must(pg_script(f->pg, "set bytea_output = 'escape'", &err), &err);
    assert_true(fb_bytes_is(fixture_load(f, &ns, s, id).value, "\\000\\377"));
    rows_must(pg_script(f->pg, "set bytea_output = 'hex'", &err), &err);
    fixture_sql(f, "delete from app.doc where id = '00000000-0000-0000-0000-0000000000bb'");
    fb_schema_free(s);
}

/* Text that PostgreSQL cannot hold is the row's error; the others of the batch go without it. */
static void not_text(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("t", "doc", "id");
    struct fb_feed_object o =
        fixture_object(1, FB_KIND_STRING, fb_bytes_str("00000000-0000-0000-0000-0000000000aa"),
                       fb_bytes("a\0b", 3));
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    ns.value = FB_VALUE_COLUMN;
    snprintf(ns.value_column, sizeof(ns.value_column), "t");
    s = rows_usable(f, &ns);
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "22021");
    o.value = fb_bytes("\xff", 1);
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    o.id = fb_bytes_str("no uuid");
    o.value = fb_bytes_str("x");
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    pg_batch_fini(&b);
    fb_schema_free(s);
}

/* More columns than bits in the mask and than arguments of a function. */
static void wide(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("wide", "wide", "id");
    struct fb_buf sql = {0}, row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    char name[16], value[16];
    fb_buf_put_str(&sql, "create table app.wide (id int primary key");
    for (int i = 0; i < 300; i++) {
        fb_buf_printf(&sql, ", c%d int", i);
        snprintf(name, sizeof(name), "c%d", i);
        snprintf(value, sizeof(value), "%d", i);
        rows_put(&row, name, value);
    }
    fb_buf_put_str(&sql, ")");
    fb_buf_put_u8(&sql, 0);
    fixture_sql(f, (const char *)sql.p);
    s = rows_usable(f, &ns);
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("-5"), fb_buf_view(&row));
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select c0 || ' ' || c299 from app.wide where id = -5"),
                        "0 299");
    fixture_sql(f, "update app.wide set c0 = -1, c1 = -1, c200 = -1");
    o.flags = FB_OBJECT_HAS_BASE;
    o.changed = rows_bit(s, "c0") | rows_bit(s, "c299");
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_int_equal(b.refresh_count, 1);
    assert_string_equal(fixture_text(f, "select c0 || ' ' || c1 || ' ' || c200 from app.wide"),
                        "0 -1 200");
    /* More statements than are kept prepared, in one batch and then again. */
    for (unsigned round = 0; round < 2; round++) {
        static struct fb_buf rows[200];
        static char ids[200][8];
        struct fb_feed_object many[200];
        for (unsigned i = 0; i < 200; i++) {
            snprintf(name, sizeof(name), "c%u", i);
            snprintf(ids[i], sizeof(ids[i]), "%u", i + 1000 * round);
            fb_buf_clear(&rows[i]);
            rows_put(&rows[i], name, "77");
            many[i] =
                fixture_object(i + 1, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&rows[i]));
        }
        rows_must(rows_apply(f, &b, &ns, s, many, 200, &err), &err);
        assert_int_equal(b.rows_inserted, 200);
        for (unsigned i = 0; i < 200 && round == 1; i++)
            fb_buf_fini(&rows[i]);
    }
    assert_string_equal(fixture_text(f, "select count(*) from app.wide where c199 = 77"), "2");
    pg_batch_fini(&b);
    fb_buf_fini(&sql);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),     cmocka_unit_test(too_long),
        cmocka_unit_test(composite_keys), cmocka_unit_test(columns),
        cmocka_unit_test(not_text),       cmocka_unit_test(wide),
        cmocka_unit_test(bytes_as_text),
    };
    return cmocka_run_group_tests(tests, rows_start, fixture_stop);
}
