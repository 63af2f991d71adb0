fb_add_test(net_conn LABELS unit TIMEOUT 300 SOURCES unit/net/conn_test.c LIBS fb_net)
# Not a test: prints round trips and CPU over loopback.
add_executable(net_echo_bench unit/net/echo_bench.c)
target_link_libraries(net_echo_bench PRIVATE fb_flags fb_warnings fb_sanitize fb_net)
set_target_properties(net_echo_bench PROPERTIES EXCLUDE_FROM_ALL TRUE)
