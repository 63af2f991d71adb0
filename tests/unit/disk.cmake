fb_add_test(disk_log LABELS unit TIMEOUT 60 SOURCES unit/disk/log_test.c LIBS node_disk)
fb_add_test(disk_log_damage LABELS unit TIMEOUT 300 SOURCES unit/disk/log_damage_test.c LIBS node_disk)
