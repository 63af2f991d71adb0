fb_add_library(router_core
  SOURCES core/core.c core/ops.c core/node.c core/hold.c core/dispatch.c core/reply.c core/retry.c core/session.c
    core/txn.c core/local.c core/local_hello.c core/local_client.c core/local_config.c core/local_slowlog.c core/local_wait.c core/slow.c core/memory.c
  LIBS router_resp fb_wire fb_cluster)
