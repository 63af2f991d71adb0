/* Goal: namespaces mapped to tables: what is refused before the answer, bases, verdicts. Method:
 * scripted events. */
#include "tests/unit/node/mapped_users.h"

static void expect_err(struct fb_rep r, const char *text)
{
    char got[256];
    snprintf(got, sizeof got, "%.*s", (int)r.payload.n, (const char *)r.payload.p);
    assert_int_equal(r.type, FB_REP_ERR);
    assert_string_equal(got, text);
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
    expect_err(
        DO(&h, HSET, "users:7", 0, 0, 0, 0, 4, "owner", "me", "total", "5"),
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
    /* written again while the batch is under way: afterwards only the new column is changed, on the
     * new row */
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
    struct fb_namespace *ns = init_users(h);
    ns->value = FB_VALUE_COLUMN;
    snprintf(ns->value_column, sizeof ns->value_column, "age");
    ns->negative_ttl_ms = 60000;
    ns->conflict = FB_CONFLICT_DB_WINS;
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
    assert_int_equal(DO(&h, GET, "users:7", 0, 0, 0, 0, 0).type,
                     FB_REP_NIL); /* a hint: not asked again */
    assert_int_equal(DO(&h, SET, "users:7", 0, 0, 0, 0, 1, "5").type,
                     FB_REP_OK); /* though owner is not null */
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

/* One HSET that is not ticked: it is pending while the same tick goes on. */
static void hset_pending(struct harness *h, const char *key, const char *field, const char *value)
{
    struct fb_buf args = {0};
    struct fb_req req;
    harness_req(h, &req, NULL, FB_OP_HSET, key);
    fb_list_put(&args, fb_bytes_str(field));
    fb_list_put(&args, fb_bytes_str(value));
    req.nargs = 2;
    req.args = fb_buf_view(&args);
    lane_request(h->lane, &h->dest, &req);
    fb_buf_fini(&args);
}

static void open_with_row(struct harness *h)
{
    struct fb_buf b = {0};
    struct fb_rep rep;
    open_users(h);
    h->set->ns[1].on_delete = FB_ON_DELETE_DELETE;
    assert_int_equal(DO(h, HSET, "users:7", 0, 0, 0, 0, 2, "age", "5").type, 255);
    harness_load(h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(h, &rep));
    fb_buf_fini(&b);
}

/* Emitted in the tick that has a newer version pending: afterwards that one stands on the row as it
 * was written. */
static void test_emitted_while_pending(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    struct fb_feed_batch b;
    uint64_t end;
    (void)state;
    open_with_row(&h);
    harness_sync(&h);
    hset_pending(&h, "users:7", "owner", "you");
    b = harness_feed(&h, p, "users", 0, 10);
    assert_int_equal(b.count, 1);
    harness_pos(&h, p, "users", b.scan_end, 501);
    fo = feed_one(&h, p, b.scan_end, &end);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE | FB_OBJECT_TOKEN_KNOWN);
    assert_int_equal(fo.base_xid, 501);
    assert_int_equal(fo.changed & (1 << 1), 1 << 1);
    harness_close(&h);
}

/* A deletion was applied, nobody said so before the node died, and the key was written anew: an
 * insert or an update, the row decides. It must not look as if SQL had deleted the row, which would
 * delete what was acknowledged. */
static void test_deleted_before_restart(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t end, from;
    (void)state;
    for (uint32_t written_before = 0; written_before < 2; written_before++) {
        open_with_row(&h);
        assert_int_equal(DO(&h, DEL, "users:7", 0, 0, 0, 0, 0).num, 1);
        fo = feed_one(&h, p, 0, &from);
        assert_int_equal(fo.kind, FB_KIND_NONE);
        if (!written_before)
            harness_restart(&h);
        assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 4, "owner", "new", "age", "1").type,
                         FB_REP_INT);
        if (written_before)
            harness_restart(&h);
        fo = feed_one(&h, p, from, &end); /* asks from there: it was committed */
        assert_int_equal(fo.kind, FB_KIND_HASH);
        assert_int_equal(fo.flags, FB_OBJECT_BLIND);
        /* and so it stays over another restart, until the checkpoint tells */
        harness_restart(&h);
        fo = feed_one(&h, p, from, &end);
        assert_int_equal(fo.flags, FB_OBJECT_BLIND);
        harness_pos(&h, p, "users", end, 601);
        assert_int_equal(lane_stats(h.lane)->objects_clean, 1);
        harness_close(&h);
    }
}

