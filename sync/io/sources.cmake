# forebay-sync and its adapters.
fb_add_library(sync_io
  SOURCES io/admin.c io/load.c io/control.c io/engine.c io/engine_admin.c io/engine_log.c io/link.c io/apply.c io/metrics.c io/process.c io/conninfo.c
  LIBS sync_core sync_pg fb_coord fb_net fb_rt)
fb_add_program(forebay-sync COMPONENT sync SOURCES main.c LIBS sync_io)
