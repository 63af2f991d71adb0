/* Threads of ours: named, registered with RCU, joined at the end. */
#ifndef FB_PROTO_RT_THREAD_H_
#define FB_PROTO_RT_THREAD_H_

#include "proto/base/status.h"

#include <pthread.h>
#include <stdint.h>

struct fb_thread;
typedef void (*fb_thread_fn)(void *arg);

/* `name` at most 15 bytes. All signals are blocked in the new thread. The thread is registered with
 * RCU and watched (watchdog.h) while fn runs. */
FB_MUST_USE enum fb_status fb_thread_start(const char *name, fb_thread_fn fn, void *arg,
                                           struct fb_thread **out, struct fb_err *err);
void fb_thread_join(struct fb_thread *t); /* waits, frees */
/* The main thread, as one that is registered with RCU: before and after it reads or changes what is
 * under RCU, where that may happen while other threads run. */
void fb_thread_main_begin(void);
void fb_thread_main_end(void);
/* A thread without RCU and without a watchdog, for the watchdog itself. 0 or an errno. */
FB_MUST_USE int fb_thread_plain(pthread_t *id, const char *name, void *(*fn)(void *));

/* A process's signals as flags: SIGTERM/SIGINT -> stop, SIGHUP -> reload. Call before any thread
 * starts; then wait in main. */
enum fb_signal_event { FB_SIGNAL_STOP, FB_SIGNAL_RELOAD, FB_SIGNAL_TIMEOUT };
void fb_signals_setup(void);
enum fb_signal_event fb_signals_wait(uint32_t timeout_ms); /* main thread only */

#endif
