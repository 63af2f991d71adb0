# fb_rt: threads, mailboxes, RCU, metrics, admin HTTP.
fb_add_library(fb_rt
  SOURCES rt/thread.c rt/cpus.c rt/mailbox.c rt/metrics.c rt/metrics_page.c rt/admin.c rt/memory.c rt/watchdog.c rt/reload.c rt/events.c rt/json_string.c
          rt/process.c
  LIBS fb_base PkgConfig::LIBURCU PkgConfig::MICROHTTPD Threads::Threads m)
