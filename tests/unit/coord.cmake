set(coord_backends unit/coord/backends.c unit/coord/etcd_server.c)
foreach(t file store agent)
  fb_add_test(coord_${t} LABELS unit TIMEOUT 120 SOURCES unit/coord/${t}_test.c ${coord_backends} LIBS fb_coord)
endforeach()
fb_add_crash_test(coord_crash_states SOURCES unit/coord/crash_states_test.c LIBS fb_coord)
fb_add_failing_test(coord_failing_calls SOURCES unit/coord/failing_calls_test.c LIBS fb_coord)
fb_add_test(coord_etcd LABELS unit TIMEOUT 240 SOURCES unit/coord/etcd_test.c unit/coord/etcd_server.c
  unit/coord/proxy.c LIBS fb_coord)
fb_add_test(coord_etcd_json LABELS unit TIMEOUT 60 SOURCES unit/coord/etcd_json_test.c LIBS fb_coord)
# What answers in etcd's place, and calls of libcurl that fail.
fb_add_test(coord_etcd_answers LABELS unit TIMEOUT 120 SOURCES unit/coord/etcd_answers_test.c unit/coord/scripted.c
  LIBS fb_coord PkgConfig::LIBCURL)
foreach(call curl_easy_init curl_multi_init curl_multi_add_handle curl_multi_perform curl_global_init)
  target_link_options(coord_etcd_answers PRIVATE -Wl,--wrap=${call})
endforeach()
