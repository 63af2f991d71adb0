/* A lane with a table behind it: app.users (id, owner, age, total), of which `users:7` is one row.
 */
#ifndef FB_TESTS_UNIT_NODE_MAPPED_USERS_H_
#define FB_TESTS_UNIT_NODE_MAPPED_USERS_H_

#include "tests/unit/node/harness.h"

#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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
    {.name = "age",
     .type = "integer",
     .attnum = 3,
     .check = FB_TYPE_INT4,
     .length = -1,
     .scale = -1},
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

/* A harness that is not open yet; its namespace "users" stands for that table. */
static inline struct fb_namespace *init_users(struct harness *h)
{
    struct fb_namespace *ns;
    harness_init(h);
    ns = harness_namespace(h, "users");
    ns->mapped = true;
    snprintf(ns->table_schema, sizeof ns->table_schema, "app");
    snprintf(ns->table_name, sizeof ns->table_name, "users");
    snprintf(ns->key, sizeof ns->key, "id");
    h->schemas[1] = &schema;
    return ns;
}

static inline void open_users(struct harness *h)
{
    struct fb_namespace *ns = init_users(h);
    ns->value = FB_VALUE_ROW;
    ns->ttl_ms = 60000;
    ns->conflict = FB_CONFLICT_MERGE_COLUMNS;
    ns->on_delete = FB_ON_DELETE_REFUSE;
    harness_open(h, 0, 0);
}

/* The row 7 as PostgreSQL has it; age NULL: without. */
static inline struct fb_bytes row(struct fb_buf *b, const char *owner, const char *age)
{
    fb_buf_clear(b);
    fb_hash_put(b, fb_bytes_str("id"), fb_bytes_str("7"));
    fb_hash_put(b, fb_bytes_str("owner"), fb_bytes_str(owner));
    if (age != NULL)
        fb_hash_put(b, fb_bytes_str("age"), fb_bytes_str(age));
    return fb_buf_view(b);
}

/* The one object that the feed has above `from`. */
static inline struct fb_feed_object feed_one(struct harness *h, uint16_t p, uint64_t from,
                                             uint64_t *scan_end)
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

#endif
