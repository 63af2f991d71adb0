fb_add_test(net_conn LABELS unit TIMEOUT 300 SOURCES unit/net/conn_test.c LIBS fb_net)
# Memory that nng or we do not get.
fb_add_test(net_memory LABELS unit TIMEOUT 300 SOURCES unit/net/memory_test.c LIBS fb_net)
fb_refuses_memory(net_memory)
foreach(call nng_aio_alloc nng_stream_listener_alloc nng_stream_dialer_alloc)
  target_link_options(net_memory PRIVATE -Wl,--wrap=${call})
endforeach()
# Not a test: prints round trips and CPU over loopback.
add_executable(net_echo_bench unit/net/echo_bench.c)
target_link_libraries(net_echo_bench PRIVATE fb_flags fb_warnings fb_sanitize fb_net)
set_target_properties(net_echo_bench PROPERTIES EXCLUDE_FROM_ALL TRUE)
