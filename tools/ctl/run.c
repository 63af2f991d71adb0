/* A rebalance is put in the coordinator, looked at, waited for (run.h). */
#include "tools/ctl/run.h"

#include "proto/base/clock.h"
#include "proto/base/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PARALLEL 2u
#define RATE_BYTES UINT64_C(50000000) /* a second; what moves take by default */

int run_view(struct ctl *c, struct run_view *v)
{
    const struct fb_cluster_state *s = c->cluster;
    struct fb_err err;

    *v = (struct run_view){0};
    if (s->run_cursor.rev == 0)
        return 0;
    if (fb_run_cursor_decode(fb_buf_view(&s->run_cursor.text), &v->cursor, &err) != FB_OK ||
        fb_run_wish_decode(fb_buf_view(&s->run_wish.text), &v->wish, &err) != FB_OK ||
        fb_run_decode(fb_buf_view(&s->run.text), &v->run, &err) != FB_OK)
        return ctl_fail(CTL_FAILED, "coordinator: %s", err.msg);
    if (v->run->id != v->cursor.id || v->wish.id != v->run->id ||
        strlen(v->cursor.state) != v->run->move_count)
        return ctl_fail(CTL_FAILED,
                        "coordinator: the keys under rebalance/ do not belong together; "
                        "was it restored?");
    v->there = true;
    v->count = fb_run_counts(v->cursor.state);
    return 0;
}

void run_view_fini(struct run_view *v)
{
    fb_run_free(v->run);
    free(v->cursor.state);
    *v = (struct run_view){0};
}

const char *run_state(const struct run_view *v)
{
    if (v->cursor.ended_ms != 0)
        return v->wish.kind == FB_WISH_CANCEL ? "cancelled" : "done";
    if (v->wish.kind == FB_WISH_CANCEL)
        return "cancelling";
    if (v->wish.kind == FB_WISH_PAUSE)
        return v->count.begun > 0 ? "pausing" : "paused";
    return "running";
}

static int limits(const struct ctl *c, struct fb_run_wish *w)
{
    struct fb_err err;

    w->parallel = c->parallel == 0 ? PARALLEL : (uint32_t)c->parallel;
    w->rate = RATE_BYTES;
    if (c->parallel > FB_RUN_PARALLEL_MAX)
        return ctl_fail(CTL_USAGE, "--parallel %llu: at most %u moves at a time",
                        (unsigned long long)c->parallel, FB_RUN_PARALLEL_MAX);
    if (c->rate != NULL &&
        (fb_size_parse(fb_bytes_str(c->rate), &w->rate, &err) != FB_OK || w->rate > INT64_MAX))
        return ctl_fail(CTL_USAGE, "--rate %s: must be bytes a second such as 50MB, or none",
                        c->rate);
    return 0;
}

static int refuse(struct ctl *c, const struct fb_plan *p, uint64_t *id)
{
    struct run_view v;
    struct fb_err err;
    int rc = run_view(c, &v);

    if (rc == 0 && v.there && v.cursor.ended_ms == 0)
        rc = ctl_fail(CTL_REFUSED,
                      "rebalance %llu is %s: wait for it, or forebayctl rebalance cancel",
                      (unsigned long long)v.run->id, run_state(&v));
    *id = v.there ? v.run->id + 1 : 1;
    run_view_fini(&v);
    if (rc == 0 && fb_plan_check(p, c->cluster->map, &err) != FB_OK)
        rc = ctl_fail(CTL_REFUSED, "%s; make a new plan. Nothing was changed", err.msg);
    return rc;
}

