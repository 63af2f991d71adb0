/* Goal: whatever a power loss leaves of a data directory, at any moment of its life, the node
 * starts by itself and has everything that was reported durable; what it has besides is a prefix of
 * what was written; and a power loss during that start changes nothing about it.
 *
 * Method: two lives of a directory (made, log with rolls, syncs in the middle of which the writer
 * goes on, snapshots, trims, a clean stop; then the same without its end) are recorded and every
 * state is rebuilt (unit/crash); recovery itself is recorded on some of those states and treated
 * likewise. The long form takes more subsets:  FB_CRASH_LONG=1  (tools/crash-states). */
#include "tests/unit/crash/states.h"
#include "tests/unit/disk/crash_life.h"

#include "node/disk/data_dir.h"
#include "node/disk/snapshot.h"

#include "proto/base/log.h"

/* ---- what must be there ---- */

struct must {
    uint64_t appending[UTIL_GENERATIONS_MAX][LIFE_LANES];
    uint64_t synced[UTIL_GENERATIONS_MAX][LIFE_LANES];
    uint64_t trimming[UTIL_GENERATIONS_MAX][LIFE_LANES];
    bool dropping;
    uint64_t opening, opened, closing, closed; /* lives */
    uint64_t snapshot_begun, snapshot, snapshots;
};

static void must_until(struct must *m, const struct crash_record *r, size_t ops)
{
    memset(m, 0, sizeof(*m));
    for (size_t i = 0; i < ops; i++) {
        const struct crash_op *op = &r->ops[i];
        uint64_t g = op->a >> 8, lane = op->a & 255;
        if (op->kind != CRASH_NOTE)
            continue;
        switch ((enum note)op->note) {
        case NOTE_OPENING:
            m->opening = op->a;
            break;
        case NOTE_OPENED:
            m->opened = op->a;
            break;
        case NOTE_APPENDING:
            m->appending[g][lane] = op->b;
            break;
        case NOTE_SYNCED:
            m->synced[g][lane] = op->b;
            break;
        case NOTE_TRIMMING:
            m->trimming[g][lane] = op->b;
            break;
        case NOTE_DROPPING:
            m->dropping = true;
            break;
        case NOTE_SNAPSHOT_BEGUN:
            m->snapshot_begun = op->b;
            break;
        case NOTE_SNAPSHOT:
            m->snapshot = op->b;
            m->snapshots++;
            break;
        case NOTE_CLOSING:
            m->closing = op->a;
            break;
        case NOTE_CLOSED:
            m->closed = op->a;
            break;
        }
    }
}

/* ---- checks of a state ---- */

/* A recovery that was recorded, and what the state it began with had to give. */
struct torn {
    struct crash_record record;
    struct must must;
};

struct checking {
    struct crash_plan plan;
    struct must must;
    bool nested; /* the record is one of a recovery: `must` is of the moment it began */
    uint64_t cut, start_again_every, states, recoveries;
    /* some of the states, for recording their recovery */
    struct torn *torn;
    size_t torn_count, torn_max;
};

static void wrong(struct checking *c, const char *what, const char *detail)
{
    crash_state_print(&c->plan);
    fail_msg("%s: %s", what, detail);
}

struct seen_snapshot {
    uint64_t version, blocks;
    struct fb_buf expect;
};

static enum fb_status see_block(void *arg, uint16_t part, struct fb_bytes items, struct fb_err *err)
{
    struct seen_snapshot *s = arg;
    (void)err;
    assert_int_equal(part, LIFE_PART);
    util_payload(s->version, LIFE_PART, ++s->blocks, 400, &s->expect);
    assert_true(fb_bytes_equal(items, fb_buf_view(&s->expect)));
    return FB_OK;
}

