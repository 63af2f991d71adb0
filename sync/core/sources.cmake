# sync_core: write-behind without I/O.
fb_add_library(sync_core
  SOURCES core/core.c core/memory.c core/peer.c core/feed.c core/turn.c core/outcome.c core/resolved.c core/safe.c
  LIBS fb_wire fb_cluster)
