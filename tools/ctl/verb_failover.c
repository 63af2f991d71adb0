/* failover: who would lead, and making another copy lead. */
#include "tools/ctl/ctl.h"

#include "proto/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static bool runs(const struct fb_map *map, const struct fb_member *m)
{
    const struct fb_member_info *now = fb_map_member(map, FB_MEMBER_NODE, m->node);
    return now != NULL && now->alive && now->inc == m->inc;
}

/* The copy in sync that tries first when the primary is silent; NULL: none. */
static const struct fb_member *next_of(const struct fb_map *map, const struct fb_part_record *r)
{
    for (uint32_t i = 0; i < r->isr_count; i++)
        if (strcmp(r->isr[i].node, r->primary.node) != 0 && runs(map, &r->isr[i]))
            return &r->isr[i];
    return NULL;
}

int ctl_failover_plan(struct ctl *c)
{
    static const struct ctl_column columns[] = {{"PARTITION", "partition", false},
                                                {"PRIMARY", "primary", false},
                                                {"RUNS", "runs", false},
                                                {"NEXT", "next", false}};
    json_t *rows;
    int rc = ctl_open(c);

    if (rc != 0)
        return rc;
    rows = json_array();
    for (uint32_t p = 0; p < c->cluster->map->partitions; p++) {
        const struct fb_part_record *r = &c->cluster->map->parts[p];
        const struct fb_member *next = next_of(c->cluster->map, r);
        if (r->epoch == 0 || (c->node_name != NULL && strcmp(c->node_name, r->primary.node) != 0))
            continue;
        json_array_append_new(rows,
                              json_pack("{s:i, s:s, s:b, s:s}", "partition", (int)p, "primary",
                                        r->primary.node, "runs", runs(c->cluster->map, &r->primary),
                                        "next", next != NULL ? next->node : ""));
    }
    ctl_print_rows(c, rows, columns, FB_COUNT_OF(columns));
    json_decref(rows);
    return CTL_OK;
}

/* The copy on --to, which may lead. */
static int target(struct ctl *c, uint32_t p, struct fb_member *out)
{
    const struct fb_map *map = c->cluster->map;
    const struct fb_part_record *r = &map->parts[p];

    if (fb_map_member(map, FB_MEMBER_NODE, c->to) == NULL)
        return ctl_fail(CTL_FAILED, "there is no node %s; see forebayctl node list", c->to);
    for (uint32_t i = 0; i < r->isr_count; i++) {
        if (strcmp(r->isr[i].node, c->to) != 0)
            continue;
        if (!runs(map, &r->isr[i]))
            return ctl_fail(CTL_REFUSED,
                            "%s does not run, or was started again and is no copy in "
                            "sync yet; nothing was changed",
                            c->to);
        *out = r->isr[i];
        return CTL_OK;
    }
    return ctl_fail(CTL_REFUSED,
                    "%s has no copy of partition %u in sync: what it does not have would be lost; "
                    "see forebayctl partition describe %u. Nothing was changed",
                    c->to, p, p);
}

static bool leads(struct ctl *c, uint32_t p, uint32_t epoch)
{
    const struct fb_member_info *m = fb_map_member(c->cluster->map, FB_MEMBER_NODE, c->to);
    json_t *ask = json_pack("{s:s, s:i}", "verb", "partition.describe", "partition", (int)p);
    json_t *reply = NULL, *o;
    struct fb_err err;
    bool yes = false;

    if (m != NULL && ctl_ask(c, m, ask, &reply, &err) == FB_OK) {
        o = json_object_get(reply, "partition");
        yes = json_is_true(json_object_get(o, "open")) &&
              json_integer_value(json_object_get(o, "epoch")) >= (json_int_t)epoch;
        json_decref(reply);
    }
    json_decref(ask);
    return yes;
}

