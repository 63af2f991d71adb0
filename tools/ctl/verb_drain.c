/* node drain, undrain, remove, replace: a rebalance for one node. Who drains stands in
 * control/drain, one name a line: it gets no copies, neither new ones nor those of others. */
#include "tools/ctl/plan_input.h"
#include "tools/ctl/run.h"

#include <stdio.h>
#include <stdlib.h>

/* The list with `name`, or without it. Heap. */
static char *drain_text(const struct ctl *c, const char *name, bool with)
{
    const struct fb_cluster_state *s = c->cluster;
    struct fb_buf b = {0};
    char *text;

    for (size_t i = 0; i < s->drain_count; i++)
        if (strcmp(s->drain[i], name) != 0)
            fb_buf_printf(&b, "%s\n", s->drain[i]);
    if (with)
        fb_buf_printf(&b, "%s\n", name);
    text = fb_xcalloc(1, b.n + 1);
    if (b.n > 0)
        memcpy(text, b.p, b.n);
    fb_buf_fini(&b);
    return text;
}

static int put_drain(struct ctl *c, const char *text)
{
    struct fb_err err;
    uint64_t rev;
    enum fb_status st = fb_coord_cas(c->coord, "control/drain", c->cluster->drain_rev,
                                     fb_bytes_str(text), &rev, &err);

    if (st == FB_EMISMATCH)
        return ctl_fail(CTL_FAILED, "somebody else has changed the same setting; try again");
    return st == FB_OK ? 0 : ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
}

static const struct fb_member_info *node(struct ctl *c, const char *name, int *rc)
{
    const struct fb_member_info *m = fb_map_member(c->cluster->map, FB_MEMBER_NODE, name);

    if (m == NULL)
        *rc = ctl_fail(CTL_USAGE, "there is no node %s; see forebayctl node list", name);
    return m;
}

static uint32_t copies_on(const struct ctl *c, const char *name)
{
    const struct fb_map *map = c->cluster->map;
    uint32_t n = 0;

    for (uint32_t i = 0; i < map->partitions; i++) {
        for (uint32_t k = 0; k < map->parts[i].isr_count; k++)
            n += strcmp(map->parts[i].isr[k].node, name) == 0;
        for (uint32_t k = 0; k < map->parts[i].learner_count; k++)
            n += strcmp(map->parts[i].learners[k], name) == 0;
    }
    return n;
}

/* Moves everything off `from`, and what of it can to `to` (NULL: where it fits). */
static int empty(struct ctl *c, const char *from, const char *to, const char *question)
{
    struct plan_input *in = fb_xcalloc(1, sizeof(*in));
    char *text = drain_text(c, from, true);
    struct fb_plan *p = NULL;
    int rc = plan_input_fill(c, in);

    in->in.goal = to != NULL ? FB_PLAN_REPLACE : FB_PLAN_NEEDED;
    in->in.from = from;
    in->in.to = to;
    if (rc == 0)
        rc = plan_make(in, &p);
    if (rc == 0 && p->move_count > 0) {
        rc = run_begin(c, p, text, question);
    } else if (rc == 0 && fb_cluster_state_drains(c->cluster, from)) {
        ctl_note(c, "nothing to change: %s holds nothing and drains", from);
        rc = c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
    } else if (rc == 0 && c->dry_run) {
        ctl_note(c, "%s holds nothing, and would get nothing any more (nothing was changed)", from);
    } else if (rc == 0) {
        rc = put_drain(c, text);
    }
    fb_plan_free(p);
    free(text);
    free(in);
    return rc;
}

int ctl_node_drain(struct ctl *c)
{
    char question[160];
    int rc = ctl_open(c);

    if (rc == 0)
        (void)node(c, c->args[0], &rc);
    if (rc != 0)
        return rc;
    c->drain = c->args[0];
    snprintf(question, sizeof(question), "Move all %u copies off %s?", copies_on(c, c->args[0]),
             c->args[0]);
    return empty(c, c->args[0], NULL, question);
}

