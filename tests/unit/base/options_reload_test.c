/* Goal: a second reading takes every change or none: what may change is told, what may not is
 * refused with its place and both values, a wrong file changes nothing. Method: options loaded from
 * a file, the file rewritten, read again. */
#include "proto/base/options.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct fb_option table[] = {
    {.section = "process", .key = "name", .type = FB_OPT_TEXT, .help = "Name."},
    {.section = "process",
     .key = "level",
     .type = FB_OPT_ENUM,
     .default_value = "info",
     .choices = "debug|info",
     .reloadable = true},
    {.section = "node",
     .key = "memory",
     .type = FB_OPT_SIZE,
     .default_value = "1GiB",
     .reloadable = true},
    {.section = "node", .key = "listen", .type = FB_OPT_TEXT, .default_value = "a"},
    {.section = "node",
     .key = "token",
     .type = FB_OPT_TEXT,
     .default_value = "",
     .secret = true,
     .reloadable = true},
};
static char *argv_of[] = {(char *)"prog", (char *)"--config", (char *)"forebay.conf"};

static void write_file(const char *text)
{
    FILE *f = fopen("forebay.conf", "w");
    fputs(text, f);
    fclose(f);
}

static struct fb_options *first(const char *text)
{
    struct fb_options *o;
    write_file(text);
    assert_int_equal(
        fb_options_load("prog", "", table, sizeof(table) / sizeof(table[0]), NULL, 3, argv_of, &o),
        FB_OPTIONS_RUN);
    return o;
}

struct again {
    enum fb_status st;
    struct fb_options *next;
    char changes[2048], problems[2048];
};

static void again(struct again *a, const struct fb_options *o, const char *text)
{
    struct fb_buf changes = {0}, problems = {0};
    if (text != NULL)
        write_file(text);
    a->st = fb_options_reload(o, 3, argv_of, &a->next, &changes, &problems);
    snprintf(a->changes, sizeof(a->changes), "%.*s", (int)changes.n, (const char *)changes.p);
    snprintf(a->problems, sizeof(a->problems), "%.*s", (int)problems.n, (const char *)problems.p);
    fb_buf_fini(&changes);
    fb_buf_fini(&problems);
}

static void same_is_no_change(void **state)
{
    struct fb_options *o = first("[process]\nname = n\n[node]\nmemory = 1GiB\n");
    struct again a;
    (void)state;
    again(&a, o, "; moved, and spelled otherwise\n[node]\nmemory = 1024MiB\n[process]\nname = n\n");
    assert_int_equal(a.st, FB_OK);
    assert_string_equal(a.changes, "");
    fb_options_free(a.next);
    fb_options_free(o);
}

static void what_may_change_is_told(void **state)
{
    struct fb_options *o = first("[process]\nname = n\nlevel = debug\n");
    struct again a;
    (void)state;
    again(&a, o, "[process]\nname = n\n[node]\nmemory = 2GiB\ntoken = s3cret\n");
    assert_int_equal(a.st, FB_OK);
    assert_string_equal(a.problems, "");
    assert_string_equal(
        a.changes,
        "process.level debug -> info (the default, now that file forebay.conf:3 does not set it)\n"
        "node.memory 1GiB -> 2GiB (file forebay.conf:4)\n"
        "node.token *** -> *** (file forebay.conf:5)\n");
    assert_int_equal(fb_options_uint(a.next, "node", "memory"), UINT64_C(2) << 30);
    assert_int_equal(fb_options_uint(o, "node", "memory"), UINT64_C(1) << 30);
    fb_options_free(a.next);
    fb_options_free(o);
}

static void one_refusal_refuses_all(void **state)
{
    struct fb_options *o = first("[process]\nname = n\n[node]\nlisten = a\n");
    struct again a;
    (void)state;
    again(&a, o, "[process]\nname = m\n[node]\nlisten = b\nmemory = 2GiB\n");
    assert_int_equal(a.st, FB_EREFUSED);
    assert_null(a.next);
    assert_string_equal(
        a.problems,
        "file forebay.conf:2: process.name cannot change while the process runs: it is n and would "
        "be m; put it back, or restart the process\n"
        "file forebay.conf:4: node.listen cannot change while the process runs: it is a and would "
        "be b; put it back, or restart the process\n");
    fb_options_free(o);
}

static void a_wrong_file_changes_nothing(void **state)
{
    static const char *const wrong[] = {
        "[process]\nname = n\nlevel = loud\n",
        "[process]\nname = n\n[node]\nmemroy = 1GiB\n",
        "[node]\nmemory = 2GiB\n",
        "[process\n",
    };
    struct fb_options *o = first("[process]\nname = n\n");
    struct again a;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        again(&a, o, wrong[i]);
        assert_int_equal(a.st, FB_EINVAL);
        assert_null(a.next);
        assert_true(a.problems[0] != '\0');
    }
    again(&a, o, wrong[0]);
    assert_non_null(strstr(a.problems, "forebay.conf:3: process.level: \"loud\""));
    unlink("forebay.conf");
    again(&a, o, NULL);
    assert_int_equal(a.st, FB_EINVAL);
    assert_non_null(strstr(a.problems, "open configuration file forebay.conf"));
    fb_options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_is_no_change),
        cmocka_unit_test(what_may_change_is_told),
        cmocka_unit_test(one_refusal_refuses_all),
        cmocka_unit_test(a_wrong_file_changes_nothing),
    };
    char dir[] = "/tmp/fb-reload-XXXXXX";
    int rc;
    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink("forebay.conf");
    rmdir(dir);
    return rc;
}
