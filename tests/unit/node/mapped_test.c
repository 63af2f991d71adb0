/* Goal: namespaces mapped to tables: what is refused before the answer, bases, verdicts. Method: scripted events. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define DO(h, op, key, ...) harness_do(h, FB_OP_##op, key, __VA_ARGS__)

static struct fb_column columns[] = {
    {.name = "id",
     .type = "integer",
     .attnum = 1,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1,
     .not_null = true,
     .is_key = true},
    {.name = "owner",
     .type = "text",
     .attnum = 2,
     .check = FB_TYPE_TEXT,
     .length = -1,
     .scale = -1,
     .not_null = true},
    {.name = "age", .type = "integer", .attnum = 3, .check = FB_TYPE_INT4, .length = -1, .scale = -1},
    {.name = "total",
     .type = "integer",
     .attnum = 4,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1,
     .generated = true},
};
static struct fb_schema schema = {
    .ns = "users", .column_count = 4, .columns = columns, .key_count = 1, .key_columns = {0}};

static void open_users(struct harness *h)
{
    struct fb_namespace *ns;
    harness_init(h);
    ns = harness_namespace(h, "users");
    ns->mapped = true;
    snprintf(ns->table_schema, sizeof ns->table_schema, "app");
    snprintf(ns->table_name, sizeof ns->table_name, "users");
    snprintf(ns->key, sizeof ns->key, "id");
    ns->value = FB_VALUE_ROW;
    ns->ttl_ms = 60000;
    ns->conflict = FB_CONFLICT_MERGE_COLUMNS;
    h->schemas[1] = &schema;
    harness_open(h, 0, 0);
}

static void expect_err(struct fb_rep r, const char *text)
{
    char got[256];
    snprintf(got, sizeof got, "%.*s", (int)r.payload.n, (const char *)r.payload.p);
    assert_int_equal(r.type, FB_REP_ERR);
    assert_string_equal(got, text);
}

static struct fb_bytes row(struct fb_buf *b, const char *owner, const char *age)
{
    fb_buf_clear(b);
    fb_hash_put(b, fb_bytes_str("id"), fb_bytes_str("7"));
    fb_hash_put(b, fb_bytes_str("owner"), fb_bytes_str(owner));
    if (age != NULL)
        fb_hash_put(b, fb_bytes_str("age"), fb_bytes_str(age));
    return fb_buf_view(b);
}

static struct fb_feed_object feed_one(struct harness *h, uint16_t p, uint64_t from, uint64_t *scan_end)
{
    static struct fb_buf kept;
    struct fb_feed_object fo = {0};
    struct fb_feed_batch b;
    struct fb_reader r;
    harness_sync(h);
    b = harness_feed(h, p, "users", from, 10);
    assert_int_equal(b.count, 1);
    fb_buf_clear(&kept);
    fb_buf_put_bytes(&kept, b.objects);
    r = fb_reader(fb_buf_view(&kept));
    assert_int_equal(fb_feed_object_decode(&r, &fo), FB_OK);
    *scan_end = b.scan_end;
    return fo;
}

static void test_rules(void **state)
{
    struct harness h;
    struct fb_rep rep;
    (void)state;
    open_users(&h);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(&h, 0, FB_LOAD_ABSENT, 0, fb_bytes("", 0), 0, 0);
    assert_true(harness_pop(&h, &rep));
    expect_err(rep, "ERR column \"owner\" of app.users needs a value (nothing changed)");
    expect_err(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "colour", "5"),
               "ERR app.users has no column \"colour\" (nothing changed)");
    expect_err(DO(&h, HSET, "users:7", 0, 0, 0, 0, 4, "owner", "me", "total", "5"),
               "ERR column \"total\" of app.users is generated and cannot be written (nothing changed)");
    expect_err(DO(&h, SET, "users:7", 0, 0, 0, 0, 1, "x"),
               "WRONGTYPE Operation against a key holding the wrong kind of value");
    assert_int_equal(DO(&h, DEL, "users:7", 0, 0, 0, 0, 0).type, FB_REP_ERR);
    assert_int_equal(DO(&h, EXPIREAT, "users:7", 0, 1, 0, 0, 0).type, FB_REP_ERR);
    assert_int_equal(DO(&h, HGET, "users:abc", 0, 0, 0, 0, 1, "age").type, FB_REP_ERR);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "me").num, 1);
    expect_err(DO(&h, HDEL, "users:7", 0, 0, 0, 0, 1, "owner"),
               "ERR column \"owner\" of app.users cannot be null (nothing changed)");
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "abc").type, FB_REP_ERR);
    harness_close(&h);
}

static void test_bases(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_feed_object fo;
    struct fb_buf b = {0};
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t end;
    (void)state;
    open_users(&h);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.num, 0);
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN);
    assert_int_equal(fo.base_xid, 500);
    assert_int_equal(fo.changed, 1 << 2);
    /* written again while the batch is under way: afterwards only the new column is changed, on the new row */
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "you").num, 0);
    harness_pos(&h, p, "users", end, 501);
    uint64_t from = end;
    fo = feed_one(&h, p, from, &end);
    assert_int_equal(fo.base_xid, 501);
    assert_int_equal(fo.changed, 1 << 1);
    /* the same after a replay */
    harness_restart(&h);
    fo = feed_one(&h, p, from, &end);
    assert_int_equal(fo.base_xid, 501);
    assert_int_equal(fo.changed, 1 << 1);
    /* conflict: the row has another age now; both survive */
    struct fb_verdict v = {.verdict = FB_VERDICT_CONFLICT,
                           .part = p,
                           .ns = fb_bytes_str("users"),
                           .id = fb_bytes_str("7"),
                           .ver = fo.ver,
                           .kind = FB_KIND_HASH,
                           .xmin = 600,
                           .value = row(&b, "they", "99")};
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    rep = DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age");
    assert_true(fb_bytes_is(rep.payload, "99"));
    rep = DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "owner");
    assert_true(fb_bytes_is(rep.payload, "you"));
    fo = feed_one(&h, p, from, &end);
    assert_int_equal(fo.base_xid, 600);
    assert_int_equal(fo.changed, 1 << 1);
    harness_pos(&h, p, "users", end, 601);
    assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
    /* values read back */
    v = (struct fb_verdict){.verdict = FB_VERDICT_REFRESH,
                            .part = p,
                            .ns = fb_bytes_str("users"),
                            .id = fb_bytes_str("7"),
                            .ver = fo.ver,
                            .kind = FB_KIND_HASH,
                            .xmin = 601,
                            .value = row(&b, "you", "100")};
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    rep = DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age");
    assert_true(fb_bytes_is(rep.payload, "100"));
    /* the copy grows old and is loaded again; with PostgreSQL away it is still served */
    h.wall_ms += 61000;
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, 255);
    lane_loads_fail(h.lane, "connection refused");
    harness_tick(&h);
    assert_true(harness_pop(&h, &rep));
    assert_true(fb_bytes_is(rep.payload, "100"));
    assert_int_equal(h.dest.held, 0);
    fb_buf_fini(&b);
    harness_close(&h);
}

