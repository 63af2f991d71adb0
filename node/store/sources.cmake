fb_add_library(node_store
  SOURCES store/store_urcu.c store/reclaim.c store/slab.c store/sieve.c store/object.c
  LIBS fb_rt fb_base PkgConfig::LIBURCU Threads::Threads)
