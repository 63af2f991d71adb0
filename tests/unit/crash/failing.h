/* The n-th call on files of a program fails, for each n in turn: which errors a run can meet is
 * found by meeting them. Link-time, for the names in crash.cmake. */
#ifndef FB_TESTS_UNIT_CRASH_FAILING_H_
#define FB_TESTS_UNIT_CRASH_FAILING_H_

#include <stdbool.h>

/* From now on the n-th call of any thread fails with errno `error`; SHORT_COUNT: it does only a
 * part of its work, where it can. Writes to standard output and error do not count. */
#define FAILING_SHORT_COUNT (-1)
#define FAILING_NOTHING_DONE (-2) /* pread, pwrite: says 0 */
void failing_arm(unsigned n, int error);
void failing_disarm(void);
/* Every call of this name fails from now on, besides; NULL ends it. For those that never do a part.
 */
void failing_always(const char *call, int error);
/* Besides, the n-th call of this name fails with `error`, or is preceded by fn(arg), whose own
 * calls are not counted: what another process does in between. Up to four of these together. */
void failing_at(const char *call, unsigned n, int error);
void failing_before(const char *call, unsigned n, void (*fn)(void *arg), void *arg);
/* Ends them. False when the call of one did not come: the test is about something else then. */
bool failing_over(void);
/* Which call failed, NULL = none did. */
const char *failing_hit(void);

/* How a child that ran fn(arg) ended. */
struct failing_end {
    bool aborted;    /* by SIGABRT */
    int status;      /* exit status otherwise */
    bool hit;        /* a call failed */
    char call[16];   /* which */
    char text[8192]; /* what it wrote to standard error */
};
/* fn in a child process, with the n-th call failing; n = 0: none. The child exits with what fn
 * returns. Anything but an exit or SIGABRT fails the test that calls this. */
struct failing_end failing_run(unsigned n, int error, int (*fn)(void *arg), void *arg);

#endif
