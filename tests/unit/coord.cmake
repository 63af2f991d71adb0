set(coord_backends unit/coord/backends.c unit/coord/etcd_server.c)
foreach(t file store agent)
  fb_add_test(coord_${t} LABELS unit TIMEOUT 120 SOURCES unit/coord/${t}_test.c ${coord_backends} LIBS fb_coord)
endforeach()
fb_add_crash_test(coord_crash_states SOURCES unit/coord/crash_states_test.c LIBS fb_coord)
fb_add_failing_test(coord_failing_calls SOURCES unit/coord/failing_calls_test.c LIBS fb_coord)
fb_add_test(coord_etcd LABELS unit TIMEOUT 240 SOURCES unit/coord/etcd_test.c unit/coord/etcd_server.c
  unit/coord/proxy.c LIBS fb_coord)
fb_add_test(coord_etcd_json LABELS unit TIMEOUT 60 SOURCES unit/coord/etcd_json_test.c LIBS fb_coord)
