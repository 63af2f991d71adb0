fb_add_test(sync_outcomes LABELS unit TIMEOUT 300 SOURCES unit/sync/core_test.c unit/sync/script.c LIBS sync_core)
fb_add_test(sync_safe LABELS unit TIMEOUT 300 SOURCES unit/sync/safe_test.c unit/sync/script.c LIBS sync_core)
fb_add_test(sync_process LABELS integration TIMEOUT 300 SOURCES unit/sync/process_test.c unit/sync/fake_node.c
  LIBS pg_fixture fb_coord fb_net fb_rt)
add_dependencies(sync_process forebay-sync)
target_compile_definitions(sync_process PRIVATE FOREBAY_SYNC="$<TARGET_FILE:forebay-sync>"
  PG_SERVER="${PROJECT_SOURCE_DIR}/tests/integration/pg_server")
