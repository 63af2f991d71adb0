/* forebay.dead_letter and forebay.conflict_log: what is written there, and that it goes when it is
 * no longer true, whoever wrote it. */
#include "tests/unit/pg/rows_util.h"

#include <stdio.h>
#include <stdlib.h>

static const struct pg_letter_query all = {.limit = 10};

static void letter(void *arg, const struct pg_letter *l)
{
    assert_true(l->ours);
    assert_string_equal(l->ns, "x");
    assert_int_equal(l->part, 9);
    assert_true(fb_bytes_equal(l->id, fb_bytes("\xff\0", 2)));
    assert_string_equal(l->id_text, "\\xff00");
    assert_int_equal(l->ver, 6);
    assert_int_equal(l->expires_ms, INT64_C(4102444800123));
    assert_string_equal(l->sqlstate, "22003");
    assert_string_equal(l->message, "too big");
    assert_true(l->at[0] != '\0');
    assert_string_equal(l->kind, "string");
    assert_string_equal(l->value_json, "\"say \\\"hi\\\"\"");
    ++*(int *)arg;
}

static void what_is_put_is_listed(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_feed_object o =
        fixture_object(6, FB_KIND_STRING, fb_bytes("\xff\0", 2), fb_bytes_str("say \"hi\""));
    const struct fb_bytes other = fb_bytes_str("other");
    struct pg_letter_query q = all;
    struct pg_error err;
    uint64_t letters;
    int count = 0;

    o.expires_ms = INT64_C(4102444800123);
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "x", 9, &o, "22003", "too big", &err),
              &err);
    o.ver = 5; /* older: no effect */
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "x", 9, &o, "22003", "older", &err), &err);
    rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &all, letter, &count, &err), &err);
    q.ns = "x";
    q.id = &o.id;
    rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &q, letter, &count, &err), &err);
    assert_int_equal(count, 2);
    q.id = &other;
    rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &q, letter, &count, &err), &err);
    q = all;
    q.ns = "y";
    rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &q, letter, &count, &err), &err);
    assert_int_equal(count, 2);
    rows_must(pg_dead_letter_count(f->pg, fixture_cluster, &letters, &err), &err);
    assert_int_equal(letters, 1);
    fixture_sql(f, "delete from forebay.dead_letter");
}

/* What somebody else wrote into the table. */
static void foreign(void *arg, const struct pg_letter *l)
{
    assert_false(l->ours);
    ++*(int *)arg;
}

static void letters_that_are_not_ours(void **state)
{
    struct fixture *f = fixture_get(state);
    struct pg *fresh;
    struct pg_error err;
    int count = 0;

    fixture_sql(f, "insert into forebay.dead_letter (cluster, ns, id, part, version, kind, value,"
                   " sqlstate, message) values"
                   " ('01020304-0506-0708-090a-0b0c0d0e0f10', 'x', '\\xzz', 1, 1, 'none', null,"
                   " '22000', '')");
    rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &all, foreign, &count, &err), &err);
    assert_int_equal(count, 1);
    /* somebody made the column something else, too */
    fixture_sql(f, "alter table forebay.dead_letter alter column value type text;"
                   "update forebay.dead_letter set id = 'k', kind = 'string', value = 'words'");
    fresh = fixture_connect(f);
    rows_must(pg_dead_letter_list(fresh, fixture_cluster, &all, foreign, &count, &err), &err);
    assert_int_equal(count, 2);
    pg_free(fresh);
    fixture_sql(f, "delete from forebay.dead_letter;"
                   "alter table forebay.dead_letter alter column value type bytea using null");
}

struct page {
    uint64_t seen;
    unsigned rows;
    char at[64], ns[64], id[64];
};

static void turn_page(void *arg, const struct pg_letter *l)
{
    struct page *p = arg;
    assert_false(p->seen >> l->ver & 1);
    p->seen |= UINT64_C(1) << l->ver;
    p->rows++;
    snprintf(p->at, sizeof(p->at), "%s", l->at);
    snprintf(p->ns, sizeof(p->ns), "%s", l->ns);
    snprintf(p->id, sizeof(p->id), "%s", l->id_text);
}

