/* Rows that SQL changes while Forebay writes them are found, and none that it did not. */
#include "tests/unit/pg/rows_util.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void conflicts(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("acct", "account", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o[3];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    uint32_t xmin;
    fixture_sql(f,
                "create table app.account (id int primary key, a text, b text, mail text unique);"
                "insert into app.account values (1, 'a1', 'b1'), (2, 'a2', 'b2'), (3, 'a3', 'b3')");
    s = rows_usable(f, &ns);
    xmin = fixture_load(f, &ns, s, fb_bytes_str("1")).xmin;
    fixture_sql(
        f,
        "update app.account set b = 'theirs' where id = 2; delete from app.account where id = 3");
    rows_put(&row, "a", "ours");
    for (unsigned i = 0; i < 3; i++) {
        static const char *const ids[] = {"1", "2", "3"};
        o[i] = fixture_object(10 + i, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&row));
        o[i].flags = HAS_ROW;
        o[i].base_xid = xmin;
        o[i].changed = rows_bit(s, "a");
    }
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 2);
    assert_int_equal(b.conflicts[0].object, 1);
    assert_int_equal(b.conflicts[0].kind, FB_KIND_HASH);
    assert_string_equal(
        rows_field(fb_bytes(b.bytes.p + b.conflicts[0].value_at, b.conflicts[0].value_n), "b"),
        "theirs");
    assert_int_equal(b.conflicts[1].object, 2);
    assert_int_equal(b.conflicts[1].kind, FB_KIND_NONE);
    assert_string_equal(fixture_text(f, "select string_agg(a, ' ' order by id) from app.account"),
                        "a1 a2");
    /* The checkpoint did not move; resolved, it does. */
    o[1].base_xid = b.conflicts[0].xmin;
    rows_must(rows_apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_string_equal(
        fixture_text(f, "select string_agg(a || b, ' ' order by id) from app.account"),
        "oursb1 ourstheirs");
    /* An unknown token, or external = none: no comparison; a row that is gone is still a conflict.
     */
    fixture_sql(f, "update app.account set b = 'again'");
    o[0].flags = FB_OBJECT_HAS_BASE;
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    o[1].base_xid = 3;
    ns.external = FB_EXTERNAL_NONE;
    rows_must(rows_apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].kind, FB_KIND_NONE);
    ns.external = FB_EXTERNAL_DETECT;

    /* Inserts: an existing key is a conflict with its row, in the middle of new ones. */
    o[0] = fixture_object(20, FB_KIND_HASH, fb_bytes_str("0"), fb_buf_view(&row));
    o[1] = fixture_object(21, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o[2] = fixture_object(22, FB_KIND_HASH, fb_bytes_str("4"), fb_buf_view(&row));
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 3, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].object, 1);
    assert_string_equal(fixture_text(f, "select count(*) from app.account"), "2");
    o[1].flags = FB_OBJECT_PARKED;
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, ns.name, 7, &o[1], "23505", "", &err),
              &err);
    rows_must(rows_apply(f, &b, &ns, s, o, 3, &err), &err);
    assert_int_equal(b.rows_inserted, 2);
    assert_int_equal(b.refresh_count, 2); /* the key columns */
    /* also with external = none, which compares no token: an insert overwrites nothing */
    ns.external = FB_EXTERNAL_NONE;
    o[0] = fixture_object(29, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 1, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].kind, FB_KIND_HASH);
    ns.external = FB_EXTERNAL_DETECT;

    /* A clash in another unique column is an error of the row. */
    fixture_sql(f, "update app.account set mail = 'm' where id = 1");
    fb_buf_clear(&row);
    rows_put(&row, "mail", "m");
    o[0] = fixture_object(30, FB_KIND_HASH, fb_bytes_str("9"), fb_buf_view(&row));
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 1, &err), PG_ROW);
    assert_string_equal(err.sqlstate, "23505");
    assert_int_equal(err.feed, 0);

    /* Deletes: changed meanwhile = conflict, gone = done. */
    o[0] = fixture_object(40, FB_KIND_NONE, fb_bytes_str("1"), fb_bytes("", 0));
    o[0].flags = HAS_ROW;
    o[0].base_xid = xmin;
    o[1] = fixture_object(41, FB_KIND_NONE, fb_bytes_str("77"), fb_bytes("", 0));
    o[1].flags = HAS_ROW;
    o[1].base_xid = xmin;
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 2, &err), PG_CONFLICT);
    assert_int_equal(b.conflict_count, 1);
    assert_int_equal(b.conflicts[0].object, 0);
    o[0].base_xid = b.conflicts[0].xmin;
    rows_must(rows_apply(f, &b, &ns, s, o, 2, &err), &err);
    assert_int_equal(b.rows_deleted, 1);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

