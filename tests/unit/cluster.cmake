foreach(t placement namespace record schema slot)
  fb_add_test(cluster_${t} LABELS unit TIMEOUT 60 SOURCES unit/cluster/${t}_test.c LIBS fb_cluster)
endforeach()
