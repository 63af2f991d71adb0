/* Goal: the shadow history of the simulator finds what it is there to find, and nothing in what is
 * right. Method: hand-made histories, each with the one thing wrong that a test names. */
#include "tests/sim/history_fixture.h"

static void test_good(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b, *c;
    char text[64];
    uint64_t ver;
    a = send(f, get("k"));
    answer(f, a, "$-1\r\n");
    have(f, "k", "1");
    /* two at once; a read between may see either side */
    a = send(f, incr("k", 5));
    b = send_as(f, 2, 0, incr("k", 7));
    c = send_as(f, 3, 0, get("k"));
    put(f, "k", "8");
    put(f, "k", "13");
    answer(f, b, ":8\r\n");
    answer(f, c, "$1\r\n1\r\n");
    answer(f, a, ":13\r\n");
    /* a command nobody knows the fate of, that comes true later */
    a = send(f, set("k", "late"));
    history_unknown(f->h, a, f->now_ns);
    b = send(f, get("k"));
    answer(f, b, "$2\r\n13\r\n");
    ver = put(f, "k", "late");
    b = send(f, cmd(SHADOW_FBGET, "k", NULL, 0));
    snprintf(text, sizeof text, "*4\r\n$4\r\nlate\r\n:%llu\r\n:1\r\n:-1\r\n",
             (unsigned long long)ver);
    answer(f, b, text);
    /* refused, and not done */
    a = send(f, set("k", "no"));
    answer(f, a, "-CLUSTERDOWN no primary serves this key now (nothing changed)\r\n");
    /* of two DELs the one nobody knows of was first */
    a = send_as(f, 4, 0, cmd(SHADOW_DEL, "k", NULL, 0));
    history_unknown(f->h, a, f->now_ns);
    b = send(f, cmd(SHADOW_DEL, "k", NULL, 0));
    del(f, "k");
    answer(f, b, ":0\r\n");
    b = send(f, get("k"));
    answer(f, b, "$-1\r\n");
    expect(f, "");
    assert_int_equal(history_counts(f->h)->unknown, 2);
}

static void test_stale_read(void **state)
{
    struct fixture *f = *state;
    struct history_op *op;
    have(f, "k", "1");
    have(f, "k", "2");
    op = send_as(f, 2, 0, get("k"));
    answer(f, op, "$1\r\n1\r\n");
    expect(f, "I12");
}

/* What one client read, another that asks later must not miss: also without an acknowledgement. */
static void test_stale_after_read(void **state)
{
    struct fixture *f = *state;
    struct history_op *w, *r;
    have(f, "k", "1");
    w = send(f, set("k", "2"));
    put(f, "k", "2");
    r = send_as(f, 2, 0, get("k"));
    answer(f, r, "$1\r\n2\r\n");
    r = send_as(f, 3, 0, get("k"));
    answer(f, r, "$1\r\n1\r\n");
    expect(f, "I12");
    (void)w;
}

/* In one connection: the read was sent behind the write, before its answer. */
static void test_own_write_missed(void **state)
{
    struct fixture *f = *state;
    struct history_op *w, *r;
    have(f, "k", "1");
    w = send(f, set("k", "2"));
    r = send(f, get("k"));
    put(f, "k", "2");
    answer(f, w, "+OK\r\n");
    answer(f, r, "$1\r\n1\r\n");
    expect(f, "I12");
}

static void test_dirty_read(void **state)
{
    struct fixture *f = *state;
    struct history_op *r;
    have(f, "k", "1");
    (void)send(f, set("k", "2"));
    r = send_as(f, 2, 0, get("k"));
    answer(f, r, "$1\r\n2\r\n"); /* no record of it yet */
    expect(f, "I11");
}

static void test_ack_without_record(void **state)
{
    struct fixture *f = *state;
    answer(f, send(f, set("k", "2")), "+OK\r\n");
    expect(f, "I18");
}

static void test_double_incr(void **state)
{
    struct fixture *f = *state;
    have(f, "k", "1");
    (void)send(f, incr("k", 5));
    put(f, "k", "6");
    put(f, "k", "11");
    expect(f, "I15");
}

