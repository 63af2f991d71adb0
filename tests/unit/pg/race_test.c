/* Several workers that all believe to own the same feeds: each version is applied once, in order
 * (an audit trigger counts). */
#include "tests/unit/pg/fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define WORKERS 3u
#define LAST 60u
#define FEEDS 4u

struct worker {
    struct pg *pg;
    const struct fb_namespace *ns;
    const struct fb_schema *schema;
    unsigned number;
    unsigned won, lost, other;
    const char *problem;
};

static pthread_barrier_t all_read; /* so that the first round is lost by all but one */

struct vers {
    uint64_t v[FEEDS];
};

static void take_ver(void *arg, uint16_t part, const char *ns, uint64_t history, uint64_t ver)
{
    struct vers *vers = arg;
    (void)ns;
    (void)history;
    if (part < FEEDS)
        vers->v[part] = ver;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    bool first = true;
    for (;;) {
        struct vers vers = {{0}};
        struct fb_feed_object o[FEEDS];
        char ids[FEEDS][8], values[FEEDS][24];
        struct pg_feed feeds[FEEDS];
        struct pg_batch b = {.feeds = feeds, .owner = "race"};
        struct pg_error err;
        enum pg_class c = pg_read_checkpoints(w->pg, fixture_cluster, take_ver, &vers, &err);
        if (first)
            (void)pthread_barrier_wait(&all_read);
        first = false;
        if (c != PG_OK) {
            w->problem = "cannot read checkpoints";
            return NULL;
        }
        for (unsigned k = 0; k < FEEDS; k++) {
            unsigned part = w->number % 2 == 0 ? k : FEEDS - 1 - k; /* in different orders */
            if (vers.v[part] >= LAST)
                continue;
            snprintf(ids[k], sizeof(ids[k]), "%u", part);
            snprintf(values[k], sizeof(values[k]), "%llu", (unsigned long long)vers.v[part] + 1);
            o[k] = fixture_object(vers.v[part] + 1, FB_KIND_STRING, fb_bytes_str(ids[k]),
                                  fb_bytes_str(values[k]));
            o[k].flags = FB_OBJECT_HAS_BASE;
            feeds[b.feed_count] =
                fixture_feed(w->ns, w->schema, vers.v[part], vers.v[part] + 1, &o[k], 1);
            feeds[b.feed_count++].part = (uint16_t)part;
        }
        if (b.feed_count == 0)
            return NULL;
        c = pg_apply(w->pg, fixture_cluster, &b, &err);
        w->won += c == PG_OK;
        w->lost += c == PG_LOST;
        w->other += c != PG_OK && c != PG_LOST;
        pg_batch_fini(&b);
        if (c != PG_OK && c != PG_LOST && c != PG_RETRY) {
            w->problem = "unexpected class";
            return NULL;
        }
    }
}

static void once(void **state)
{
    struct fixture *f = fixture_get(state);
    struct fb_namespace ns = {.name = "race",
                              .mapped = true,
                              .table_schema = "public",
                              .table_name = "race",
                              .key = "id",
                              .value = FB_VALUE_COLUMN,
                              .value_column = "v",
                              .external = FB_EXTERNAL_DETECT};
    struct worker w[WORKERS];
    pthread_t threads[WORKERS];
    struct fb_schema *s;
    struct pg_error err;
    unsigned won = 0, lost = 0;
    fixture_sql(f, "create table race (id int primary key, v text); insert into race select g, 0 "
                   "from generate_series(0, 3) g;"
                   "create table audit (n bigserial, id int, v text);"
                   "create function log() returns trigger language plpgsql as"
                   " 'begin insert into audit (id, v) values (new.id, new.v); return new; end';"
                   "create trigger t after update on race for each row execute function log()");
    assert_int_equal(pg_read_schema(f->pg, &ns, &s, &err), PG_OK);
    assert_int_equal(pthread_barrier_init(&all_read, NULL, WORKERS), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){.pg = fixture_connect(f), .ns = &ns, .schema = s, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (w[i].problem != NULL)
            fail_msg("%s", w[i].problem);
        won += w[i].won;
        lost += w[i].lost;
        assert_int_equal(w[i].other, 0);
        pg_free(w[i].pg);
    }
    pthread_barrier_destroy(&all_read);
    assert_int_equal(won, LAST);
    assert_true(lost > 0);
    assert_string_equal(fixture_text(f, "select count(*) from audit"), "240");
    assert_string_equal(
        fixture_text(f, "select count(*) from (select id, v::int - lag(v::int, 1, 0) over"
                        " (partition by id order by n) as step from audit) x where step <> 1"),
        "0");
    fb_schema_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(once)};
    return cmocka_run_group_tests(tests, fixture_start, fixture_stop);
}
