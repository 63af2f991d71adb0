# forebay-sim: whole clusters in one process, driven by a seed. The code of the processes is the real one; what lies
# under it (threads, clocks, files, sockets, the coordinator's store) is replaced at link time.
set(sim_dir ${CMAKE_CURRENT_LIST_DIR})
# Which commit it is of: a failing seed means nothing without it. Asked at each build.
add_custom_target(sim_commit BYPRODUCTS ${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c
    -P ${sim_dir}/commit.cmake VERBATIM)
# The node as a program, but for its threads' and files' ground.
set(node_dir ${PROJECT_SOURCE_DIR}/node)
add_library(sim_node OBJECT ${node_dir}/main.c)
target_compile_definitions(sim_node PRIVATE main=forebay_node_main)
target_compile_options(sim_node PRIVATE -Wno-missing-prototypes)
target_link_libraries(sim_node PRIVATE fb_flags fb_sanitize fb_base)
set(sync_dir ${PROJECT_SOURCE_DIR}/sync)
add_library(sim_sync OBJECT ${sync_dir}/main.c)
target_compile_definitions(sim_sync PRIVATE main=forebay_sync_main)
target_compile_options(sim_sync PRIVATE -Wno-missing-prototypes)
target_link_libraries(sim_sync PRIVATE fb_flags fb_sanitize fb_base PkgConfig::JANSSON)
add_executable(forebay-sim
  ${sim_dir}/main.c ${sim_dir}/kernel.c ${sim_dir}/clock.c ${sim_dir}/net.c ${sim_dir}/world.c
  ${sim_dir}/proc.c ${sim_dir}/os_rt.c ${sim_dir}/os_file.c ${sim_dir}/os_net.c ${sim_dir}/fs.c
  ${sim_dir}/coord.c ${sim_dir}/coord_old.c ${sim_dir}/store_sim.c ${sim_dir}/node_proc.c ${sim_dir}/node_medium.c
  ${sim_dir}/node_check.c
  ${sim_dir}/raw_sync.c ${sim_dir}/raw_client.c ${sim_dir}/node_check_state.c ${sim_dir}/node_check_wire.c
  ${sim_dir}/node_check_snapshot.c ${sim_dir}/node_check_copies.c ${sim_dir}/node_check_seal.c
  ${sim_dir}/node_check_trim.c ${sim_dir}/node_check_limit.c
  ${sim_dir}/node_check_clock.c ${sim_dir}/node_check_load.c ${sim_dir}/ledger.c ${sim_dir}/node_args.c
  ${sim_dir}/router_proc.c ${sim_dir}/router_tcp.c ${sim_dir}/clients.c ${sim_dir}/client_load.c
  ${sim_dir}/history.c ${sim_dir}/history_judge.c ${sim_dir}/history_loss.c ${sim_dir}/history_txn.c
  ${sim_dir}/reply.c ${sim_dir}/shadow.c
  ${sim_dir}/pg_model.c ${sim_dir}/pg_server.c ${sim_dir}/pg_rows.c ${sim_dir}/pg_client.c ${sim_dir}/pg_apply.c
  ${sim_dir}/pg_batch.c
  ${sim_dir}/pg_proc.c ${sim_dir}/pg_check.c ${sim_dir}/sync_proc.c ${sim_dir}/row_client.c
  $<TARGET_OBJECTS:sim_node> $<TARGET_OBJECTS:sim_sync>
  ${sync_dir}/io/admin.c ${sync_dir}/io/load.c ${sync_dir}/io/control.c ${sync_dir}/io/engine.c
  ${sync_dir}/io/engine_admin.c ${sync_dir}/io/engine_log.c ${sync_dir}/io/link.c ${sync_dir}/io/apply.c
  ${sync_dir}/io/metrics.c ${sync_dir}/io/process.c ${sync_dir}/io/conninfo.c ${sync_dir}/pg/classify.c
  ${node_dir}/io/worker.c ${node_dir}/io/forward.c ${node_dir}/io/requests.c ${node_dir}/io/feeds.c ${node_dir}/io/flush.c
  ${node_dir}/io/server.c ${node_dir}/io/cluster.c ${node_dir}/io/recovery.c ${node_dir}/io/snapshotter.c
  ${node_dir}/io/status.c ${node_dir}/io/memory.c ${node_dir}/io/admin_verbs.c ${node_dir}/io/parts.c
  ${node_dir}/io/copies.c ${node_dir}/io/peers.c ${node_dir}/io/links.c ${node_dir}/io/control.c ${node_dir}/io/rebalance.c ${node_dir}/io/leave.c ${node_dir}/io/lag.c ${node_dir}/io/reports.c
  ${node_dir}/store/slab.c ${node_dir}/store/sieve.c ${node_dir}/store/object.c
  ${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c)
add_dependencies(forebay-sim sim_commit)
target_link_libraries(forebay-sim PRIVATE fb_flags fb_warnings fb_sanitize node_core node_disk node_control
  router_core sync_core fb_coord fb_wire fb_cluster fb_base PkgConfig::JANSSON)
set_target_properties(forebay-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
foreach(call open openat close read pread pwrite pwritev fsync fdatasync ftruncate fallocate renameat unlinkat fstat
    fstatat fstatvfs access mkdir mkdirat fcntl fdopendir opendir dirfd readdir closedir abort getpid nanosleep
    clock_gettime pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock pthread_cond_init
    pthread_cond_destroy pthread_cond_wait pthread_cond_timedwait pthread_cond_signal pthread_cond_broadcast
    log_append log_segment_seal log_trim store_dirty_add lane_synced lane_database_clock lane_load_reply part_install node_recover snapshot_create snapshot_append snapshot_commit lane_snapshot_slice)
  target_link_options(forebay-sim PRIVATE -Wl,--wrap=${call})
endforeach()
