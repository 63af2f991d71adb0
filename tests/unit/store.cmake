fb_add_test(store_table LABELS unit TIMEOUT 300 SOURCES unit/store/table_test.c LIBS node_store)
foreach(call _cds_lfht_new pthread_create)
  target_link_options(store_table PRIVATE -Wl,--wrap=${call})
endforeach()
# Short form; long: store_torture SECONDS READERS
fb_add_test(store_torture LABELS unit TIMEOUT 300 SOURCES unit/store/torture.c LIBS node_store fb_rt)
target_link_options(store_torture PRIVATE -Wl,--wrap=object_free)
