/* The RCU flavor, chosen here alone: liburcu-memb. */
#ifndef FB_PROTO_RT_RCU_H_
#define FB_PROTO_RT_RCU_H_

#define _LGPL_SOURCE
#define RCU_MEMBARRIER
#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#endif