static void check_snapshots(struct checking *c, const char *dir)
{
    struct snapshot_info *list, info;
    struct seen_snapshot seen = {0};
    struct fb_err err;
    size_t count;

    if (snapshot_list(dir, &list, &count, &err) != FB_OK)
        wrong(c, "list of the snapshots", err.msg);
    for (size_t i = 0; i < count; i++) {
        seen.version = list[i].start_ver;
        seen.blocks = 0;
        if (snapshot_read(dir, list[i].name, &info, see_block, &seen, &err) != FB_OK)
            wrong(c, "snapshot", err.msg);
        if (seen.blocks != 3)
            wrong(c, "snapshot", "not all blocks");
    }
    if (count < (c->must.snapshots < 2 ? c->must.snapshots : 2))
        wrong(c, "snapshots", "fewer than were committed");
    if (count > 0 &&
        (list[0].start_ver < c->must.snapshot || list[0].start_ver > c->must.snapshot_begun))
        wrong(c, "snapshots", "the newest is not the one that was committed last");
    free(list);
    fb_buf_fini(&seen.expect);
}

/* Batches as recovery gives them: contents and order are checked, the beginning by the caller. */
struct batches {
    uint64_t first[UTIL_GENERATIONS_MAX][LIFE_LANES], last[UTIL_GENERATIONS_MAX][LIFE_LANES];
    uint64_t generation;
    struct fb_buf expect;
};

static enum fb_status see_batch(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                                struct fb_bytes records, struct fb_err *err)
{
    struct batches *s = arg;
    (void)err;
    assert_true(generation >= s->generation && generation < UTIL_GENERATIONS_MAX &&
                lane < LIFE_LANES);
    s->generation = generation;
    if (s->first[generation][lane] == 0)
        s->first[generation][lane] = seq;
    else
        assert_int_equal(seq, s->last[generation][lane] + 1);
    s->last[generation][lane] = seq;
    util_payload(generation, lane, seq, util_payload_bytes(seq), &s->expect);
    assert_true(fb_bytes_equal(records, fb_buf_view(&s->expect)));
    return FB_OK;
}

static uint32_t recover(struct checking *c, const char *dir, struct batches *out,
                        uint64_t *generation)
{
    struct log_recovery r = {.dir = dir, .arg = out, .batch = see_batch};
    struct fb_err err;

    memset(out, 0, sizeof(*out));
    c->recoveries++;
    if (log_recover(&r, &err) != FB_OK)
        wrong(c, "recovery of the log", err.msg);
    *generation = r.last_generation;
    fb_buf_fini(&out->expect);
    return r.torn_tails;
}

static void check_batches(struct checking *c, const struct batches *b)
{
    for (uint64_t g = 1; g < UTIL_GENERATIONS_MAX; g++)
        for (uint32_t lane = 0; lane < LIFE_LANES; lane++) {
            const struct must *m = &c->must;
            char text[160];
            bool dropped = m->dropping && g < m->opened;
            snprintf(text, sizeof(text),
                     "generation %llu lane %u: %llu to %llu; synced %llu, written %llu, kept %llu",
                     (unsigned long long)g, lane, (unsigned long long)b->first[g][lane],
                     (unsigned long long)b->last[g][lane], (unsigned long long)m->synced[g][lane],
                     (unsigned long long)m->appending[g][lane],
                     (unsigned long long)m->trimming[g][lane]);
            if (b->last[g][lane] > m->appending[g][lane])
                wrong(c, "more than was written", text);
            if (!dropped && b->last[g][lane] < m->synced[g][lane])
                wrong(c, "something that was reported as synced is missing", text);
            if (!dropped && b->first[g][lane] > 1 && b->first[g][lane] > m->trimming[g][lane])
                wrong(c, "the beginning is missing", text);
        }
}