static int put(struct ctl *c, const struct fb_run_wish *w, const struct fb_plan *p,
               const char *drain)
{
    const struct fb_cluster_state *s = c->cluster;
    struct fb_run_cursor cursor = {.id = w->id, .began_ms = fb_wall_ms()};
    struct fb_buf run = {0}, wish = {0}, text = {0};
    struct fb_err err;
    uint64_t rev;
    enum fb_status st = FB_OK;
    int rc = 0;

    cursor.state = fb_xcalloc(p->move_count + (size_t)1, 1);
    memset(cursor.state, FB_MOVE_WAITS, p->move_count);
    fb_run_encode(&run, p, w->id);
    fb_run_wish_encode(&wish, w);
    fb_run_cursor_encode(&text, &cursor);
    const struct fb_coord_op ops[] = {
        {.key = FB_RUN_KEY, .rev = s->run.rev, .value = fb_buf_view(&run)},
        {.key = FB_RUN_WISH_KEY, .rev = s->run_wish.rev, .value = fb_buf_view(&wish)},
        {.key = FB_RUN_CURSOR_KEY, .rev = s->run_cursor.rev, .value = fb_buf_view(&text)},
        {.key = "control/drain", .rev = s->drain_rev, .value = fb_bytes_str(drain ? drain : "")}};
    if (run.n > FB_RUN_BYTES_MAX)
        rc =
            ctl_fail(CTL_REFUSED,
                     "the plan is too long for the coordinator (%zu bytes of %zu): carry it out in "
                     "parts, with --max-moves %u",
                     run.n, FB_RUN_BYTES_MAX, p->move_count / 2);
    else
        st = fb_coord_txn(c->coord, ops, drain != NULL ? 4 : 3, &rev, &err);
    if (st == FB_EMISMATCH)
        rc = ctl_fail(CTL_REFUSED, "somebody else has begun a rebalance at the same moment");
    else if (st == FB_EUNKNOWN)
        rc = ctl_fail(CTL_FAILED,
                      "whether the rebalance has begun is not known, see forebayctl "
                      "rebalance status: %s",
                      err.msg);
    else if (st != FB_OK)
        rc = ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    free(cursor.state);
    fb_buf_fini(&run);
    fb_buf_fini(&wish);
    fb_buf_fini(&text);
    return rc;
}

int run_begin(struct ctl *c, const struct fb_plan *p, const char *drain, const char *question)
{
    struct fb_run_wish w = {.kind = FB_WISH_GO};
    int rc = limits(c, &w);

    if (rc == 0)
        rc = refuse(c, p, &w.id);
    if (rc != 0)
        return rc;
    if (c->dry_run) {
        ctl_note(c, "%u moves would begin (nothing was changed)", p->move_count);
        return CTL_OK;
    }
    if (!ctl_confirm(c, question))
        return CTL_REFUSED;
    rc = put(c, &w, p, drain);
    if (rc != 0)
        return rc;
    ctl_note(c, "rebalance %llu has begun: %u moves", (unsigned long long)w.id, p->move_count);
    return c->wait ? run_wait(c, w.id) : CTL_OK;
}

int run_wait(struct ctl *c, uint64_t id)
{
    uint64_t end = fb_mono_ns() + c->timeout_ms * 1000000u;
    const struct timespec pause = {.tv_nsec = 100000000};

    for (;;) {
        struct run_view v;
        /* one answer that does not come says nothing about the rebalance: asked again */
        bool seen = ctl_try_refresh(c), ours, over;
        int rc = run_view(c, &v);
        ours = rc == 0 && v.there && v.run->id == id;
        over = rc != 0 || (seen && !ours) || (ours && v.cursor.ended_ms != 0);
        if (over && ours) {
            ctl_note(c, "rebalance %llu is %s: %u moves done, %u cancelled, %u left out",
                     (unsigned long long)id, run_state(&v), v.count.done, v.count.cancelled,
                     v.count.left_out);
            if (v.count.left_out > 0 && v.wish.kind != FB_WISH_CANCEL)
                rc = ctl_fail(CTL_FAILED,
                              "what was left out may be done already, or its node is gone: see "
                              "forebayctl rebalance report; the same command again plans what is "
                              "still missing");
        } else if (!over && fb_mono_ns() >= end) {
            char moves[64] = "";
            if (ours)
                (void)snprintf(moves, sizeof(moves), ": %u of %u moves are over",
                               v.run->move_count - v.count.waiting - v.count.begun,
                               v.run->move_count);
            rc = ctl_fail(CTL_TIMEOUT,
                          "rebalance %llu goes on in the cluster%s%s; see "
                          "forebayctl rebalance status -w",
                          (unsigned long long)id, moves,
                          seen ? "" : ", but the coordinator does not answer now");
            over = true;
        }
        run_view_fini(&v);
        if (over)
            return rc;
        nanosleep(&pause, NULL);
    }
}