/* Retried after its connection was lost, which nobody may do. */
static void test_write_twice(void **state)
{
    struct fixture *f = *state;
    struct history_op *op = send(f, set("k", "1"));
    put(f, "k", "1");
    history_unknown(f->h, op, f->now_ns);
    have(f, "k", "2");
    put(f, "k", "1");
    expect(f, "I15");
}

static void test_lost_update(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b;
    have(f, "k", "1");
    a = send(f, incr("k", 5));
    b = send_as(f, 2, 0, incr("k", 7));
    put(f, "k", "6");
    put(f, "k", "8"); /* on the published 1 instead of the pending 6 */
    expect(f, "I15");
    (void)a;
    (void)b;
}

static void test_error_with_effect(void **state)
{
    struct fixture *f = *state;
    struct history_op *op = send(f, set("k", "1"));
    put(f, "k", "1");
    answer(f, op, "-OVERLOADED too much (nothing changed)\r\n");
    expect(f, "I14");
}

static void test_effect_after_error(void **state)
{
    struct fixture *f = *state;
    answer(f, send(f, set("k", "1")), "-DBDOWN no (nothing was changed)\r\n");
    expect(f, "");
    put(f, "k", "1");
    expect(f, "I15");
}

/* Two replies of a connection changed places. */
static void test_reply_order(void **state)
{
    struct fixture *f = *state;
    struct history_op *a, *b;
    have(f, "a", "1");
    have(f, "b", "2");
    a = send(f, get("a"));
    b = send(f, get("b"));
    answer(f, a, "$1\r\n2\r\n");
    answer(f, b, "$1\r\n1\r\n");
    expect(f, "P2");
}

static void test_level_lost(void **state)
{
    struct fixture *f = *state;
    uint16_t p = part_of("k");
    uint64_t keep = have(f, "k", "1");
    struct history_op *op = send_as(f, 1, FB_LEVEL_DURABLE, set("k", "2"));
    put(f, "k", "2");
    answer(f, op, "+OK\r\n");
    history_recovered(f->h, f->now_ns, p, keep, HISTORY_POWER);
    expect(f, "I13");
}

static void test_kill_loses_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t keep = have(f, "k", "1");
    (void)send(f, set("k", "2"));
    put(f, "k", "2");
    history_recovered(f->h, f->now_ns, part_of("k"), keep, HISTORY_KILLED);
    expect(f, "I18");
}

/* A power cut may take what was acknowledged as local, and what was read of it; what the client is
 * told later may not bring it back. */
static void test_power(void **state)
{
    struct fixture *f = *state;
    uint16_t p = part_of("k");
    uint64_t keep = have(f, "k", "1");
    struct history_op *op;
    have(f, "k", "2");
    op = send(f, incr("k", 5));
    put(f, "k", "7");
    history_recovered(f->h, f->now_ns, p, keep, HISTORY_POWER);
    f->last[p] = keep;
    history_unknown(f->h, op, f->now_ns);
    answer(f, send(f, get("k")), "$1\r\n1\r\n");
    expect(f, "");
    put(f, "k", "6"); /* INCR again, of its own accord */
    expect(f, "I15");
}

static void test_disk(void **state)
{
    struct fixture *f = *state;
    struct history_op *op;
    f->row = have(f, "k", "1");
    op = send_as(f, 1, FB_LEVEL_DATABASE, set("k", "2"));
    put(f, "k", "2");
    answer(f, op, "+OK\r\n");
    history_recovered(f->h, f->now_ns, part_of("k"), 0, HISTORY_DISK);
    expect(f, "I13");
}

/* The row alone has what the disk lost: a node that begins with an empty log reads it there, one
 * with an older log has the older value until it is told. */
static void test_disk_row(void **state)
{
    struct fixture *f = *state;
    have(f, "k", "1");
    f->row = have(f, "k", "2");
    history_recovered(f->h, f->now_ns, part_of("k"), 0, HISTORY_DISK);
    answer(f, send(f, get("k")), "$1\r\n2\r\n");
    expect(f, "");
    answer(f, send(f, get("k")), "$1\r\n1\r\n");
    expect(f, "I12");
}

