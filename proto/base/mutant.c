/* The list of mutants, and the one that is chosen (mutant.h). */
#include "proto/base/mutant.h"

#include <string.h>

static const struct {
    const char *name, *text;
} mutants[] = {
#define X(name, text) {#name, text},
    FB_MUTANT_LIST(X)
#undef X
};

#ifdef FB_MUTANTS
enum fb_mutant fb_mutant_chosen = FB_MUTANT_none;
#endif

bool fb_mutant_at(unsigned n, const char **name, const char **text)
{
    if (n >= sizeof mutants / sizeof mutants[0])
        return false;
    *name = mutants[n].name;
    *text = mutants[n].text;
    return true;
}

bool fb_mutant_choose(const char *name)
{
#ifdef FB_MUTANTS
    for (unsigned i = 0; i < FB_MUTANT_COUNT; i++)
        if (strcmp(mutants[i].name, name) == 0) {
            fb_mutant_chosen = (enum fb_mutant)i;
            return true;
        }
#else
    (void)name;
#endif
    return false;
}
