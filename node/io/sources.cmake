fb_add_library(node_control SOURCES control/restart.c control/controller.c control/move.c control/leave.c control/report.c LIBS fb_cluster)
fb_add_library(node_io
  SOURCES io/worker.c io/forward.c io/requests.c io/feeds.c io/flush.c io/server.c io/cluster.c io/recovery.c io/snapshotter.c
          io/status.c io/memory.c io/admin_verbs.c io/parts.c io/copies.c io/peers.c io/links.c
          io/control.c io/rebalance.c io/leave.c io/lag.c io/reports.c
  LIBS node_core node_store node_disk node_control fb_coord fb_net fb_rt PkgConfig::JANSSON)
fb_add_program(forebay-node COMPONENT node SOURCES main.c LIBS node_io)
