/* Static probe points (USDT): a nop and an ELF note each, until a tracer (bpftrace, SystemTap,
 * perf) puts itself there. Arguments must be values that are at hand: nothing is computed for a
 * probe.
 *
 * Provider "forebay". The list with the arguments of each is deploy/docs/operations.md; a test
 * compares it with the notes of the programs.
 */
#ifndef FB_PROTO_BASE_PROBE_H_
#define FB_PROTO_BASE_PROBE_H_

#include <sys/sdt.h>

#define FB_PROBE2(name, a, b) DTRACE_PROBE2(forebay, name, a, b)
#define FB_PROBE3(name, a, b, c) DTRACE_PROBE3(forebay, name, a, b, c)

#endif
