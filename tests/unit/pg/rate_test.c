/* Rows a second of pg_apply beside the statement one would write by hand, interleaved on one
 * server; prints the ratios. */
#include "tests/unit/pg/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROWS 200000u
#define BATCH 1000u
#define ROUNDS 20u

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void pick(uint32_t ids[BATCH])
{
    bool *used = calloc(ROWS, sizeof(*used));
    assert_non_null(used);
    for (uint32_t i = 0; i < BATCH;) {
        uint32_t id = (uint32_t)random() % ROWS;
        if (used[id])
            continue;
        used[id] = true;
        ids[i++] = id;
    }
    free(used);
    qsort(ids, BATCH, sizeof(*ids), by_number);
}

/* The best statement by hand: prepared, sorted, text array literals. */
static double by_hand(struct fixture *f, const char *name, uint32_t round)
{
    uint32_t ids[BATCH];
    struct fb_buf keys = {0}, values = {0};
    const char *args[2];
    double start;
    PGresult *res;
    pick(ids);
    start = now_s();
    for (uint32_t i = 0; i < BATCH; i++) {
        fb_buf_printf(&keys, "%c%u", i == 0 ? '{' : ',', ids[i]);
        fb_buf_printf(&values, "%c%0100u", i == 0 ? '{' : ',', round);
    }
    fb_buf_put(&keys, "}", 2); /* with its zero byte */
    fb_buf_put(&values, "}", 2);
    args[0] = (const char *)keys.p;
    args[1] = (const char *)values.p;
    PQclear(PQexec(f->sql, "begin"));
    res = PQexecPrepared(f->sql, name, 2, args, NULL, NULL, 0);
    assert_int_equal(PQresultStatus(res), PGRES_COMMAND_OK);
    assert_string_equal(PQcmdTuples(res), "1000");
    PQclear(res);
    PQclear(PQexec(f->sql, "commit"));
    start = now_s() - start;
    fb_buf_fini(&keys);
    fb_buf_fini(&values);
    return start;
}

static double by_apply(struct fixture *f, const struct fb_namespace *ns, const struct fb_schema *s,
                       uint64_t *ver, uint32_t round, const char *key_format)
{
    static char texts[BATCH][32], value[128];
    uint32_t ids[BATCH];
    struct fb_feed_object *o = calloc(BATCH, sizeof(*o));
    struct pg_batch b = {0};
    struct pg_error err;
    struct pg_feed feed;
    struct fb_buf hash = {0};
    double start;
    assert_non_null(o);
    pick(ids);
    snprintf(value, sizeof(value), "%0100u", round + 1000);
    if (ns->value == FB_VALUE_ROW) {
        fb_hash_put(&hash, fb_bytes_str("v"), fb_bytes_str(value));
    }
    for (uint32_t i = 0; i < BATCH; i++) {
        uint32_t at = (i * 617) % BATCH; /* in no order, as feeds are */
        snprintf(texts[at], sizeof(texts[at]), key_format, ids[i]);
        o[at] =
            fixture_object(*ver + 1 + at, ns->value == FB_VALUE_ROW ? FB_KIND_HASH : FB_KIND_STRING,
                           fb_bytes_str(texts[at]),
                           ns->value == FB_VALUE_ROW ? fb_buf_view(&hash) : fb_bytes_str(value));
        o[at].flags = FB_OBJECT_HAS_BASE;
        o[at].changed = 2;
    }
    feed = fixture_feed(ns, s, *ver, *ver + BATCH, o, BATCH);
    start = now_s();
    if (fixture_apply(f, &b, &feed, &err) != PG_OK)
        fail_msg("%s %s", err.sqlstate, err.message);
    start = now_s() - start;
    assert_int_equal(b.rows_updated, BATCH);
    *ver += BATCH;
    pg_batch_fini(&b);
    fb_buf_fini(&hash);
    free(o);
    return start;
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, ROUNDS, sizeof(*v), by_double);
    return v[ROUNDS / 2];
}

static void rates(void **state)
{
    struct fixture *f = fixture_get(state);
    static double update[ROUNDS], upsert[ROUNDS], column[ROUNDS], row[ROUNDS], objects[ROUNDS];
    struct fb_namespace ns = {.name = "c",
                              .mapped = true,
                              .table_schema = "public",
                              .table_name = "c",
                              .key = "id",
                              .value = FB_VALUE_COLUMN,
                              .value_column = "v",
                              .external = FB_EXTERNAL_DETECT};
    struct fb_namespace whole = ns;
    struct fb_namespace unmapped = {.name = "session"};
    struct fb_schema *s, *w;
    struct pg_error err;
    uint64_t ver[3] = {0};
    snprintf(whole.name, sizeof(whole.name), "r");
    snprintf(whole.table_name, sizeof(whole.table_name), "r");
    whole.value = FB_VALUE_ROW;
    fixture_sql(
        f, "create table h (id bigint primary key, v text); create table c (like h including all);"
           "create table r (like h including all); create table x (id text primary key, v text);"
           "insert into h select g, repeat('x', 100) from generate_series(0, 199999) g;"
           "insert into c select * from h; insert into r select * from h; insert into x select * "
           "from h;"
           "insert into forebay.objects (ns, id, kind, value) select 'session', 'u' || g, 'string',"
           " repeat('x', 100)::bytea from generate_series(0, 199999) g; analyze;"
           "prepare up (bigint[], text[]) as update h set v = u.v from unnest($1, $2) u(id, v) "
           "where h.id = u.id;"
           "prepare ups (text[], text[]) as insert into x select * from unnest($1, $2) u(id, v)"
           " on conflict (id) do update set v = excluded.v");
    assert_int_equal(pg_read_schema(f->pg, &ns, &s, &err), PG_OK);
    assert_int_equal(pg_read_schema(f->pg, &whole, &w, &err), PG_OK);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        update[i] = by_hand(f, "up", i);
        column[i] = by_apply(f, &ns, s, &ver[0], i, "%u");
        row[i] = by_apply(f, &whole, w, &ver[1], i, "%u");
        upsert[i] = by_hand(f, "ups", i);
        objects[i] = by_apply(f, &unmapped, NULL, &ver[2], i, "u%06u");
    }
    printf("rows/s, 1000 a batch, medians: update by hand %.0f, value=column %.0f (%.2f), "
           "value=row %.0f (%.2f); "
           "upsert by hand %.0f, forebay.objects %.0f (%.2f)\n",
           BATCH / median(update), BATCH / median(column), median(update) / median(column),
           BATCH / median(row), median(update) / median(row), BATCH / median(upsert),
           BATCH / median(objects), median(upsert) / median(objects));
    fb_schema_free(s);
    fb_schema_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rates)};
    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
