/* CPUs that are allowed, not those that the machine has: get_nprocs counts the latter. */
#include "proto/rt/cpus.h"

#include <sched.h>
#include <sys/sysinfo.h>

uint32_t fb_cpus(void)
{
    cpu_set_t set;
    /* The call fails where the machine has more than 1024; all of them is near enough then. */
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : get_nprocs();
    return n < 1 ? 1 : (uint32_t)n;
}
