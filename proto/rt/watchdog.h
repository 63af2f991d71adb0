/* Threads say that they go on (beats); the watchdog notices one that has stopped saying so.
 *
 * A beat is a counter and a note that only its own thread writes: no clock, no lock. The watchdog's
 * thread looks at the counters and measures in its own steps, so that a process that was paused, or
 * did not get the processor, is not taken for one that hangs.
 *
 * What blocks outside of this process is told apart from a hang: before a thread calls into the
 * disk, PostgreSQL or the coordinator it says so (fb_beat_blocks). Such a thread is reported as
 * slow, not as hanging, and does not make /livez fail: to kill the process would not help.
 */
#ifndef FB_PROTO_RT_WATCHDOG_H_
#define FB_PROTO_RT_WATCHDOG_H_

#include "proto/base/buf.h"

enum fb_beat_on { FB_BEAT_WORK, FB_BEAT_DISK, FB_BEAT_DATABASE, FB_BEAT_COORDINATOR };
#define FB_BEAT_KINDS 4u

/* The calling thread goes on with `note`: a literal, kept. Wait-free; nothing in a thread that is
 * not watched. */
void fb_beat(const char *note);
/* The calling thread is about to wait for `on`; the next fb_beat ends that. */
void fb_beat_blocks(enum fb_beat_on on, const char *note);

/* Threads of fb_thread_start are watched while they run. Another thread of ours, main for one, asks
 * for it; each call of watch has its unwatch in the same thread. `name` is copied (15 bytes). */
void fb_watch_thread(const char *name);
void fb_unwatch_thread(void);

/* limit_ms: silence that is reported; 0 = off. abort_ms: silence of a hanging thread that ends the
 * process with abort (a core is left); 0 = never. start: main thread, before others; metrics are
 * registered. set: any thread. stop: only in tests; a process ends with it running. */
FB_MUST_USE enum fb_status fb_watchdog_start(uint64_t limit_ms, uint64_t abort_ms,
                                             struct fb_err *err);
void fb_watchdog_set(uint64_t limit_ms, uint64_t abort_ms);
void fb_watchdog_stop(void);

/* /livez: false with the reason while a thread hangs. True may come with remarks (a thread that
 * waits long for the disk), one a line. Any thread. */
bool fb_watchdog_live(struct fb_buf *why);
/* One JSON object for /statusz. Any thread. */
void fb_watchdog_status(struct fb_buf *json);

#endif
