# Partition core, sans-IO. It calls node/store through headers only: the program (or the simulator) links a store.
fb_add_library(node_core
  SOURCES core/lane.c core/partition.c core/install.c core/record.c core/pending.c core/request.c core/waits.c
          core/exec.c core/exec_read.c core/exec_string.c core/exec_hash.c core/exec_key.c core/read_value.c core/read.c
          core/read_all.c core/row.c core/admission.c core/memory.c core/txn.c core/load.c core/load_table.c core/load_install.c core/feed.c core/feed_hold.c core/feed_verify.c core/feed_regress.c core/sync_pos.c
          core/clock.c core/expire.c core/evict.c core/recover.c core/reconcile.c core/verdict.c core/message.c core/snapshot.c core/inspect.c
          core/log_tail.c core/copies.c core/copy_stream.c core/copy_wait.c core/copy_count.c core/copy_fill.c core/copy_hold.c
          core/replica.c core/replica_runs.c core/replica_tail.c core/replica_set.c core/replica_primary.c
          core/replica_backup.c core/replica_copy.c
  LIBS fb_wire fb_cluster)
