/* Goal: what stands malformed in the coordinator, by another release or by hand, is refused by its
 * key, or left out where it is a hint; and an entry or a report is what its process wrote.
 * Method: lists of keys as a store gives them; a file store for what is written. */
#include "tests/unit/coord/backends.h"

#include "proto/coord/applied.h"
#include "proto/coord/cluster_state.h"
#include "proto/coord/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define META                                                                                       \
    "{\"cluster\": \"01020304-0506-4708-890a-0b0c0d0e0f10\", \"partitions\": 4, \"seed\": \"9\"}"

struct keys {
    struct fb_coord_kv kv[16];
    struct fb_coord_list list;
};

static void put(struct keys *k, const char *key, const char *value)
{
    k->kv[k->list.count++] = (struct fb_coord_kv){
        .key = (char *)(uintptr_t)key, .value = fb_bytes_str(value), .rev = 3, .alive = true};
    k->list.kv = k->kv;
    k->list.rev = 9;
}

/* The state that these keys give: `key` (with `value`) besides a good "meta". */
static enum fb_status with(const char *key, const char *value, struct fb_cluster_state **st,
                           struct fb_err *err)
{
    struct keys k = {0};
    put(&k, "meta", META);
    put(&k, key, value);
    return fb_cluster_state_of_list(&k.list, st, err);
}

static void malformed_meta(void **state)
{
    static const char *const uuids[] = {"01020304-0506-4708-890a-0b0c0d0e0f1",
                                        "01020304-0506-4708-890a-0b0c0d0e0f100",
                                        "0102030X-0506-4708-890a-0b0c0d0e0f10", ""};
    struct fb_cluster_state *st;
    struct fb_err err = {0};

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(uuids); i++) {
        struct keys k = {0};
        char meta[160];
        snprintf(meta, sizeof(meta), "{\"cluster\": \"%s\", \"partitions\": 4, \"seed\": \"9\"}",
                 uuids[i]);
        put(&k, "meta", meta);
        assert_int_equal(fb_cluster_state_of_list(&k.list, &st, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "coordinator key meta is malformed"));
        assert_null(st);
    }
}

static void malformed_keys_are_named(void **state)
{
    static const char *const keys[][2] = {{"part/x", "{}"},      {"part/4", "{}"},
                                          {"part/1x", "{}"},     {"part/1", "nonsense"},
                                          {"part/1", "{}"},      {"control/sync", "nonsense"},
                                          {"control/sync", "[]"}};
    struct fb_cluster_state *st;
    struct fb_err err = {0};

    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(keys); i++) {
        assert_int_not_equal(with(keys[i][0], keys[i][1], &st, &err), FB_OK);
        assert_non_null(strstr(err.msg, keys[i][0]));
        assert_null(st);
    }
    assert_int_not_equal(with("config", "[nonsense", &st, &err), FB_OK);
    assert_null(st);
}

/* They stop nobody: the state is there without them. */
static void malformed_members_are_left_out(void **state)
{
    struct fb_member_info m = {.kind = FB_MEMBER_NODE, .name = "n1", .weight = 100, .inc = 5};
    struct fb_buf text = {0};
    struct fb_cluster_state *st;
    struct fb_err err;
    const char *good;

    (void)state;
    snprintf(m.listen, sizeof(m.listen), "tcp://127.0.0.1:7400");
    fb_member_info_encode(&text, &m);
    fb_buf_put_u8(&text, 0);
    good = (const char *)text.p;
    for (int i = 0; i < 4; i++) {
        static const char *const keys[] = {"node/n1", "node/n2", "sync/n1", "node/n1"};
        assert_int_equal(with(keys[i], i == 3 ? "nonsense" : good, &st, &err), FB_OK);
        assert_int_equal(st->map->member_count, i == 0 ? 1 : 0);
        fb_cluster_state_put(st);
    }
    fb_buf_fini(&text);
}

