/* Goal: every outcome of a transaction leads to what PROTOCOL 11 says, and nothing is ever skipped
 * or applied twice. Method: the core against a scripted node and database (script.c asserts that
 * positions are told only once committed).
 */
#include "tests/unit/sync/script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void fill(struct script *s, uint16_t part, uint64_t first_ver, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%u/%llu", part, (unsigned long long)(first_ver + i));
        script_write(s, part, first_ver + i, id);
    }
}

static void due_after_the_interval(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    s->note_age = 0;
    fill(s, 3, 1, 2);
    script_note(s, 3, 1000, false);
    script_pass(s, 3900);
    assert_int_equal(s->transactions, 0);
    script_pass(s, 200);
    assert_int_equal(s->transactions, 1);
    assert_int_equal(s->rows, 2);
    assert_int_equal(s->synced[3], 2);
    assert_int_equal(sync_core_busy(s->core, NULL), 0);
    fill(s, 3, 3, 1);
    script_note(s, 3, 0, true); /* somebody waits for it */
    script_settle(s);
    assert_int_equal(s->synced[3], 3);
    script_free(s);
}

static void flush_makes_due(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 1, 1, 1);
    script_note(s, 1, 0, false);
    script_settle(s);
    assert_int_equal(s->transactions, 0);
    sync_core_flush(s->core, "other");
    script_settle(s);
    assert_int_equal(s->transactions, 0);
    sync_core_flush(s->core, NULL);
    script_settle(s);
    assert_int_equal(s->synced[1], 1);
    script_free(s);
}

static void feeds_share_a_transaction(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    for (uint16_t p = 0; p < 20; p++) {
        fill(s, p, 1, 10);
        script_note(s, p, 6000, false);
    }
    script_settle(s);
    assert_int_equal(s->rows, 200);
    assert_int_equal(s->transactions, 1);
    assert_int_equal(s->most_feeds, 20);
    script_free(s);
}

static void large_feeds_loop_within_max_batch(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 3500);
    fill(s, 1, 1, 700);
    script_note(s, 0, 6000, false);
    script_note(s, 1, 6000, false);
    script_pass(s, 3000);
    assert_int_equal(s->rows, 4200);
    assert_true(s->most_rows <= 1000);
    assert_true(s->transactions <= 7);
    assert_int_equal(s->synced[0], 3500);
    assert_int_equal(s->synced[1], 700);
    script_free(s);
}

static void one_poison_row_parks_alone(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    for (uint16_t p = 0; p < 4; p++) {
        fill(s, p, 1, 200);
        script_note(s, p, 6000, false);
    }
    s->poison = "2/77";
    s->poison_class = PG_ROW;
    script_pass(s, 2000);
    assert_int_equal(s->rows, 799);
    assert_int_equal(s->parks, 1);
    assert_int_equal(s->dead_letters, 1);
    assert_int_equal(s->synced[2], 200);
    assert_true(s->attempts < 30); /* halves, not one by one */
    assert_int_equal(s->events[SYNC_EVENT_PARKED], 1);
    /* The next version is accepted: the letter goes. */
    s->poison = NULL;
    script_write(s, 2, 201, "2/77");
    script_note(s, 2, 6000, false);
    script_pass(s, 100);
    assert_int_equal(s->rows, 800);
    assert_int_equal(s->cleared, 1);
    assert_int_equal(sync_core_stats(s->core)->dead_letters, 0);
    script_free(s);
}

static void overtaken_verdict_asks_again(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 3);
    s->poison = "0/2";
    s->poison_class = PG_ROW;
    s->ack_status = FB_ESTALE;
    script_note(s, 0, 6000, false);
    for (int i = 0; i < 20 && s->parks == 0; i++)
        sync_core_step(s->core), script_settle(s), s->ack_status = FB_OK;
    script_pass(s, 2000);
    assert_int_equal(s->synced[0], 3);
    script_free(s);
}

static void foreign_key_waits_then_parks(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 8);
    fill(s, 1, 1, 8);
    s->poison = "0/5";
    s->poison_class = PG_FOREIGN_KEY;
    script_note(s, 0, 6000, false);
    script_note(s, 1, 6000, false);
    script_pass(s, 30000);
    assert_int_equal(s->parks, 0);
    assert_int_equal(s->synced[1], 8); /* others go on */
    script_pass(s, 60000);
    assert_int_equal(s->parks, 1);
    assert_int_equal(s->synced[0], 8);
    script_free(s);
}

