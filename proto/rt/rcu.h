/* The RCU flavor, chosen here alone: liburcu-memb. */
#ifndef FB_PROTO_RT_RCU_H_
#define FB_PROTO_RT_RCU_H_

#define _LGPL_SOURCE
#define RCU_MEMBARRIER
/* urcu.h rather than urcu/urcu-memb.h: it maps the names without flavor (rcu_read_lock, cds_lfht_new) to memb. */
#include <urcu.h>
#include <urcu/rculfhash.h>

#endif
