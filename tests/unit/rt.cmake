fb_add_test(rt_thread LABELS unit TIMEOUT 30 SOURCES unit/rt/thread_test.c LIBS fb_rt)
fb_add_test(rt_mailbox LABELS unit TIMEOUT 60 SOURCES unit/rt/mailbox_test.c LIBS fb_rt)
fb_add_test(rt_metrics LABELS unit TIMEOUT 60 SOURCES unit/rt/metrics_test.c LIBS fb_rt m)
fb_add_test(rt_admin LABELS unit TIMEOUT 60 SOURCES unit/rt/admin_test.c LIBS fb_rt)
