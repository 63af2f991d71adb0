/* The proof that a configuration is in force: what each live process says in the coordinator. */
#include "proto/coord/applied.h"
#include "tools/ctl/ctl.h"

#include "proto/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAMES_MAX 16u /* that a message lists */

static int timed_out(const struct ctl *c, const struct fb_member_info *const *missing, size_t n,
                     uint64_t rev)
{
    struct fb_buf names = {0};
    int rc;

    for (size_t i = 0; i < n && i < NAMES_MAX; i++)
        fb_buf_printf(&names, "%s%s", i == 0 ? "" : ", ", missing[i]->name);
    if (n > NAMES_MAX)
        fb_buf_printf(&names, " and %zu more", n - NAMES_MAX);
    rc = ctl_fail(CTL_TIMEOUT,
                  "revision %llu is stored, but after %llu s these live processes do not run it: "
                  "%.*s; they take it over as soon as they go on (see their /statusz)",
                  (unsigned long long)rev, (unsigned long long)c->timeout_ms / 1000, (int)names.n,
                  (const char *)names.p);
    fb_buf_fini(&names);
    return rc;
}

int ctl_wait_applied(struct ctl *c, uint64_t rev)
{
    uint64_t end = fb_mono_ns() + c->timeout_ms * 1000000u;
    const struct timespec pause = {.tv_nsec = 20000000};

    for (;;) {
        struct fb_cluster_state *state = NULL;
        struct fb_coord_list l;
        struct fb_err err;
        const struct fb_member_info **missing;
        size_t n, live;
        int rc = CTL_OK;

        if (fb_coord_list(c->coord, "", &l, &err) != FB_OK)
            return ctl_fail(CTL_UNREACHABLE, "coordinator: %s", err.msg);
        if (fb_cluster_state_of_list(&l, &state, &err) != FB_OK) {
            fb_coord_list_free(&l);
            return ctl_fail(CTL_FAILED, "coordinator: %s", err.msg);
        }
        missing = fb_xcalloc(state->map->member_count + 1, sizeof(*missing));
        n = fb_applied_missing(&l, state->map, rev, missing, state->map->member_count, &live);
        if (n > 0 && fb_mono_ns() >= end)
            rc = timed_out(c, missing, n, rev);
        else if (n == 0)
            ctl_note(c, "revision %llu runs on all %zu live processes", (unsigned long long)rev,
                     live);
        free(missing);
        fb_cluster_state_put(state);
        fb_coord_list_free(&l);
        if (n == 0 || rc != CTL_OK)
            return rc;
        nanosleep(&pause, NULL);
    }
}
