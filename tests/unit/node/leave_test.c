/* Goal: a node that stops lets others lead what they have all of, evenly, and nobody who is dead,
 * restarted, unfinished or about to stop as well. Method: maps by hand, all steps compared. */
#include "node/control/leave.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define PARTS 6u

struct rig {
    struct fb_map map;
    struct fb_member_info members[4];
    struct fb_part_record parts[PARTS];
    uint64_t revs[PARTS];
    struct fb_member me;
    struct control_step steps[PARTS];
    struct control_leave out;
};

/* Nodes a to d, incarnations 1 to 4, all there; b asks. Nothing is placed. */
static void rig_init(struct rig *g)
{
    *g = (struct rig){.me = {.node = "b", .inc = 2}};
    for (uint32_t i = 0; i < 4; i++) {
        g->members[i] =
            (struct fb_member_info){.kind = FB_MEMBER_NODE, .inc = i + 1, .alive = true};
        g->members[i].name[0] = (char)('a' + i);
    }
    g->members[1].leaving = true;
    g->map = (struct fb_map){.partitions = PARTS,
                             .parts = g->parts,
                             .part_revs = g->revs,
                             .member_count = 4,
                             .members = g->members};
    g->out.steps = g->steps;
}

/* The first of `set` leads. */
static void place(struct rig *g, uint32_t p, const char *set, const char *learners)
{
    struct fb_part_record *r = &g->parts[p];

    *r = (struct fb_part_record){.epoch = 5, .min_isr = 1};
    for (const char *c = set; *c != '\0'; c++) {
        r->isr[r->isr_count].node[0] = *c;
        r->isr[r->isr_count++].inc = (uint64_t)(*c - 'a') + 1;
    }
    r->primary = r->isr[0];
    for (const char *c = learners; *c != '\0'; c++)
        r->learners[r->learner_count++][0] = *c;
    g->revs[p] = 100 + p;
}

static void ask(struct rig *g)
{
    control_leave(&g->map, &g->me, &g->out);
}

static void test_led_and_not(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "ba", "");
    place(&g, 1, "ab", "");
    place(&g, 2, "acd", "");
    ask(&g);
    assert_int_equal(g.out.count, 1);
    assert_int_equal(g.steps[0].part, 0);
    assert_int_equal(g.steps[0].rev, 100);
    assert_string_equal(g.steps[0].next.successor, "a");
    assert_int_equal(g.steps[0].next.epoch, 5);     /* it ends when all are answered */
    assert_int_equal(g.steps[0].next.isr_count, 2); /* it goes when the other leads */
    assert_int_equal(g.out.member, 1);
    assert_int_equal(g.out.filling + g.out.alone, 0);
}

/* The one that leads the fewest, those given here included. */
static void test_evenly(void **state)
{
    uint32_t a = 0, c = 0;
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "a", "");
    for (uint32_t p = 1; p < PARTS; p++)
        place(&g, p, "bac", "");
    ask(&g);
    assert_int_equal(g.out.count, 5);
    for (uint32_t i = 0; i < g.out.count; i++) {
        a += g.steps[i].next.successor[0] == 'a';
        c += g.steps[i].next.successor[0] == 'c';
    }
    assert_int_equal(a, 2);
    assert_int_equal(c, 3);
}

static void test_who_cannot(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "ba", "");
    place(&g, 1, "bc", "");
    place(&g, 2, "bd", "");
    g.members[0].alive = false;
    g.members[2].leaving = true;
    g.members[3].inc = 40; /* started again: no copy in sync */
    ask(&g);
    assert_int_equal(g.out.count, 0);
    assert_int_equal(g.out.alone, 3);
}

/* A copy that is being filled is worth waiting for, if its node stays. */
static void test_filling(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "b", "c");
    place(&g, 1, "b", "");
    place(&g, 2, "b", "d");
    place(&g, 3, "db", "");
    g.members[3].alive = false;
    ask(&g);
    assert_int_equal(g.out.count, 0);
    assert_int_equal(g.out.filling, 1);
    assert_int_equal(g.out.alone, 2);
    assert_int_equal(g.out.member, 0); /* d cannot let go of it */
}

/* What is asked for already is waited for, as long as that one can lead. */
static void test_asked(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g);
    place(&g, 0, "bac", "");
    place(&g, 1, "bac", "");
    place(&g, 2, "bac", "");
    g.parts[0].successor[0] = g.parts[1].successor[0] = 'a';
    ask(&g);
    assert_int_equal(g.out.handing, 2);
    assert_int_equal(g.out.count, 1);
    assert_string_equal(g.steps[0].next.successor, "c"); /* a is to have two */
    g.members[0].leaving = true;
    ask(&g);
    assert_int_equal(g.out.handing, 0);
    assert_int_equal(g.out.count, 3);
    assert_string_equal(g.steps[0].next.successor, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_led_and_not), cmocka_unit_test(test_evenly),
        cmocka_unit_test(test_who_cannot),  cmocka_unit_test(test_filling),
        cmocka_unit_test(test_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
