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

/* The same command as before, of which nobody knows what became. */
static struct history_op *again(struct fixture *f, uint8_t level, struct shadow_cmd c)
{
    c.flags |= SHADOW_AGAIN;
    return send_as(f, 1, level, c);
}

static void lost_power(struct fixture *f, const char *key, uint64_t kept)
{
    history_recovered(f->h, f->now_ns, part_of(key), kept, HISTORY_POWER);
    f->last[part_of(key)] = kept;
}

/* Sent again: the first has taken effect, or the second, or both, in any order of the answers. */
static void test_again(void **state)
{
    struct fixture *f = *state;
    struct history_op *first, *second;
    have(f, "k", "1");
    first = send(f, incr("k", 5)); /* both, and the first was last */
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, incr("k", 5));
    put(f, "k", "6");
    put(f, "k", "11");
    answer(f, second, ":6\r\n");
    first = send(f, incr("k", 7)); /* ... or the second */
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, incr("k", 7));
    put(f, "k", "18");
    put(f, "k", "25");
    answer(f, second, ":25\r\n");
    first = send(f, incr("k", 9)); /* the first alone, before and after the second was sent */
    put(f, "k", "34");
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, incr("k", 9));
    answer(f, second, "-DBDOWN nothing was changed\r\n");
    first = send(f, set("k", "a"));
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, set("k", "a"));
    put(f, "k", "a");
    answer(f, second, "-DBDOWN nothing was changed\r\n");
    first = send(f, set("k", "b")); /* the second alone */
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, set("k", "b"));
    put(f, "k", "b");
    answer(f, second, "+OK\r\n");
    expect(f, "");
    answer(f, send(f, get("k")), "$1\r\na\r\n");
    expect(f, "I12");
}

/* ... but none of them twice, */
static void test_again_twice(void **state)
{
    struct fixture *f = *state;
    struct history_op *first;
    have(f, "k", "1");
    first = send(f, incr("k", 5));
    history_unknown(f->h, first, f->now_ns);
    (void)again(f, FB_LEVEL_LOCAL, incr("k", 5));
    put(f, "k", "6");
    put(f, "k", "11");
    expect(f, "");
    put(f, "k", "16");
    expect(f, "I15");
}

/* nor the one that was answered when it did not, */
static void test_again_without_record(void **state)
{
    struct fixture *f = *state;
    struct history_op *first, *second;
    first = send(f, set("k", "a"));
    put(f, "k", "a");
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, set("k", "a"));
    answer(f, second, "+OK\r\n");
    expect(f, "I18");
}

static void test_again_refused(void **state)
{
    struct fixture *f = *state;
    struct history_op *first, *second;
    first = send(f, set("k", "a"));
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, set("k", "a"));
    put(f, "k", "a");
    put(f, "k", "a");
    answer(f, second, "-DBDOWN nothing was changed\r\n");
    expect(f, "I14");
}

/* FB.SETIF answers with the version of its own record. */
static void test_again_setif(void **state)
{
    struct fixture *f = *state;
    struct history_op *first, *second;
    char text[40];
    first = send(f, cmd(SHADOW_SETIF, "k", "a", 0));
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_LOCAL, cmd(SHADOW_SETIF, "k", "a", 0));
    put(f, "k", "a");
    answer(f, send_as(f, 2, FB_LEVEL_LOCAL, get("k")), "$1\r\na\r\n");
    (void)send_as(f, 2, FB_LEVEL_LOCAL, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    snprintf(text, sizeof text, ":%llu\r\n", (unsigned long long)put(f, "k", "a"));
    answer(f, second, text);
    expect(f, "");
}

/* What the power took is one of the two; an answer at level durable says that it is not this one.
 */
static void test_again_and_power(void **state)
{
    struct fixture *f = *state;
    struct history_op *first, *second;
    uint64_t kept = have(f, "k", "1");
    first = send_as(f, 1, FB_LEVEL_DURABLE, incr("k", 5));
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_DURABLE, incr("k", 5));
    put(f, "k", "6");
    lost_power(f, "k", kept);
    put(f, "k", "6");
    answer(f, second, ":6\r\n");
    expect(f, "");
    first = send_as(f, 1, FB_LEVEL_DURABLE, incr("k", 7));
    history_unknown(f->h, first, f->now_ns);
    second = again(f, FB_LEVEL_DURABLE, incr("k", 7));
    kept = f->last[part_of("k")];
    put(f, "k", "13");
    lost_power(f, "k", kept);
    answer(f, second, ":13\r\n");
    expect(f, "I18");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_twin_deletes),
        T(test_twin_refused),
        T(test_twin_done_twice),
        T(test_twin_and_power),
        T(test_twin_lost_and_answered),
        T(test_twin_lost_durable),
        T(test_again),
        T(test_again_twice),
        T(test_again_without_record),
        T(test_again_refused),
        T(test_again_setif),
        T(test_again_and_power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
