/* Goal: defaults, every cross check with its sentence, and that what is printed reads back the
 * same. */
#include "proto/cluster/namespace.h"
#include "proto/wire/request.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>

static struct fb_nsset *parse(const char *text)
{
    struct fb_nsset *s;
    struct fb_err err = {0};
    struct fb_buf problems = {0};
    if (fb_nsset_parse("c", fb_bytes_str(text), &s, &problems, &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(problems.n, 0);
    return s;
}

static void problem(const char *text, const char *want)
{
    struct fb_nsset *s;
    struct fb_err err = {0};
    struct fb_buf rest = {0};
    assert_int_equal(fb_nsset_parse("c", fb_bytes_str(text), &s, &rest, &err), FB_EINVAL);
    assert_null(s);
    if (rest.n > 0)
        fail_msg("more than one problem: %s; %.*s", err.msg, (int)rest.n, (const char *)rest.p);
    if (strncmp(err.msg, want, strlen(want)) != 0)
        fail_msg("got  %s\nwant %s", err.msg, want);
    fb_buf_fini(&rest);
}

static void defaults(void **state)
{
    struct fb_nsset *s = parse("");
    const struct fb_namespace *n = &s->ns[0];
    (void)state;
    assert_int_equal(s->count, 1);
    assert_int_equal(s->partitions, 0);
    assert_string_equal(n->name, "default");
    assert_false(n->mapped);
    assert_int_equal(n->value, FB_VALUE_AUTO);
    assert_int_equal(n->ttl_ms, 0);
    assert_int_equal(n->durability, FB_LEVEL_REPLICATED);
    assert_int_equal(n->on_delete, FB_ON_DELETE_DELETE);
    assert_int_equal(n->max_value, 131072);
    assert_int_equal(n->external, FB_EXTERNAL_NONE);
    assert_int_equal(n->conflict, FB_CONFLICT_CACHE_WINS);
    free(s);
    s = parse("[cluster]\npartitions=64\n[namespace user]\ntable=app.users\n[namespace "
              "doc]\ntable=docs\nvalue=column:body\n"
              "key = a, b\nexternal=none\ndurability = durable\n");
    assert_int_equal(s->partitions, 64);
    assert_int_equal(s->count, 3);
    n = &s->ns[fb_nsset_find(s, fb_bytes_str("user"))];
    assert_string_equal(n->table_schema, "app");
    assert_string_equal(n->table_name, "users");
    assert_string_equal(n->key, "id");
    assert_int_equal(n->value, FB_VALUE_ROW);
    assert_int_equal(n->ttl_ms, 60000);
    assert_int_equal(n->external, FB_EXTERNAL_DETECT);
    assert_int_equal(n->conflict, FB_CONFLICT_MERGE_COLUMNS);
    assert_int_equal(n->on_delete, FB_ON_DELETE_REFUSE);
    assert_int_equal(n->fk_wait_ms, 60000);
    n = &s->ns[fb_nsset_find(s, fb_bytes_str("doc"))];
    assert_string_equal(n->table_schema, "public");
    assert_string_equal(n->key, "a,b");
    assert_string_equal(n->value_column, "body");
    assert_int_equal(n->conflict, FB_CONFLICT_CACHE_WINS);
    assert_int_equal(n->durability, FB_LEVEL_DURABLE);
    free(s);
}

#define U "[namespace u]\ntable=t\n"
static void problems(void **state)
{
    (void)state;
    problem("[cluster]\npartitions=0\n",
            "c:2: partitions: \"0\" is not a whole number from 1 to 4096");
    problem("[cluster]\npartitions=4097\n", "c:2: partitions: \"4097\" is not");
    problem("[clutser]\n", "c:1: unknown section [clutser]; did you mean [cluster]?");
    problem("[namespace]\n", "c:1: [namespace] needs a name");
    problem("[namespace A]\n", "c:1: namespace \"A\": a name is 1 to 63 of a-z");
    problem("[namespace a]\n[namespace a]\n",
            "c:2: namespace \"a\" is declared twice; first at line 1");
    problem("[namespace a]\ntabel=t\n",
            "c:2: unknown key \"tabel\" in [namespace]; did you mean \"table\"?");
    problem("[namespace a]\nttl=1s\nttl=2s\n", "c:3: key \"ttl\" is given twice; first at line 2");
    problem("[namespace a]\nvalue=row\n", "c:2: value = row needs a table");
    problem("[namespace a]\nkey=id\n", "c:2: key needs a table");
    problem("[namespace a]\nexternal=detect\n", "c:2: external = detect needs a table");
    problem("[namespace a]\nconflict=db-wins\n", "c:2: without a table only conflict = cache-wins");
    problem("[namespace a]\non_delete=null:x\n", "c:2: on_delete = null:<column> needs a table");
    problem("[namespace a]\nttl=5s\non_delete=refuse\n",
            "c:2: without a table ttl deletes, and on_delete = refuse says that nothing may");
    problem("[namespace default]\ntable=t\n",
            "c:2: namespace default holds the keys of no other namespace");
    problem(U "external=trigger\n",
            "c:3: external = trigger is not available in this release; use detect or none");
    problem(U "external=logical\n",
            "c:3: external = logical is not available in this release; use detect or none");
    problem(U "conflict=last-write-wins:at\n",
            "c:3: conflict = last-write-wins is not available in this release");
    problem(U "value=auto\n", "c:3: value = auto is for namespaces without a table");
    problem(U "value=column:id\n", "c:3: column \"id\" is the key");
    problem(U "value=column:v\nconflict=merge-columns\n",
            "c:4: conflict = merge-columns needs value = row");
    problem(U "blind_writes=yes\n", "c:3: blind_writes needs value = column:<name>");
    problem(U "format=json\n", "c:3: format = json is for strings, and value = row has none");
    problem(U "expires_column=e\n", "c:3: expires_column is not available in this release");
    problem(U "key=a,a\n", "c:3: key: column \"a\" is in the key twice");
    problem(U "key=a,,b\n", "c:3: key: the name of the key column is empty");
    problem(U "durability=none\n",
            "c:3: durability: \"none\" is none of local, replicated, durable, database");
    problem(U "max_batch=0\n", "c:3: max_batch: \"0\" is not a whole number from 1 to 100000");
    problem(U "max_value=9MiB\n", "c:3: max_value: 9MiB is out of range, 1B to 8MiB are allowed");
    problem(U "sync_interval=5\n", "c:3: sync_interval: \"5\" is not a duration");
    problem("[namespace a]\ntable=x.y.z\n",
            "c:2: table: table is schema.table or table; \"x.y.z\" has more than one dot");
    problem("[namespace a]\ntable=forebay.objects\n", "c:2: schema forebay is Forebay's own");
    problem(U "[namespace v]\ntable=public.t\n",
            "c:4: table public.t already belongs to namespace \"u\"");
}

static void all_at_once(void **state)
{
    struct fb_nsset *s;
    struct fb_err err = {0};
    struct fb_buf rest = {0};
    (void)state;
    assert_int_equal(fb_nsset_parse("c", fb_bytes_str("nonsense\n[namespace a]\nttl=x\nkey=id\n"),
                                    &s, &rest, &err),
                     FB_EINVAL);
    assert_string_equal(err.msg, "c:1: key before the first [section]");
    fb_buf_put_u8(&rest, 0);
    assert_non_null(strstr((char *)rest.p, "c:3: ttl: \"x\" is not a duration"));
    assert_non_null(strstr((char *)rest.p, "c:4: key needs a table"));
    fb_buf_fini(&rest);
}

static void prints_back(void **state)
{
    struct fb_nsset *s =
        parse("[cluster]\npartitions=32\nreplicas=0\nmax_dirty_bytes=1GiB\nmulti=relaxed\ndatabase_"
              "safety=lag:3s\nheal_after=90s\n"
              "[namespace "
              "b]\ntable=app.t\nkey=x,y\non_delete=null:gone\nread_only=yes\n"
              "[namespace "
              "a]\ntable=t2\nvalue=column:v\nblind_writes=on\nttl=none\nmax_dirty_age=1h\n"
              "[namespace default]\nttl=30m\non_degraded=refuse\nreads=stale\n");
    struct fb_nsset *again;
    struct fb_buf text = {0};
    struct fb_err err = {0};
    (void)state;
    fb_nsset_print(&text, s);
    if (fb_nsset_parse("p", fb_buf_view(&text), &again, NULL, &err) != FB_OK)
        fail_msg("%s in:\n%.*s", err.msg, (int)text.n, (const char *)text.p);
    assert_memory_equal(s, again, sizeof(*s));
    fb_buf_fini(&text);
    free(s);
    free(again);
}

static void heal_after(void **state)
{
    struct fb_nsset *s = parse("");
    struct fb_buf text = {0};
    (void)state;
    assert_int_equal(s->heal_after_ms, 300000);
    free(s);
    s = parse("[cluster]\nheal_after = off\n");
    assert_int_equal(s->heal_after_ms, 0);
    fb_nsset_print(&text, s);
    fb_buf_put_u8(&text, 0);
    assert_non_null(strstr((const char *)text.p, "heal_after = off\n"));
    fb_buf_fini(&text);
    free(s);
    problem("[cluster]\nheal_after = 999ms\n", "c:2: heal_after: a node that is restarted is gone");
    problem("[cluster]\nheal_after = never\n", "c:2: heal_after: \"never\" is not a duration");
}

static void keys(void **state)
{
    struct fb_nsset *s = parse("[namespace user]\n[namespace us]\n[namespace users]\n");
    uint8_t n;
    (void)state;
#define OF(key) s->ns[fb_nsset_of_key(s, fb_bytes_str(key), &n)].name
    assert_string_equal(OF("user:1"), "user");
    assert_int_equal(n, 4);
    assert_string_equal(OF("us:"), "us");
    assert_string_equal(OF("users:a:b"), "users");
    assert_int_equal(n, 5);
    assert_string_equal(OF("use:1"), "default");
    assert_int_equal(n, 0);
    assert_string_equal(OF("default:1"), "default");
    assert_int_equal(n, 0);
    assert_string_equal(OF("user"), "default");
    assert_string_equal(OF(":x"), "default");
    assert_string_equal(OF(""), "default");
    assert_int_equal(fb_nsset_find(s, fb_bytes_str("x")), UINT32_MAX);
    assert_int_equal(fb_nsset_find(s, fb_bytes_str("")), UINT32_MAX);
    free(s);
}

static void survives_mutation(void **state)
{
    static const char good[] = "[cluster]\npartitions = 12\n[namespace u]\ntable = "
                               "a.b\nkey=x,y\nttl = 5s\non_delete=null:c\n";
    (void)state;
    srand(5); /* the same bytes every time */
    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)rand() % sizeof(good);
        char *copy = malloc(n + 1);
        struct fb_nsset *s;
        struct fb_buf rest = {0};
        struct fb_err err;
        memcpy(copy, good, n);
        for (int k = rand() % 4; k > 0 && n > 0; k--)
            copy[(size_t)rand() % n] = (char)rand();
        if (fb_nsset_parse("c", fb_bytes(copy, n), &s, &rest, &err) == FB_OK)
            free(s);
        fb_buf_fini(&rest);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),         cmocka_unit_test(problems),
        cmocka_unit_test(all_at_once),      cmocka_unit_test(prints_back),
        cmocka_unit_test(heal_after),       cmocka_unit_test(keys),
        cmocka_unit_test(survives_mutation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
