/* Goal: a node takes over what is its own, and nothing that others may have more of (PROTOCOL 5,
 * 8). Method: maps by hand, all steps compared. */
#include "node/control/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define PARTS 4u

struct rig {
    struct fb_map map;
    struct fb_part_record parts[PARTS];
    uint64_t revs[PARTS];
    uint32_t last_epoch[PARTS];
    struct fb_member me;
    struct control_step steps[PARTS];
    uint32_t count;
    struct fb_err err;
};

/* Node a asks, incarnation 7; nothing is placed. */
static void rig_init(struct rig *g)
{
    *g = (struct rig){.me = {.node = "a", .inc = 7}};
    g->map = (struct fb_map){.partitions = PARTS, .parts = g->parts, .part_revs = g->revs};
}

static void place(struct rig *g, uint16_t p, const char *node, uint64_t inc, uint32_t epoch)
{
    struct fb_part_record *r = &g->parts[p];
    *r = (struct fb_part_record){.epoch = epoch, .isr_count = 1, .min_isr = 1};
    snprintf(r->primary.node, sizeof(r->primary.node), "%s", node);
    r->primary.inc = inc;
    r->isr[0] = r->primary;
    g->revs[p] = 100u + p;
}

static enum fb_status plan(struct rig *g)
{
    return control_restart(&g->map, &g->me, g->last_epoch, g->steps, &g->count, &g->err);
}

static void test_own_others_and_none(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "a", 7, 3);
    place(&g, 1, "b", 8, 2);
    assert_int_equal(plan(&g), FB_OK);
    assert_int_equal(g.count, 0);
}

/* A restart is a new member: the only one of its set takes over at the next epoch. */
static void test_restart(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 2, "a", 6, 3);
    g.last_epoch[2] = 3;
    assert_int_equal(plan(&g), FB_OK);
    assert_int_equal(g.count, 1);
    assert_int_equal(g.steps[0].part, 2);
    assert_int_equal(g.steps[0].rev, 102);
    assert_int_equal(g.steps[0].next.epoch, 4);
    assert_int_equal(g.steps[0].next.primary.inc, 7);
    assert_int_equal(g.steps[0].next.isr_count, 1);
}

/* One of several must not decide alone: another one of the set may have more. */
static void test_restart_of_one_of_several(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 2, "a", 6, 3);
    g.parts[2].isr[1] = (struct fb_member){.node = "b", .inc = 8};
    g.parts[2].isr_count = 2;
    assert_int_equal(plan(&g), FB_OK);
    assert_int_equal(g.count, 0);
}

/* The coordinator is behind this node's log (I34): nothing may be done. */
static void test_coordinator_is_behind(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 1, "a", 6, 3);
    g.last_epoch[1] = 4;
    assert_int_equal(plan(&g), FB_ESTALE);
    assert_non_null(strstr(g.err.msg, "partition 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_others_and_none),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_restart_of_one_of_several),
        cmocka_unit_test(test_coordinator_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
