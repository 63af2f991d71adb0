/* cmocka with the headers it wants before it. */
#ifndef FB_TESTS_UNIT_CMOCKA_H_
#define FB_TESTS_UNIT_CMOCKA_H_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