static void test_disk_old_log(void **state)
{
    struct fixture *f = *state;
    uint64_t old = have(f, "k", "1");
    f->row = have(f, "k", "2");
    history_recovered(f->h, f->now_ns, part_of("k"), old, HISTORY_DISK);
    answer(f, send(f, get("k")), "$1\r\n1\r\n");
    expect(f, "");
}

static void test_setif(void **state)
{
    struct fixture *f = *state;
    uint64_t old = have(f, "k", "1");
    have(f, "k", "2");
    (void)send(f, cmd(SHADOW_SETIF, "k", "3", (int64_t)old));
    put(f, "k", "3");
    expect(f, "I15");
}

static void test_early_expiry(void **state)
{
    struct fixture *f = *state;
    struct shadow_cmd c = set("k", "1");
    c.flags = SHADOW_PXAT;
    c.b = 5000;
    struct history_op *op = send(f, c);
    record(f, FB_RECORD_PUT, "k", "1", 5000, 0);
    answer(f, op, "+OK\r\n");
    answer(f, send(f, get("k")), "$1\r\n1\r\n");
    history_wall(f->h, 6000, 6000);
    answer(f, send(f, get("k")), "$-1\r\n"); /* due, whether or not there is a record yet */
    expect(f, "");
    record(f, FB_RECORD_EXPIRE, "k", NULL, 0, 0); /* of time 1000, and of no version */
    expect(f, "I26");
}

static void test_clock_set_back(void **state)
{
    struct fixture *f = *state;
    struct shadow_cmd c = set("k", "1");
    struct history_op *op, *read;
    c.flags = SHADOW_PXAT;
    c.b = 5000;
    op = send(f, c);
    record(f, FB_RECORD_PUT, "k", "1", 5000, 0);
    answer(f, op, "+OK\r\n");
    history_wall(f->h, 6000, 6000);
    read = send(f, get("k"));
    history_wall_set_back(f->h, 4000);
    history_wall(f->h, 7000, 7000);
    answer(f, read, "$1\r\n1\r\n"); /* read while the clock said 4000 */
    expect(f, "");
    answer(f, send(f, get("k")), "$1\r\n1\r\n"); /* sent after it */
    expect(f, "P2");
}

static struct history_txn *pair(struct fixture *f, const struct history_watch *w)
{
    struct shadow_cmd c[2] = {set("{t}a", "x"), incr("{t}b", 3)};
    const uint8_t levels[2] = {FB_LEVEL_LOCAL, FB_LEVEL_LOCAL};
    f->now_ns += 1000;
    return history_txn(f->h, f->now_ns, 1, 1, c, 2, levels, w, w != NULL);
}

static void test_txn(void **state)
{
    struct fixture *f = *state;
    struct history_watch w;
    struct history_txn *t;
    have(f, "{t}b", "1");
    w = history_watched(f->h, "{t}b");
    t = pair(f, &w);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 2);
    put(f, "{t}a", "x");
    put(f, "{t}b", "4");
    exec_answer(f, t, "*2\r\n+OK\r\n:4\r\n");
    t = pair(f, &w);
    exec_answer(f, t, "*-1\r\n");
    expect(f, "");
    /* WATCH did not see what came between */
    t = pair(f, &w);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 2);
    put(f, "{t}a", "x");
    put(f, "{t}b", "7");
    exec_answer(f, t, "*2\r\n+OK\r\n:7\r\n");
    expect(f, "P2");
}

static void test_half_txn(void **state)
{
    struct fixture *f = *state;
    (void)pair(f, NULL);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 1);
    put(f, "{t}a", "x");
    expect(f, "P2");
}

