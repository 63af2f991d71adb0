/* Goal: a thread that goes on, or waits for work, is never reported; one that hangs makes /livez
 * fail and is named with what it did; one that waits for the disk is reported without that; both
 * are forgotten when they go on; a process that was stopped as a whole hangs nowhere;
 * watchdog_abort ends the process. Method: threads that block on a pipe, a limit of 200 ms, child
 * processes. */
#include "proto/base/clock.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"
#include "proto/rt/watchdog.h"
#include "tests/unit/cmocka.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 200u

struct blocked {
    int pipe[2];
    enum fb_beat_on on;
    struct fb_thread *thread;
};

static void blocked_run(void *arg)
{
    struct blocked *b = arg;
    char c;
    fb_beat_blocks(b->on, "reads a pipe that nobody writes");
    while (read(b->pipe[0], &c, 1) == 1 && c != 'e')
        fb_beat("went on");
}

static void blocked_start(struct blocked *b, const char *name, enum fb_beat_on on)
{
    b->on = on;
    assert_int_equal(pipe(b->pipe), 0);
    assert_int_equal(fb_thread_start(name, blocked_run, b, &b->thread, NULL), FB_OK);
}

static void blocked_end(struct blocked *b)
{
    assert_int_equal(write(b->pipe[1], "e", 1), 1);
    fb_thread_join(b->thread);
    close(b->pipe[0]);
    close(b->pipe[1]);
}

static void nap(void)
{
    const struct timespec ts = {.tv_nsec = 5000000};
    nanosleep(&ts, NULL);
}

/* Waits at most 20 s until /livez says `live` and its text has `text`. */
static void wait_live(bool live, const char *text)
{
    uint64_t end = fb_mono_ns() + UINT64_C(20000000000);
    struct fb_buf why = {0};
    for (;;) {
        bool now;
        fb_buf_clear(&why);
        now = fb_watchdog_live(&why);
        fb_buf_put_u8(&why, 0);
        if (now == live && strstr((const char *)why.p, text) != NULL)
            break;
        if (fb_mono_ns() > end)
            fail_msg("livez is %d with \"%s\", wanted %d with \"%s\"", now, (const char *)why.p,
                     live, text);
        nap();
    }
    fb_buf_fini(&why);
}

static bool page_has(const char *line)
{
    struct fb_buf page = {0};
    bool yes;
    fb_metrics_page(&page);
    fb_buf_put_u8(&page, 0);
    yes = strstr((const char *)page.p, line) != NULL;
    fb_buf_fini(&page);
    return yes;
}

static void a_hang_is_named(void **state)
{
    struct blocked b;
    (void)state;
    blocked_start(&b, "stuck", FB_BEAT_WORK);
    wait_live(false, "thread stuck hangs for");
    wait_live(false, "reads a pipe that nobody writes");
    assert_true(page_has("forebay_threads_stalled{on=\"work\"} 1"));
    assert_true(page_has("forebay_thread_stalls_total{on=\"work\"} 1"));
    assert_int_equal(write(b.pipe[1], "x", 1), 1);
    wait_live(true, "");
    /* it waits again, which hangs again: once more, not once for each look */
    wait_live(false, "went on");
    assert_true(page_has("forebay_thread_stalls_total{on=\"work\"} 2"));
    blocked_end(&b);
    wait_live(true, "");
    assert_true(page_has("forebay_threads_stalled{on=\"work\"} 0"));
}

static void a_slow_disk_is_no_hang(void **state)
{
    struct blocked b;
    struct fb_buf status = {0};
    (void)state;
    blocked_start(&b, "fsync", FB_BEAT_DISK);
    wait_live(true, "thread fsync waits for the disk for");
    assert_true(page_has("forebay_threads_stalled{on=\"disk\"} 1"));
    assert_true(page_has("forebay_threads_stalled{on=\"work\"} 0"));
    fb_watchdog_status(&status);
    fb_buf_put_u8(&status, 0);
    assert_non_null(strstr((const char *)status.p, "\"thread\":\"fsync\""));
    assert_non_null(strstr((const char *)status.p, "\"on\":\"disk\""));
    fb_buf_fini(&status);
    blocked_end(&b);
}

static struct fb_mailbox *idle_box;
static _Atomic bool idle_stop;

static void idle_run(void *arg)
{
    (void)arg;
    while (!atomic_load(&idle_stop))
        fb_mailbox_wait(idle_box, UINT64_MAX);
}

