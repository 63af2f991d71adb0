/* Goal: a move of which the record already says what it wanted is done, and one that cannot be had
 * any more is left out, so that a command that was slower than the controller does not fail.
 * Method: one partition's record and hints by hand, what the move does next compared. */
#include "node/control/move.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NODES 4u

struct rig {
    struct fb_run run;
    char names[NODES][FB_NAME_BYTES_MAX + 1];
    struct control_node nodes[NODES];
    struct control_in in;
    struct fb_part_record rec;
    struct move_now now;
};

/* Nodes a to d, incarnations 1 to 4, all there. Two copies are wanted; the first of `set` leads. */
static void rig_init(struct rig *g, const char *set, const char *learners)
{
    *g = (struct rig){.run = {.copies = 2, .node_count = NODES, .node = g->names},
                      .in = {.replicas = 1, .nodes = g->nodes, .node_count = NODES},
                      .rec = {.epoch = 5, .min_isr = 1}};
    for (uint32_t i = 0; i < NODES; i++) {
        g->names[i][0] = g->nodes[i].place.name[0] = (char)('a' + i);
        g->nodes[i].place.weight = 100;
        g->nodes[i].inc = i + 1;
        g->nodes[i].alive = true;
    }
    for (const char *c = set; *c != '\0'; c++) {
        g->rec.isr[g->rec.isr_count].node[0] = *c;
        g->rec.isr[g->rec.isr_count++].inc = (uint64_t)(*c - 'a') + 1;
    }
    g->rec.primary = g->rec.isr[0];
    for (const char *c = learners; *c != '\0'; c++)
        g->rec.learners[g->rec.learner_count++][0] = *c;
    assert_null(fb_part_record_broken(&g->rec));
}

static uint8_t at(char node)
{
    return node == '-' ? FB_PLAN_NO_NODE : (uint8_t)(node - 'a');
}

/* "from to lead", '-' = no such step. */
static void look(struct rig *g, const char *move, enum fb_move_reason reason)
{
    const struct fb_run_move m = {
        .from = at(move[0]), .to = at(move[1]), .lead = at(move[2]), .reason = (uint8_t)reason};

    move_look(&g->run, &m, &g->rec, &g->in, false, &g->now);
}

static void assert_ends(const struct rig *g, enum fb_move_state state)
{
    assert_int_equal(g->now.state, state);
    assert_false(g->now.acts);
}

static void assert_waits(const struct rig *g)
{
    assert_int_equal(g->now.state, FB_MOVE_BEGUN);
    assert_false(g->now.acts);
}

static void assert_acts(const struct rig *g, enum fb_record_event_kind kind, const char *node)
{
    assert_int_equal(g->now.state, FB_MOVE_BEGUN);
    assert_true(g->now.acts);
    assert_int_equal(g->now.event.kind, kind);
    assert_string_equal(g->now.event.member.node, node);
}

/* d is lost, and its copy was to be made on c. */
static void test_controller_was_faster(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g, "a", "");
    g.nodes[3].alive = false;
    look(&g, "dc-", FB_MOVE_REPLACE);
    assert_acts(&g, FB_REC_LEARNER_ADD, "c");
    rig_init(&g, "a", "b"); /* b is being filled in its place */
    g.nodes[3].alive = false;
    look(&g, "dc-", FB_MOVE_REPLACE);
    assert_waits(&g);
    g.nodes[1].alive = false; /* and dies */
    look(&g, "dc-", FB_MOVE_REPLACE);
    assert_acts(&g, FB_REC_LEARNER_ADD, "c");
    rig_init(&g, "ab", "");
    g.nodes[3].alive = false;
    look(&g, "dc-", FB_MOVE_REPLACE);
    assert_ends(&g, FB_MOVE_DONE);
    look(&g, "dcc", FB_MOVE_GONE);
    assert_ends(&g, FB_MOVE_DONE);
    look(&g, "-c-", FB_MOVE_MISSING);
    assert_ends(&g, FB_MOVE_DONE);
    g.nodes[1].alive = false; /* it does not count, and is in the set still */
    look(&g, "dc-", FB_MOVE_REPLACE);
    assert_waits(&g);
}

/* The copy that was one too many has gone by itself; one that was to be emptied has not. */
static void test_no_copy_too_many(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g, "ab", "");
    look(&g, "b--", FB_MOVE_SPARE);
    assert_ends(&g, FB_MOVE_DONE);
    look(&g, "b--", FB_MOVE_DRAIN);
    assert_ends(&g, FB_MOVE_MOOT);
    look(&g, "c--", FB_MOVE_DRAIN);
    assert_ends(&g, FB_MOVE_DONE);
}

/* Who leads is asked to hand over while it runs, and then waited for. */
static void test_hand_over(void **state)
{
    struct rig g;
    (void)state;
    rig_init(&g, "ab", "");
    look(&g, "--b", FB_MOVE_PRIMARIES);
    assert_acts(&g, FB_REC_HAND_OVER, "b");
    g.rec.successor[0] = 'b';
    look(&g, "--b", FB_MOVE_PRIMARIES);
    assert_waits(&g);
    g.rec.successor[0] = '\0';
    g.nodes[0].alive = false;
    look(&g, "--b", FB_MOVE_PRIMARIES);
    assert_acts(&g, FB_REC_PROMOTE, "b");
    look(&g, "--a", FB_MOVE_PRIMARIES);
    assert_ends(&g, FB_MOVE_DONE);
    look(&g, "--c", FB_MOVE_PRIMARIES);
    assert_ends(&g, FB_MOVE_MOOT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_controller_was_faster),
        cmocka_unit_test(test_no_copy_too_many),
        cmocka_unit_test(test_hand_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
