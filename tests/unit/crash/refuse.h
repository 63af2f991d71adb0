/* Memory that may be refused is refused, in whatever thread asks for it: linked with --wrap in
 * front of fb_try_malloc and fb_buf_try_reserve (fb_refuses_memory of unit/crash.cmake). For what
 * runs in threads of libraries; where the thread is the test's own, alloc/fail.h goes through one
 * after the other.
 */
#ifndef FB_TESTS_UNIT_CRASH_REFUSE_H_
#define FB_TESTS_UNIT_CRASH_REFUSE_H_

#include <stddef.h>
#include <stdint.h>

#define REFUSE_NOTHING SIZE_MAX

/* From now on what asks for more than `bytes` gets nothing. */
void refuse_above(size_t bytes);
/* Ends it. How many got nothing. */
uint64_t refuse_done(void);

#endif