/* The limit is above the second after which a waiting thread beats. */
static void waiting_for_work_is_no_hang(void **state)
{
    struct fb_thread *t;
    struct fb_buf why = {0};
    uint64_t end;
    (void)state;
    fb_watchdog_set(1200, 0);
    idle_box = fb_mailbox_new(4);
    atomic_store(&idle_stop, false);
    assert_int_equal(fb_thread_start("idle", idle_run, NULL, &t, NULL), FB_OK);
    end = fb_mono_ns() + UINT64_C(2600000000);
    while (fb_mono_ns() < end) {
        assert_true(fb_watchdog_live(&why));
        assert_int_equal(why.n, 0);
        nap();
    }
    atomic_store(&idle_stop, true);
    fb_mailbox_wake(idle_box);
    fb_thread_join(t);
    fb_mailbox_free(idle_box);
    fb_buf_fini(&why);
    fb_watchdog_set(LIMIT_MS, 0);
}

static void off_reports_nothing(void **state)
{
    struct blocked b;
    struct fb_buf why = {0};
    uint64_t end = fb_mono_ns() + UINT64_C(600000000);
    (void)state;
    fb_watchdog_set(0, 0);
    blocked_start(&b, "stuck", FB_BEAT_WORK);
    while (fb_mono_ns() < end) {
        assert_true(fb_watchdog_live(&why));
        nap();
    }
    fb_watchdog_set(LIMIT_MS, 0); /* and on again while it runs */
    wait_live(false, "thread stuck hangs");
    blocked_end(&b);
    fb_buf_fini(&why);
}

/* A child that the test stops with SIGSTOP for much longer than the limit. Exit 0: it never saw a
 * hang. Its one thread beats all the time while it runs. */
static void pause_run(void *arg)
{
    (void)arg;
    while (!atomic_load(&idle_stop)) {
        fb_beat("goes on");
        nap();
    }
}

static int pause_child(int ready, int go)
{
    struct fb_thread *t;
    struct fb_buf why = {0};
    char c = 'r', line[80];
    int rc = 0;
    atomic_store(&idle_stop, false);
    snprintf(line, sizeof(line), "forebay_thread_stalls_total{on=\"work\"} %llu\n",
             (unsigned long long)fb_counter_value(
                 fb_counter_register("thread_stalls_total", "on=\"work\"", ""))); /* the parent's */
    if (fb_watchdog_start(LIMIT_MS, 0, NULL) != FB_OK ||
        fb_thread_start("busy", pause_run, NULL, &t, NULL) != FB_OK || write(ready, &c, 1) != 1 ||
        read(go, &c, 1) != 1)
        return 9;
    for (int i = 0; i < 40; i++, nap())
        rc |= !fb_watchdog_live(&why);
    rc |= page_has(line) ? 0 : 2;
    return rc;
}

static void a_paused_process_hangs_nowhere(void **state)
{
    int ready[2], go[2], status;
    const struct timespec long_pause = {.tv_sec = 1};
    char c;
    pid_t pid;
    (void)state;
    fb_watchdog_stop(); /* no thread of ours over fork */
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid = fork();
    if (pid == 0)
        _exit(pause_child(ready[1], go[0]));
    assert_int_equal(read(ready[0], &c, 1), 1);
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    nanosleep(&long_pause, NULL); /* five limits: the pause is what is tested */
    kill(pid, SIGCONT);
    assert_int_equal(write(go[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(fb_watchdog_start(LIMIT_MS, 0, NULL), FB_OK);
}

static void abort_ends_the_process(void **state)
{
    int status;
    pid_t pid;
    (void)state;
    fb_watchdog_stop();
    pid = fork();
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        struct blocked b;
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        if (fb_watchdog_start(LIMIT_MS, 2 * LIMIT_MS, NULL) != FB_OK)
            _exit(9);
        blocked_start(&b, "disk", FB_BEAT_DISK); /* this one never ends the process */
        for (uint64_t end = fb_mono_ns() + UINT64_C(800000000); fb_mono_ns() < end;)
            nap();
        blocked_start(&b, "stuck", FB_BEAT_WORK);
        for (;;)
            nap();
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_int_equal(fb_watchdog_start(LIMIT_MS, 0, NULL), FB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hang_is_named),
        cmocka_unit_test(a_slow_disk_is_no_hang),
        cmocka_unit_test(waiting_for_work_is_no_hang),
        cmocka_unit_test(off_reports_nothing),
        cmocka_unit_test(a_paused_process_hangs_nowhere),
        cmocka_unit_test(abort_ends_the_process),
    };
    int rc;
    if (fb_watchdog_start(LIMIT_MS, 0, NULL) != FB_OK)
        return 1;
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    fb_watchdog_stop();
    return rc;
}
