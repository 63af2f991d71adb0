/* Goal: what an agent does when the coordinator's hints are lost, when more is asked of it than it
 * takes, and when it is stopped in the middle of a job.
 * Method: fb_coord_wait, fb_coord_wake and the clock are ours (link-time, coord.cmake). */
#include "tests/unit/coord/backends.h"

#include "proto/base/assert.h"
#include "proto/base/clock.h"
#include "proto/coord/cluster_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

static atomic_bool deaf; /* waits end by time, whatever was changed */
static atomic_uint waits, wakes;
static atomic_ullong ahead_ns;

enum fb_status __real_fb_coord_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms);
enum fb_status __wrap_fb_coord_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms);
void __real_fb_coord_wake(struct fb_coord *c);
void __wrap_fb_coord_wake(struct fb_coord *c);
uint64_t __real_fb_mono_ns(void);
uint64_t __wrap_fb_mono_ns(void);

static void breathe(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

enum fb_status __wrap_fb_coord_wait(struct fb_coord *c, uint64_t seen_rev, uint32_t timeout_ms)
{
    atomic_fetch_add(&waits, 1);
    if (!atomic_load(&deaf))
        return __real_fb_coord_wait(c, seen_rev, timeout_ms);
    breathe();
    return FB_ETIMEOUT;
}

void __wrap_fb_coord_wake(struct fb_coord *c)
{
    atomic_fetch_add(&wakes, 1);
    __real_fb_coord_wake(c);
}

uint64_t __wrap_fb_mono_ns(void)
{
    return __real_fb_mono_ns() + atomic_load(&ahead_ns);
}

#define WAIT_FOR(expr)                                                                             \
    do {                                                                                           \
        uint64_t until_ = __real_fb_mono_ns() + UINT64_C(20000000000);                             \
        while (!(expr)) {                                                                          \
            breathe();                                                                             \
            fb_assert(__real_fb_mono_ns() < until_ && "waited in vain"); /* by any thread */       \
        }                                                                                          \
    } while (0)

static atomic_uint deliveries;

static void changed(void *arg, struct fb_cluster_state *s)
{
    (void)arg;
    atomic_fetch_add(&deliveries, 1);
    fb_cluster_state_put(s);
}

struct world {
    struct fb_coord *c;
    struct fb_agent *a;
};

static struct world start(const struct place *p)
{
    struct world w = {.c = must_open(p)};
    struct fb_err err;

    atomic_store(&deliveries, 0);
    atomic_store(&deaf, false);
    assert_int_equal(fb_cluster_init(w.c, 4, &err), FB_OK);
    if (fb_agent_start(w.c, changed, NULL, &w.a, &err) != FB_OK)
        fail_msg("%s", err.msg);
    WAIT_FOR(atomic_load(&deliveries) == 1);
    return w;
}

/* It looks by itself every five seconds. */
static void hints_that_are_lost(void **state)
{
    struct world w = start(*state);
    struct fb_coord *other = must_open(*state);
    struct fb_err err;
    unsigned before;

    atomic_store(&deaf, true);
    fb_coord_wake(w.c); /* ends the wait that has begun; what it looks at then is not changed yet */
    before = atomic_load(&waits);
    WAIT_FOR(atomic_load(&waits) > before + 2);
    assert_int_equal(
        fb_coord_cas(other, "control/sync", 0, fb_bytes_str("{\"namespaces\": []}"), NULL, &err),
        FB_OK);
    before = atomic_load(&waits);
    WAIT_FOR(atomic_load(&waits) > before + 20);
    assert_int_equal(atomic_load(&deliveries), 1);
    atomic_fetch_add(&ahead_ns, UINT64_C(5000000000));
    WAIT_FOR(atomic_load(&deliveries) == 2);
    fb_agent_stop(w.a);
    fb_coord_close(other);
    fb_coord_close(w.c);
}

static atomic_bool busy, go_on;
static atomic_uint carried_out;

static void hold(void *arg, struct fb_coord *c)
{
    (void)arg;
    (void)c;
    atomic_store(&busy, true);
    WAIT_FOR(atomic_load(&go_on));
}

static void count(void *arg, struct fb_coord *c)
{
    (void)arg;
    (void)c;
    atomic_fetch_add(&carried_out, 1);
}

/* Its jobs are bounded: who asks for too many is told, and what was accepted is carried out. */
static void more_jobs_than_it_takes(void **state)
{
    struct world w = start(*state);
    unsigned accepted = 0;
    enum fb_status s;

    atomic_store(&go_on, false);
    atomic_store(&busy, false);
    atomic_store(&carried_out, 0);
    assert_int_equal(fb_agent_run(w.a, hold, NULL), FB_OK);
    WAIT_FOR(atomic_load(&busy));
    while ((s = fb_agent_run(w.a, count, NULL)) == FB_OK)
        assert_true(++accepted < 100000);
    assert_int_equal(s, FB_EFULL);
    assert_true(accepted >= 1000);
    assert_int_equal(fb_agent_run(w.a, count, NULL), FB_EFULL);
    atomic_store(&go_on, true);
    WAIT_FOR(atomic_load(&carried_out) == accepted);
    assert_int_equal(fb_agent_run(w.a, count, NULL), FB_OK);
    fb_agent_stop(w.a);
    assert_int_equal(atomic_load(&carried_out), accepted + 1);
    fb_coord_close(w.c);
}

/* Until the agent is told to stop: the second wake is that. */
static void hold_until_stopped(void *arg, struct fb_coord *c)
{
    unsigned *waits_then = arg;
    (void)c;
    atomic_store(&busy, true);
    WAIT_FOR(atomic_load(&wakes) == 2);
    *waits_then = atomic_load(&waits);
}

static void stopped_in_the_middle_of_a_job(void **state)
{
    struct world w = start(*state);
    unsigned waits_then = 0;

    atomic_store(&wakes, 0);
    atomic_store(&busy, false);
    assert_int_equal(fb_agent_run(w.a, hold_until_stopped, &waits_then), FB_OK);
    WAIT_FOR(atomic_load(&busy));
    fb_agent_stop(w.a);
    assert_int_equal(atomic_load(&waits), waits_then); /* it does not wait for changes once more */
    assert_int_equal(atomic_load(&deliveries), 1);
    fb_coord_close(w.c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_setup, file_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(hints_that_are_lost), TEST(more_jobs_than_it_takes),
                                       TEST(stopped_in_the_middle_of_a_job)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
