fb_add_test(coord_file LABELS unit TIMEOUT 60 SOURCES unit/coord/file_test.c LIBS fb_coord)
fb_add_test(coord_agent LABELS unit TIMEOUT 60 SOURCES unit/coord/agent_test.c LIBS fb_coord)
fb_add_crash_test(coord_crash_states SOURCES unit/coord/crash_states_test.c LIBS fb_coord)
fb_add_failing_test(coord_failing_calls SOURCES unit/coord/failing_calls_test.c LIBS fb_coord)
