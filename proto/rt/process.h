/* What main of every process does alike: the common options, signals, reload, the watchdog. */
#ifndef FB_PROTO_RT_PROCESS_H_
#define FB_PROTO_RT_PROCESS_H_

#include "proto/rt/reload.h"

/* Rows of an option table; every process has them and fb_process_* reads them. */
#define FB_PROCESS_OPTIONS                                                                         \
    {.section = "process",                                                                         \
     .key = "log_level",                                                                           \
     .type = FB_OPT_ENUM,                                                                          \
     .default_value = "info",                                                                      \
     .choices = "trace|debug|info|warn|error",                                                     \
     .reloadable = true,                                                                           \
     .help = "Least severe level that is logged."},                                                \
        {.section = "process",                                                                     \
         .key = "log_format",                                                                      \
         .type = FB_OPT_ENUM,                                                                      \
         .default_value = "logfmt",                                                                \
         .choices = "logfmt|json",                                                                 \
         .reloadable = true,                                                                       \
         .help = "Form of log lines on stderr."},                                                  \
        {.section = "process",                                                                     \
         .key = "watchdog",                                                                        \
         .type = FB_OPT_DURATION,                                                                  \
         .default_value = "10s",                                                                   \
         .reloadable = true,                                                                       \
         .help = "A thread that is silent for so long is logged, and one that hangs makes /livez " \
                 "fail; 0 = off."},                                                                \
    {                                                                                              \
        .section = "process", .key = "watchdog_abort", .type = FB_OPT_DURATION,                    \
        .default_value = "0", .reloadable = true,                                                  \
        .help = "A thread that hangs for so long ends the process with a core; 0 = never."         \
    }

/* Log and signals (every later thread has them blocked). Main thread, before others; `kind` is
 * kept.
 */
void fb_process_setup(const struct fb_options *o, const char *kind, const char *name);
/* The watchdog and the metrics of reloads. Main thread, after setup. Errors: a thread cannot start,
 * or the options contradict each other. */
FB_MUST_USE enum fb_status fb_process_start(const struct fb_options *o, struct fb_err *err);

/* Until SIGTERM or SIGINT: reloads on SIGHUP, calls `tick` (NULL allowed) about once a second. Main
 * thread, which is watched meanwhile. */
void fb_process_serve(struct fb_options **options, int argc, char **argv,
                      const struct fb_reload_hooks *hooks, void (*tick)(void *arg));

/* For reload.c: are the common options possible together; take them over. */
FB_MUST_USE enum fb_status fb_process_check(const struct fb_options *o, struct fb_err *err);
void fb_process_apply(const struct fb_options *o);

#endif
