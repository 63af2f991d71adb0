fb_add_library(fb_base
  SOURCES base/assert.c base/owner.c base/build.c base/status.c base/buf.c base/log.c base/clock.c base/hash.c base/random.c base/utf8.c
          base/ini.c base/units.c base/options.c base/options_source.c base/options_text.c base/options_reload.c
  LIBS PkgConfig::XXHASH)
target_compile_definitions(fb_base PRIVATE FB_VERSION="${PROJECT_VERSION}"
  FB_BUILD_FLAVOR="${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}")
target_sources(fb_base PRIVATE base/mutant.c base/number.c base/glob.c base/base64.c)
