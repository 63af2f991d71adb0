/* Goal: precedence, every problem at once with its place, and the texts that --print-config and
 * --help give. Method: load with made-up argv, environment and file; stdout and stderr captured
 * through temporary files. */
#include "proto/base/options.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct fb_option table[] = {
    {.section = "process", .key = "name", .type = FB_OPT_TEXT, .help = "Name of this process."},
    {.section = "process",
     .key = "log",
     .type = FB_OPT_ENUM,
     .default_value = "text",
     .choices = "text|json",
     .help = "Log format."},
    {.section = "node",
     .key = "listen",
     .type = FB_OPT_TEXT,
     .default_value = "tcp://127.0.0.1:7400",
     .help = "Address.",
     .reloadable = true},
    {.section = "node",
     .key = "memory",
     .type = FB_OPT_SIZE,
     .default_value = "1GiB",
     .help = "Memory."},
    {.section = "node",
     .key = "threads",
     .type = FB_OPT_UINT,
     .default_value = "2",
     .help = "Threads.",
     .min = 1,
     .max = 64},
    {.section = "node",
     .key = "tick",
     .type = FB_OPT_DURATION,
     .default_value = "5s",
     .help = "Tick."},
    {.section = "node",
     .key = "fsync",
     .type = FB_OPT_BOOL,
     .default_value = "yes",
     .help = "Sync."},
    {.section = "node",
     .key = "token_file",
     .type = FB_OPT_TEXT,
     .default_value = "",
     .help = "Token.",
     .secret = true},
};
static const char *const sections[] = {"process", "node", "router", NULL};

struct run {
    enum fb_options_outcome outcome;
    struct fb_options *o;
    char out[8192], err[4096];
};

static void slurp(FILE *f, char *to, size_t n)
{
    size_t got;
    rewind(f);
    got = fread(to, 1, n - 1, f);
    to[got] = '\0';
    fclose(f);
}

static void load(struct run *r, const char *file_text, ...)
{
    char *argv[16] = {(char *)"prog"};
    int argc = 1, saved_out, saved_err;
    FILE *out = tmpfile(), *err = tmpfile();
    va_list ap;
    va_start(ap, file_text);
    if (file_text != NULL) {
        FILE *f = fopen("forebay.conf", "w");
        fputs(file_text, f);
        fclose(f);
        argv[argc++] = (char *)"--config";
        argv[argc++] = (char *)"forebay.conf";
    }
    for (char *a; (a = va_arg(ap, char *)) != NULL;)
        argv[argc++] = a;
    va_end(ap);
    fflush(stdout);
    fflush(stderr);
    saved_out = dup(1);
    saved_err = dup(2);
    dup2(fileno(out), 1);
    dup2(fileno(err), 2);
    r->outcome = fb_options_load("prog", "a program", table, sizeof(table) / sizeof(table[0]),
                                 sections, argc, argv, &r->o);
    fflush(stdout);
    fflush(stderr);
    dup2(saved_out, 1);
    dup2(saved_err, 2);
    close(saved_out);
    close(saved_err);
    slurp(out, r->out, sizeof(r->out));
    slurp(err, r->err, sizeof(r->err));
}

static void precedence(void **state)
{
    struct run r;
    (void)state;
    load(&r,
         "[process]\nname = n1\n[node]\nlisten = a\nmemory = 2GiB\ntick=250ms\n[router]\nwhatever "
         "= 1\n",
         "--node.memory", "3GiB", "--node.fsync=no", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_RUN);
    assert_string_equal(r.err, "");
    assert_string_equal(fb_options_text(r.o, "process", "name"), "n1");
    assert_string_equal(fb_options_text(r.o, "node", "listen"), "a");
    assert_int_equal(fb_options_uint(r.o, "node", "memory"), UINT64_C(3) << 30);
    assert_int_equal(fb_options_uint(r.o, "node", "tick"), 250);
    assert_int_equal(fb_options_uint(r.o, "node", "threads"), 2);
    assert_int_equal(fb_options_uint(r.o, "process", "log"), 0);
    assert_false(fb_options_bool(r.o, "node", "fsync"));
    fb_options_free(r.o);

    setenv("FOREBAY_NODE__MEMORY", "4GiB", 1);
    setenv("FOREBAY_NODE__LISTEN", "b", 1);
    setenv("FOREBAY_PROCESS__LOG", "json", 1);
    load(&r, "[process]\nname = n1\n[node]\nlisten = a\n", "--node.memory=3GiB", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_RUN);
    assert_string_equal(fb_options_text(r.o, "node", "listen"), "b");
    assert_int_equal(fb_options_uint(r.o, "node", "memory"), UINT64_C(3) << 30);
    assert_int_equal(fb_options_uint(r.o, "process", "log"), 1);
    fb_options_free(r.o);
    unsetenv("FOREBAY_NODE__MEMORY");
    unsetenv("FOREBAY_NODE__LISTEN");
    unsetenv("FOREBAY_PROCESS__LOG");
}

