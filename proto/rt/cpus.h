/* How many CPUs there are for this process. */
#ifndef FB_PROTO_RT_CPUS_H_
#define FB_PROTO_RT_CPUS_H_

#include <stdint.h>

/* CPUs that the calling thread may run on (affinity, cpuset), at least 1: what default numbers of
 * threads go by. Any thread. */
uint32_t fb_cpus(void);

#endif
