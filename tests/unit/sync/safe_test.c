/* Goal: what is told to nodes as safe survives a fail-over of PostgreSQL, and what PostgreSQL lost
 * is fed again. Method: as core_test.c. */
#include "tests/unit/sync/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Without a standby what is committed is safe. */
static void single_is_safe_at_commit(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 3);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 3);
    script_free(s);
}

static void alive(struct script *s)
{
    sync_core_standbys(s->core, &s->standbys, s->now);
    script_settle(s);
}

/* An asynchronous standby is seen: safe is what was committed for the lag and longer, and only time
 * in which this server was alive counts. */
static void lag_waits_while_the_server_lives(void **state)
{
    struct script *s = script_new();
    struct pg_standbys other = {.streaming = 1};

    (void)state;
    s->standbys = (struct pg_standbys){.server = 1, .streaming = 1};
    script_fill(s, 0, 1, 3);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->synced[0], 3);
    assert_int_equal(s->dsafe[0], 0);
    script_pass(s, 5000);
    script_fill(s, 0, 4, 1);
    script_note(s, 0, 6000, true);
    script_pass(s, 5000);
    alive(s);
    assert_int_equal(s->dsafe[0], 0); /* 10 s are not yet over for all of the bucket */
    script_pass(s, 1500);
    alive(s);
    assert_int_equal(s->dsafe[0], 3);
    /* a sign of life of another server says nothing */
    script_pass(s, 20000);
    other.server = 2;
    sync_core_standbys(s->core, &other, s->now);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 3);
    alive(s);
    assert_int_equal(s->dsafe[0], 4);
    /* no sign of life, no progress; a new connection starts the time again */
    script_fill(s, 0, 5, 1);
    script_note(s, 0, 6000, true);
    script_pass(s, 20000);
    assert_int_equal(s->synced[0], 5);
    assert_int_equal(s->dsafe[0], 4);
    s->down = true;
    script_fill(s, 0, 6, 1);
    script_note(s, 0, 6000, true);
    script_pass(s, 3000);
    s->down = false;
    sync_core_db_answers(s->core);
    script_pass(s, 3000);
    assert_int_equal(s->synced[0], 6);
    alive(s);
    assert_int_equal(s->dsafe[0], 4);
    script_pass(s, 12000);
    alive(s);
    assert_int_equal(s->dsafe[0], 6);
    script_free(s);
}

/* Commits that no synchronous standby confirmed are safe after one that is; a barrier is made when
 * nothing else comes. */
static void sync_needs_a_confirmation(void **state)
{
    struct script *s = script_new();
    struct sync_safety_status safety;

    (void)state;
    s->standbys = (struct pg_standbys){.server = 1, .sync_names = true};
    s->replicated = true;
    script_fill(s, 0, 1, 3);
    script_fill(s, 1, 1, 3);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 3);
    s->replicated = false;
    script_note(s, 1, 6000, true);
    script_pass(s, 1000);
    assert_int_equal(s->synced[1], 3);
    assert_int_equal(s->dsafe[1], 0);
    assert_int_equal(s->events[SYNC_EVENT_UNCONFIRMED], 1);
    sync_core_safety(s->core, &safety);
    assert_int_equal(safety.mode, SYNC_SAFETY_SYNC);
    assert_int_equal(safety.unsafe_feeds, 1);
    assert_true(safety.unconfirmed);
    script_pass(s, 30000);
    assert_in_range(s->barriers, 3, 8); /* with a back-off */
    assert_int_equal(s->dsafe[1], 0);
    s->replicated = true;
    script_pass(s, 31000);
    assert_int_equal(s->dsafe[1], 3);
    sync_core_safety(s->core, &safety);
    assert_int_equal(safety.unsafe_feeds, 0);
    assert_false(safety.unconfirmed);
    /* another feed's commit does as well */
    s->replicated = false;
    script_fill(s, 0, 4, 1);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 3);
    s->replicated = true;
    script_fill(s, 1, 4, 1);
    script_note(s, 1, 6000, true);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 4);
    script_free(s);
}

/* A checkpoint that was only read may be one that no standby has. */
static void a_read_checkpoint_is_not_safe(void **state)
{
    struct script *s = script_new();

    (void)state;
    s->standbys = (struct pg_standbys){.server = 1, .sync_names = true};
    script_fill(s, 0, 1, 3);
    s->ckpt[0] = 2; /* somebody committed it */
    script_note(s, 0, 6000, false);
    sync_core_step(s->core);
    s->replicated = false;
    script_settle(s);
    assert_int_equal(s->dsafe[0], 0);
    s->replicated = true;
    script_pass(s, 40000);
    assert_int_equal(s->dsafe[0], 3);
    script_free(s);
}

/* PostgreSQL comes back with older rows and checkpoint: the node is told, and asked from there,
 * with proof that this is no old view. */
static void a_regression_is_fed_again(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 10);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->rows, 10);
    s->knows[0] = 10;
    s->ckpt[0] = 4; /* a standby took over */
    script_fill(s, 0, 11, 1);
    script_note(s, 0, 6000, true);
    script_pass(s, 3000);
    assert_int_equal(s->behinds, 1);
    assert_int_equal(s->ckpt[0], 11);
    assert_int_equal(s->rows, 17); /* 5..11 again */
    assert_int_equal(sync_core_stats(s->core)->regressions, 1);
    assert_int_equal(s->events[SYNC_EVENT_REGRESSED], 1);
    script_free(s);
}

/* A feed that has nothing to write is looked at when another server answers. */
static void an_idle_feed_regresses_too(void **state)
{
    struct script *s = script_new();

    (void)state;
    s->standbys.server = 1;
    script_fill(s, 0, 1, 10);
    script_note(s, 0, 6000, true);
    script_settle(s);
    s->knows[0] = 10;
    s->ckpt[0] = 4;
    script_pass(s, 5000);
    assert_int_equal(s->rows, 10); /* nobody has noticed */
    s->standbys.server = 2;
    alive(s);
    script_pass(s, 1000);
    assert_int_equal(s->rows, 16);
    assert_int_equal(s->ckpt[0], 10);
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_is_safe_at_commit),
        cmocka_unit_test(lag_waits_while_the_server_lives),
        cmocka_unit_test(sync_needs_a_confirmation),
        cmocka_unit_test(a_read_checkpoint_is_not_safe),
        cmocka_unit_test(a_regression_is_fed_again),
        cmocka_unit_test(an_idle_feed_regresses_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