static void a_malformed_schema_is_of_its_namespace(void **state)
{
    struct fb_schema s = {.ns = "user", .problem = "no table"};
    struct fb_buf text = {0};
    struct fb_cluster_state *st;
    struct fb_err err;

    (void)state;
    fb_schema_encode(&text, &s);
    fb_buf_put_u8(&text, 0);
    assert_int_equal(with("schema/user", (const char *)text.p, &st, &err), FB_OK);
    assert_string_equal(fb_cluster_state_schema(st, "user")->problem, "no table");
    assert_null(fb_cluster_state_schema(st, "order"));
    fb_cluster_state_put(st);
    assert_int_equal(with("schema/order", (const char *)text.p, &st, &err), FB_OK);
    assert_non_null(strstr(fb_cluster_state_schema(st, "order")->problem,
                           "key schema/order is malformed: it names namespace user"));
    fb_cluster_state_put(st);
    assert_int_equal(with("schema/user", "nonsense", &st, &err), FB_OK);
    assert_non_null(strstr(fb_cluster_state_schema(st, "user")->problem, "is malformed"));
    fb_cluster_state_put(st);
    assert_int_equal(with("schema/", "nonsense", &st, &err), FB_OK);
    assert_int_equal(st->schema_count, 0);
    fb_cluster_state_put(st);
    fb_buf_fini(&text);
}

/* Who runs a revision: only what this very process told counts. */
static void members_that_do_not_run_a_revision(void **state)
{
    struct fb_member_info m[] = {
        {.kind = FB_MEMBER_NODE, .name = "told", .inc = 1, .alive = true},
        {.kind = FB_MEMBER_NODE, .name = "old", .inc = 2, .alive = true},
        {.kind = FB_MEMBER_NODE, .name = "behind", .inc = 3, .alive = true},
        {.kind = FB_MEMBER_NODE, .name = "odd", .inc = 4, .alive = true},
        {.kind = FB_MEMBER_NODE, .name = "gone", .inc = 5},
        {.kind = FB_MEMBER_NODE, .name = "silent", .inc = 6, .alive = true}};
    struct fb_map map = {.members = m, .member_count = FB_COUNT_OF(m)};
    const struct fb_member_info *missing[FB_COUNT_OF(m)];
    struct keys k = {0};
    size_t live;

    (void)state;
    put(&k, "applied/node/told", "{\"config\": 7, \"inc\": \"0000000000000001\"}");
    put(&k, "applied/node/old", "{\"config\": 7, \"inc\": \"0000000000000001\"}");
    put(&k, "applied/node/behind", "{\"config\": 6, \"inc\": \"0000000000000003\"}");
    put(&k, "applied/node/odd", "nonsense");
    assert_int_equal(fb_applied_missing(&k.list, &map, 7, missing, FB_COUNT_OF(m), &live), 4);
    assert_int_equal(live, 5);
    assert_string_equal(missing[0]->name, "old");
    assert_string_equal(missing[1]->name, "behind");
    assert_string_equal(missing[2]->name, "odd");
    assert_string_equal(missing[3]->name, "silent");
    assert_int_equal(fb_applied_missing(&k.list, &map, 7, missing, 2, &live), 2);
    assert_int_equal(live, 5);
}

/* An entry that cannot be written is written by the next try; one without a value is none. */
static void an_entry_is_tried_again(void **state)
{
    struct fb_coord *c = must_open(*state);
    struct fb_entry *e = fb_entry_new(c, "node/n1");
    struct fb_buf value = {0};
    struct fb_err err;

    fb_entry_keep(e);
    assert_int_equal(fb_coord_get(c, "node/n1", &value, NULL, &err), FB_ENOENT);
    fb_entry_set(e, fb_bytes_str("mine"));
    for (int i = 0; i < 2; i++) {
        fb_entry_keep(e); /* there is no session that it could be bound to */
        assert_int_equal(fb_coord_get(c, "node/n1", &value, NULL, &err), FB_ENOENT);
    }
    assert_int_equal(fb_coord_session(c, "node/n1", &err), FB_OK);
    fb_entry_keep(e);
    assert_int_equal(fb_coord_get(c, "node/n1", &value, NULL, &err), FB_OK);
    assert_true(fb_bytes_is(fb_buf_view(&value), "mine"));
    fb_entry_free(e);
    fb_entry_free(NULL);
    fb_applied_free(NULL);
    fb_buf_fini(&value);
    fb_coord_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_meta),
        cmocka_unit_test(malformed_keys_are_named),
        cmocka_unit_test(malformed_members_are_left_out),
        cmocka_unit_test(a_malformed_schema_is_of_its_namespace),
        cmocka_unit_test(members_that_do_not_run_a_revision),
        cmocka_unit_test_setup_teardown(an_entry_is_tried_again, file_setup, file_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
