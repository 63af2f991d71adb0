fb_add_library(router_resp
  SOURCES resp/parser.c resp/writer.c resp/command.c resp/command_reply.c resp/command_docs.c
    resp/translate.c resp/translate_string.c resp/translate_hash.c resp/translate_key.c resp/render.c
  LIBS fb_wire fb_cluster)
