fb_add_program(forebayctl COMPONENT ctl
  SOURCES ctl/main.c ctl/verbs.c ctl/help.c ctl/output.c ctl/connect.c ctl/gather.c ctl/verb_status.c ctl/verb_failover.c ctl/verb_key.c
          ctl/verb_sync.c ctl/verb_config.c ctl/wait_applied.c ctl/verb_db.c ctl/verb_misc.c ctl/verb_events.c ctl/verb_top.c
          ctl/verb_snapshot.c ctl/verb_watch.c ctl/verb_deadletter.c ctl/letter_line.c ctl/verb_verify.c ctl/verb_rebalance.c ctl/verb_run.c ctl/verb_drain.c ctl/run.c
          ctl/plan_input.c ctl/verb_partition_map.c ctl/verb_adopt.c
  LIBS sync_pg node_disk fb_coord fb_net fb_rt PkgConfig::JANSSON)