int ctl_node_undrain(struct ctl *c)
{
    char *text;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    if (!fb_cluster_state_drains(c->cluster, c->args[0])) {
        ctl_note(c, "nothing to change: %s does not drain", c->args[0]);
        return c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
    }
    if (c->dry_run) {
        ctl_note(c, "%s might hold copies again (nothing was changed)", c->args[0]);
        return CTL_OK;
    }
    text = drain_text(c, c->args[0], false);
    rc = put_drain(c, text);
    free(text);
    if (rc == 0)
        ctl_note(c, "%s may hold copies again; forebayctl rebalance apply gives it its share",
                 c->args[0]);
    return rc;
}

int ctl_node_replace(struct ctl *c)
{
    const struct fb_member_info *old = NULL, *new = NULL;
    char question[200];
    int rc = ctl_open(c);

    if (rc == 0)
        old = node(c, c->args[0], &rc);
    if (rc == 0)
        new = node(c, c->args[1], &rc);
    if (rc != 0)
        return rc;
    if (old == new)
        return ctl_fail(CTL_USAGE, "a node is not replaced by itself");
    if (!new->alive)
        return ctl_fail(CTL_REFUSED, "%s is not running", new->name);
    if (fb_cluster_state_drains(c->cluster, new->name))
        return ctl_fail(CTL_REFUSED, "%s drains; forebayctl node undrain %s first", new->name,
                        new->name);
    *(old->alive ? &c->drain : &c->gone) = c->args[0];
    snprintf(question, sizeof(question), "Move all %u copies of %s to %s?",
             copies_on(c, c->args[0]), c->args[0], c->args[1]);
    return empty(c, c->args[0], c->args[1], question);
}

/* Its entry and its place in the list of those that drain. */
static int forget(struct ctl *c, const char *name)
{
    char key[FB_NAME_BYTES_MAX + 16], *text = drain_text(c, name, false);
    struct fb_coord_op ops[2] = {
        {.key = key, .rev = UINT64_MAX},
        {.key = "control/drain", .rev = c->cluster->drain_rev, .value = fb_bytes_str(text)}};
    struct fb_err err;
    uint64_t rev;
    enum fb_status st;

    snprintf(key, sizeof(key), "node/%s", name);
    st = fb_coord_txn(c->coord, ops, fb_cluster_state_drains(c->cluster, name) ? 2 : 1, &rev, &err);
    free(text);
    if (st == FB_EMISMATCH)
        return ctl_fail(CTL_FAILED, "somebody else has changed the same setting; try again");
    if (st != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
    ctl_note(c, "%s is no node of the cluster any more", name);
    return CTL_OK;
}

int ctl_node_remove(struct ctl *c)
{
    const struct fb_member_info *m = NULL;
    const char *name = c->args[0];
    char question[200];
    int rc = ctl_open(c);

    if (rc == 0)
        m = node(c, name, &rc);
    if (rc != 0)
        return rc;
    if (m->alive)
        return ctl_fail(CTL_REFUSED, "%s is running: drain it, then stop it", name);
    if (copies_on(c, name) > 0 && !c->force)
        return ctl_fail(CTL_REFUSED,
                        "%s holds %u copies: start and drain it, or make them anew elsewhere, for "
                        "good, with --force",
                        name, copies_on(c, name));
    if (copies_on(c, name) > 0) {
        c->gone = name;
        snprintf(question, sizeof(question),
                 "Make the %u copies of %s anew elsewhere, and forget it?", copies_on(c, name),
                 name);
        rc = empty(c, name, NULL, question);
        if (rc != 0 || c->dry_run || !c->wait)
            return rc;
        rc = ctl_refresh(c);
        if (rc == 0 && copies_on(c, name) > 0)
            rc =
                ctl_fail(CTL_FAILED, "%s still has %u copies; try again", name, copies_on(c, name));
    } else if (c->dry_run) {
        ctl_note(c, "%s would be forgotten (nothing was changed)", name);
        return CTL_OK;
    }
    return rc == 0 ? forget(c, name) : rc;
}