static void all_problems_at_once(void **state)
{
    struct run r;
    (void)state;
    setenv("FOREBAY_NODE__LISEN", "b", 1);
    setenv("FOREBAY_NDOE__LISTEN", "b", 1);
    setenv("FOREBAY_ELSEWHERE__X", "b", 1);
    setenv("FOREBAY_PORT_6380_TCP", "b", 1);
    load(&r,
         "[process]\nlog = xml\n[node]\nlisen = a\nthreads = 0\nthreads = 3\n[nod]\nx = "
         "1\n[node]\nmemory = lots\n",
         NULL);
    unsetenv("FOREBAY_NODE__LISEN");
    unsetenv("FOREBAY_NDOE__LISTEN");
    unsetenv("FOREBAY_ELSEWHERE__X");
    unsetenv("FOREBAY_PORT_6380_TCP");
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_BAD);
    assert_null(r.o);
#define HAS(text, part)                                                                            \
    do {                                                                                           \
        if (strstr(text, part) == NULL)                                                            \
            fail_msg("\"%s\" is not in:\n%s", part, text);                                         \
    } while (0)
    HAS(r.err, "prog: unknown variable FOREBAY_NODE__LISEN; did you mean FOREBAY_NODE__LISTEN?\n");
    HAS(r.err, "prog: unknown variable FOREBAY_NDOE__LISTEN; did you mean FOREBAY_NODE__LISTEN?\n");
    HAS(r.err, "prog: forebay.conf:2: process.log: \"xml\" is none of text|json\n");
    HAS(r.err, "prog: forebay.conf:4: unknown key \"lisen\" in [node]; did you mean \"listen\"?\n");
    HAS(r.err, "prog: forebay.conf:5: node.threads: 0 is out of range, 1 to 64 are allowed\n");
    HAS(r.err, "prog: forebay.conf:6: key \"threads\" in [node] is given twice; first at line 5\n");
    HAS(r.err, "prog: forebay.conf:7: unknown section [nod]; did you mean [node]?\n");
    HAS(r.err, "prog: forebay.conf:10: node.memory: \"lots\" is not a size");
    HAS(r.err, "prog: process.name is required: Name of this process.; set it");
    assert_null(strstr(r.err, "ELSEWHERE"));
    assert_null(strstr(r.err, "6380"));
}

static void command_line(void **state)
{
    struct run r;
    (void)state;
    load(&r, NULL, "--node.lisen", "x", "--process.name", "p", "stray", "--node.tick", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_USAGE);
    HAS(r.err, "unknown flag --node.lisen; did you mean --node.listen?");
    HAS(r.err, "unexpected argument \"stray\"");
    HAS(r.err, "--node.tick needs a value");
    load(&r, NULL, "--config", "missing.conf", "--process.name=x", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_BAD);
    HAS(r.err, "open configuration file missing.conf: No such file or directory");
    load(&r, NULL, "--version", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_OK);
    HAS(r.out, "prog 0.1.0");
}

static void texts(void **state)
{
    struct run r;
    (void)state;
    load(&r, "[process]\nname = n1\n[node]\ntoken_file = /x\n", "--print-config",
         "--node.memory=3GiB", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_OK);
    assert_string_equal(r.out, "process.name = n1  # from file forebay.conf:2\n"
                               "process.log = text  # default\n"
                               "node.listen = tcp://127.0.0.1:7400  # default\n"
                               "node.memory = 3GiB  # from flag --node.memory\n"
                               "node.threads = 2  # default\n"
                               "node.tick = 5s  # default\n"
                               "node.fsync = yes  # default\n"
                               "node.token_file = ***  # from file forebay.conf:4\n");
    load(&r, NULL, "--help", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_OK);
    HAS(r.out, "Usage: prog [--config FILE]");
    HAS(r.out, "--node.listen TEXT");
    HAS(r.out, "(default: tcp://127.0.0.1:7400) [reload]");
    HAS(r.out, "(required)");
    load(&r, NULL, "--config-help", NULL);
    HAS(r.out, "# memory = 1GiB\n");
    HAS(r.out, "name =\n");
    load(&r, "[process]\nname = n1\n", "--check-config", NULL);
    assert_int_equal(r.outcome, FB_OPTIONS_EXIT_OK);
    HAS(r.out, "forebay.conf: configuration is ok\n");
}

static void secrets(void **state)
{
    char *s = NULL;
    struct fb_err err;
    FILE *f = fopen("secret", "w");
    (void)state;
    fputs("host=x password=y\nmore\n", f);
    fclose(f);
    assert_int_equal(fb_options_read_secret("secret", &s, &err), FB_OK);
    assert_string_equal(s, "host=x password=y");
    free(s);
    assert_int_equal(fb_options_read_secret("nowhere", &s, &err), FB_ENOENT);
    assert_string_equal(err.msg, "open nowhere: No such file or directory");
    assert_null(s);
    f = fopen("secret", "w");
    fclose(f);
    assert_int_equal(fb_options_read_secret("secret", &s, &err), FB_EINVAL);
}

static char dir[] = "/tmp/fb-options-XXXXXX";

static int enter(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL || chdir(dir) != 0;
}

static int leave(void **state)
{
    (void)state;
    unlink("forebay.conf");
    unlink("secret");
    return chdir("/") != 0 || rmdir(dir) != 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(precedence), cmocka_unit_test(all_problems_at_once),
        cmocka_unit_test(command_line), cmocka_unit_test(texts), cmocka_unit_test(secrets)};
    return cmocka_run_group_tests(tests, enter, leave);
}
