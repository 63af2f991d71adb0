/* SIGHUP: the configuration is read again and taken over as a whole, or not at all. */
#ifndef FB_PROTO_RT_RELOAD_H_
#define FB_PROTO_RT_RELOAD_H_

#include "proto/base/options.h"

/* What a process does about a new configuration. Main thread. */
struct fb_reload_hooks {
    /* Look at everything that may be wrong (files that options name, what options mean together)
     * and change nothing. May be NULL. A failure refuses the reload. */
    enum fb_status (*prepare)(void *arg, const struct fb_options *next, struct fb_err *err);
    /* Take over; cannot fail. Called whenever prepare was and all was well, even without a changed
     * option: the contents of files that options name may have changed. May be NULL. */
    void (*commit)(void *arg, const struct fb_options *next);
    void *arg;
};

/* Metrics and the time of the start, before the first reload. Main thread. */
void fb_reload_setup(void);
/* Reads the sources of *running again (argv as at the start). All is well: the log, the watchdog
 * and the process take over, *running is replaced and the old one freed. Else: every problem is
 * logged with its file:line, nothing has changed. True when taken over. Main thread; blocks on
 * files and in prepare. */
bool fb_reload(struct fb_options **running, int argc, char **argv,
               const struct fb_reload_hooks *hooks);
/* One JSON object for /statusz: what the last reload came to. Any thread. */
void fb_reload_status(struct fb_buf *json);

#endif
