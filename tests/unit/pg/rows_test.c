/* Mapped rows against a real PostgreSQL: every type comes back as PostgreSQL's text, conflicts are
 * found, defaults and generated columns are read back. */
#include "tests/unit/pg/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define HAS_ROW (FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN)

static struct fb_namespace mapping(const char *name, const char *table, const char *key)
{
    struct fb_namespace ns = {.mapped = true,
                              .value = FB_VALUE_ROW,
                              .external = FB_EXTERNAL_DETECT,
                              .on_delete = FB_ON_DELETE_DELETE};
    snprintf(ns.name, sizeof(ns.name), "%s", name);
    snprintf(ns.table_schema, sizeof(ns.table_schema), "app");
    snprintf(ns.table_name, sizeof(ns.table_name), "%s", table);
    snprintf(ns.key, sizeof(ns.key), "%s", key);
    return ns;
}

static struct fb_schema *schema_of(struct fixture *f, const struct fb_namespace *ns)
{
    struct fb_schema *s;
    struct pg_error err;
    if (pg_read_schema(f->pg, ns, &s, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    return s;
}

static struct fb_schema *usable(struct fixture *f, const struct fb_namespace *ns)
{
    struct fb_schema *s = schema_of(f, ns);
    assert_string_equal(s->problem, "");
    return s;
}

static uint64_t bit_of(const struct fb_schema *s, const char *name)
{
    const struct fb_column *c = fb_schema_column(s, fb_bytes_str(name));
    assert_non_null(c);
    return fb_column_bit(c);
}

static void put(struct fb_buf *h, const char *name, const char *value)
{
    fb_hash_put(h, fb_bytes_str(name), fb_bytes_str(value));
}

static const char *field(struct fb_bytes hash, const char *name)
{
    static char text[8][512];
    static unsigned at;
    struct fb_bytes v;
    char *out = text[at++ % 8];
    if (!fb_hash_get(hash, fb_bytes_str(name), &v))
        return "(null)";
    snprintf(out, 512, "%.*s", (int)v.n, (const char *)v.p);
    return out;
}

/* Checkpoints only grow: one counter for the whole program. */
static enum pg_class apply(struct fixture *f, struct pg_batch *b, const struct fb_namespace *ns,
                           const struct fb_schema *s, const struct fb_feed_object *o, size_t n,
                           struct pg_error *err)
{
    char sql[128];
    uint64_t prev;
    struct pg_feed *feed = malloc(sizeof(*feed));
    enum pg_class c;
    assert_non_null(feed);
    snprintf(sql, sizeof(sql), "select ver from forebay.checkpoint where ns = '%s'", ns->name);
    prev = strtoull(fixture_text(f, sql), NULL, 10);
    *feed = fixture_feed(ns, s, prev, prev + 1, o, n);
    c = fixture_apply(f, b, feed, err);
    free(feed);
    return c;
}

static void must(enum pg_class c, const struct pg_error *err)
{
    if (c != PG_OK)
        fail_msg("class %d %s %s", (int)c, err->sqlstate, err->message);
}

static int errors;
static int warnings;
static void heard(void *arg, int level, const char *text)
{
    (void)arg;
    errors += level == 2;
    warnings += level == 1;
    assert_true(text[0] != '\0');
}

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
    struct fb_namespace ns = mapping("all", "all_types", "id");
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
    s = usable(f, &ns);
    assert_int_equal(s->column_count, FB_COUNT_OF(types) + 4);
    assert_true(fb_schema_column(s, fb_bytes_str("ident"))->generated);
    assert_true(fb_schema_column(s, fb_bytes_str("dflt"))->has_default);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_enum"))->label_count, 2);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_varchar"))->length, 10);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_num102"))->scale, 2);
    assert_int_equal(fb_schema_column(s, fb_bytes_str("c_domain"))->check, FB_TYPE_INT4);

    /* Insert: what is stored comes back as a refresh. */
    for (size_t i = 0; i < FB_COUNT_OF(types); i++)
        put(&row, types[i].name, types[i].in);
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("5"), fb_buf_view(&row));
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
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
        assert_string_equal(field(rep.value, types[i].name),
                            types[i].text == NULL ? types[i].in : types[i].text);
    assert_string_equal(field(rep.value, "gen"), "g5");
    assert_string_equal(field(rep.value, "ident"), "1");
    assert_string_equal(field(rep.value, "dflt"), "dd");
    assert_string_equal(field(rep.value, "id"), "5");

    /* The same texts again by update: nothing differs; then all to null. */
    fb_buf_clear(&row);
    fb_buf_put_bytes(&row, rep.value);
    o = fixture_object(2, FB_KIND_HASH, fb_bytes_str("5"), fb_buf_view(&row));
    o.flags = HAS_ROW;
    o.base_xid = (uint32_t)b.xid;
    o.changed = UINT64_MAX;
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_int_equal(b.rows_updated, 1);
    assert_int_equal(b.refresh_count, 0);
    fb_buf_clear(&row);
    put(&row, "id", "5");
    put(&row, "dflt", "x");
    o.value = fb_buf_view(&row);
    o.base_xid = (uint32_t)b.xid;
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
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
    struct fb_namespace ns = mapping("all", "all_types", "id");
    struct fb_schema *s = usable(f, &ns);
    struct pg_batch b = {0};
    struct pg_error err;
    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        struct fb_buf row = {0};
        struct fb_feed_object o;
        put(&row, bad[i][0], bad[i][1]);
        o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("6"), fb_buf_view(&row));
        assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
        assert_string_equal(err.sqlstate, bad[i][2]);
        o.id = fb_bytes_str("5");
        o.flags = FB_OBJECT_HAS_BASE;
        o.changed = bit_of(s, bad[i][0]);
        assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
        assert_string_equal(err.sqlstate, bad[i][2]);
        fb_buf_fini(&row);
    }
    assert_true(pg_connected(f->pg));
    pg_batch_fini(&b);
    fb_schema_free(s);
}

