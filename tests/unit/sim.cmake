set(sim_history_sources sim/history.c sim/history_judge.c sim/history_loss.c sim/history_txn.c sim/reply.c
  sim/shadow.c)
fb_add_test(sim_history LABELS unit TIMEOUT 60 SOURCES unit/sim/history_test.c ${sim_history_sources}
  LIBS fb_wire fb_cluster fb_base)
