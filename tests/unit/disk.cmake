foreach(t log log_damage log_fault crash snapshot data_dir dump)
  fb_add_test(disk_${t} LABELS unit TIMEOUT 300 SOURCES unit/disk/${t}_test.c LIBS node_disk)
endforeach()
# Storage errors and deaths on demand, without a seam in the product.
target_link_options(disk_log_fault PRIVATE
  -Wl,--wrap=pwritev -Wl,--wrap=fdatasync -Wl,--wrap=fsync -Wl,--wrap=fallocate)
target_link_options(disk_crash PRIVATE
  -Wl,--wrap=pwritev -Wl,--wrap=pwrite -Wl,--wrap=fdatasync -Wl,--wrap=fsync -Wl,--wrap=ftruncate
  -Wl,--wrap=fallocate -Wl,--wrap=renameat -Wl,--wrap=unlinkat)
fb_add_crash_test(disk_crash_states SOURCES unit/disk/crash_states_test.c unit/disk/crash_life.c LIBS node_disk)
fb_add_failing_test(disk_failing_calls SOURCES unit/disk/failing_calls_test.c LIBS node_disk
  PARTS plain half_made full sparse torn)
fb_add_failing_test(disk_one_call SOURCES unit/disk/one_call_test.c LIBS node_disk)
