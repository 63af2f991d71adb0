set(coord_backends unit/coord/backends.c unit/coord/etcd_server.c)
foreach(t file store agent state)
  fb_add_test(coord_${t} LABELS unit TIMEOUT 300 SOURCES unit/coord/${t}_test.c ${coord_backends} LIBS fb_coord)
endforeach()
# A coordinator whose hints are lost, a clock that is known.
fb_add_test(coord_agent_calls LABELS unit TIMEOUT 300 SOURCES unit/coord/agent_calls_test.c ${coord_backends}
  LIBS fb_coord)
foreach(call fb_coord_wait fb_coord_wake fb_mono_ns)
  target_link_options(coord_agent_calls PRIVATE -Wl,--wrap=${call})
endforeach()
fb_add_crash_test(coord_crash_states SOURCES unit/coord/crash_states_test.c LIBS fb_coord)
fb_add_failing_test(coord_failing_calls SOURCES unit/coord/failing_calls_test.c LIBS fb_coord)
fb_add_failing_test(coord_one_call SOURCES unit/coord/one_call_test.c ${coord_backends} LIBS fb_coord)
fb_add_test(coord_etcd LABELS unit TIMEOUT 300 SOURCES unit/coord/etcd_test.c unit/coord/etcd_server.c
  unit/coord/proxy.c LIBS fb_coord)
fb_add_test(coord_etcd_json LABELS unit TIMEOUT 300 SOURCES unit/coord/etcd_json_test.c LIBS fb_coord)
# What answers in etcd's place, and calls of libcurl that fail; a clock and random numbers that are known.
foreach(t answers handles)
  fb_add_test(coord_etcd_${t} LABELS unit TIMEOUT 300 SOURCES unit/coord/etcd_${t}_test.c unit/coord/scripted.c LIBS fb_coord)
endforeach()
foreach(call curl_easy_init curl_multi_init curl_multi_add_handle curl_multi_perform curl_global_init gethostname
    fopen fgets fb_mono_ns fb_random_u64)
  target_link_options(coord_etcd_handles PRIVATE -Wl,--wrap=${call})
endforeach()
