foreach(t codec frame)
  fb_add_test(wire_${t} LABELS unit TIMEOUT 300 SOURCES unit/wire/${t}_test.c LIBS fb_wire)
endforeach()
