/* What a failed assertion prints before it aborts. */
#include "proto/base/assert.h"

#include "proto/base/build.h"

#include <stdio.h>
#include <stdlib.h>

void fb_assert_failed(const char *expr, const char *file, int line, const char *func)
{
    fprintf(
        stderr,
        "forebay %s: assertion failed: %s at %s:%d in %s; this is a bug in Forebay, the process "
        "stops so that it cannot spread\n",
        fb_build_version(), expr, file, line, func);
    abort();
}
