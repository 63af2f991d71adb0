# fb_net: the adapter over nng.
fb_add_library(fb_net
  SOURCES net/net.c net/conn.c net/conn_recv.c net/conn_send.c net/hello.c net/http_get.c net/frame_pool.c
  LIBS fb_wire fb_rt nng::nng)