/* The same by a batch of which nobody hears: given out, written again, given out again, then the
 * first one was it. */
static void test_first_of_two_batches(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t first, end;
    (void)state;
    open_with_row(&h);
    fo = feed_one(&h, p, 0, &first);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "you").num, 0);
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(fo.base_xid, 500);
    fo = feed_one(&h, p, first, &end);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE); /* a row, but not the one we knew */
    assert_int_equal(fo.changed & 6, 6);
    harness_close(&h);
}

/* Asked again, a feed passes what was replaced since: when that batch is the one that is committed,
 * the older version is in no row, and the newer one brings its columns. */
static void test_passed_when_asked_again(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    struct fb_feed_batch b;
    struct fb_reader r;
    struct fb_buf text = {0};
    struct fb_rep rep;
    char other[16];
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t end;
    (void)state;
    open_with_row(&h);
    for (uint32_t i = 8;; i++) {
        snprintf(other, sizeof other, "users:%u", i % 100);
        if (fb_key_partition(fb_bytes_str(other), HARNESS_PARTS) == p)
            break;
    }
    assert_int_equal(DO(&h, HSET, other, 0, 0, 0, 0, 2, "age", "6").type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&text, "she", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    harness_sync(&h);
    b = harness_feed(&h, p, "users", 0, 10);
    assert_int_equal(b.count, 2); /* users:7 with its age */
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "you").num, 0);
    harness_sync(&h);
    b = harness_feed(&h, p, "users", 0, 1);
    assert_int_equal(b.count, 1);
    r = fb_reader(b.objects);
    assert_int_equal(fb_feed_object_decode(&r, &fo), FB_OK);
    assert_true(fb_bytes_is(fo.id, other + strlen("users:")));
    end = fo.ver;
    harness_pos(&h, p, "users", end, 501);
    fo = feed_one(&h, p, end, &end);
    assert_int_equal(fo.changed & 6, 6);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE); /* either of the two batches was it */
    fb_buf_fini(&text);
    harness_close(&h);
}

/* PostgreSQL refuses a version that was replaced meanwhile: the sync process leaves the row to the
 * newer one, which brings the columns of both. */
static void test_refused_and_replaced(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    struct fb_verdict v = {.part = p,
                           .verdict = FB_VERDICT_PARK,
                           .ns = fb_bytes_str("users"),
                           .id = fb_bytes_str("7"),
                           .sqlstate = "23503"};
    uint64_t end;
    (void)state;
    open_with_row(&h);
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "you").num, 0);
    v.ver = fo.ver;
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    harness_sync(&h);
    harness_pos(&h, p, "users", end, 501);
    fo = feed_one(&h, p, end, &end);
    assert_int_equal(fo.changed & 6, 6);
    assert_int_equal(fo.flags, FB_OBJECT_HAS_BASE); /* its transaction did not write the row */
    harness_close(&h);
}

/* Commands of a transaction that a restarted database lost are written once more, with all columns.
 */
static void test_regression_of_a_rewritten_row(void **state)
{
    struct harness h;
    struct fb_feed_object fo;
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    uint64_t end;
    (void)state;
    open_with_row(&h);
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", "you").num, 0);
    harness_pos(&h, p, "users", end, 501);
    fo = feed_one(&h, p, end, &end);
    assert_int_equal(fo.changed, 1 << 1);
    fo = feed_one(&h, p, 0, &end); /* PostgreSQL says 0 again */
    assert_int_equal(fo.changed & 6, 6);
    assert_int_equal(fo.flags & FB_OBJECT_TOKEN_KNOWN, 0);
    harness_close(&h);
}

