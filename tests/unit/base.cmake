foreach(t ini units options options_reload buf log base64)
  fb_add_test(base_${t} LABELS unit TIMEOUT 300 SOURCES unit/base/${t}_test.c LIBS fb_base)
endforeach()
