# The checkers of the simulator are tested on their own: a checker that finds nothing is worth nothing.
fb_add_test(sim_history LABELS unit TIMEOUT 60
  SOURCES sim/history_test.c sim/history.c sim/history_judge.c sim/history_loss.c sim/history_txn.c sim/reply.c
    sim/shadow.c
  LIBS fb_wire fb_cluster fb_base)