/* A sync process that knows the namespace as another table's gets nothing, and what was resident is
 * not that table's. */
static void test_another_table(void **state)
{
    struct harness h;
    struct fb_rep rep;
    struct fb_buf b = {0};
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    struct fb_feed_req req = {.part = p, .ns = fb_bytes_str("users"), .max = 10};
    struct fb_feed_batch batch;
    struct fb_reader r;
    struct fb_namespace *ns;
    (void)state;
    open_users(&h);
    ns = &h.set->ns[1];
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, FB_REP_BULK);
    for (int same = 0; same < 2; same++) {
        req.mapping = same ? fb_schema_mapping(ns) : fb_schema_mapping(ns) + 1;
        fb_buf_clear(&h.feeds.batches);
        lane_feed_req(h.lane, &h.feeds, &req);
        r = fb_reader(fb_buf_view(&h.feeds.batches));
        assert_int_equal(fb_feed_batch_decode(&r, &batch), FB_OK);
        assert_int_equal(batch.status, same ? FB_FEED_OK : FB_FEED_NO_NAMESPACE);
    }
    snprintf(ns->table_name, sizeof ns->table_name, "others");
    lane_configure(h.lane, h.set, h.schemas);
    assert_int_equal(DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age").type, 255);
    fb_buf_fini(&b);
    harness_close(&h);
}

/* Others wrote megabytes into a column, we into another: together more than an object may have. */
static void test_conflict_too_large(void **state)
{
    const size_t large = 5u << 20;
    char *text = malloc(large + 1);
    uint16_t p = fb_key_partition(fb_bytes_str("users:7"), HARNESS_PARTS);
    struct harness h;
    struct fb_rep rep;
    struct fb_feed_object fo;
    struct fb_buf b = {0};
    uint64_t end;
    (void)state;

    memset(text, '1', large);
    text[large] = 0;
    open_users(&h);
    h.set->ns[1].max_value = FB_VALUE_BYTES_MAX;
    assert_int_equal(DO(&h, HSET, "users:7", 0, 0, 0, 0, 2, "owner", text).type, 255);
    harness_load(&h, 0, FB_LOAD_FOUND, FB_KIND_HASH, row(&b, "me", "4"), 500, 0);
    assert_true(harness_pop(&h, &rep));
    assert_int_equal(rep.num, 0);
    fo = feed_one(&h, p, 0, &end);
    struct fb_verdict v = {.verdict = FB_VERDICT_CONFLICT,
                           .part = p,
                           .ns = fb_bytes_str("users"),
                           .id = fb_bytes_str("7"),
                           .ver = fo.ver,
                           .kind = FB_KIND_HASH,
                           .xmin = 600,
                           .value = row(&b, "they", text)};
    lane_verdict(h.lane, &h.feeds, &v);
    harness_tick(&h);
    rep = DO(&h, HGET, "users:7", 0, 0, 0, 0, 1, "age");
    assert_true(fb_bytes_is(rep.payload, "4"));
    fo = feed_one(&h, p, 0, &end);
    assert_int_equal(fo.base_xid, 600);
    assert_int_equal(fo.changed, 1 << 1);
    assert_true(fo.value.n > large);
    free(text);
    fb_buf_fini(&b);
    harness_restart(&h);
    harness_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules),
                                       cmocka_unit_test(test_bases),
                                       cmocka_unit_test(test_null_column),
                                       cmocka_unit_test(test_emitted_while_pending),
                                       cmocka_unit_test(test_deleted_before_restart),
                                       cmocka_unit_test(test_first_of_two_batches),
                                       cmocka_unit_test(test_passed_when_asked_again),
                                       cmocka_unit_test(test_refused_and_replaced),
                                       cmocka_unit_test(test_regression_of_a_rewritten_row),
                                       cmocka_unit_test(test_conflict_too_large),
                                       cmocka_unit_test(test_another_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
