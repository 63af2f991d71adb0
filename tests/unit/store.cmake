fb_add_test(store_table LABELS unit TIMEOUT 120 SOURCES unit/store/table_test.c LIBS node_store)
