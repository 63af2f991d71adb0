/* Goal: sums over threads that come and go are exact, and the page is the text that Prometheus
 * wants. */
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct fb_counter *counter;

static void add(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++)
        fb_counter_add(counter, 3);
}

static void sums_over_threads(void **state)
{
    struct fb_err err;
    (void)state;
    counter = fb_counter_register("requests_total", "command=\"get\"", "Requests.");
    assert_ptr_equal(counter,
                     fb_counter_register("forebay_requests_total", "command=\"get\"", "Requests."));
    for (int round = 0; round < 3; round++) {
        struct fb_thread *t[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(fb_thread_start("adder", add, NULL, &t[i], &err), FB_OK);
        for (int i = 0; i < 4; i++)
            fb_thread_join(t[i]);
    }
    assert_int_equal(fb_counter_value(counter), 3 * 4 * 30000);
}

static void gauges(void *arg, struct fb_buf *out)
{
    (void)arg;
    fb_gauge_emit(out, "objects", "state=\"dirty\"", 1.5);
    fb_gauge_emit(out, "memory_bytes", NULL, 1048576);
}

static void has(const struct fb_buf *page, const char *text)
{
    if (strstr((const char *)page->p, text) == NULL)
        fail_msg("page lacks: %s\n%s", text, (const char *)page->p);
}

static void page_text(void **state)
{
    struct fb_histogram *h =
        fb_histogram_register("request_duration_seconds", NULL, "Time of a request.", false);
    struct fb_histogram *r =
        fb_histogram_register("sync_batch_rows", "ns=\"a\"", "Rows in a batch.", true);
    struct fb_buf page = {0};
    const char *file = getenv("FB_TEST_METRICS_PAGE");
    (void)state;

    fb_counter_add(fb_counter_register("requests_total", "command=\"del\"", "Requests."), 1);
    fb_gauge_register("objects", "Objects.", gauges, NULL);
    fb_gauge_register("memory_bytes", "Memory in use.", gauges, NULL);
    fb_histogram_observe_ns(h, 50000, 2);
    fb_histogram_observe_ns(h, 20000000000u, 1);
    fb_histogram_observe_rows(r, 7);
    fb_metrics_page(&page);
    fb_buf_put_u8(&page, 0);
    has(&page, "# HELP forebay_requests_total Requests.\n# TYPE forebay_requests_total counter\n"
               "forebay_requests_total{command=\"del\"} 1\nforebay_requests_total{command=\"get\"} "
               "360000\n");
    has(&page, "# TYPE forebay_memory_bytes gauge\nforebay_memory_bytes 1048576\n# HELP "
               "forebay_objects Objects.\n"
               "# TYPE forebay_objects gauge\nforebay_objects{state=\"dirty\"} 1.5\n");
    has(&page, "forebay_request_duration_seconds_bucket{le=\"5e-05\"} 2\n");
    has(&page, "forebay_request_duration_seconds_bucket{le=\"10\"} 2\n");
    has(&page, "forebay_request_duration_seconds_bucket{le=\"+Inf\"} "
               "3\nforebay_request_duration_seconds_sum 20.0001\n"
               "forebay_request_duration_seconds_count 3\n");
    has(&page, "forebay_sync_batch_rows_bucket{ns=\"a\",le=\"5\"} "
               "0\nforebay_sync_batch_rows_bucket{ns=\"a\",le=\"10\"} 1\n");
    has(&page, "forebay_build_info{version=\"");
    if (file != NULL) { /* for promtool check metrics */
        FILE *f = fopen(file, "w");
        assert_non_null(f);
        fputs((const char *)page.p, f);
        fclose(f);
    }
    fb_buf_fini(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums_over_threads),
                                       cmocka_unit_test(page_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