static void refusals_and_changes_of_the_table(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("changing", "changing", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o[1];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    uint32_t xmin;
    char before[64];
    fixture_sql(f, "create table app.changing (id int primary key, a text, b text);"
                   "insert into app.changing values (2, 'a2', 'b2')");
    s = rows_usable(f, &ns);

    /* A trigger that swallows the update is the row's error, not an endless conflict. */
    fixture_sql(
        f, "create function app.no() returns trigger language plpgsql as 'begin return null; end';"
           "create trigger t before update on app.changing for each row execute function app.no()");
    xmin = fixture_load(f, &ns, s, fb_bytes_str("2")).xmin;
    fb_buf_clear(&row);
    rows_put(&row, "a", "never");
    o[0] = fixture_object(50, FB_KIND_HASH, fb_bytes_str("2"), fb_buf_view(&row));
    o[0].flags = HAS_ROW;
    o[0].base_xid = xmin;
    o[0].changed = rows_bit(s, "a");
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 1, &err), PG_ROW);
    fixture_sql(f, "drop trigger t on app.changing");

    /* Schema changes under prepared statements. */
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    snprintf(before, sizeof(before), "%s",
             fixture_text(f, "select ver from forebay.checkpoint where ns = 'changing'"));
    fixture_sql(f, "alter table app.changing drop column b");
    o[0].base_xid = (uint32_t)b.xid;
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 1, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "42703");
    assert_string_equal(fixture_text(f, "select ver from forebay.checkpoint where ns = 'changing'"),
                        before);
    fb_schema_free(s);
    s = rows_usable(f, &ns);
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    fixture_sql(f, "alter table app.changing alter column id type bigint");
    fb_schema_free(s);
    s = rows_usable(f, &ns);
    o[0].flags = FB_OBJECT_HAS_BASE;
    rows_must(rows_apply(f, &b, &ns, s, o, 1, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

struct insertion {
    struct pg *pg;
    struct pg_feed feed;
    struct pg_batch b;
    struct pg_error err;
    enum pg_class class;
};

static void *insert(void *arg)
{
    struct insertion *i = arg;
    i->b = (struct pg_batch){.feeds = &i->feed, .feed_count = 1, .owner = "test"};
    i->class = pg_apply(i->pg, fixture_cluster, &i->b, &i->err);
    return NULL;
}

/* Somebody waits for the advisory lock that f->sql holds. */
static void wait_until_held_up(struct fixture *f)
{
    time_t end = time(NULL) + 30;
    while (fixture_text(
               f, "select 1 from pg_locks where locktype = 'advisory' and not granted")[0] == '\0')
        assert_true(time(NULL) < end);
}

/* The batch inserts; behind its statement, in which the row `id` was in the way, a trigger waits
 * for an advisory lock of ours; meanwhile `sql` is done; then it goes on and reads. */
static void while_inserting(struct fixture *f, struct insertion *i, const char *sql)
{
    pthread_t thread;

    fixture_sql(f, "select pg_advisory_lock(1)");
    assert_int_equal(pthread_create(&thread, NULL, insert, i), 0);
    wait_until_held_up(f);
    fixture_sql(f, sql);
    fixture_sql(f, "select pg_advisory_unlock(1)");
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* A row that was in the way of an INSERT and is deleted before it is read: it is inserted once
 * more, not taken for refused by a trigger; alone in its batch it would be parked. */
static void inserted_once_the_way_is_free(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("way", "way", "id");
    struct insertion i = {.pg = fixture_connect(f)};
    struct fb_buf row = {0};
    struct fb_feed_object o[2];
    struct fb_schema *s;

    fixture_sql(
        f, "create table app.way (id int primary key, v text);"
           "insert into app.way values (1, 'theirs');"
           "create function app.hold() returns trigger language plpgsql set lock_timeout = '30s' as"
           " 'begin perform pg_advisory_xact_lock_shared(1); return null; end';"
           "create trigger t after insert on app.way for each statement execute function"
           " app.hold()");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "ours");
    o[0] = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o[1] = fixture_object(2, FB_KIND_HASH, fb_bytes_str("2"), fb_buf_view(&row));

    /* Alone. */
    i.feed = fixture_feed(&ns, s, 0, 1, o, 1);
    while_inserting(f, &i, "delete from app.way");
    rows_must(i.class, &i.err);
    assert_int_equal(i.b.rows_inserted, 1);
    assert_int_equal(i.b.refresh_count, 1);
    assert_int_equal(i.b.refreshes[0].object, 0);
    assert_string_equal(fixture_text(f, "select string_agg(id || v, ' ') from app.way"), "1ours");
    pg_batch_fini(&i.b);

    /* Among others, of which one is still in the way. */
    fixture_sql(f, "truncate app.way; insert into app.way values (1, 'theirs'), (2, 'theirs')");
    i.feed = fixture_feed(&ns, s, 1, 2, o, 2);
    while_inserting(f, &i, "delete from app.way where id = 1");
    assert_int_equal(i.class, PG_CONFLICT);
    assert_int_equal(i.b.conflict_count, 1);
    assert_int_equal(i.b.conflicts[0].object, 1);
    assert_int_equal(i.b.conflicts[0].kind, FB_KIND_HASH);
    assert_string_equal(fixture_text(f, "select string_agg(id || v, ' ') from app.way"), "2theirs");
    pg_batch_fini(&i.b);

    /* Now refused for good: one line of text says by what. */
    fixture_sql(f, "create function app.never() returns trigger language plpgsql as"
                   " 'begin return null; end';"
                   "create trigger n before insert on app.way for each row when (new.id = 1) "
                   "execute function app.never()");
    i.feed = fixture_feed(&ns, s, 1, 2, o, 1);
    (void)insert(&i);
    assert_int_equal(i.class, PG_ROW);
    assert_string_equal(i.err.sqlstate, "09000");
    assert_int_equal(i.err.feed, 0);
    pg_batch_fini(&i.b);

    pg_free(i.pg);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* The row comes back between the two readings: a conflict with that row. */
static void in_the_way_again(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("again", "again", "id");
    struct insertion i = {.pg = fixture_connect(f)};
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct fb_schema *s;

    /* Its own trigger puts a row there in place of ours; at the first try that row is deleted. */
    fixture_sql(f,
                "create table app.again (id int primary key, v text);"
                "insert into app.again values (1, 'theirs');"
                "create function app.instead() returns trigger language plpgsql as"
                " 'begin if not exists (select from app.again) then"
                " insert into app.again values (new.id, ''by trigger''); end if; return new; end';"
                "create trigger i before insert on app.again for each row when (new.v = 'ours')"
                " execute function app.instead();"
                "create trigger t after insert on app.again for each statement execute function"
                " app.hold()");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "ours");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    i.feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    while_inserting(f, &i, "delete from app.again");
    assert_int_equal(i.class, PG_CONFLICT);
    assert_int_equal(i.b.conflict_count, 1);
    assert_string_equal(
        rows_field(fb_bytes(i.b.bytes.p + i.b.conflicts[0].value_at, i.b.conflicts[0].value_n),
                   "v"),
        "by trigger");
    pg_batch_fini(&i.b);
    pg_free(i.pg);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conflicts),
        cmocka_unit_test(refusals_and_changes_of_the_table),
        cmocka_unit_test(inserted_once_the_way_is_free),
        cmocka_unit_test(in_the_way_again),
    };
    return cmocka_run_group_tests(tests, rows_start, fixture_stop);
}
