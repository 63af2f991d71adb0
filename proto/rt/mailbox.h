/* Bounded many-to-one queue with wake-up: how threads talk. The items are the caller's, intrusively
 * linked.
 *
 * Producers: any thread, never block. Consumer: one thread, takes everything at once (a tick's
 * work) and may wait. Built on a lock-free stack that is taken whole (mailbox.c says why not
 * wfcqueue) and a futex that is only touched when the consumer sleeps. A wait may return early
 * without an item: look, and wait again.
 */
#ifndef FB_PROTO_RT_MAILBOX_H_
#define FB_PROTO_RT_MAILBOX_H_

#include "proto/base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct fb_mail {
    struct fb_mail *next; /* owned by the mailbox while queued */
};

struct fb_mailbox;

struct fb_mailbox *fb_mailbox_new(uint32_t limit);
void fb_mailbox_free(struct fb_mailbox *m); /* must be empty */
/* FB_EFULL: the item stays with the caller. */
FB_MUST_USE enum fb_status fb_mailbox_put(struct fb_mailbox *m, struct fb_mail *item);
/* Like put, ignoring the limit: for items that are bounded otherwise (replies, stop). */
void fb_mailbox_force(struct fb_mailbox *m, struct fb_mail *item);
/* All queued items in order as a chain, NULL if none. */
struct fb_mail *fb_mailbox_take(struct fb_mailbox *m);
/* Sleep until an item is there, fb_mailbox_wake was called or timeout_ns passed, at most about
 * a second: a thread that waits here beats (watchdog.h). Consumer only. */
void fb_mailbox_wait(struct fb_mailbox *m, uint64_t timeout_ns);
void fb_mailbox_wake(struct fb_mailbox *m);

#endif
