/* The number of the calling thread. */
#include "proto/base/owner.h"

_Thread_local uint64_t fb_this_thread;