static void conflicts(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("acct", "account", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o[3];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    uint32_t xmin;
    char before[64];
    fixture_sql(f,
                "create table app.account (id int primary key, a text, b text, mail text unique);"
                "insert into app.account values (1, 'a1', 'b1'), (2, 'a2', 'b2'), (3, 'a3', 'b3')");
    s = usable(f, &ns);
    xmin = fixture_load(f, &ns, s, fb_bytes_str("1")).xmin;
    fixture_sql(
        f,
        "update app.account set b = 'theirs' where id = 2; delete from app.account where id = 3");
    put(&row, "a", "ours");
    for (unsigned i = 0; i < 3; i++) {
        static const char *const ids[] = {"1", "2", "3"};
        o[i] = fixture_object(10 + i, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&row));
        o[i].flags = HAS_ROW;
        o[i].base_xid = xmin;
        o[i].changed = bit_of(s, "a");
    }
    assert_int_equal(apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 2);
    assert_int_equal(b.conflicts[0].object, 1);
    assert_int_equal(b.conflicts[0].kind, FB_KIND_HASH);
    assert_string_equal(
        field(fb_bytes(b.bytes.p + b.conflicts[0].value_at, b.conflicts[0].value_n), "b"),
        "theirs");
    assert_int_equal(b.conflicts[1].object, 2);
    assert_int_equal(b.conflicts[1].kind, FB_KIND_NONE);
    assert_string_equal(fixture_text(f, "select string_agg(a, ' ' order by id) from app.account"),
                        "a1 a2");
    /* The checkpoint did not move; resolved, it does. */
    o[1].base_xid = b.conflicts[0].xmin;
    must(apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_string_equal(
        fixture_text(f, "select string_agg(a || b, ' ' order by id) from app.account"),
        "oursb1 ourstheirs");
    /* An unknown token, or external = none: no comparison; a row that is gone is still a conflict.
     */
    fixture_sql(f, "update app.account set b = 'again'");
    o[0].flags = FB_OBJECT_HAS_BASE;
    must(apply(f, &b, &ns, s, o, 1, &err), &err);
    o[1].base_xid = 3;
    ns.external = FB_EXTERNAL_NONE;
    must(apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].kind, FB_KIND_NONE);
    ns.external = FB_EXTERNAL_DETECT;

    /* Inserts: an existing key is a conflict with its row, in the middle of new ones. */
    o[0] = fixture_object(20, FB_KIND_HASH, fb_bytes_str("0"), fb_buf_view(&row));
    o[1] = fixture_object(21, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o[2] = fixture_object(22, FB_KIND_HASH, fb_bytes_str("4"), fb_buf_view(&row));
    assert_int_equal(apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].object, 1);
    assert_string_equal(fixture_text(f, "select count(*) from app.account"), "2");
    o[1].flags = FB_OBJECT_PARKED;
    must(apply(f, &b, &ns, s, o, 3, &err), &err);
    assert_int_equal(b.rows_inserted, 2);
    assert_int_equal(b.refresh_count, 2); /* the key columns */

    /* A clash in another unique column is an error of the row. */
    fixture_sql(f, "update app.account set mail = 'm' where id = 1");
    fb_buf_clear(&row);
    put(&row, "mail", "m");
    o[0] = fixture_object(30, FB_KIND_HASH, fb_bytes_str("9"), fb_buf_view(&row));
    assert_int_equal(apply(f, &b, &ns, s, o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "23505");
    assert_int_equal(err.feed, 0);

    /* Deletes: changed meanwhile = conflict, gone = done. */
    o[0] = fixture_object(40, FB_KIND_NONE, fb_bytes_str("1"), fb_bytes("", 0));
    o[0].flags = HAS_ROW;
    o[0].base_xid = xmin;
    o[1] = fixture_object(41, FB_KIND_NONE, fb_bytes_str("77"), fb_bytes("", 0));
    o[1].flags = HAS_ROW;
    o[1].base_xid = xmin;
    assert_int_equal(apply(f, &b, &ns, s, o, 2, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].object, 0);
    o[0].base_xid = b.conflicts[0].xmin;
    must(apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(b.rows_deleted, 1);

    /* A trigger that swallows the update is the row's error, not an endless conflict. */
    fixture_sql(
        f, "create function app.no() returns trigger language plpgsql as 'begin return null; end';"
           "create trigger t before update on app.account for each row execute function app.no()");
    xmin = fixture_load(f, &ns, s, fb_bytes_str("2")).xmin;
    fb_buf_clear(&row);
    put(&row, "a", "never");
    o[0] = fixture_object(50, FB_KIND_HASH, fb_bytes_str("2"), fb_buf_view(&row));
    o[0].flags = HAS_ROW;
    o[0].base_xid = xmin;
    o[0].changed = bit_of(s, "a");
    assert_int_equal(apply(f, &b, &ns, s, o, 1, &err), PG_ROW);
    fixture_sql(f, "drop trigger t on app.account");

    /* Schema changes under prepared statements. */
    must(apply(f, &b, &ns, s, o, 1, &err), &err);
    snprintf(before, sizeof(before), "%s",
             fixture_text(f, "select ver from forebay.checkpoint where ns = 'acct'"));
    fixture_sql(f, "alter table app.account drop column b");
    o[0].base_xid = (uint32_t)b.xid;
    assert_int_equal(apply(f, &b, &ns, s, o, 1, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "42703");
    assert_string_equal(fixture_text(f, "select ver from forebay.checkpoint where ns = 'acct'"),
                        before);
    fb_schema_free(s);
    s = usable(f, &ns);
    must(apply(f, &b, &ns, s, o, 1, &err), &err);
    fixture_sql(f, "alter table app.account alter column id type bigint");
    fb_schema_free(s);
    s = usable(f, &ns);
    o[0].flags = FB_OBJECT_HAS_BASE;
    must(apply(f, &b, &ns, s, o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

static void composite_keys(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("pair", "Pair", "name, day");
    struct fb_buf row = {0};
    struct fb_schema *s;
    struct fb_feed_object o[2];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_load_rep rep;
    fixture_sql(f,
                "create table app.\"Pair\" (day date, name text, v int, primary key (day, name))");
    s = usable(f, &ns);
    assert_int_equal(s->key_count, 2);
    put(&row, "v", "1");
    o[0] = fixture_object(1, FB_KIND_HASH, fb_bytes_str("a%2Fb'\\/2026-01-02"), fb_buf_view(&row));
    o[1] = fixture_object(2, FB_KIND_HASH, fb_bytes_str("plain/2026-01-03"), fb_buf_view(&row));
    must(apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(b.rows_inserted, 2);
    rep = fixture_load(f, &ns, s, o[0].id);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_string_equal(field(rep.value, "name"), "a/b'\\");
    assert_string_equal(field(rep.value, "day"), "2026-01-02");
    rep = fixture_load(f, &ns, s, fb_bytes_str("plain"));
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    rep = fixture_load(f, &ns, s, fb_bytes_str("plain/notadate"));
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    o[0] = fixture_object(3, FB_KIND_NONE, o[0].id, fb_bytes("", 0));
    must(apply(f, &b, &ns, s, o, 1, &err), &err);
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
        struct fb_namespace ns = mapping(kinds[i][0], "doc", "id");
        char id[40];
        struct fb_bytes value =
            i == 2 ? fb_bytes("\0\xff\\x'", 5) : fb_bytes_str("{\"k\":  \"v\\\\\"}");
        struct fb_feed_object o;
        struct fb_load_rep rep;
        struct fb_schema *s;
        ns.value = FB_VALUE_COLUMN;
        snprintf(ns.value_column, sizeof(ns.value_column), "%s", kinds[i][0]);
        snprintf(ns.expires_column, sizeof(ns.expires_column), "exp");
        s = usable(f, &ns);
        snprintf(id, sizeof(id), "00000000-0000-0000-0000-00000000000%zu", i);
        o = fixture_object(1, FB_KIND_STRING, fb_bytes_str(id), value);
        o.expires_ms = INT64_C(4102444800123);
        must(apply(f, &b, &ns, s, &o, 1, &err), &err);
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
        must(apply(f, &b, &ns, s, &o, 1, &err), &err);
        assert_int_equal(b.refresh_count, 0);
        rep = fixture_load(f, &ns, s, o.id);
        assert_int_equal(rep.expires_ms, 0);
        assert_true(fb_bytes_equal(rep.value, o.value));
        /* Blind: an upsert without having seen the row. */
        o.flags = FB_OBJECT_BLIND;
        o.value = fb_bytes_str("[1]");
        must(apply(f, &b, &ns, s, &o, 1, &err), &err);
        assert_true(fb_bytes_equal(fixture_load(f, &ns, s, o.id).value, o.value));
        /* Soft deletion: the row stays without a value. */
        ns.on_delete = FB_ON_DELETE_NULL;
        snprintf(ns.delete_column, sizeof(ns.delete_column), "%s", kinds[i][0]);
        o.kind = FB_KIND_NONE;
        o.flags = HAS_ROW;
        o.base_xid = (uint32_t)b.xid;
        must(apply(f, &b, &ns, s, &o, 1, &err), &err);
        rep = fixture_load(f, &ns, s, o.id);
        assert_int_equal(rep.status, FB_LOAD_FOUND);
        assert_int_equal(rep.kind, FB_KIND_NONE);
        fb_schema_free(s);
    }
    assert_string_equal(fixture_text(f, "select sum(extra) from app.doc"), "25");
    pg_batch_fini(&b);
}

/* Text that PostgreSQL cannot hold is the row's error; the others of the batch go without it. */
static void not_text(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("t", "doc", "id");
    struct fb_feed_object o =
        fixture_object(1, FB_KIND_STRING, fb_bytes_str("00000000-0000-0000-0000-0000000000aa"),
                       fb_bytes("a\0b", 3));
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    ns.value = FB_VALUE_COLUMN;
    snprintf(ns.value_column, sizeof(ns.value_column), "t");
    s = usable(f, &ns);
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "22021");
    o.value = fb_bytes("\xff", 1);
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    o.id = fb_bytes_str("no uuid");
    o.value = fb_bytes_str("x");
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    pg_batch_fini(&b);
    fb_schema_free(s);
}

/* More columns than bits in the mask and than arguments of a function. */
static void wide(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("wide", "wide", "id");
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
        put(&row, name, value);
    }
    fb_buf_put_str(&sql, ")");
    fb_buf_put_u8(&sql, 0);
    fixture_sql(f, (const char *)sql.p);
    s = usable(f, &ns);
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("-5"), fb_buf_view(&row));
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select c0 || ' ' || c299 from app.wide where id = -5"),
                        "0 299");
    fixture_sql(f, "update app.wide set c0 = -1, c1 = -1, c200 = -1");
    o.flags = FB_OBJECT_HAS_BASE;
    o.changed = bit_of(s, "c0") | bit_of(s, "c299");
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
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
            put(&rows[i], name, "77");
            many[i] =
                fixture_object(i + 1, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&rows[i]));
        }
        must(apply(f, &b, &ns, s, many, 200, &err), &err);
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

/* A role with the documented rights only, and types outside the search path. */
static void plain_role(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("role", "role", "id");
    struct fb_nsset *set = calloc(1, sizeof(*set));
    char conninfo[512];
    struct pg_config config = {.conninfo = conninfo};
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_feed feed;
    struct pg_error err;
    struct fb_schema *s;
    struct pg *pg;
    bool fatal;
    assert_non_null(set);
    fixture_sql(f, "create role forebay_sync login; create table app.role (id int primary key, "
                   "mood app.\"Mood\", d app.positive)");
    must(pg_setup(f->pg, &err), &err);
    snprintf(conninfo, sizeof(conninfo), "%s user=forebay_sync\n", f->conninfo);
    pg = pg_new(&config);
    must(pg_connect(pg, &fatal, &err), &err);
    assert_int_equal(pg_read_schema(pg, &ns, &s, &err), PG_OK);
    assert_non_null(strstr(s->problem, "no right to read"));
    fb_schema_free(s);
    fixture_sql(
        f, "grant usage on schema app to forebay_sync; grant select on app.role to forebay_sync");
    set->count = 1;
    set->ns[0] = ns;
    errors = warnings = 0;
    must(pg_check(pg, set, heard, NULL, &err), &err);
    assert_int_equal(errors, 3);
    assert_int_equal(pg_read_schema(pg, &ns, &s, &err), PG_OK);
    assert_string_equal(s->problem, "");
    put(&row, "mood", "good");
    put(&row, "d", "3");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    b = (struct pg_batch){.feeds = &feed, .feed_count = 1};
    assert_int_equal(pg_apply(pg, fixture_cluster, &b, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "42501");
    fixture_sql(f, "grant insert, update, delete on app.role to forebay_sync");
    must(pg_apply(pg, fixture_cluster, &b, &err), &err);
    errors = 0;
    must(pg_check(pg, set, heard, NULL, &err), &err);
    assert_int_equal(errors, 0);
    pg_free(pg);
    free(set);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* What goes wrong at COMMIT: a deferred constraint is the row's error; a connection that dies
 * leaves the outcome open. */
static void at_commit(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("late", "late", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    bool fatal;
    fixture_sql(
        f, "create table app.late (id int primary key, u int unique deferrable initially deferred,"
           " p int references app.late deferrable initially deferred);"
           "create function app.die() returns trigger language plpgsql as"
           " 'begin if new.u = 13 then perform pg_terminate_backend(pg_backend_pid()); end if; "
           "return null; end';"
           "create constraint trigger t after insert on app.late deferrable initially deferred for "
           "each row"
           " execute function app.die()");
    s = usable(f, &ns);
    put(&row, "u", "1");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
    o.id = fb_bytes_str("2");
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "23505");
    fb_buf_clear(&row);
    put(&row, "p", "99");
    o.value = fb_buf_view(&row);
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_FOREIGN_KEY);
    fb_buf_clear(&row);
    put(&row, "u", "13");
    o.value = fb_buf_view(&row);
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_UNKNOWN);
    assert_false(pg_connected(f->pg));
    must(pg_connect(f->pg, &fatal, &err), &err);
    put(&row, "id", "2");
    fb_buf_clear(&row);
    o.value = fb_buf_view(&row); /* only the key: all defaults */
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from app.late"), "2");
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* The server dies under a batch that waits for a lock: an outage, nothing written. */
static void outage_in_the_middle(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("late", "late", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s = usable(f, &ns);
    bool fatal;
    fixture_sql(
        f,
        "create function app.die_now() returns trigger language plpgsql as"
        " 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end';"
        "create trigger now before update on app.late for each row execute function app.die_now()");
    put(&row, "u", "5");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o.flags = FB_OBJECT_HAS_BASE;
    o.changed = bit_of(s, "u");
    assert_int_equal(apply(f, &b, &ns, s, &o, 1, &err), PG_OUTAGE);
    assert_false(pg_connected(f->pg));
    fixture_sql(f, "drop trigger now on app.late");
    must(pg_connect(f->pg, &fatal, &err), &err);
    must(apply(f, &b, &ns, s, &o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

static void says(struct fixture *f, const struct fb_namespace *ns, const char *part)
{
    struct fb_schema *s = schema_of(f, ns);
    if (strstr(s->problem, part) == NULL)
        fail_msg("'%s' has no '%s'", s->problem, part);
    fb_schema_free(s);
}

static void problems(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = mapping("p", "nowhere", "id");
    struct fb_nsset *set = calloc(1, sizeof(*set));
    struct pg_error err;
    struct fb_schema *s;
    assert_non_null(set);
    fixture_sql(
        f, "create table app.bare (id int, v text); create view app.v as select * from app.bare;"
           "create materialized view app.m as select 1 as id;"
           "create table app.part (id int primary key, v text) partition by hash (id);"
           "create table app.part0 partition of app.part for values with (modulus 1, remainder 0);"
           "create table app.must (id int primary key, v text, need int not null)");
    says(f, &ns, "app.nowhere: the table does not exist");
    ns = mapping("p", "bare", "id");
    says(f, &ns, "app.bare: the key column \"id\" has no unique index");
    fixture_sql(f, "create unique index on app.bare (id) where id > 0");
    says(f, &ns, "has no unique index");
    ns = mapping("p", "bare", "nix");
    says(f, &ns, "\"nix\" does not exist");
    ns = mapping("p", "v", "id");
    says(f, &ns, "is a view");
    ns = mapping("p", "m", "id");
    says(f, &ns, "materialized view");
    ns = mapping("p", "part", "id");
    s = usable(f, &ns);
    fb_schema_free(s);
    set->count = 4;
    snprintf(set->ns[0].name, sizeof(set->ns[0].name), "default");
    set->ns[1] = ns;
    set->ns[2] = mapping("bad", "bare", "id");
    set->ns[3] = mapping("must", "must", "id");
    set->ns[3].value = FB_VALUE_COLUMN;
    snprintf(set->ns[3].value_column, sizeof(set->ns[3].value_column), "v");
    errors = warnings = 0;
    assert_int_equal(pg_check(f->pg, set, heard, NULL, &err), PG_OK);
    assert_int_equal(errors, 1);
    assert_int_equal(warnings, 1);
    free(set);
}

static void letter(void *arg, const char *ns, uint16_t part, struct fb_bytes id, uint64_t ver,
                   const char *sqlstate, const char *message, const char *at, const char *kind,
                   const char *value_json)
{
    assert_string_equal(ns, "x");
    assert_int_equal(part, 9);
    assert_true(fb_bytes_equal(id, fb_bytes("\xff\0", 2)));
    assert_int_equal(ver, 6);
    assert_string_equal(sqlstate, "22003");
    assert_string_equal(message, "too big");
    assert_true(at[0] != '\0');
    assert_string_equal(kind, "string");
    assert_string_equal(value_json, "\"say \\\"hi\\\"\"");
    ++*(int *)arg;
}

static void dead_letters(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_feed_object o =
        fixture_object(6, FB_KIND_STRING, fb_bytes("\xff\0", 2), fb_bytes_str("say \"hi\""));
    struct pg_error err;
    int count = 0;
    assert_int_equal(
        pg_dead_letter_put(f->pg, fixture_cluster, "x", 9, &o, "22003", "too big", &err), PG_OK);
    o.ver = 5; /* older: no effect */
    assert_int_equal(pg_dead_letter_put(f->pg, fixture_cluster, "x", 9, &o, "22003", "older", &err),
                     PG_OK);
    assert_int_equal(pg_dead_letter_list(f->pg, fixture_cluster, NULL, 10, letter, &count, &err),
                     PG_OK);
    assert_int_equal(pg_dead_letter_list(f->pg, fixture_cluster, "y", 10, letter, &count, &err),
                     PG_OK);
    assert_int_equal(count, 1);
    assert_int_equal(pg_dead_letter_clear(f->pg, fixture_cluster, "x", o.id, 5, &err), PG_OK);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "1");
    assert_int_equal(pg_dead_letter_clear(f->pg, fixture_cluster, "x", o.id, 6, &err), PG_OK);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "0");
}

static int start(void **state)
{
    int rc = fixture_start(state);
    fixture_sql(*state, "create schema app");
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type), cmocka_unit_test(too_long),
        cmocka_unit_test(conflicts),  cmocka_unit_test(composite_keys),
        cmocka_unit_test(columns),    cmocka_unit_test(not_text),
        cmocka_unit_test(wide),       cmocka_unit_test(plain_role),
        cmocka_unit_test(at_commit),  cmocka_unit_test(outage_in_the_middle),
        cmocka_unit_test(problems),   cmocka_unit_test(dead_letters),
    };
    return cmocka_run_group_tests(tests, start, fixture_stop);
}
