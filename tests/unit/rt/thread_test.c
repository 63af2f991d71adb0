/* Goal: threads run, can read under RCU, block signals; signals of the process come out as events.
 */
#include "proto/rt/rcu.h"
#include "proto/rt/thread.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void body(void *arg)
{
    char *name = arg;
    sigset_t set;
    rcu_read_lock();
    rcu_read_unlock();
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (sigismember(&set, SIGTERM) && sigismember(&set, SIGUSR1) && !sigismember(&set, SIGSEGV))
        pthread_getname_np(pthread_self(), name, 16);
}

static void thread_runs_with_signals_blocked(void **state)
{
    char name[16] = "";
    struct fb_thread *t;
    struct fb_err err;
    (void)state;
    assert_int_equal(fb_thread_start("fb-test", body, name, &t, &err), FB_OK);
    fb_thread_join(t);
    assert_true(name[0] != '\0');
}

static void signals_are_events(void **state)
{
    (void)state;
    fb_signals_setup();
    assert_int_equal(fb_signals_wait(0), FB_SIGNAL_TIMEOUT);
    kill(getpid(), SIGHUP);
    assert_int_equal(fb_signals_wait(1000), FB_SIGNAL_RELOAD);
    kill(getpid(), SIGTERM);
    assert_int_equal(fb_signals_wait(1000), FB_SIGNAL_STOP);
    kill(getpid(), SIGINT);
    assert_int_equal(fb_signals_wait(1000), FB_SIGNAL_STOP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_runs_with_signals_blocked),
        cmocka_unit_test(signals_are_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
