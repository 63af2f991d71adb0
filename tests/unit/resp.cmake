foreach(part parser writer command translate render)
  fb_add_test(resp_${part} LABELS unit TIMEOUT 60 SOURCES unit/resp/${part}_test.c LIBS router_resp)
endforeach()
foreach(part number glob)
  fb_add_test(base_${part} LABELS unit TIMEOUT 60 SOURCES unit/base/${part}_test.c LIBS fb_base)
endforeach()

include(${CMAKE_CURRENT_LIST_DIR}/../fuzz/fuzz.cmake)
fb_add_fuzzer(resp CORPUS resp SOURCES ${CMAKE_CURRENT_LIST_DIR}/../fuzz/resp_fuzz.c LIBS router_resp)
