/* Goal: what is the file store's own: it survives crashes and refuses damage by name. What all back
 * ends promise is in store_test.c. */
#include "tests/unit/coord/backends.h"

#include "proto/coord/cluster_state.h"
#include "proto/coord/file_state.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void put_file(const struct place *p, const char *name, const char *text)
{
    char path[128];
    FILE *f;
    snprintf(path, sizeof(path), "%s/store/%s", p->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void damage_is_named_and_kept(void **state)
{
    static const char *const bad[] = {
        "{\"format\": \"forebay-coordinator-1\", \"revi",
        "",
        "[]",
        "{\"format\": \"other\", \"revision\": 9, \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 900, \"keys\": {\"a\": {\"value\": "
        "3, \"rev\": 1}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 900, \"keys\": {\"a\": {\"value\": "
        "\"x\", \"rev\": 901}}}",
    };
    struct place *p = *state;
    struct fb_coord *c = must_open(p), *d;
    struct fb_coord_list l;
    struct fb_err err;

    for (size_t i = 0; i < FB_COUNT_OF(bad); i++) {
        char path[128], text[256] = "";
        FILE *f;
        put_file(p, "state", bad[i]);
        assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "store/state"));
        assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), NULL, &err),
                         FB_ECORRUPT);
        assert_int_equal(fb_coord_open(p->url, true, &d, &err), FB_ECORRUPT);
        snprintf(path, sizeof(path), "%s/store/state", p->dir);
        f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fread(text, 1, sizeof(text) - 1, f), strlen(bad[i]));
        fclose(f);
        assert_string_equal(text, bad[i]);
    }
    fb_coord_close(c);
}

/* What is bound to something that is no session is nobody's who is alive. */
static void sessions_that_are_none(void **state)
{
    static const char *const ids[] = {"n", "no name:1", "n:token", "n:1"};
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_coord_list l;
    struct fb_err err;

    for (size_t i = 0; i < FB_COUNT_OF(ids); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "{\"format\": \"forebay-coordinator-1\", \"revision\": %zu, \"keys\": {\"a\": "
                 "{\"value\": \"x\", \"rev\": 1, \"session\": \"%s\"}}}",
                 900 + i, ids[i]);
        put_file(p, "state", text);
        assert_int_equal(fb_coord_list(c, "", &l, &err), FB_OK);
        assert_int_equal(l.count, 1);
        assert_false(l.kv[0].alive);
        fb_coord_list_free(&l);
    }
    fb_coord_close(c);
}

static void old_copy_and_crash_leftovers(void **state)
{
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t rev;

    for (int i = 0; i < 3; i++)
        assert_int_equal(fb_coord_cas(c, "k", UINT64_MAX, fb_bytes_str("v"), &rev, &err), FB_OK);
    put_file(p, "state.tmp", "{\"half"); /* a writer died here */
    assert_int_equal(fb_coord_cas(c, "k", rev, fb_bytes_str("w"), &rev, &err), FB_OK);
    put_file(p, "state", "{\"format\": \"forebay-coordinator-1\", \"revision\": 2, \"keys\": {}}");
    assert_int_equal(fb_coord_list(c, "", &l, &err), FB_ESTALE);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("x"), NULL, &err), FB_ESTALE);
    fb_coord_close(c);
}

static void urls(void **state)
{
    struct fb_coord *c;
    struct fb_err err;
    (void)state;
    assert_int_equal(fb_coord_open("file://host/x", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("zk:x", true, &c, &err), FB_EINVAL);
    assert_int_equal(fb_coord_open("file:///nonexistent/a/b", true, &c, &err), FB_ENOENT);
}

/* States that cannot be are refused by what is wrong with them. */
static void refuses_nonsense(void **state)
{
    static const char *const states[] = {
        "{\"format\": \"forebay-coordinator-1\", \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": \"1\", \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 0, \"keys\": {}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": []}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": {\"rev\": 1}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": "
        "{\"value\": \"\", \"rev\": 2}}}",
        "{\"format\": \"forebay-coordinator-1\", \"revision\": 1, \"keys\": {\"a\": "
        "{\"value\": \"\", \"rev\": 1, \"session\": 7}}}",
        "{\"format\": \"forebay-coordinator-2\", \"revision\": 1, \"keys\": {}}",
        "",
    };
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_err err;
    char path[128];

    fb_coord_close(c);
    fb_coord_close(NULL);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        put_file(p, "state", states[i]);
        assert_int_equal(fb_coord_open(p->url, false, &c, &err), FB_ECORRUPT);
        assert_non_null(strstr(err.msg, "state is damaged"));
    }
    snprintf(path, sizeof(path), "%s/store/state", p->dir);
    assert_int_equal(truncate(path, (off_t)FILE_STATE_BYTES_MAX + 1), 0);
    assert_int_equal(fb_coord_open(p->url, false, &c, &err), FB_ECORRUPT);
    assert_non_null(strstr(err.msg, "its size is out of bounds"));
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fb_coord_open(p->url, false, &c, &err), FB_ECORRUPT);
}

/* The store's file goes away under a handle and comes back: whoever asks in between is told. */
static void a_store_that_goes_away(void **state)
{
    struct place *p = *state;
    struct fb_coord *c = must_open(p);
    struct fb_cluster_state *st;
    struct fb_buf value = {0};
    struct fb_err err;

    assert_int_equal(fb_cluster_init(c, 4, &err), FB_OK);
    store_away(p);
    st = (struct fb_cluster_state *)p; /* anything but NULL */
    assert_int_equal(fb_cluster_state_read(c, &st, &err), FB_ENOENT);
    assert_non_null(strstr(err.msg, "store/state"));
    assert_null(st);
    assert_int_equal(fb_coord_get(c, "meta", &value, NULL, &err), FB_ENOENT);
    assert_non_null(strstr(err.msg, "store/state"));
    assert_int_equal(value.n, 0);
    assert_int_equal(fb_coord_cas(c, "k", 0, fb_bytes_str("v"), NULL, &err), FB_ENOENT);
    store_back(p);
    assert_int_equal(fb_cluster_state_read(c, &st, &err), FB_OK);
    assert_int_equal(st->map->partitions, 4);
    fb_cluster_state_put(st);
    assert_int_equal(fb_coord_get(c, "k", &value, NULL, &err), FB_ENOENT);
    fb_coord_close(c);
}

static void makes_what_is_missing(void **state)
{
    const struct place *p = *state;
    struct fb_coord *a;
    struct fb_err err;
    struct stat st;
    char path[128];

    assert_int_equal(fb_coord_open(p->url, false, &a, &err), FB_ENOENT);
    a = must_open(p);
    snprintf(path, sizeof(path), "%s/store", p->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    fb_coord_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_what_is_missing, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(damage_is_named_and_kept, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(sessions_that_are_none, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(old_copy_and_crash_leftovers, file_setup, file_teardown),
        cmocka_unit_test_setup_teardown(a_store_that_goes_away, file_setup, file_teardown),
        cmocka_unit_test(urls),
        cmocka_unit_test_setup_teardown(refuses_nonsense, file_setup, file_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
