# forebay-sim: whole clusters in one process, driven by a seed.
set(sim_dir ${CMAKE_CURRENT_LIST_DIR})
# Which commit it is of: a failing seed means nothing without it. Asked at each build.
add_custom_target(sim_commit BYPRODUCTS ${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c
    -P ${sim_dir}/commit.cmake VERBATIM)
add_executable(forebay-sim
  ${sim_dir}/main.c ${sim_dir}/kernel.c ${sim_dir}/clock.c ${sim_dir}/net.c ${sim_dir}/world.c
  ${CMAKE_CURRENT_BINARY_DIR}/sim_commit.c)
add_dependencies(forebay-sim sim_commit)
target_link_libraries(forebay-sim PRIVATE fb_flags fb_warnings fb_sanitize node_core node_disk node_control
  router_core sync_core fb_wire fb_cluster fb_base)
set_target_properties(forebay-sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