static void parent_arrives_in_time(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 8);
    s->poison = "0/5";
    s->poison_class = PG_FOREIGN_KEY;
    script_note(s, 0, 6000, false);
    script_pass(s, 20000);
    s->poison = NULL;
    script_pass(s, 10000);
    assert_int_equal(s->parks, 0);
    assert_int_equal(s->rows, 8);
    script_free(s);
}

static void outage_keeps_order_and_never_parks(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    fill(s, 0, 1, 5);
    s->down = true;
    script_note(s, 0, 6000, false);
    script_pass(s, 60000);
    assert_int_equal(s->events[SYNC_EVENT_DB_DOWN], 1);
    assert_false(sync_core_db_up(s->core));
    fill(s, 0, 6, 5);
    s->down = false;
    script_pass(s, 8000);
    assert_int_equal(s->rows, 10);
    assert_int_equal(s->parks, 0);
    assert_int_equal(s->synced[0], 10);
    assert_true(sync_core_db_up(s->core));
    script_free(s);
}

static void goes_on_at_once_when_told(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    fill(s, 0, 1, 5);
    s->down = true;
    script_note(s, 0, 6000, false);
    script_pass(s, 60000); /* the back-off has grown to its end */
    s->down = false;
    sync_core_db_answers(s->core);
    script_pass(s, 200);
    assert_int_equal(s->rows, 5);
    script_free(s);
}

static void unknown_commit_is_decided_by_value(void **state)
{
    for (int committed = 0; committed < 2; committed++) {
        struct script *s = script_new();

        (void)state;
        fill(s, 0, 1, 5);
        s->next = PG_UNKNOWN;
        s->next_commits = committed;
        script_note(s, 0, 6000, false);
        script_pass(s, 8000);
        assert_int_equal(s->rows, 5); /* once, whichever it was */
        assert_int_equal(s->synced[0], 5);
        assert_int_equal(s->transactions, 1);
        script_free(s);
    }
}

static void lost_compare_reads_the_checkpoint(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 5);
    script_note(s, 0, 6000, false);
    script_settle(s);
    fill(s, 0, 6, 5);
    s->ckpt[0] = 8; /* another process */
    script_note(s, 0, 6000, false);
    script_pass(s, 2000);
    assert_int_equal(s->ckpt[0], 10);
    assert_int_equal(s->rows, 7);
    assert_int_equal(s->events[SYNC_EVENT_LOST], 1);
    script_free(s);
}

static void takeover_starts_from_the_checkpoint(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 10);
    s->ckpt[0] = 6;
    script_note(s, 0, 6000, false);
    script_settle(s);
    assert_int_equal(s->rows, 4);
    assert_int_equal(s->synced[0], 10);
    script_free(s);
}

static void conflicts_are_resolved_by_the_node(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 5);
    s->next = PG_CONFLICT;
    script_note(s, 0, 6000, false);
    script_settle(s);
    assert_int_equal(s->conflicts, 1);
    assert_int_equal(s->rows, 5);
    script_free(s);
}

static void a_namespace_stops_and_comes_back(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 5);
    s->poison = "0/3";
    s->poison_class = PG_NAMESPACE;
    script_note(s, 0, 6000, false);
    script_pass(s, 20000);
    assert_int_equal(s->events[SYNC_EVENT_NAMESPACE_STOPPED], 1);
    assert_int_equal(s->parks, 0);
    s->poison = NULL;
    script_pass(s, 40000);
    assert_int_equal(s->rows, 5);
    assert_int_equal(s->events[SYNC_EVENT_NAMESPACE_BACK], 1);
    script_free(s);
}

static void silent_node_and_reconnect(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 5);
    s->mute = true;
    script_note(s, 0, 6000, false);
    script_pass(s, 2000);
    assert_int_equal(s->rows, 0);
    sync_core_peer_down(s->core, s->node);
    assert_int_equal(sync_core_busy(s->core, NULL), 0);
    s->mute = false;
    s->node = sync_core_peer_up(s->core, "node-1", 10);
    script_note(s, 0, 6000, false);
    script_settle(s);
    assert_int_equal(s->rows, 5);
    script_free(s);
}