/* Pages follow each other without a gap, also where a page's last letter goes meanwhile. */
static void pages(void **state)
{
    struct fixture *f = fixture_get(state);
    struct page p = {.rows = 0};
    struct pg_error err;
    unsigned turns = 0;

    /* Of one time: an order by time alone would not do. */
    fixture_sql(f, "insert into forebay.dead_letter (cluster, ns, id, part, version, kind, value,"
                   " sqlstate, message, at) select '01020304-0506-0708-090a-0b0c0d0e0f10', 'p',"
                   " 'k' || g, 1, g, 'none', null, '22000', '', now() from generate_series(0, 24) "
                   "g");
    do {
        struct pg_letter_query q = {.limit = 4};
        char sql[200];
        if (turns++ > 0) {
            q.after_at = p.at;
            q.after_ns = p.ns;
            q.after_id = p.id;
            snprintf(sql, sizeof(sql), "delete from forebay.dead_letter where id = '%s'", p.id);
            fixture_sql(f, sql);
        }
        p.rows = 0;
        rows_must(pg_dead_letter_list(f->pg, fixture_cluster, &q, turn_page, &p, &err), &err);
    } while (p.rows > 0);
    assert_int_equal(p.seen, (1 << 25) - 1);
    fixture_sql(f, "delete from forebay.dead_letter");
}

/* A batch takes away the letters of what it writes, whoever wrote them and whether this process
 * ever heard of them; not those of other objects, newer versions, or objects that stay parked. */
static void a_newer_version_takes_its_letter_away(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("l", "letters", "id");
    struct pg *other = fixture_connect(f);
    struct fb_buf row = {0};
    struct fb_feed_object o[4];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;

    fixture_sql(f, "create table app.letters (id int primary key, v int)");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "1");
    for (unsigned i = 0; i < 4; i++) {
        static const char *const ids[] = {"0", "1", "2", "3"};
        o[i] = fixture_object(10 + i, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&row));
        rows_must(pg_dead_letter_put(other, fixture_cluster, "l", 7, &o[i], "23514", "", &err),
                  &err);
    }
    o[0].ver = 20; /* newer */
    o[2].ver = 11; /* older than its letter */
    o[3].flags = FB_OBJECT_PARKED;
    rows_must(rows_apply(f, &b, &ns, s, o, 4, &err), &err);
    assert_string_equal(
        fixture_text(f, "select string_agg(id, ' ' order by id) from forebay.dead_letter"), "2 3");
    /* In the batch's transaction: rolled back, the letter stays. */
    fixture_sql(f, "alter table app.letters add check (v < 5)");
    fb_buf_clear(&row);
    rows_put(&row, "v", "7");
    o[2] = fixture_object(30, FB_KIND_HASH, fb_bytes_str("2"), fb_buf_view(&row));
    assert_int_equal(rows_apply(f, &b, &ns, s, &o[2], 1, &err), PG_ROW);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "2");
    /* A batch of nothing but what is parked. */
    rows_must(rows_apply(f, &b, &ns, s, &o[3], 1, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "2");
    fixture_sql(f, "delete from forebay.dead_letter");
    pg_free(other);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* A fail-over took it. Nothing else of the batch is committed either. */
static void what_is_passed_has_its_letter(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("gone", "passed", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o[4];
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;

    fixture_sql(f, "create table app.passed (id int primary key, v int)");
    s = rows_usable(f, &ns);
    rows_put(&row, "v", "1");
    for (unsigned i = 0; i < 4; i++) {
        static const char *const ids[] = {"0", "1", "2", "3"};
        o[i] = fixture_object(10 + i, FB_KIND_HASH, fb_bytes_str(ids[i]), fb_buf_view(&row));
        o[i].flags = i == 0 ? 0 : FB_OBJECT_PARKED;
    }
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "gone", 7, &o[1], "23514", "", &err),
              &err);
    o[3].ver = 12; /* a letter about an older version is none */
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "gone", 7, &o[3], "23514", "", &err),
              &err);
    o[3].ver = 13;
    assert_int_equal(rows_apply(f, &b, &ns, s, o, 4, &err), PG_NO_LETTER);
    assert_int_equal(b.conflict_count, 2);
    assert_int_equal(b.conflicts[0].feed, 0);
    assert_int_equal(b.conflicts[0].object, 2);
    assert_int_equal(b.conflicts[1].object, 3);
    assert_string_equal(fixture_text(f, "select count(*) from app.passed"), "0");
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "gone", 7, &o[2], "23514", "", &err),
              &err);
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "gone", 7, &o[3], "23514", "", &err),
              &err);
    rows_must(rows_apply(f, &b, &ns, s, o, 4, &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from app.passed"), "1");
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "3");
    fixture_sql(f, "delete from forebay.dead_letter");
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

/* A process that was paused between the refusal and its letter: the object was written since, so
 * nothing would ever take the letter away. */
static void a_late_letter_is_not_written(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("late", "letters", "id");
    struct fb_feed_object o = fixture_object(3, FB_KIND_NONE, fb_bytes_str("5"), fb_bytes_str(""));
    struct pg_feed feed = fixture_feed(&ns, NULL, 0, 4, &o, 1);
    struct pg_batch b = {0};
    struct fb_schema *s = rows_usable(f, &ns);
    struct pg_error err;

    feed.schema = s;
    rows_must(fixture_apply(f, &b, &feed, &err), &err); /* the checkpoint is 4 */
    assert_int_equal(pg_dead_letter_put(f->pg, fixture_cluster, "late", 7, &o, "23514", "", &err),
                     PG_LOST);
    o.ver = 4;
    assert_int_equal(pg_dead_letter_put(f->pg, fixture_cluster, "late", 7, &o, "23514", "", &err),
                     PG_LOST);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "0");
    o.ver = 5;
    rows_must(pg_dead_letter_put(f->pg, fixture_cluster, "late", 7, &o, "23514", "", &err), &err);
    assert_string_equal(fixture_text(f, "select count(*) from forebay.dead_letter"), "1");
    fixture_sql(f, "delete from forebay.dead_letter");
    pg_batch_fini(&b);
    fb_schema_free(s);
}

