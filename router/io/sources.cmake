fb_add_library(router_io
  SOURCES io/loop.c io/client.c io/peer.c io/registry.c io/info.c io/metrics.c io/status.c io/settings.c io/slowlog.c
  LIBS router_core fb_coord fb_net fb_rt PkgConfig::LIBUV)
fb_add_program(forebay-router COMPONENT router SOURCES main.c LIBS router_io)
