/* Goal: a lane, its partitions and its slots can be changed by the thread that said lane_bind, and
 * by nobody else; a violation ends the process. Method: threads of fb_thread_start; the violations
 * in child processes, which must die of SIGABRT. */
#include "node/core/lane.h"
#include "node/store/object.h"
#include "proto/rt/rcu.h"
#include "proto/rt/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PARTS 2u

static struct fb_nsset set = {.count = 1, .ns = {{.name = "default"}}};

struct shared {
    struct store *store;
    struct lane *lane;
    void (*what)(struct shared *s);
};

static void run(void (*fn)(void *), void *arg)
{
    struct fb_thread *t;
    struct fb_err err;
    assert_int_equal(fb_thread_start("owner", fn, arg, &t, &err), FB_OK);
    fb_thread_join(t);
}

static void make(struct shared *s)
{
    struct lane_config c = {.lanes = 1, .partitions = PARTS};
    struct fb_err err;
    assert_int_equal(store_new(PARTS, 16, &s->store, &err), FB_OK);
    s->lane = lane_new(&c, s->store);
    lane_configure(s->lane, &set, NULL);
    lane_open_partition(s->lane, 0, 1, 0, 1000);
    lane_written(s->lane);
    lane_effects_clear(s->lane);
}

static void drop(struct shared *s)
{
    lane_free(s->lane);
    store_free(s->store);
}

/* --- the right way --- */

static void bind_and_leave(void *arg)
{
    struct shared *s = arg;
    lane_bind(s->lane);
    lane_now(s->lane, 1, 1000);
    lane_open_partition(s->lane, 1, 1, 0, 1000);
    lane_written(s->lane);
    lane_effects_clear(s->lane);
    lane_unbind(s->lane);
}

static void test_hand_over(void **state)
{
    struct shared s = {0};
    (void)state;
    make(&s);
    run(bind_and_leave, &s);
    lane_now(s.lane, 2, 2000); /* it has ended: whoever joined it goes on */
    lane_tick(s.lane);
    drop(&s);
}

/* --- the wrong ways --- */

static void bind_only(void *arg)
{
    struct shared *s = arg;
    lane_bind(s->lane);
}

static void other_thread(void *arg)
{
    struct shared *s = arg;
    s->what(s);
}

static void call_tick(struct shared *s)
{
    lane_tick(s->lane);
}
static void call_request(struct shared *s)
{
    struct reply_dest dest = {0};
    struct fb_req req = {.op = FB_OP_DEL, .key = fb_bytes_str("a"), .epoch = 1};
    lane_request(s->lane, &dest, &req);
}
static void call_synced(struct shared *s)
{
    lane_synced(s->lane, 1);
}
static void call_verdict(struct shared *s)
{
    struct feed_dest dest = {0};
    struct fb_verdict v = {.verdict = FB_VERDICT_RETRY};
    lane_verdict(s->lane, &dest, &v);
}
static void call_bind(struct shared *s)
{
    lane_bind(s->lane);
}
static void call_publish(struct shared *s)
{
    struct store_writer *w = store_writer_new(s->store);
    struct fb_bytes key = fb_bytes_str("a");
    store_publish(w, object_new(key, 0, 0, 0, 1, 0), object_hash(key));
}
static void call_slots(struct shared *s)
{
    struct slot_list list = SLOT_LIST_EMPTY;
    slot_list_append(store_part(s->store, 0), &list, 0);
}
static void call_sieve(struct shared *s)
{
    (void)sieve_victim(store_part(s->store, 0), NULL, NULL, 1);
}

/* A child in which one thread owns the lane and another (main, when `from_main`) does `what`. */
static void expect_death(void (*what)(struct shared *s), bool from_main)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct shared s = {.what = what};
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        make(&s);
        run(bind_only, &s);
        if (from_main)
            what(&s);
        else
            run(other_thread, &s);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_violations(void **state)
{
    void (*const all[])(struct shared *) = {call_tick, call_request, call_synced, call_verdict,
                                            call_bind, call_publish, call_slots,  call_sieve};
    (void)state;
    for (size_t i = 0; i < FB_COUNT_OF(all); i++) {
        expect_death(all[i], true);
        expect_death(all[i], false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_violations),
                                       cmocka_unit_test(test_hand_over)};
    int rc;
    rcu_register_thread();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    rcu_unregister_thread();
    return rc;
}