static const char *outcome(struct fixture *f)
{
    return fixture_text(f, "select outcome from forebay.conflict_log order by n desc limit 1");
}

static void conflict_row(void *arg, const struct pg_conflict_row *r)
{
    if (r->ver == 12) {
        assert_string_equal(r->old_json, "{\"b\": \"old\"}");
        assert_string_equal(r->theirs_json, "{\"a\": \"old\", \"b\": \"theirs\", \"id\": \"1\"}");
    } else {
        assert_string_equal(r->old_json, "null"); /* the whole row is ours: nothing is known */
    }
    ++*(int *)arg;
}

/* The process that logged a conflict and then ended never says how it was resolved; the next that
 * writes the object closes it. What it was based on is there as far as it is known. */
static void open_conflicts_are_closed(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("c", "contested", "id");
    struct fb_buf row = {0};
    struct fb_feed_object o;
    struct pg_feed feed;
    struct pg_batch b = {0};
    struct pg_error err;
    struct fb_schema *s;
    int count = 0;

    fixture_sql(f, "create table app.contested (id int primary key, a text, b text);"
                   "insert into app.contested values (1, 'old', 'old')");
    s = rows_usable(f, &ns);
    rows_put(&row, "a", "ours");
    rows_put(&row, "b", "old");
    o = fixture_object(12, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    o.flags = HAS_ROW;
    o.base_xid = fixture_load(f, &ns, s, o.id).xmin;
    o.changed = rows_bit(s, "a");
    fixture_sql(f, "update app.contested set b = 'theirs'");
    feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_CONFLICT);
    rows_must(pg_conflict_put(f->pg, fixture_cluster, &b, &err), &err);
    rows_must(pg_conflict_put(f->pg, fixture_cluster, &b, &err), &err); /* again does nothing */
    assert_string_equal(fixture_text(f, "select count(*) from forebay.conflict_log"), "1");
    assert_string_equal(outcome(f), "open");
    o.ver = 13;
    o.base_xid = b.conflicts[0].xmin;
    rows_must(rows_apply(f, &b, &ns, s, &o, 1, &err), &err);
    assert_string_equal(outcome(f), "unheard");
    /* The one who knows says so all the same, once. */
    rows_must(pg_conflict_done(f->pg, fixture_cluster, "c", o.id, 12, "merged", &err), &err);
    assert_string_equal(outcome(f), "merged");
    rows_must(pg_conflict_done(f->pg, fixture_cluster, "c", o.id, 12, "theirs", &err), &err);
    assert_string_equal(outcome(f), "merged");
    /* An insert that met a row. */
    o = fixture_object(14, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    feed = fixture_feed(&ns, s, 1, 2, &o, 1); /* rows_apply moved the checkpoint to 1 */
    assert_int_equal(fixture_apply(f, &b, &feed, &err), PG_CONFLICT);
    rows_must(pg_conflict_put(f->pg, fixture_cluster, &b, &err), &err);
    rows_must(pg_conflict_list(f->pg, fixture_cluster, "c", 10, conflict_row, &count, &err), &err);
    assert_int_equal(count, 2);
    /* A row of somebody else's is left out. */
    fixture_sql(f, "update forebay.conflict_log set id = '\\xzz' where version = 14");
    rows_must(pg_conflict_list(f->pg, fixture_cluster, NULL, 10, conflict_row, &count, &err), &err);
    assert_int_equal(count, 3);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_listed),
        cmocka_unit_test(letters_that_are_not_ours),
        cmocka_unit_test(pages),
        cmocka_unit_test(a_newer_version_takes_its_letter_away),
        cmocka_unit_test(what_is_passed_has_its_letter),
        cmocka_unit_test(a_late_letter_is_not_written),
        cmocka_unit_test(open_conflicts_are_closed),
    };
    return cmocka_run_group_tests(tests, rows_start, fixture_stop);
}
