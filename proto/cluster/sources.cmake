fb_add_library(fb_cluster
  SOURCES cluster/slot.c cluster/namespace.c cluster/namespace_check.c
  LIBS fb_base PkgConfig::JANSSON)
