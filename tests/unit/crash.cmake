# Crash states (unit/crash): the recorder takes the place of these calls at link time. All
# enumerations in their long form: tools/crash-states.
function(fb_add_crash_test name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS" ${ARGN})
  fb_add_test(${name} LABELS unit TIMEOUT 300 LIBS ${A_LIBS}
    SOURCES ${A_SOURCES} unit/crash/recorder.c unit/crash/states.c)
  foreach(call pwritev pwrite write ftruncate fallocate fdatasync fsync renameat unlinkat mkdirat
      mkdir openat)
    target_link_options(${name} PRIVATE -Wl,--wrap=${call})
  endforeach()
endfunction()

# The n-th call fails (unit/crash/failing.h).
function(fb_add_failing_test name)
  cmake_parse_arguments(A "" "" "SOURCES;LIBS;PARTS" ${ARGN})
  # the short form takes a minute or two; the long one (FB_FAILING_LONG) takes several on a loaded machine
  fb_add_test(${name} LABELS unit TIMEOUT 1200 LIBS ${A_LIBS} SOURCES ${A_SOURCES} unit/crash/failing.c
    PARTS ${A_PARTS})
  foreach(call pwritev pwrite write pread read ftruncate fallocate fdatasync fsync renameat unlinkat
      mkdirat mkdir openat open close fstat fstatat fstatvfs fcntl opendir fdopendir readdir
      eventfd inotify_init1)
    target_link_options(${name} PRIVATE -Wl,--wrap=${call})
  endforeach()
endfunction()

# What may be refused is, in all threads of a test (unit/crash/refuse.h).
function(fb_refuses_memory name)
  target_sources(${name} PRIVATE unit/crash/refuse.c)
  foreach(call fb_try_malloc fb_buf_try_reserve)
    target_link_options(${name} PRIVATE -Wl,--wrap=${call})
  endforeach()
endfunction()
