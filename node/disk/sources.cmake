# node_disk: append log, snapshots, data directory.
fb_add_library(node_disk
  SOURCES disk/file.c disk/data_dir.c
          disk/snapshot_format.c disk/snapshot_write.c disk/snapshot_read.c
          disk/log_format.c disk/log_dir.c disk/log_scan.c disk/log_segment.c disk/log_recover.c
          disk/log.c disk/log_sync.c disk/log_trim.c disk/dump.c
  LIBS fb_wire fb_rt)
