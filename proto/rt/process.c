/* The common life of a process on its main thread. */
#include "proto/rt/process.h"

#include "proto/base/log.h"
#include "proto/rt/events.h"
#include "proto/rt/thread.h"
#include "proto/rt/watchdog.h"

void fb_process_setup(const struct fb_options *o, const char *kind, const char *name)
{
    fb_log_setup((enum fb_log_level)fb_options_uint(o, "process", "log_level"),
                 (enum fb_log_format)fb_options_uint(o, "process", "log_format"), kind, name);
    fb_events_setup();
    fb_signals_setup();
}

enum fb_status fb_process_check(const struct fb_options *o, struct fb_err *err)
{
    uint64_t limit = fb_options_uint(o, "process", "watchdog"),
             end = fb_options_uint(o, "process", "watchdog_abort");

    if (end != 0 && limit == 0)
        return fb_err_set(err, FB_EINVAL,
                          "process.watchdog_abort = %s needs process.watchdog, which is off",
                          fb_options_text(o, "process", "watchdog_abort"));
    if (end != 0 && end < limit)
        return fb_err_set(err, FB_EINVAL,
                          "process.watchdog_abort = %s is shorter than process.watchdog = %s",
                          fb_options_text(o, "process", "watchdog_abort"),
                          fb_options_text(o, "process", "watchdog"));
    return FB_OK;
}

enum fb_status fb_process_start(const struct fb_options *o, struct fb_err *err)
{
    enum fb_status st = fb_process_check(o, err);

    if (st != FB_OK)
        return st;
    fb_reload_setup();
    return fb_watchdog_start(fb_options_uint(o, "process", "watchdog"),
                             fb_options_uint(o, "process", "watchdog_abort"), err);
}

void fb_process_apply(const struct fb_options *o)
{
    fb_log_set_level((enum fb_log_level)fb_options_uint(o, "process", "log_level"));
    fb_log_set_format((enum fb_log_format)fb_options_uint(o, "process", "log_format"));
    fb_watchdog_set(fb_options_uint(o, "process", "watchdog"),
                    fb_options_uint(o, "process", "watchdog_abort"));
}

void fb_process_serve(struct fb_options **options, int argc, char **argv,
                      const struct fb_reload_hooks *hooks, void (*tick)(void *arg))
{
    fb_watch_thread("main");
    for (;;) {
        enum fb_signal_event ev;

        fb_beat("waits for a signal");
        ev = fb_signals_wait(1000);
        if (ev == FB_SIGNAL_STOP)
            break;
        fb_beat("works");
        if (ev == FB_SIGNAL_RELOAD)
            (void)fb_reload(options, argc, argv, hooks);
        if (tick != NULL)
            tick(hooks->arg);
    }
    fb_unwatch_thread();
}
