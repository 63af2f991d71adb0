/* Foreign keys between mapped tables: one batch with parents and children goes through whatever the
 * names of the namespaces; what the catalog says about them survives its JSON text. */
#include "tests/unit/pg/fixture.h"

#include <stdio.h>

enum { CHILD, MIDDLE, PARENT, RING_A, RING_B, TABLES };

/* Children sort before their parents by name. */
static const char *const names[TABLES] = {"a_child", "m_middle", "z_parent", "b_ring", "y_ring"};

static const char tables_sql[] =
    "create schema app;"
    "create table app.z_parent (id int primary key, up int references app.z_parent);"
    "create table app.m_middle (id int primary key, up int references app.z_parent);"
    "create table app.a_child (id int primary key, up int not null references app.m_middle);"
    "create table app.b_ring (id int primary key, up int);"
    "create table app.y_ring (id int primary key, up int references app.b_ring deferrable "
    "initially "
    "deferred);"
    "alter table app.b_ring add foreign key (up) references app.y_ring deferrable initially "
    "deferred";

struct family {
    struct fb_namespace ns[TABLES];
    struct fb_schema *schema[TABLES];
    uint64_t ver;
    struct pg_batch batch;
    struct fb_feed_object objects[TABLES];
    struct pg_feed feeds[TABLES];
};

static struct family family;

static int start(void **state)
{
    struct fixture *f;
    struct pg_error err;

    if (fixture_start(state) != 0)
        return -1;
    f = fixture_get(state);
    fixture_sql(f, tables_sql);
    for (int i = 0; i < TABLES; i++) {
        struct fb_namespace *ns = &family.ns[i];
        *ns = (struct fb_namespace){.mapped = true,
                                    .value = FB_VALUE_ROW,
                                    .external = FB_EXTERNAL_DETECT,
                                    .on_delete = FB_ON_DELETE_DELETE};
        (void)snprintf(ns->name, sizeof(ns->name), "%s", names[i]);
        (void)snprintf(ns->table_schema, sizeof(ns->table_schema), "app");
        (void)snprintf(ns->table_name, sizeof(ns->table_name), "%s", names[i]);
        (void)snprintf(ns->key, sizeof(ns->key), "id");
        assert_int_equal(pg_read_schema(f->pg, ns, &family.schema[i], &err), PG_OK);
    }
    return 0;
}

static int stop(void **state)
{
    for (int i = 0; i < TABLES; i++)
        fb_schema_free(family.schema[i]);
    pg_batch_fini(&family.batch);
    return fixture_stop(state);
}

/* One object in each of the tables [from, to), with the same id; `up` NULL: delete. */
static void apply(struct fixture *f, int from, int to, const char *id, const char *up,
                  uint8_t flags)
{
    struct pg_error err;
    struct fb_buf hash = {0};
    uint64_t prev = family.ver++;

    if (up != NULL)
        fb_hash_put(&hash, fb_bytes_str("up"), fb_bytes_str(up));
    for (int i = from; i < to; i++) {
        struct fb_feed_object *o = &family.objects[i];
        *o = fixture_object(family.ver, up != NULL ? FB_KIND_HASH : FB_KIND_NONE, fb_bytes_str(id),
                            fb_buf_view(&hash));
        o->flags = flags;
        o->changed = fb_column_bit(fb_schema_column(family.schema[i], fb_bytes_str("up")));
        family.feeds[i - from] =
            fixture_feed(&family.ns[i], family.schema[i], prev, family.ver, o, 1);
    }
    pg_batch_fini(&family.batch);
    family.batch = (struct pg_batch){
        .feeds = family.feeds, .feed_count = (size_t)(to - from), .owner = "test"};
    if (pg_apply(f->pg, fixture_cluster, &family.batch, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    fb_buf_fini(&hash);
}

static void parents_first(void **state)
{
    struct fixture *f = fixture_get(state);

    family.ver = 0;
    apply(f, CHILD, PARENT + 1, "1", "1", 0);
    assert_string_equal(fixture_text(f, "select count(*) from app.a_child join app.m_middle using "
                                        "(id) join app.z_parent using (id)"),
                        "1");
    apply(f, CHILD, PARENT + 1, "2", "2", 0);
    /* children now point to the second parents: a change, with nothing else to go by */
    apply(f, CHILD, PARENT + 1, "1", "2", FB_OBJECT_HAS_BASE);
    assert_string_equal(fixture_text(f, "select sum(up) from app.a_child"), "4");
    apply(f, CHILD, PARENT + 1, "1", NULL, FB_OBJECT_HAS_BASE);
    apply(f, CHILD, PARENT + 1, "2", NULL, FB_OBJECT_HAS_BASE);
    assert_string_equal(fixture_text(f, "select count(*) from app.z_parent"), "0");
}

static void circles_keep_any_order(void **state)
{
    struct fixture *f = fixture_get(state);

    family.ver = 0;
    apply(f, RING_A, RING_B + 1, "1", "1", 0);
    apply(f, RING_A, RING_B + 1, "1", NULL, FB_OBJECT_HAS_BASE);
    assert_string_equal(fixture_text(f, "select count(*) from app.b_ring"), "0");
}

static void described(void **state)
{
    const struct fb_schema *s = family.schema[CHILD];
    struct fb_schema *back = NULL;
    struct fb_namespace moved = family.ns[CHILD];
    struct fb_buf text = {0}, again = {0};
    struct fb_err err = {0};

    (void)state;
    assert_int_equal(s->parent_count, 1);
    assert_string_equal(s->parents[0].schema, "app");
    assert_string_equal(s->parents[0].table, "m_middle");
    fb_schema_encode(&text, s);
    assert_int_equal(fb_schema_decode(fb_buf_view(&text), &back, &err), FB_OK);
    fb_schema_encode(&again, back);
    assert_true(fb_bytes_equal(fb_buf_view(&text), fb_buf_view(&again)));
    assert_true(fb_schema_is_of(back, &family.ns[CHILD]));
    (void)snprintf(moved.table_name, sizeof(moved.table_name), "other");
    assert_false(fb_schema_is_of(back, &moved));
    fb_schema_free(back);
    fb_buf_fini(&text);
    fb_buf_fini(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parents_first),
                                       cmocka_unit_test(circles_keep_any_order),
                                       cmocka_unit_test(described)};
    return cmocka_run_group_tests(tests, start, stop);
}
