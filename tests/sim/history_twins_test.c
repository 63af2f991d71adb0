/* Goal: commands that nobody can tell apart (two DELs of one key) are no reason for the shadow
 * history to find what is not there, nor to miss what is. Method: as history_test.c. */
#include "tests/sim/history_fixture.h"

/* Two deletes that nobody can tell apart: which record is whose is a guess, and what another
 * command of the connection says then must not fail because of the guess. */
static void test_twin_deletes(void **state)
{
    struct fixture *f = *state;
    struct history_op *theirs, *mine, *after;
    have(f, "k", "1");
    theirs = send_as(f, 2, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    mine = send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    after = send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_APPEND, "k", "xyz", 0));
    del(f, "k");
    put(f, "k", "xyz");
    del(f, "k");
    answer(f, mine, ":1\r\n");
    answer(f, after, ":3\r\n");
    answer(f, theirs, ":1\r\n");
    expect(f, "");
    answer(f, send(f, get("k")), "$3\r\nxyz\r\n"); /* the last delete was answered */
    expect(f, "I12");
}

/* ... nor what is refused: the record it was thought to have made was that of one answered before.
 */
static void test_twin_refused(void **state)
{
    struct fixture *f = *state;
    struct history_op *refused, *mine, *theirs;
    static const char no[] = "-DBDOWN nothing was changed\r\n";
    have(f, "k", "1");
    refused = send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    mine = send_as(f, 2, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    have(f, "k", "2");
    theirs = send_as(f, 3, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    answer(f, mine, ":1\r\n");
    answer(f, refused, no);
    expect(f, "");
    answer(f, theirs, no); /* three, of which two were refused, and two records */
    expect(f, "I14");
}

static void test_twin_done_twice(void **state)
{
    struct fixture *f = *state;
    have(f, "k", "1");
    (void)send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    have(f, "k", "2");
    del(f, "k");
    expect(f, "I15");
}

/* ... nor because of what the power took: the one whose record is gone may be the other one. */
static void test_twin_and_power(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b;
    uint64_t kept = have(f, "k", "1");
    a = send_as(f, 1, FB_LEVEL_DURABLE, cmd(SHADOW_DEL, "k", NULL, 0));
    b = send_as(f, 2, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    history_recovered(f->h, f->now_ns, part_of("k"), kept, HISTORY_POWER);
    f->last[part_of("k")] = kept;
    history_unknown(f->h, b, f->now_ns);
    del(f, "k");
    answer(f, a, ":1\r\n");
    expect(f, "");
}

/* ... and the other way round: one record was lost, and one of the two has the answer of it. */
static void test_twin_lost_and_answered(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b, *c;
    uint64_t kept = have(f, "k", "1");
    a = send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    b = send_as(f, 2, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    c = send_as(f, 3, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    history_recovered(f->h, f->now_ns, part_of("k"), kept, HISTORY_POWER);
    f->last[part_of("k")] = kept;
    history_unknown(f->h, c, f->now_ns);
    answer(f, b, ":1\r\n");
    expect(f, "");
    answer(f, a, ":1\r\n"); /* there was one record */
    expect(f, "I18");
}

/* What is promised to be on disk was not lost, whoever made it. */
static void test_twin_lost_durable(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b;
    uint64_t kept = have(f, "k", "1");
    a = send_as(f, 1, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    b = send_as(f, 2, FB_LEVEL_DURABLE, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    history_recovered(f->h, f->now_ns, part_of("k"), kept, HISTORY_POWER);
    f->last[part_of("k")] = kept;
    history_unknown(f->h, a, f->now_ns);
    answer(f, b, ":1\r\n");
    expect(f, "I18");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_twin_deletes),   T(test_twin_refused),           T(test_twin_done_twice),
        T(test_twin_and_power), T(test_twin_lost_and_answered), T(test_twin_lost_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
