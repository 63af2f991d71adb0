/* A rebalance in the coordinator and the controller's moves (rebalance.h). */
#include "node/io/rebalance.h"

#include "node/control/move.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdio.h>
#include <stdlib.h>

struct node_rebalance {
    struct fb_run *run; /* decoded from the text of run_rev */
    uint64_t run_rev, begin_not_ns;
    uint8_t *moves;                     /* by partition, for control_in */
    char *state;                        /* as long as the run's moves and a NUL */
    char problem[FB_ERR_MSG_BYTES_MAX]; /* said last; "" = none */
};

struct node_rebalance *node_rebalance_new(const struct node *n)
{
    struct node_rebalance *r = fb_xcalloc(1, sizeof(*r));

    r->moves = fb_xcalloc(n->partitions, sizeof(*r->moves));
    return r;
}

void node_rebalance_free(struct node_rebalance *r)
{
    if (r == NULL)
        return;
    fb_run_free(r->run);
    free(r->moves);
    free(r->state);
    free(r);
}

static enum fb_status take_run(struct node_rebalance *r, const struct fb_cluster_state *s,
                               struct fb_err *err)
{
    enum fb_status st;

    if (s->run.rev == r->run_rev)
        return r->run != NULL ? FB_OK : fb_err_set(err, FB_EPROTO, "%s", r->problem);
    fb_run_free(r->run);
    free(r->state);
    r->state = NULL;
    r->begin_not_ns = 0;
    st = fb_run_decode(fb_buf_view(&s->run.text), &r->run, err);
    r->run_rev = s->run.rev;
    if (st == FB_OK && memcmp(r->run->cluster, s->map->cluster, sizeof(r->run->cluster)) != 0) {
        fb_run_free(r->run);
        r->run = NULL;
        return fb_err_set(err, FB_EFOREIGN, FB_RUN_KEY " is of another cluster");
    }
    if (st == FB_OK)
        r->state = fb_xcalloc(r->run->move_count + (size_t)1, 1);
    return st;
}

static void write_cursor(struct node *n, const struct fb_cluster_state *s,
                         const struct fb_run_cursor *now, const struct moves_out *out)
{
    const struct fb_run_cursor next = {
        .id = now->id, .began_ms = now->began_ms, .ended_ms = out->ended_ms, .state = out->state};
    struct fb_run_count c = fb_run_counts(out->state);
    struct fb_buf text = {0};
    struct fb_err err;
    uint64_t rev;
    enum fb_status st;

    fb_run_cursor_encode(&text, &next);
    st = fb_coord_cas(n->coord, FB_RUN_CURSOR_KEY, s->run_cursor.rev, fb_buf_view(&text), &rev,
                      &err);
    fb_buf_fini(&text);
    if (st != FB_OK && st != FB_EMISMATCH)
        FB_LOG(WARN, "coordinator did not take the progress of the rebalance, trying again",
               FB_KS("error", err.msg));
    if (st == FB_OK && next.ended_ms != 0)
        FB_LOG(INFO, "rebalance has ended", FB_KU("id", next.id), FB_KU("done", c.done),
               FB_KU("cancelled", c.cancelled), FB_KU("left_out", c.left_out),
               FB_KU("ms", next.ended_ms - next.began_ms));
}

static enum fb_status act(struct node *n, struct node_rebalance *r,
                          const struct fb_cluster_state *s, struct control_in *in,
                          struct moves_out *out, struct fb_err *err)
{
    struct fb_run_wish wish;
    struct fb_run_cursor cursor;
    struct moves_in mi = {.map = s->map,
                          .wish = &wish,
                          .cursor = &cursor,
                          .control = in,
                          .now_ns = fb_mono_ns(),
                          .now_ms = fb_wall_ms()};
    enum fb_status st = fb_run_cursor_decode(fb_buf_view(&s->run_cursor.text), &cursor, err);

    if (st != FB_OK)
        return st;
    if (cursor.ended_ms == 0)
        st = fb_run_wish_decode(fb_buf_view(&s->run_wish.text), &wish, err);
    if (st == FB_OK && cursor.ended_ms == 0)
        st = take_run(r, s, err);
    if (st == FB_OK && cursor.ended_ms == 0) {
        mi.run = r->run;
        out->state = r->state;
        out->begin_not_ns = r->begin_not_ns;
        moves_plan(&mi, out);
        r->begin_not_ns = out->begin_not_ns;
        in->moves = r->moves;
        if (out->changed)
            write_cursor(n, s, &cursor, out);
    }
    free(cursor.state);
    return st;
}

void node_rebalance_act(struct node *n, struct node_rebalance *r, const struct fb_cluster_state *s,
                        struct control_in *in, struct control_step *steps, uint32_t *count)
{
    struct moves_out out = {.steps = steps, .moves = r->moves};
    struct fb_err err = {0};

    *count = 0;
    in->moves = NULL;
    if (s->run_cursor.rev != 0 && act(n, r, s, in, &out, &err) != FB_OK &&
        strcmp(err.msg, r->problem) != 0) {
        FB_LOG(ERROR,
               "the rebalance in the coordinator cannot be carried out: cancel it, or put "
               "its keys right",
               FB_KS("error", err.msg));
        snprintf(r->problem, sizeof(r->problem), "%s", err.msg);
    }
    if (err.msg[0] == '\0')
        r->problem[0] = '\0';
    *count = out.count;
    atomic_store(&n->rebalance_remaining, out.remaining);
}

void node_rebalance_rest(struct node *n, struct node_rebalance *r)
{
    r->begin_not_ns = 0;
    atomic_store(&n->rebalance_remaining, 0);
}
