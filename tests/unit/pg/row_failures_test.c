/* What goes wrong while a batch is under way: which class it is, and that nothing of it is written.
 */
#include "tests/unit/pg/rows_util.h"

#include <stdio.h>
#include <stdlib.h>

/* What goes wrong at COMMIT: a deferred constraint is the row's error; a connection that dies
 * leaves the outcome open. */
static void at_commit(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("late", "late", "id");
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
    s = rows_usable(f, &ns);
    rows_put(&row, "u", "1");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    o.id = fb_bytes_str("2");
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "23505");
    fb_buf_clear(&row);
    rows_put(&row, "p", "99");
    o.value = fb_buf_view(&row);
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_FOREIGN_KEY);
    fb_buf_clear(&row);
    rows_put(&row, "u", "13");
    o.value = fb_buf_view(&row);
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_UNKNOWN);
    assert_false(pg_connected(f->pg));
    rows_must(pg_connect(f->pg, &fatal, &err), &err);
    rows_put(&row, "id", "2");
    fb_buf_clear(&row);
    o.value = fb_buf_view(&row); /* only the key: all defaults */
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from app.late"), "2");
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* An outage that the server tells at COMMIT, as a disk that is full: nobody relies on what became
 * of it, and the session is one that nothing is left over in. */
static void no_room_at_commit(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("full", "full", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    bool fatal;
    fixture_sql(
        f, "create table app.full (id int primary key, v text);"
           "create function app.no_room() returns trigger language plpgsql as"
           " 'begin raise ''could not extend file'' using errcode = ''disk_full''; end';"
           "create constraint trigger t after insert on app.full deferrable initially deferred for"
           " each row execute function app.no_room()");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "1");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_UNKNOWN);
    assert_string_equal(err.sqlstate, "53100");
    assert_false(pg_connected(f->pg));
    fixture_sql(f, "drop trigger t on app.full");
    rows_must(pg_connect(f->pg, &fatal, &err), &err);
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* What cannot be written is known before PostgreSQL is asked: the feed is to blame, the rest of the
 * batch is not written either. */
static void not_to_be_asked(void **state)
{
    static const struct {
        const char *id;
        uint8_t kind;
        enum pg_class class;
        const char *sqlstate, *text;
    } t[] = {
        {"2", FB_KIND_HASH, PG_ROW, "22000", "plan: the key is not 2 parts joined by '/'"},
        {"1/2", FB_KIND_STRING, PG_ROW, "22000", "plan: a string cannot be stored as a row"},
        {"1/2", FB_KIND_NONE, PG_ROW, "22000", "plan: rows are not deleted: on_delete = refuse"},
        {"1/2", FB_KIND_HASH, PG_NAMESPACE, "42P01", "the table is not known yet"},
    };
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("plan", "plan", "id,n");
    struct fb_buf row = {0};
    struct fb_feed_object o[2];
    struct pg_batch b = {0};
    struct pg_feed feed;
    struct pg_error err;
    struct fb_schema *s;
    fixture_sql(f, "create table app.plan (id int, n int, v text, primary key (id, n))");
    ns.on_delete = FB_ON_DELETE_REFUSE;
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "1");
    o[0] = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1/1"), fb_buf_view(&row));
    for (size_t i = 0; i < FB_COUNT_OF(t); i++) {
        o[1] = fixture_object(2, t[i].kind, fb_bytes_str(t[i].id), fb_buf_view(&row));
        o[1].flags = FB_OBJECT_HAS_BASE;
        feed = fixture_feed(&ns, t[i].class == PG_NAMESPACE ? NULL : s, 0, 2, o, 2);
        assert_int_equal(fixture_apply(f, &b, &feed, &err), t[i].class);
        assert_string_equal(err.sqlstate, t[i].sqlstate);
        assert_string_equal(err.message, t[i].text);
        assert_int_equal(err.feed, 0);
        assert_true(feed.blamed);
        assert_true(pg_connected(f->pg));
    }
    assert_string_equal(fixture_text(f, "select count(*) from app.plan"), "0");
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* The server dies under a batch that waits for a lock: an outage, nothing written. */
static void outage_in_the_middle(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("late", "late", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s = rows_usable(f, &ns);
    bool fatal;
    fixture_sql(
        f,
        "create function app.die_now() returns trigger language plpgsql as"
        " 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end';"
        "create trigger now before update on app.late for each row execute function app.die_now()");
    rows_put(&row, "u", "5");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o.flags = FB_OBJECT_HAS_BASE;
    o.changed = rows_bit(s, "u");
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_OUTAGE);
    assert_false(pg_connected(f->pg));
    fixture_sql(f, "drop trigger now on app.late");
    rows_must(pg_connect(f->pg, &fatal, &err), &err);
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_commit),
        cmocka_unit_test(no_room_at_commit),
        cmocka_unit_test(not_to_be_asked),
        cmocka_unit_test(outage_in_the_middle),
    };
    return cmocka_run_group_tests(tests, rows_start, fixture_stop);
}