/* Until the primary has handed over and the other one serves. */
static int wait_open(struct ctl *c, uint32_t p)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    uint64_t until = fb_mono_ns() + c->timeout_ms * 1000000;

    for (;;) {
        const struct fb_part_record *r = &c->cluster->map->parts[p];
        bool is_led = strcmp(r->primary.node, c->to) == 0;
        int rc;
        if (is_led && leads(c, p, r->epoch))
            return CTL_OK;
        if (!is_led && strcmp(r->successor, c->to) != 0)
            return ctl_fail(CTL_FAILED,
                            "%s leads partition %u: %s was lost on the way, or somebody else has "
                            "changed who is to lead; try again",
                            r->primary.node, p, c->to);
        if (fb_mono_ns() > until)
            return ctl_fail(CTL_TIMEOUT,
                            "partition %u is to be led by %s and is not open there yet; it goes "
                            "on in the cluster",
                            p, c->to);
        nanosleep(&pause, NULL);
        rc = is_led ? CTL_OK : ctl_refresh(c);
        if (rc != CTL_OK)
            return rc;
    }
}

/* Until the record is the one made here, or another's. A primary that runs is asked to hand over;
 * where it does not the node that controls leads past it. */
static int promote(struct ctl *c, uint32_t p)
{
    char key[32];

    snprintf(key, sizeof(key), "part/%u", p);
    for (int tries = 0; tries < 10; tries++) {
        const struct fb_part_record *now = &c->cluster->map->parts[p];
        struct fb_record_event ev = {.kind = runs(c->cluster->map, &now->primary) ? FB_REC_HAND_OVER
                                                                                  : FB_REC_PROMOTE};
        struct fb_part_record next;
        struct fb_buf value = {0};
        struct fb_err err;
        enum fb_status s;
        int rc = target(c, p, &ev.member);
        if (rc != 0)
            return rc;
        if (strcmp(now->primary.node, c->to) == 0)
            return CTL_OK; /* somebody else was faster */
        if (fb_record_next(now, &ev, &next, &err) != FB_OK)
            return ctl_fail(CTL_REFUSED, "%s", err.msg);
        fb_part_record_encode(&value, &next);
        s = fb_coord_cas(c->coord, key, c->cluster->map->part_revs[p], fb_buf_view(&value), NULL,
                         &err);
        fb_buf_fini(&value);
        if (s == FB_OK)
            return ctl_refresh(c);
        if (s != FB_EMISMATCH && s != FB_EUNKNOWN)
            return ctl_fail(CTL_UNREACHABLE, "%s", err.msg);
        rc = ctl_refresh(c);
        if (rc != 0)
            return rc;
    }
    return ctl_fail(CTL_FAILED, "the record of partition %u changes all the time; try again", p);
}

int ctl_failover(struct ctl *c)
{
    struct fb_member m;
    char *end, question[200];
    unsigned long p = strtoul(c->args[0], &end, 10);
    int rc;

    if (c->to == NULL)
        return ctl_fail(CTL_USAGE, "usage: forebayctl failover PARTITION --to NODE");
    rc = ctl_open(c);
    if (rc != 0)
        return rc;
    if (*end != '\0' || c->args[0][0] == '\0' || p >= c->cluster->map->partitions)
        return ctl_fail(CTL_USAGE, "partition %s: must be a number from 0 to %u", c->args[0],
                        c->cluster->map->partitions - 1);
    rc = target(c, (uint32_t)p, &m);
    if (rc != 0)
        return rc;
    if (strcmp(c->cluster->map->parts[p].primary.node, c->to) == 0) {
        ctl_note(c, "nothing to change: %s leads partition %lu", c->to, p);
        return c->error_unchanged ? CTL_UNCHANGED : CTL_OK;
    }
    if (c->dry_run) {
        ctl_note(c, "%s would lead partition %lu in the place of %s (nothing was changed)", c->to,
                 p, c->cluster->map->parts[p].primary.node);
        return CTL_OK;
    }
    snprintf(question, sizeof(question), "Let %s lead partition %lu in the place of %s?", c->to, p,
             c->cluster->map->parts[p].primary.node);
    if (!ctl_confirm(c, question))
        return CTL_REFUSED;
    rc = promote(c, (uint32_t)p);
    if (rc == CTL_OK && !c->wait) {
        ctl_note(c, "%s is to lead partition %lu; it goes on in the cluster", c->to, p);
        return CTL_OK;
    }
    if (rc == CTL_OK)
        rc = wait_open(c, (uint32_t)p);
    if (rc == CTL_OK)
        ctl_note(c, "%s leads partition %lu at epoch %u", c->to, p,
                 c->cluster->map->parts[p].epoch);
    return rc;
}
