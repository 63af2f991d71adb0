fb_add_library(fb_cluster
  SOURCES cluster/slot.c
  LIBS fb_base PkgConfig::JANSSON)
