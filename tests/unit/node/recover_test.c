/* Goal: a log or snapshot whose checksums are right and whose content no lane could have written is
 * refused as corrupt. Method: single records. */
#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"
#include "proto/rt/rcu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct store *store;

static struct lane *fresh(void)
{
    struct lane_config c = {.lanes = 1, .partitions = HARNESS_PARTS};
    struct fb_err err;
    assert_int_equal(store_new(HARNESS_PARTS, 16, &store, &err), FB_OK);
    return lane_new(&c, store);
}

static void expect(struct lane *l, struct fb_record r, enum fb_status want, const char *text)
{
    struct fb_err err = {0};
    assert_int_equal(lane_recover_record(l, &r, &err), want);
    if (want != FB_OK)
        assert_non_null(strstr(err.msg, text));
}

static struct fb_record put(const char *key, uint64_t ver)
{
    struct fb_record r = {.type = FB_RECORD_PUT,
                          .kind = FB_KIND_STRING,
                          .ver = ver,
                          .key = fb_bytes_str(key),
                          .value = fb_bytes_str("v")};
    r.part = fb_key_partition(r.key, HARNESS_PARTS);
    return r;
}

static void test_records(void **state)
{
    static const uint8_t about_a_key[] = {FB_RECORD_PUT, FB_RECORD_DEL, FB_RECORD_EXPIRE,
                                          FB_RECORD_PARK, FB_RECORD_REFRESH};
    struct lane *l = fresh();
    struct fb_record r;
    (void)state;

    expect(l, put("a", 7), FB_ECORRUPT, "no such epoch");
    expect(l, put("a", UINT64_C(1) << 63), FB_ECORRUPT, "no such epoch");
    for (size_t i = 0; i < FB_COUNT_OF(about_a_key); i++) {
        r = put("a", fb_ver(1, 0));
        r.part = (uint16_t)((r.part + 1) % HARNESS_PARTS);
        r.type = about_a_key[i];
        expect(l, r, FB_ECORRUPT, "belongs to another partition");
        r = put("", fb_ver(1, 0));
        r.type = about_a_key[i];
        expect(l, r, FB_ECORRUPT, "belongs to another partition");
    }
    expect(l, put("a", fb_ver(1, 0)), FB_OK, "");
    r = (struct fb_record){.type = FB_RECORD_SYNCED,
                           .part = put("a", 1).part,
                           .ver = fb_ver(1, 1),
                           .prev = fb_ver(1, 0),
                           .obj_ver = fb_ver(1, 1),
                           .key = fb_bytes_str("default")};
    expect(l, r, FB_ECORRUPT, "above itself");
    r = put("a", fb_ver(1, 1)); /* what was refused left no trace */
    r.prev = fb_ver(1, 0);
    expect(l, r, FB_OK, "");
    r = (struct fb_record){.type = FB_RECORD_SYNCED,
                           .part = r.part,
                           .ver = fb_ver(1, 2),
                           .prev = fb_ver(1, 1),
                           .obj_ver = fb_ver(1, 0),
                           .changed = fb_ver(1, 1), /* safe beyond what is committed */
                           .key = fb_bytes_str("default")};
    expect(l, r, FB_ECORRUPT, "above itself");
    lane_free(l);
    store_free(store);
}

/* The log of one of several copies: what was cut off is a record whose `prev` is further back, and
 * no such record is below what the log says to be committed. */
static void test_cuts(void **state)
{
    struct lane *l = fresh();
    uint16_t part = put("a", 1).part;
    struct fb_record note = {
        .type = FB_RECORD_META, .flags = FB_RECORD_COPIES, .part = part, .ver = 1};
    struct fb_record r;
    const struct object *o;
    (void)state;

    expect(l, note, FB_OK, "");
    for (uint64_t n = 0; n <= 3; n++) {
        r = n == 0 ? (struct fb_record){.type = FB_RECORD_EPOCH_START, .part = part} : put("a", 1);
        r.ver = fb_ver(1, n);
        r.prev = n == 0 ? 0 : fb_ver(1, n - 1);
        expect(l, r, FB_OK, "");
    }
    assert_null(store_find_own(store, r.key, object_hash(r.key))); /* nothing says: committed */
    note.obj_ver = fb_ver(1, 1);
    expect(l, note, FB_OK, "");
    o = store_find_own(store, r.key, object_hash(r.key));
    assert_non_null(o);
    assert_int_equal(o->ver, fb_ver(1, 1));
    r = (struct fb_record){
        .type = FB_RECORD_EPOCH_START, .part = part, .ver = fb_ver(2, 0), .prev = fb_ver(1, 2)};
    expect(l, r, FB_OK, ""); /* 1/3 is cut off */
    assert_int_equal(lane_last_ver(l, part), fb_ver(2, 0));
    r.ver = fb_ver(3, 0);
    r.prev = fb_ver(1, 3);
    expect(l, r, FB_ECORRUPT, "may be cut off"); /* it is gone */
    r.prev = fb_ver(1, 0);
    expect(l, r, FB_ECORRUPT, "may be cut off"); /* committed */
    note.obj_ver = fb_ver(2, 1);
    expect(l, note, FB_ECORRUPT, "missing");
    note = (struct fb_record){
        .type = FB_RECORD_META, .part = part, .ver = 1, .count = LOG_NOTE_COPY_END};
    expect(l, note, FB_ECORRUPT, "did not begin");
    lane_free(l);
    store_free(store);
}

static enum fb_status snapshot_of(struct lane *l, uint64_t ver)
{
    struct fb_buf items = {0};
    struct fb_err err = {0};
    uint8_t meta[24] = {0};
    struct fb_record r = {
        .type = FB_RECORD_META, .ver = fb_ver(1, 0), .value = fb_bytes(meta, sizeof(meta))};
    enum fb_status s;
    fb_put_u64(meta, ver);
    fb_record_encode(&items, &r);
    s = lane_recover_snapshot(l, 0, fb_buf_view(&items), &err);
    fb_buf_fini(&items);
    return s;
}

static void test_snapshot(void **state)
{
    struct lane *l = fresh();
    struct fb_buf items = {0};
    struct fb_err err = {0};
    struct fb_record r = put("a", fb_ver(1, 1));
    (void)state;

    assert_int_equal(snapshot_of(l, 5), FB_ECORRUPT);
    assert_int_equal(snapshot_of(l, UINT64_MAX), FB_ECORRUPT);
    fb_record_encode(&items, &r);
    assert_int_equal(lane_recover_snapshot(l, r.part, fb_buf_view(&items), &err), FB_ECORRUPT);
    assert_non_null(strstr(err.msg, "does not say of when"));
    fb_buf_clear(&items);
    assert_int_equal(snapshot_of(l, fb_ver(1, 5)), FB_OK);
    r.part = (uint16_t)((r.part + 1) % HARNESS_PARTS);
    fb_record_encode(&items, &r);
    assert_int_equal(lane_recover_snapshot(l, r.part, fb_buf_view(&items), &err), FB_ECORRUPT);
    fb_buf_fini(&items);
    lane_free(l);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_records), cmocka_unit_test(test_cuts),
                                       cmocka_unit_test(test_snapshot)};
    rcu_register_thread();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
