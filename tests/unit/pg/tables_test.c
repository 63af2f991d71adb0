/* Which tables can be served, with which rights, and what is said about the others. */
#include "tests/unit/pg/rows_util.h"

#include <stdio.h>
#include <stdlib.h>

static int errors;
static int warnings;
static void heard(void *arg, int level, const char *text)
{
    (void)arg;
    errors += level == 2;
    warnings += level == 1;
    assert_true(text[0] != '\0');
}

/* A role with the documented rights only, and types outside the search path. */
static void plain_role(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("role", "role", "id");
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
    fixture_sql(
        f, "create type app.\"Mood\" as enum ('good', 'so, so'); create domain app.positive as int "
           "check (value > 0); create role forebay_sync login; create table app.role (id int "
           "primary key, "
           "mood app.\"Mood\", d app.positive)");
    rows_must(pg_setup(f->pg, &err), &err);
    snprintf(conninfo, sizeof(conninfo), "%s user=forebay_sync\n", f->conninfo);
    pg = pg_new(&config);
    rows_must(pg_connect(pg, &fatal, &err), &err);
    assert_int_equal(pg_read_schema(pg, &ns, &s, &err), PG_OK);
    assert_non_null(strstr(s->problem, "no right to read"));
    fb_schema_free(s);
    fixture_sql(
        f, "grant usage on schema app to forebay_sync; grant select on app.role to forebay_sync");
    set->count = 1;
    set->ns[0] = ns;
    errors = warnings = 0;
    rows_must(pg_check(pg, set, heard, NULL, &err), &err);
    assert_int_equal(errors, 3);
    assert_int_equal(pg_read_schema(pg, &ns, &s, &err), PG_OK);
    assert_string_equal(s->problem, "");
    rows_put(&row, "mood", "good");
    rows_put(&row, "d", "3");
    o = fixture_object(1, FB_KIND_HASH, fb_bytes_str("1"), fb_buf_view(&row));
    feed = fixture_feed(&ns, s, 0, 1, &o, 1);
    b = (struct pg_batch){.feeds = &feed, .feed_count = 1};
    assert_int_equal(pg_apply(pg, fixture_cluster, &b, &err), PG_NAMESPACE);
    assert_string_equal(err.sqlstate, "42501");
    fixture_sql(f, "grant insert, update, delete on app.role to forebay_sync");
    rows_must(pg_apply(pg, fixture_cluster, &b, &err), &err);
    errors = 0;
    rows_must(pg_check(pg, set, heard, NULL, &err), &err);
    assert_int_equal(errors, 0);
    pg_free(pg);
    free(set);
    pg_batch_fini(&b);
    fb_buf_fini(&row);
    fb_schema_free(s);
}

static void keep(void *arg, int level, const char *text)
{
    struct fb_buf *told = arg;
    if (strstr(text, "after the answer") != NULL) {
        assert_int_equal(level, 0);
        fb_buf_printf(told, "%s\n", text);
    }
}

/* What only PostgreSQL can judge is told by name; the key's own indexes are no news. */
static void constraints(void **state)
{
    static const char want[] =
        "told: b_fk is checked by PostgreSQL after the answer: a row that breaks it is tried for "
        "fk_wait, then is parked. FOREIGN KEY (id) REFERENCES app.con_parent(id)\n"
        "told: con_expr is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "CREATE UNIQUE INDEX con_expr ON app.con USING btree (lower(mail))\n"
        "told: con_mail is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "UNIQUE (mail)\n"
        "told: con_n is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "CHECK ((n > 0))\n"
        "told: con_part is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "CREATE UNIQUE INDEX con_part ON app.con USING btree (part, id) WHERE (n = 1)\n"
        "told: con_pkey is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "PRIMARY KEY (serial)\n"
        "told: con_x is checked by PostgreSQL after the answer: a row that breaks it is parked. "
        "EXCLUDE USING btree (n WITH =)\n";
    struct fixture *f = fixture_get(state);
    struct fb_nsset *set = calloc(1, sizeof(*set));
    struct fb_buf told = {0};
    struct pg_error err;
    assert_non_null(set);
    fixture_sql(
        f,
        "create table app.con_parent (id int primary key);"
        "create table app.con (serial int primary key, id int, part int, mail text constraint "
        "con_mail unique, n int constraint con_n check (n > 0), constraint con_key unique (part, "
        "id), constraint b_fk foreign key (id) references app.con_parent, constraint con_x "
        "exclude using btree (n with =));"
        "create unique index con_expr on app.con (lower(mail));"
        "create unique index con_part on app.con (part, id) where n = 1");
    set->count = 1;
    set->ns[0] = rows_mapping("told", "con", "id,part");
    rows_must(pg_check(f->pg, set, keep, &told, &err), &err);
    fb_buf_put_u8(&told, 0);
    assert_string_equal((const char *)told.p, want);
    fb_buf_clear(&told);
    set->ns[0].read_only = true;
    rows_must(pg_check(f->pg, set, keep, &told, &err), &err);
    assert_int_equal(told.n, 0);
    fb_buf_fini(&told);
    free(set);
}

