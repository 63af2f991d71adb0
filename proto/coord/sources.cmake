# fb_coord: coordinator interface, file back end, agent.
fb_add_library(fb_coord
  SOURCES coord/coord.c coord/file.c coord/file_state.c coord/file_session.c coord/cluster_state.c coord/agent.c
          coord/applied.c
  LIBS fb_cluster fb_rt PkgConfig::JANSSON)
