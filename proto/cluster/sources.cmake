fb_add_library(fb_cluster
  SOURCES cluster/slot.c cluster/json.c cluster/map.c cluster/record_next.c cluster/record_json.c
          cluster/namespace.c cluster/namespace_check.c
  LIBS fb_base PkgConfig::JANSSON)