static void says(struct fixture *f, const struct fb_namespace *ns, const char *part)
{
    struct fb_schema *s = rows_schema(f, ns);
    if (strstr(s->problem, part) == NULL)
        fail_msg("'%s' has no '%s'", s->problem, part);
    fb_schema_free(s);
}

static void problems(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("p", "nowhere", "id");
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
    ns = rows_mapping("p", "bare", "id");
    says(f, &ns, "app.bare: the key column \"id\" has no unique index");
    fixture_sql(f, "create unique index on app.bare (id) where id > 0");
    says(f, &ns, "has no unique index");
    ns = rows_mapping("p", "bare", "nix");
    says(f, &ns, "\"nix\" does not exist");
    ns = rows_mapping("p", "v", "id");
    says(f, &ns, "is a view");
    ns = rows_mapping("p", "m", "id");
    says(f, &ns, "materialized view");
    ns = rows_mapping("p", "part", "id");
    s = rows_usable(f, &ns);
    fb_schema_free(s);
    set->count = 4;
    snprintf(set->ns[0].name, sizeof(set->ns[0].name), "default");
    set->ns[1] = ns;
    set->ns[2] = rows_mapping("bad", "bare", "id");
    set->ns[3] = rows_mapping("must", "must", "id");
    set->ns[3].value = FB_VALUE_COLUMN;
    snprintf(set->ns[3].value_column, sizeof(set->ns[3].value_column), "v");
    errors = warnings = 0;
    assert_int_equal(pg_check(f->pg, set, heard, NULL, &err), PG_OK);
    assert_int_equal(errors, 1);
    assert_int_equal(warnings, 1);
    free(set);
}

/* Nothing of such a table is read or written: what is wrong with it is what is told. */
static void a_table_that_cannot_be_served(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("gone", "gone", "id");
    struct fb_schema *s = rows_schema(f, &ns);
    struct fb_load_req req = {.part = 7, .ns = fb_bytes_str("gone"), .id = fb_bytes_str("1")};
    struct fb_load_rep rep;
    struct pg_load load = {.ns = &ns, .schema = s, .reqs = &req, .reps = &rep};
    struct fb_feed_object o = fixture_object(1, FB_KIND_NONE, req.id, fb_bytes("", 0));
    struct fb_buf bytes = {0};
    struct pg_batch b = {0};
    struct pg_error err;

    for (load.count = 0; load.count < 2; load.count++) { /* nothing to load is nothing wrong */
        rows_must(pg_load(f->pg, fixture_cluster, &load, &bytes, &err), &err);
        assert_int_equal(bytes.n == 0, load.count == 0);
    }
    assert_int_equal(rep.status, FB_LOAD_REFUSED);
    assert_true(fb_bytes_is(rep.value, s->problem));
    assert_int_equal(rows_apply(f, &b, &ns, s, &o, 1, &err), PG_NAMESPACE);
    assert_string_equal(err.message, s->problem);
    fb_schema_free(s);
    load.schema = s = NULL;
    load.ns = &(struct fb_namespace){.name = "objects"};
    load.count = 0;
    rows_must(pg_load(f->pg, fixture_cluster, &load, &bytes, &err), &err);
    pg_batch_fini(&b);
    fb_buf_fini(&bytes);
}

/* A row that cannot be read for a lock is there for all anybody knows: asked for again later. */
static void a_locked_table(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = rows_mapping("held", "held", "id");
    struct fb_load_req req = {.part = 7, .ns = fb_bytes_str("held"), .id = fb_bytes_str("1")};
    struct fb_load_rep rep;
    struct pg_load load = {.ns = &ns, .reqs = &req, .reps = &rep, .count = 1, .lock_wait_ms = 50};
    struct fb_buf bytes = {0};
    struct pg_error err;
    struct fb_schema *s;

    fixture_sql(f, "create table app.held (id int primary key); insert into app.held values (1)");
    load.schema = s = rows_usable(f, &ns);
    fixture_sql(f, "begin; lock table app.held");
    rows_must(pg_load(f->pg, fixture_cluster, &load, &bytes, &err), &err);
    assert_int_equal(rep.status, FB_LOAD_DB_DOWN);
    assert_true(load.locked);
    fixture_sql(f, "rollback");
    rows_must(pg_load(f->pg, fixture_cluster, &load, &bytes, &err), &err);
    assert_int_equal(rep.status, FB_LOAD_FOUND);
    assert_false(load.locked);
    fb_buf_fini(&bytes);
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problems),       cmocka_unit_test(a_table_that_cannot_be_served),
        cmocka_unit_test(a_locked_table), cmocka_unit_test(plain_role),
        cmocka_unit_test(constraints),
    };
    return cmocka_run_group_tests(tests, rows_start, fixture_stop);
}
