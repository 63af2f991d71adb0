/* Goal: a reload is taken over by the log, the watchdog and the process, or by none of them, and
 * what came of it is on /metrics and /statusz. Method: a process of no more than options and hooks;
 * what it has taken over is counted. */
#include "proto/base/log.h"
#include "proto/rt/metrics.h"
#include "proto/rt/process.h"
#include "proto/rt/watchdog.h"
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct fb_option table[] = {
    {.section = "process", .key = "name", .type = FB_OPT_TEXT, .help = "Name."},
    FB_PROCESS_OPTIONS,
    {.section = "node",
     .key = "memory",
     .type = FB_OPT_SIZE,
     .default_value = "1GiB",
     .reloadable = true},
};
static char *argv_of[] = {(char *)"prog", (char *)"--config", (char *)"forebay.conf"};
static struct fb_options *running;
static int prepared, committed;
static bool fail_prepare;

static void write_file(const char *text)
{
    FILE *f = fopen("forebay.conf", "w");
    fprintf(f, "[process]\nname = n\n%s", text);
    fclose(f);
}

static enum fb_status prepare(void *arg, const struct fb_options *next, struct fb_err *err)
{
    (void)arg;
    (void)next;
    prepared++;
    return fail_prepare ? fb_err_set(err, FB_EIO, "password file x: no such file") : FB_OK;
}

static void commit(void *arg, const struct fb_options *next)
{
    (void)arg;
    (void)next;
    committed++;
}

static bool reload(const char *text)
{
    const struct fb_reload_hooks hooks = {.prepare = prepare, .commit = commit};
    write_file(text);
    prepared = committed = 0;
    return fb_reload(&running, 3, argv_of, &hooks);
}

static void expect(void (*fn)(struct fb_buf *), const char *text)
{
    struct fb_buf page = {0};
    fn(&page);
    fb_buf_put_u8(&page, 0);
    if (strstr((const char *)page.p, text) == NULL)
        fail_msg("no \"%s\" in\n%s", text, (const char *)page.p);
    fb_buf_fini(&page);
}

static void taken_over(void **state)
{
    (void)state;
    expect(fb_reload_status, "\"result\":\"none yet\"");
    expect(fb_metrics_page, "forebay_config_last_reload_successful 1\n");
    assert_true(
        reload("log_level = error\nwatchdog = 3s\nwatchdog_abort = 9s\n[node]\nmemory = 2GiB\n"));
    assert_int_equal(prepared, 1);
    assert_int_equal(committed, 1);
    assert_false(fb_log_enabled(FB_LOG_WARN));
    expect(fb_watchdog_status, "\"limit_ms\":3000,\"abort_ms\":9000");
    assert_int_equal(fb_options_uint(running, "node", "memory"), UINT64_C(2) << 30);
    expect(fb_reload_status, "\"result\":\"ok\"");
    expect(fb_metrics_page, "forebay_config_reloads_total{result=\"ok\"} 1\n");
}

/* Every way to be refused leaves everything as the reload before left it. */
static void refused(void **state)
{
    static const struct {
        const char *text, *problem;
        bool fail_prepare;
        int prepared;
    } cases[] = {
        {"log_level = loud\n", "forebay.conf:3: process.log_level: ", false, 0},
        {"log_level = debug\nname = m\n", "given twice", false, 0},
        {"watchdog = 5s\nwatchdog_abort = 1s\n", "shorter than process.watchdog", false, 0},
        {"watchdog = 0\nwatchdog_abort = 1s\n", "which is off", false, 0},
        {"log_level = debug\nwatchdog = 1s\n", "password file x: no such file", true, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[80];
        fail_prepare = cases[i].fail_prepare;
        assert_false(reload(cases[i].text));
        fail_prepare = false;
        assert_int_equal(prepared, cases[i].prepared);
        assert_int_equal(committed, 0);
        assert_false(fb_log_enabled(FB_LOG_WARN));
        assert_int_equal(fb_options_uint(running, "node", "memory"), UINT64_C(2) << 30);
        expect(fb_watchdog_status, "\"limit_ms\":3000,\"abort_ms\":9000");
        expect(fb_reload_status, "\"result\":\"refused\"");
        expect(fb_reload_status, cases[i].problem);
        expect(fb_metrics_page, "forebay_config_last_reload_successful 0\n");
        snprintf(line, sizeof(line), "forebay_config_reloads_total{result=\"refused\"} %zu\n",
                 i + 1);
        expect(fb_metrics_page, line);
    }
    assert_true(reload("log_level = error\n[node]\nmemory = 3GiB\n"));
    expect(fb_metrics_page, "forebay_config_last_reload_successful 1\n");
    expect(fb_reload_status, "\"problem\":\"\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(taken_over), cmocka_unit_test(refused)};
    char dir[] = "/tmp/fb-reload-XXXXXX";
    int rc;
    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return 1;
    write_file("");
    if (fb_options_load("prog", "", table, sizeof(table) / sizeof(table[0]), NULL, 3, argv_of,
                        &running) != FB_OPTIONS_RUN)
        return 1;
    fb_process_setup(running, "test", "n");
    if (fb_process_start(running, NULL) != FB_OK)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    fb_watchdog_stop();
    fb_options_free(running);
    unlink("forebay.conf");
    rmdir(dir);
    return rc;
}