static void test_txn_torn_reads(void **state)
{
    struct fixture *f = *state;
    struct shadow_cmd c[2] = {get("{t}a"), get("{t}b")};
    const uint8_t levels[2] = {0, 0};
    struct history_txn *t, *r;
    have(f, "{t}b", "1");
    t = pair(f, NULL);
    f->now_ns += 1000;
    r = history_txn(f->h, f->now_ns, 2, 2, c, 2, levels, NULL, 0);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 2);
    put(f, "{t}a", "x");
    put(f, "{t}b", "4");
    exec_answer(f, t, "*2\r\n+OK\r\n:4\r\n");
    exec_answer(f, r, "*2\r\n$1\r\nx\r\n$1\r\n1\r\n");
    expect(f, "P2");
}

static void test_txn_refused_with_effect(void **state)
{
    struct fixture *f = *state;
    struct history_txn *t;
    have(f, "{t}b", "1");
    t = pair(f, NULL);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 2);
    put(f, "{t}a", "x");
    put(f, "{t}b", "4");
    exec_answer(f, t, "*-1\r\n");
    expect(f, "P2");
}

static void test_log_order(void **state)
{
    struct fixture *f = *state;
    have(f, "k", "1");
    f->last[part_of("k")] += 5;
    (void)send(f, set("k", "2"));
    put(f, "k", "2");
    expect(f, "I3");
}

/* DEL of two keys, of which the power took one record before the answer came. */
static void test_sum_and_power(void **state)
{
    struct fixture *f = *state;
    struct history_op *ops[2];
    struct reply one = {.type = ':', .num = 1}, two = {.type = ':', .num = 2};
    uint64_t kept = have(f, "k", "1");
    ops[0] = send(f, cmd(SHADOW_DEL, "k", NULL, 0));
    ops[1] = send(f, cmd(SHADOW_DEL, "other", NULL, 0));
    del(f, "k");
    history_recovered(f->h, f->now_ns, part_of("k"), kept, HISTORY_POWER);
    f->last[part_of("k")] = kept;
    history_reply_sum(f->h, ops, 2, f->now_ns, &one);
    expect(f, "");
    ops[0] = send(f, cmd(SHADOW_DEL, "k", NULL, 0));
    ops[1] = send(f, cmd(SHADOW_DEL, "other", NULL, 0));
    history_reply_sum(f->h, ops, 2, f->now_ns, &two);
    expect(f, "P2");
}

/* Too large, and with a time: refused, unless the time is over and it deletes. */
static void test_too_large_with_time(void **state)
{
    struct fixture *f = *state;
    struct history_txn *t;
    struct shadow_cmd c[2] = {set("{t}a", "far too large"), set("{t}b", "x")};
    const uint8_t levels[2] = {FB_LEVEL_LOCAL, FB_LEVEL_LOCAL};
    have(f, "{t}a", "1");
    c[0].flags = SHADOW_PX;
    c[0].b = 5;
    c[0].value_max = 4;
    f->now_ns += 1000;
    t = history_txn(f->h, f->now_ns, 1, 1, c, 2, levels, NULL, 0);
    record(f, FB_RECORD_GROUP, "{t}a", NULL, 0, 1);
    put(f, "{t}b", "x");
    expect(f, "");
    exec_answer(f, t, "*2\r\n-ERR a value of 13 bytes is too large\r\n+OK\r\n");
    expect(f, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_good),
        T(test_stale_read),
        T(test_stale_after_read),
        T(test_own_write_missed),
        T(test_dirty_read),
        T(test_ack_without_record),
        T(test_double_incr),
        T(test_write_twice),
        T(test_lost_update),
        T(test_error_with_effect),
        T(test_effect_after_error),
        T(test_reply_order),
        T(test_level_lost),
        T(test_kill_loses_nothing),
        T(test_power),
        T(test_disk),
        T(test_disk_row),
        T(test_disk_old_log),
        T(test_setif),
        T(test_early_expiry),
        T(test_clock_set_back),
        T(test_txn),
        T(test_half_txn),
        T(test_txn_torn_reads),
        T(test_txn_refused_with_effect),
        T(test_log_order),
        T(test_sum_and_power),
        T(test_too_large_with_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
