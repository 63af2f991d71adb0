fb_add_test(sync_script LABELS unit TIMEOUT 60 SOURCES unit/sync/core_test.c unit/sync/script.c LIBS sync_core)
