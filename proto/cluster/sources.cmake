fb_add_library(fb_cluster
  SOURCES cluster/slot.c cluster/placement.c cluster/fair_share.c cluster/spread.c cluster/rebalance.c
          cluster/rebalance_moves.c cluster/rebalance_json.c cluster/run.c cluster/json.c cluster/map.c cluster/record_next.c cluster/record_json.c
          cluster/namespace.c cluster/namespace_check.c cluster/namespace_find.c cluster/namespace_print.c cluster/schema.c cluster/schema_json.c
          cluster/column_check.c cluster/type_number.c cluster/type_text.c cluster/type_json.c
  LIBS fb_base PkgConfig::JANSSON)
