# fb_coord: coordinator interface, file and etcd back ends, agent.
fb_add_library(fb_coord
  SOURCES coord/coord.c coord/file.c coord/file_state.c coord/file_session.c coord/cluster_state.c coord/agent.c
          coord/entry.c
          coord/applied.c
          coord/etcd.c coord/etcd_url.c coord/etcd_put.c coord/etcd_take.c coord/etcd_call.c coord/etcd_watch.c
          coord/etcd_session.c
  LIBS fb_cluster fb_rt PkgConfig::JANSSON PkgConfig::LIBCURL)
