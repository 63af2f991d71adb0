fb_add_test(node_lane LABELS unit TIMEOUT 300 SOURCES unit/node/lane_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_model LABELS unit TIMEOUT 300 SOURCES unit/node/model_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_kept LABELS unit TIMEOUT 300 SOURCES unit/node/kept_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_mapped LABELS unit TIMEOUT 300 SOURCES unit/node/mapped_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_mapped_drop LABELS unit TIMEOUT 300 SOURCES unit/node/mapped_drop_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_queue LABELS unit TIMEOUT 300 SOURCES unit/node/queue_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_config LABELS unit TIMEOUT 300 SOURCES unit/node/config_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_watch LABELS unit TIMEOUT 300 SOURCES unit/node/watch_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_recover LABELS unit TIMEOUT 300 SOURCES unit/node/recover_test.c LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_feed LABELS unit TIMEOUT 300 SOURCES unit/node/feed_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_safety LABELS unit TIMEOUT 300 SOURCES unit/node/safety_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_owner LABELS unit TIMEOUT 300 SOURCES unit/node/owner_test.c LIBS node_core node_store fb_rt fb_cluster fb_wire m)
fb_add_test(node_copied LABELS unit TIMEOUT 300 SOURCES unit/node/copied_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_tail LABELS unit TIMEOUT 300 SOURCES unit/node/tail_test.c LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_level LABELS unit TIMEOUT 300 SOURCES unit/node/level_test.c unit/node/harness.c
  LIBS node_core node_store fb_cluster fb_wire m)
# The core once more, with checks that can be left out: the simulation has to miss each of them.
add_executable(node_replica_sim unit/node/replica_sim_test.c unit/node/replica_world.c unit/node/replica_coord.c
  unit/node/replica_judge.c ${PROJECT_SOURCE_DIR}/proto/base/mutant.c)
foreach(part "" _runs _tail _set _primary _backup _copy)
  target_sources(node_replica_sim PRIVATE ${PROJECT_SOURCE_DIR}/node/core/replica${part}.c)
endforeach()
target_compile_definitions(node_replica_sim PRIVATE FB_MUTANTS=1)
target_link_libraries(node_replica_sim PRIVATE fb_flags fb_warnings fb_sanitize fb_cluster fb_wire fb_base)
set_target_properties(node_replica_sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME node_replica_sim COMMAND node_replica_sim)
set_tests_properties(node_replica_sim PROPERTIES TIMEOUT 300 LABELS "unit;sim"
  ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;ASAN_OPTIONS=detect_leaks=0")
# Whole lanes over the same stream, with the simulation's own store, and with checks that can be left out.
get_target_property(node_core_sources node_core SOURCES)
get_target_property(node_core_dir node_core SOURCE_DIR)
list(TRANSFORM node_core_sources PREPEND ${node_core_dir}/)
add_executable(node_copies_sim unit/node/copies_sim_test.c unit/node/copies_world.c unit/node/copies_nodes.c
  unit/node/copies_clients.c fuzz/store_plain.c ${node_core_sources} ${PROJECT_SOURCE_DIR}/node/store/slab.c ${PROJECT_SOURCE_DIR}/node/store/sieve.c ${PROJECT_SOURCE_DIR}/node/store/object.c
  ${PROJECT_SOURCE_DIR}/proto/base/mutant.c)
target_compile_definitions(node_copies_sim PRIVATE FB_MUTANTS=1)
target_link_libraries(node_copies_sim PRIVATE fb_flags fb_warnings fb_sanitize fb_cluster fb_wire fb_base m)
set_target_properties(node_copies_sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
add_test(NAME node_copies_sim COMMAND node_copies_sim)
set_tests_properties(node_copies_sim PROPERTIES TIMEOUT 300 LABELS "unit;sim"
  ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1;ASAN_OPTIONS=detect_leaks=0")
# The code under test is built in once more, with its mutants, so that the simulation's own worth is tested everywhere.
fb_add_test(node_control_sim LABELS unit TIMEOUT 300
  SOURCES unit/node/control_sim.c ${PROJECT_SOURCE_DIR}/node/control/controller.c
    ${PROJECT_SOURCE_DIR}/node/control/move.c
    ${PROJECT_SOURCE_DIR}/proto/cluster/record_next.c ${PROJECT_SOURCE_DIR}/proto/base/mutant.c
  LIBS fb_cluster fb_base)
target_compile_definitions(node_control_sim PRIVATE FB_MUTANTS=1)
add_test(NAME node_control_mutants COMMAND node_control_sim --mutants)
set_tests_properties(node_control_mutants PROPERTIES LABELS unit TIMEOUT 300)
fb_add_test(node_restart LABELS unit TIMEOUT 300 SOURCES unit/node/restart_test.c LIBS node_control fb_cluster fb_base)
fb_add_test(node_count LABELS unit TIMEOUT 300 SOURCES unit/node/count_test.c unit/node/harness.c LIBS node_core node_store fb_cluster fb_wire m)
fb_add_test(node_goodbye LABELS unit TIMEOUT 300 SOURCES unit/node/goodbye_test.c LIBS node_core fb_cluster fb_wire fb_base)
fb_add_test(node_report LABELS unit TIMEOUT 300 SOURCES unit/node/report_test.c LIBS node_control fb_cluster fb_base)
fb_add_test(node_leave LABELS unit TIMEOUT 300 SOURCES unit/node/leave_test.c LIBS node_control fb_cluster fb_base)
fb_add_test(node_move LABELS unit TIMEOUT 300 SOURCES unit/node/move_test.c LIBS node_control fb_cluster fb_base)