static void feeds_are_shared_and_taken_over(void **state)
{
    struct script *s = script_new();
    char names[3][FB_NAME_BYTES_MAX + 1] = {"sync-1", "sync-2", "sync-3"};
    const char(*members)[FB_NAME_BYTES_MAX + 1] = (const char(*)[FB_NAME_BYTES_MAX + 1]) names;
    uint32_t ours = 0;

    (void)state;
    for (uint16_t p = 0; p < SCRIPT_PARTS; p++) {
        uint32_t seen = 0;
        for (int i = 0; i < 3; i++)
            seen |= 1u << sync_feed_rank(members, 3, names[i], p, "default");
        assert_int_equal(seen, 7); /* ranks are an order */
        ours += sync_feed_rank(members, 3, "sync-1", p, "default") == 0;
    }
    assert_true(ours > 10 && ours < 35);
    sync_core_members(s->core, members, 3);
    for (uint16_t p = 0; p < SCRIPT_PARTS; p++) {
        fill(s, p, 1, 1);
        script_note(s, p, 5000, false);
    }
    script_settle(s);
    assert_int_equal(s->rows, ours);
    /* The others do nothing for long: their feeds are taken over rank by rank. */
    for (uint16_t p = 0; p < SCRIPT_PARTS; p++)
        script_note(s, p, 30000, false);
    script_settle(s);
    assert_int_equal(s->rows, SCRIPT_PARTS);
    script_free(s);
}

/* Without a standby what is committed is safe. */
static void single_is_safe_at_commit(void **state)
{
    struct script *s = script_new();

    (void)state;
    fill(s, 0, 1, 3);
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
    fill(s, 0, 1, 3);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->synced[0], 3);
    assert_int_equal(s->dsafe[0], 0);
    script_pass(s, 5000);
    fill(s, 0, 4, 1);
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
    fill(s, 0, 5, 1);
    script_note(s, 0, 6000, true);
    script_pass(s, 20000);
    assert_int_equal(s->synced[0], 5);
    assert_int_equal(s->dsafe[0], 4);
    s->down = true;
    fill(s, 0, 6, 1);
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
    fill(s, 0, 1, 3);
    fill(s, 1, 1, 3);
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
    fill(s, 0, 4, 1);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->dsafe[0], 3);
    s->replicated = true;
    fill(s, 1, 4, 1);
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
    fill(s, 0, 1, 3);
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
    fill(s, 0, 1, 10);
    script_note(s, 0, 6000, true);
    script_settle(s);
    assert_int_equal(s->rows, 10);
    s->knows[0] = 10;
    s->ckpt[0] = 4; /* a standby took over */
    fill(s, 0, 11, 1);
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
    fill(s, 0, 1, 10);
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

static void nonsense_is_refused(void **state)
{
    struct script *s = script_new();
    struct fb_feed_batch b = {.ns = fb_bytes_str("default"),
                              .scan_end = 9,
                              .count = 1,
                              .last = true,
                              .objects = fb_bytes_str("garbage")};
    struct fb_feed_note n = {.part = 65535, .ns = fb_bytes_str("nobody")};
    struct fb_verdict_ack a = {.id64 = 77};

    (void)state;
    script_settle(s);
    s->mute = true;
    fill(s, 0, 1, 1);
    script_note(s, 0, 6000, false);
    script_settle(s);
    sync_core_batch(s->core, s->node, &b);
    sync_core_note(s->core, s->node, &n);
    sync_core_ack(s->core, s->node, &a);
    s->mute = false;
    script_pass(s, 2000);
    assert_int_equal(s->events[SYNC_EVENT_BAD_BATCH], 1);
    assert_int_equal(s->rows, 1);
    script_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_after_the_interval),
        cmocka_unit_test(flush_makes_due),
        cmocka_unit_test(feeds_share_a_transaction),
        cmocka_unit_test(large_feeds_loop_within_max_batch),
        cmocka_unit_test(one_poison_row_parks_alone),
        cmocka_unit_test(overtaken_verdict_asks_again),
        cmocka_unit_test(foreign_key_waits_then_parks),
        cmocka_unit_test(parent_arrives_in_time),
        cmocka_unit_test(outage_keeps_order_and_never_parks),
        cmocka_unit_test(goes_on_at_once_when_told),
        cmocka_unit_test(unknown_commit_is_decided_by_value),
        cmocka_unit_test(lost_compare_reads_the_checkpoint),
        cmocka_unit_test(takeover_starts_from_the_checkpoint),
        cmocka_unit_test(conflicts_are_resolved_by_the_node),
        cmocka_unit_test(a_namespace_stops_and_comes_back),
        cmocka_unit_test(silent_node_and_reconnect),
        cmocka_unit_test(feeds_are_shared_and_taken_over),
        cmocka_unit_test(single_is_safe_at_commit),
        cmocka_unit_test(lag_waits_while_the_server_lives),
        cmocka_unit_test(sync_needs_a_confirmation),
        cmocka_unit_test(a_read_checkpoint_is_not_safe),
        cmocka_unit_test(a_regression_is_fed_again),
        cmocka_unit_test(an_idle_feed_regresses_too),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
