/* Clocks. Only io/ and rt/ may call these: core/ gets time by events. */
#ifndef FB_PROTO_BASE_CLOCK_H_
#define FB_PROTO_BASE_CLOCK_H_

#include <stdint.h>

uint64_t fb_mono_ns(void); /* CLOCK_MONOTONIC */
uint64_t fb_boot_ns(void); /* CLOCK_BOOTTIME */
uint64_t fb_wall_ms(void); /* CLOCK_REALTIME, ms since the Unix epoch */

#endif
