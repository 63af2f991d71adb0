/* Goal: CPUs that this process may not use are not counted. */
#include "proto/rt/cpus.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void cpus_are_those_allowed(void **state)
{
    cpu_set_t before, one;
    int cpu = 0;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(fb_cpus(), CPU_COUNT(&before));
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(fb_cpus(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cpus_are_those_allowed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