/* The start after the start: the same is there, and the log can be written to. */
static void check_start_again(struct checking *c, const char *dir, const struct batches *first,
                              uint64_t generation)
{
    struct log_config lc = {.dir = dir,
                            .lanes = LIFE_LANES,
                            .segment_bytes = LIFE_SEGMENT,
                            .generation = generation + 1,
                            .sync_interval_ms = 60000};
    struct batches again;
    struct fb_err err;
    struct log *log;

    if (log_open(&lc, &log, &err) != FB_OK)
        wrong(c, "the next generation of the log", err.msg);
    util_append(log, generation + 1, 0, 1, 2);
    log_close(log);
    if (recover(c, dir, &again, &generation) != 0)
        wrong(c, "second recovery", "a torn tail");
    if (again.last[lc.generation][0] != 2)
        wrong(c, "second recovery", "what was written since the first is missing");
    again.first[lc.generation][0] = again.last[lc.generation][0] = 0;
    if (memcmp(again.last, first->last, sizeof(again.last)) != 0 ||
        memcmp(again.first, first->first, sizeof(again.first)) != 0)
        wrong(c, "second recovery", "not the same as the first");
}

/* Records the same recovery again, on the same state. */
static void record_recovery(struct checking *c, const char *log_dir)
{
    struct batches b;
    uint64_t generation;
    crash_state_again(&c->plan);
    crash_record(c->plan.dir);
    (void)recover(c, log_dir, &b, &generation);
    c->torn[c->torn_count].record = crash_record_end();
    c->torn[c->torn_count++].must = c->must;
}

static void check_state(void *arg, size_t ops)
{
    struct checking *c = arg;
    struct data_dir d;
    struct batches b;
    struct fb_err err;
    char path[128];
    uint64_t generation;
    uint32_t torn;

    c->states++;
    if (!c->nested)
        must_until(&c->must, c->plan.record, ops);
    snprintf(path, sizeof(path), "%s/data", c->plan.dir);
    if (data_dir_open(path, life_cluster, "node-1", &d, &err) != FB_OK)
        wrong(c, "data directory", err.msg);
    if (!c->nested) {
        /* The marker of a clean stop: there once data_dir_close returned, gone once the next open
         * did, and in between it may be either. */
        if (d.was_clean && (c->must.closing == 0 || c->must.opened > c->must.closing))
            wrong(c, "clean marker", "of a directory that is in use");
        if (!d.was_clean && c->must.closed != 0 && c->must.opening == c->must.closed)
            wrong(c, "clean marker", "missing after a clean stop");
        if (d.was_clean && d.clean_inc != c->must.closing * 100)
            wrong(c, "clean marker", "of another incarnation");
    }
    check_snapshots(c, d.snapshot_path);
    torn = recover(c, d.log_path, &b, &generation);
    c->cut += torn;
    if (torn != 0 && d.was_clean)
        wrong(c, "clean marker", "but the log was not closed");
    check_batches(c, &b);
    data_dir_close(&d, 0);
    if (c->states % c->start_again_every == 0)
        check_start_again(c, d.log_path, &b, generation);
    else if (torn != 0 && c->torn_count < c->torn_max && c->cut % 61 == 0)
        record_recovery(c, d.log_path);
}

static bool long_form(void)
{
    return getenv("FB_CRASH_LONG") != NULL;
}

static uint64_t seed(void)
{
    const char *s = getenv("FB_CRASH_SEED");
    return s != NULL ? strtoull(s, NULL, 10) : 1;
}

