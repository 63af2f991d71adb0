/* Mutants: places where a build for testing the tests can be told to leave out one check.
 *
 * `FB_MUTANT(name)` is false at compile time in every build but one made with -DFB_MUTANTS=ON
 * (tools/build mutants), where it is true while the mutant of that name is the chosen one. Each
 * leaves out one thing that the protocol needs; the simulator has to find each of them
 * (tools/soak --mutants). A name that no code asks for is a finding of tools/tidy.
 */
#ifndef FB_PROTO_BASE_MUTANT_H_
#define FB_PROTO_BASE_MUTANT_H_

#include <stdbool.h>

/* X(name, what is left out) */
#define FB_MUTANT_LIST(X) X(none, "nothing: for trying the flag itself")

#ifdef FB_MUTANTS
enum fb_mutant {
#define X(name, text) FB_MUTANT_##name,
    FB_MUTANT_LIST(X)
#undef X
        FB_MUTANT_COUNT
};
extern enum fb_mutant fb_mutant_chosen; /* set before anything runs; proto/base/mutant.c */
#define FB_MUTANT(name) (fb_mutant_chosen == FB_MUTANT_##name)
#else
#define FB_MUTANT(name) false
#endif

/* Choose one; false when there is none of that name, or when this build has no mutants. Thread: at
 * start, before there are others. */
bool fb_mutant_choose(const char *name);
/* The n-th name and what it leaves out; false at the end of the list. Any build. */
bool fb_mutant_at(unsigned n, const char **name, const char **text);

#endif
