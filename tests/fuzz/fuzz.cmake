# fb_add_fuzzer(NAME CORPUS dir SOURCES x.c LIBS ...)
# The corpus always runs as a unit test. With clang and -DFB_FUZZ=ON there is also the fuzzer itself, fuzz_NAME:
#   build/tests/fuzz_NAME -max_total_time=60 tests/fuzz/corpus/DIR
include_guard(GLOBAL)
option(FB_FUZZ "Build the fuzzers (clang)" OFF)
set(FB_FUZZ_DIR ${CMAKE_CURRENT_LIST_DIR})

function(fb_add_fuzzer name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;LIBS" ${ARGN})
  fb_add_test(${name}_corpus LABELS "unit;fuzz" TIMEOUT 60 SOURCES ${FB_FUZZ_DIR}/replay.c ${A_SOURCES} LIBS ${A_LIBS})
  target_compile_definitions(${name}_corpus PRIVATE FB_CORPUS="${FB_FUZZ_DIR}/corpus/${A_CORPUS}")
  if(FB_FUZZ)
    add_executable(fuzz_${name} ${A_SOURCES})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE fb_flags fb_warnings fb_sanitize ${A_LIBS})
    set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  endif()
endfunction()
