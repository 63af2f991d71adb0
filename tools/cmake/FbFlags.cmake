# Compiler settings as INTERFACE targets: nothing global, nothing hidden.
option(FB_WERROR "Treat warnings as errors" OFF)
set(FB_SANITIZE "" CACHE STRING "Sanitizers, for instance address,undefined or thread")
option(FB_MUTANTS "Checks can be left out one at a time (proto/base/mutant.h): for testing the tests" OFF)
option(FB_COVERAGE "Instrument for gcov" OFF)
option(FB_FUZZ "Instrument for libFuzzer and build the fuzzers (clang)" OFF)

add_library(fb_flags INTERFACE)
target_compile_features(fb_flags INTERFACE c_std_17)
target_compile_definitions(fb_flags INTERFACE _GNU_SOURCE)
target_compile_options(fb_flags INTERFACE -fno-strict-aliasing -fno-omit-frame-pointer
  $<$<CONFIG:Debug>:-DFB_SLOW_ASSERTS=1>)
if(FB_MUTANTS)
  target_compile_definitions(fb_flags INTERFACE FB_MUTANTS=1)
endif()

add_library(fb_warnings INTERFACE)
target_compile_options(fb_warnings INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> $<$<BOOL:${FB_WERROR}>:-Werror>)

add_library(fb_sanitize INTERFACE)
if(FB_SANITIZE)
  target_compile_options(fb_sanitize INTERFACE -fsanitize=${FB_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(fb_sanitize INTERFACE -fsanitize=${FB_SANITIZE})
  target_compile_definitions(fb_sanitize INTERFACE FB_SANITIZED=1)
endif()
if(FB_FUZZ) # the libraries tell the fuzzer where they have been
  target_compile_options(fb_sanitize INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(fb_sanitize INTERFACE -fsanitize=fuzzer-no-link)
  target_compile_definitions(fb_flags INTERFACE FB_SLOW_ASSERTS=1)
endif()
if(FB_COVERAGE)
  target_compile_options(fb_sanitize INTERFACE --coverage)
  target_link_options(fb_sanitize INTERFACE --coverage)
  target_compile_definitions(fb_sanitize INTERFACE FB_COVERED=1)
endif()
