/* The n-th allocation fails: linked with --wrap in front of malloc and friends (unit/alloc.cmake).
 *
 * What ends the process by policy when there is no memory (fb_xmalloc and friends, fb_buf_reserve;
 * proto/base/README.md, rule 6) is not counted and never fails here: only what may be refused is.
 */
#ifndef FB_TESTS_UNIT_ALLOC_FAIL_H_
#define FB_TESTS_UNIT_ALLOC_FAIL_H_

#include <stdbool.h>
#include <stdint.h>

/* From now on, in this thread, allocation number n (from 1) and all behind it fail when `all`, else
 * it alone. 0: none. */
void fail_from(uint64_t n, bool all);
/* What ends the process by policy counts and fails as well: for tests of that end. */
void fail_policy_too(void);
/* Stop. True when the allocation that was to fail was reached. */
bool fail_done(void);

#endif
