/* Version strings, set by CMake. */
#include "proto/base/build.h"

const char *fb_build_version(void)
{
    return FB_VERSION;
}

const char *fb_build_flavor(void)
{
    return FB_BUILD_FLAVOR;
}
