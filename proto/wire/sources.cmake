fb_add_library(fb_wire
  SOURCES wire/value.c wire/frame.c wire/request.c wire/feed.c wire/record.c wire/replica.c
  LIBS fb_base)
target_link_libraries(fb_wire PRIVATE fb_messages)