static void power_loss(void **state)
{
    char root[64], scratch[64];
    struct crash_record record;
    struct crash_tally t, nested = {0};
    struct life l;
    struct data_dir d;
    bool more = long_form();
    struct checking c = {.start_again_every = more ? 3 : 9, .torn_max = more ? 400 : 20};
    (void)state;

    util_dir(root, sizeof(root));
    util_dir(scratch, sizeof(scratch));
    crash_record(root);
    life_begin(&l, &d, root, 1, 0);
    life_live(&l, &d, false);
    log_close(l.log);
    crash_note(NOTE_CLOSING, 1, 0);
    data_dir_close(&d, 100);
    crash_note(NOTE_CLOSED, 1, 0);
    life_begin(&l, &d, root, 2, l.version);
    life_live(&l, &d, true);
    record = crash_record_end();
    log_close(l.log);
    data_dir_close(&d, 0);

    c.torn = fb_xcalloc(c.torn_max, sizeof(*c.torn));
    c.plan = (struct crash_plan){.record = &record,
                                 .dir = scratch,
                                 .seed = seed(),
                                 .every = more ? 1 : 7,
                                 .all_below = more ? 11 : 6,
                                 .random = more ? 300 : 12,
                                 .regular_max = more ? 400 : 12,
                                 .pairs = more,
                                 .arg = &c,
                                 .check = check_state};
    t = crash_states(&c.plan);
    print_message(
        "%zu operations, %llu states, %llu distinct, at most %u parts in doubt; %llu torn "
        "tails cut; %llu recoveries\n",
        record.count, (unsigned long long)t.states, (unsigned long long)t.distinct, t.unsynced_max,
        (unsigned long long)c.cut, (unsigned long long)c.recoveries);
    assert_true(t.distinct > 2000 && c.cut > 300 && c.torn_count == c.torn_max);
    crash_record_free(&record);

    c.nested = true;
    c.start_again_every = 50;
    for (size_t i = 0; i < c.torn_count; i++) {
        c.plan.record = &c.torn[i].record;
        c.plan.every = 1;
        c.must = c.torn[i].must;
        t = crash_states(&c.plan);
        nested.states += t.states;
        nested.distinct += t.distinct;
        crash_record_free(&c.torn[i].record);
    }
    print_message("power loss during %zu recoveries: %llu states, %llu distinct\n", c.torn_count,
                  (unsigned long long)nested.states, (unsigned long long)nested.distinct);
    assert_true(nested.distinct > 5 * c.torn_count);

    util_remove(root);
    util_remove(scratch);
    free(c.torn);
}

/* A process that is killed leaves in the page cache what it had not synced; the next start relies
 * on it, and the power fails then. Killed before each sync of the fsync thread's; its file
 * descriptors and its thread stay behind, and never do anything again. */
static void power_loss_after_a_kill(void **state)
{
    bool more = long_form(), killed = true;
    struct checking c = {.start_again_every = 20};
    struct crash_tally sum = {0};
    uint64_t kills = 0;
    (void)state;

    for (uint64_t n = 1; killed; n++) {
        char root[64], scratch[64];
        struct life *first = fb_xcalloc(1, sizeof(*first)), second; /* its thread has `first` */
        struct data_dir d, d2;
        struct crash_record record;
        struct crash_tally t;

        util_dir(root, sizeof(root));
        util_dir(scratch, sizeof(scratch));
        crash_record(root);
        life_begin(first, &d, root, 1, 0);
        first->syncs_left = n;
        killed = !life_live(first, &d, false);
        crash_before_sync(NULL, NULL);
        close(d.lock_fd); /* the kernel's part of a kill */
        life_begin(&second, &d2, root, 2, first->version);
        life_append(&second, 0, 3);
        life_sync(&second, 0, 0, 0);
        record = crash_record_end();
        log_close(second.log);
        data_dir_close(&d2, 0);
        if (!killed) {
            log_close(first->log);
            free(first);
        }
        close(d.fd);
        kills += killed;

        c.plan = (struct crash_plan){.record = &record,
                                     .dir = scratch,
                                     .seed = seed() + n,
                                     .all_below = more ? 10 : 4,
                                     .random = more ? 100 : 4,
                                     .regular_max = more ? 200 : 5,
                                     .from_note = NOTE_OPENING,
                                     .from_note_a = 2,
                                     .arg = &c,
                                     .check = check_state};
        t = crash_states(&c.plan);
        sum.states += t.states;
        sum.distinct += t.distinct;
        crash_record_free(&record);
        util_remove(root);
        util_remove(scratch);
    }
    print_message("killed %llu times, then power loss: %llu states, %llu distinct\n",
                  (unsigned long long)kills, (unsigned long long)sum.states,
                  (unsigned long long)sum.distinct);
    assert_true(kills > 10 && sum.distinct > 200);
}

int main(void)
{
    fb_log_set_level(FB_LOG_ERROR); /* recovery explains what it cuts, thousands of times */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_loss),
        cmocka_unit_test(power_loss_after_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
