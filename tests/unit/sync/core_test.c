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

static void due_after_the_interval(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_settle(s);
    s->note_age = 0;
    script_fill(s, 3, 1, 2);
    script_note(s, 3, 1000, false);
    script_pass(s, 3900);
    assert_int_equal(s->transactions, 0);
    script_pass(s, 200);
    assert_int_equal(s->transactions, 1);
    assert_int_equal(s->rows, 2);
    assert_int_equal(s->synced[3], 2);
    assert_int_equal(sync_core_busy(s->core, NULL), 0);
    script_fill(s, 3, 3, 1);
    script_note(s, 3, 0, true); /* somebody waits for it */
    script_settle(s);
    assert_int_equal(s->synced[3], 3);
    script_free(s);
}

static void flush_makes_due(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 1, 1, 1);
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
        script_fill(s, p, 1, 10);
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
    script_fill(s, 0, 1, 3500);
    script_fill(s, 1, 1, 700);
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
        script_fill(s, p, 1, 200);
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
    /* The next version is accepted. */
    s->poison = NULL;
    script_write(s, 2, 201, "2/77");
    script_note(s, 2, 6000, false);
    script_pass(s, 100);
    assert_int_equal(s->rows, 800);
    script_free(s);
}

/* Somebody else has written a newer version of what was to be parked: nothing is parked, and the
 * feed goes on from where the checkpoint is now. */
static void late_letter_asks_again(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 3);
    s->poison = "0/2";
    s->poison_class = PG_ROW;
    s->park_lost = 1;
    script_settle(s);
    script_note(s, 0, 6000, false);
    script_pass(s, 5000);
    assert_int_equal(s->park_lost, 0);
    assert_true(s->events[SYNC_EVENT_LOST] >= 1);
    assert_int_equal(s->dead_letters, 1); /* the second time it was in time */
    assert_int_equal(s->parks, 1);
    assert_int_equal(s->synced[0], 3);
    script_free(s);
}

static void overtaken_verdict_asks_again(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 3);
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
    script_fill(s, 0, 1, 8);
    script_fill(s, 1, 1, 8);
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

/* The error of a statement does not say which of its rows it is about: the feeds in it go alone
 * then, once each, and it is not the shared transaction that fails again and again. */
static void a_refused_statement_is_taken_apart_once(void **state)
{
    enum { FEEDS = 32 };
    struct script *s = script_new();

    (void)state;
    for (uint16_t p = 0; p < FEEDS; p++)
        script_fill(s, p, 1, 4);
    s->poison = "20/3";
    s->poison_class = PG_ROW;
    s->vague = true;
    for (uint16_t p = 0; p < FEEDS; p++)
        script_note(s, p, 6000, false);
    script_pass(s, 2000);
    assert_int_equal(s->parks, 1);
    for (uint16_t p = 0; p < FEEDS; p++)
        assert_int_equal(s->synced[p], 4);
    assert_in_range(s->attempts, FEEDS, FEEDS + 8);
    script_free(s);
}

/* The row that a reference needs is in another feed of the same statement, or comes later. */
static void what_a_reference_needs_comes_first(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        enum { FEEDS = 16 };
        struct script *s = script_new();
        for (uint16_t p = 0; p < FEEDS; p++)
            script_fill(s, p, 1, 4);
        s->poison = "0/1";
        s->needs = "9/7";
        s->poison_class = PG_FOREIGN_KEY;
        s->vague = true;
        for (uint16_t p = 0; p < FEEDS; p++)
            script_note(s, p, 6000, false);
        script_settle(s);
        assert_int_equal(s->synced[0], 0);
        if (later)
            script_pass(s, 3000);
        script_fill(s, 9, 5, 4);
        script_note(s, 9, 6000, false);
        script_pass(s, later ? 5500 : 1000);
        assert_int_equal(s->parks, 0);
        for (uint16_t p = 0; p < FEEDS; p++)
            assert_int_equal(s->synced[p], p == 9 ? 8 : 4);
        script_free(s);
    }
}

