fb_add_test(node_lane LABELS unit TIMEOUT 120 SOURCES unit/node/lane_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_model LABELS unit TIMEOUT 120 SOURCES unit/node/model_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_mapped LABELS unit TIMEOUT 120 SOURCES unit/node/mapped_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_queue LABELS unit TIMEOUT 120 SOURCES unit/node/queue_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_config LABELS unit TIMEOUT 120 SOURCES unit/node/config_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_watch LABELS unit TIMEOUT 120 SOURCES unit/node/watch_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_recover LABELS unit TIMEOUT 60 SOURCES unit/node/recover_test.c LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_feed LABELS unit TIMEOUT 120 SOURCES unit/node/feed_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_safety LABELS unit TIMEOUT 60 SOURCES unit/node/safety_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_owner LABELS unit TIMEOUT 60 SOURCES unit/node/owner_test.c LIBS node_core node_store fb_rt fb_cluster fb_wire m)
fb_add_test(node_level LABELS unit TIMEOUT 120 SOURCES unit/node/level_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
