/* The life events of this process: what it logs at info and above, the newest of it kept in memory
 * for /eventsz and the admin verb `events`, whatever log_level lets out on stderr.
 */
#ifndef FB_PROTO_RT_EVENTS_H_
#define FB_PROTO_RT_EVENTS_H_

#include "proto/base/buf.h"

/* How many are kept. A line that repeats the one before it only counts in that one. */
#define FB_EVENTS_MAX 512u

/* Listens to the log from here on. Main thread, before others start. */
void fb_events_setup(void);

/* Appends
 * {"instance":"..","next":N,"events":[{"seq","at_ms","level","event","times","fields":{}}]}: all
 * with a sequence number above `since`, oldest first. `instance` is another one after a restart,
 * when sequence numbers begin again. Any thread. */
void fb_events_json(struct fb_buf *out, uint64_t since);

#endif
