fb_add_test(router_core_test LABELS unit TIMEOUT 300
  SOURCES unit/router/core_test.c unit/router/rig.c LIBS router_core)
fb_add_test(router_session_test LABELS unit TIMEOUT 300
  SOURCES unit/router/session_test.c unit/router/rig.c LIBS router_core)
fb_add_test(router_slow_test LABELS unit TIMEOUT 300
  SOURCES unit/router/slow_test.c unit/router/rig.c LIBS router_core)
fb_add_test(router_wait_test LABELS unit TIMEOUT 300
  SOURCES unit/router/wait_test.c unit/router/rig.c LIBS router_core)
fb_add_test(router_client LABELS unit TIMEOUT 300 SOURCES unit/router/client_test.c LIBS router_io)
fb_refuses_memory(router_client)