static void parent_arrives_in_time(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 8);
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
    script_fill(s, 0, 1, 5);
    s->down = true;
    script_note(s, 0, 6000, false);
    script_pass(s, 60000);
    assert_int_equal(s->events[SYNC_EVENT_DB_DOWN], 1);
    assert_false(sync_core_db_up(s->core));
    script_fill(s, 0, 6, 5);
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
    script_fill(s, 0, 1, 5);
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
        script_fill(s, 0, 1, 5);
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
    script_fill(s, 0, 1, 5);
    script_note(s, 0, 6000, false);
    script_settle(s);
    script_fill(s, 0, 6, 5);
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
    script_fill(s, 0, 1, 10);
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
    script_fill(s, 0, 1, 5);
    s->next = PG_CONFLICT;
    script_note(s, 0, 6000, false);
    script_settle(s);
    assert_int_equal(s->conflicts, 1);
    assert_int_equal(s->rows, 5);
    script_free(s);
}

/* A fail-over took the letter before the checkpoint passed its object. */
static void what_has_no_letter_is_tried_again(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 5);
    s->poison = "0/3";
    s->poison_class = PG_ROW;
    s->letters_lost = true;
    script_note(s, 0, 6000, false);
    script_pass(s, 2000);
    assert_int_equal(s->events[SYNC_EVENT_NO_LETTER], 1);
    assert_int_equal(s->retries, 1);
    assert_int_equal(s->parks, 2);
    assert_int_equal(s->dead_letters, 2);
    assert_int_equal(s->rows, 4);
    assert_int_equal(s->synced[0], 6);
    script_free(s);
}

static void a_namespace_stops_and_comes_back(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 5);
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

/* Whoever shares the lane waits for others' locks along with it: a stopped namespace is tried
 * alone, and but for a moment. */
static void a_stopped_namespace_is_tried_alone(void **state)
{
    struct script *s = script_new();

    (void)state;
    for (uint16_t p = 0; p < SCRIPT_PARTS; p++) {
        script_fill(s, p, 1, 5);
        script_note(s, p, 6000, false);
    }
    s->poison = "0/3";
    s->poison_class = PG_NAMESPACE;
    script_pass(s, 100);
    assert_int_equal(s->events[SYNC_EVENT_NAMESPACE_STOPPED], 1);
    assert_true(s->last_feeds > 1);
    assert_int_equal(s->last_lock_wait_ms, 0);
    script_pass(s, 20000);
    assert_true(s->attempts > 2);
    assert_int_equal(s->last_feeds, 1);
    assert_in_range(s->last_lock_wait_ms, 1, 1000);
    s->poison = NULL;
    script_pass(s, 40000);
    assert_int_equal(s->rows, 5 * SCRIPT_PARTS);
    assert_int_equal(s->events[SYNC_EVENT_NAMESPACE_BACK], s->events[SYNC_EVENT_NAMESPACE_STOPPED]);
    script_free(s);
}

static void silent_node_and_reconnect(void **state)
{
    struct script *s = script_new();

    (void)state;
    script_fill(s, 0, 1, 5);
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
        script_fill(s, p, 1, 1);
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
    script_fill(s, 0, 1, 1);
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
        cmocka_unit_test(late_letter_asks_again),
        cmocka_unit_test(overtaken_verdict_asks_again),
        cmocka_unit_test(foreign_key_waits_then_parks),
        cmocka_unit_test(a_refused_statement_is_taken_apart_once),
        cmocka_unit_test(what_a_reference_needs_comes_first),
        cmocka_unit_test(parent_arrives_in_time),
        cmocka_unit_test(outage_keeps_order_and_never_parks),
        cmocka_unit_test(goes_on_at_once_when_told),
        cmocka_unit_test(unknown_commit_is_decided_by_value),
        cmocka_unit_test(lost_compare_reads_the_checkpoint),
        cmocka_unit_test(takeover_starts_from_the_checkpoint),
        cmocka_unit_test(conflicts_are_resolved_by_the_node),
        cmocka_unit_test(what_has_no_letter_is_tried_again),
        cmocka_unit_test(a_namespace_stops_and_comes_back),
        cmocka_unit_test(a_stopped_namespace_is_tried_alone),
        cmocka_unit_test(silent_node_and_reconnect),
        cmocka_unit_test(feeds_are_shared_and_taken_over),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
