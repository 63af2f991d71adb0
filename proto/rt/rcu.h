/* The RCU flavor, chosen here alone: liburcu-memb. */
#ifndef FB_PROTO_RT_RCU_H_
#define FB_PROTO_RT_RCU_H_

#define _LGPL_SOURCE
#define RCU_MEMBARRIER
/* urcu.h rather than urcu/urcu-memb.h: it maps the names without flavor (rcu_read_lock,
 * cds_lfht_new) to memb. */
#include <urcu.h>
#include <urcu/rculfhash.h>

#include "proto/base/assert.h"

/* Grace periods do not wait for a thread that is not registered: what it reads may be freed under
 * it, and a table it changes may shrink under it. liburcu itself checks this in debug builds only.
 */
static inline void fb_rcu_lock(void)
{
    fb_assert(URCU_TLS(urcu_memb_reader).registered);
    rcu_read_lock();
}

/* liburcu 0.13 orders memory in ways ThreadSanitizer does not see: publication and grace periods
 * are told to it. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define FB_RCU_RELEASE(addr) __tsan_release((void *)(addr))
#define FB_RCU_ACQUIRE(addr) __tsan_acquire((void *)(addr))
#else
#define FB_RCU_RELEASE(addr) ((void)0)
#define FB_RCU_ACQUIRE(addr) ((void)0)
#endif

#endif