static void open_column(struct harness *h)
{
    struct fb_namespace *ns;
    harness_init(h);
    ns = harness_namespace(h, "users");
    ns->mapped = true;
    snprintf(ns->table_schema, sizeof ns->table_schema, "app");
    snprintf(ns->table_name, sizeof ns->table_name, "users");
    snprintf(ns->key, sizeof ns->key, "id");
    ns->value = FB_VALUE_COLUMN;
    snprintf(ns->value_column, sizeof ns->value_column, "age");
    ns->negative_ttl_ms = 60000;
    ns->conflict = FB_CONFLICT_DB_WINS;
    h->schemas[1] = &schema;
    harness_open(h, 0, 0);
}

/* A row whose column is NULL has no value for readers, and is there for writers. */
static void test_null_column(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_feed_object fo;
    struct fb_verdict v;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t end;
    (void)state;
    open_column(&h);
    assert_int_equal(DO(&h, GET, "users:7", 0, 0, 0, 0, 0).type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_NONE, fb_bytes("", 0), 500, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.type, FB_REP_NIL);
    assert_int_equal(DO(&h, GET, "users:7", 0, 0, 0, 0, 0).type, FB_REP_NIL); /* a hint: not asked again */
    assert_int_equal(DO(&h, SET, "users:7", 0, 0, 0, 0, 1, "5").type, FB_REP_OK); /* though owner is not null */
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN);
    assert_int_equal(fo.base_xid, 500);
    /* the row changed and is NULL still: our value goes there, on the row as it is now */
    v = (struct fb_verdict){.part = p,
                            .verdict = FB_VERDICT_CONFLICT,
                            .ns = fb_bytes_str("users"),
                            .id = fb_bytes_str("7"),
                            .ver = fo.ver,
                            .kind = FB_KIND_NONE,
                            .xmin = 501};
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(fo.kind, FB_KIND_STRING);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN);
    assert_int_equal(fo.base_xid, 501);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_bases),
                                       cmocka_unit_test(test_null_column)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
