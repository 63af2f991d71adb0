foreach(t placement namespace record run schema slot)
  fb_add_test(cluster_${t} LABELS unit TIMEOUT 300 SOURCES unit/cluster/${t}_test.c LIBS fb_cluster)
endforeach()
fb_add_test(cluster_rebalance LABELS unit TIMEOUT 300
  SOURCES unit/cluster/rebalance_test.c unit/cluster/rebalance_world.c LIBS fb_cluster m)
