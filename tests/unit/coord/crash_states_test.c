/* Goal: whatever a power loss leaves of a file coordinator, at any moment, the store opens and is
 * one of the states that were committed, whole, and not older than any that was reported: to the
 * one who wrote it, or to one who merely read it.
 *
 * Method: two writers, deletions, refused compares, sessions and a reader that looks in the middle
 * of a commit (after the rename, before the directory is synced) are recorded and every state is
 * rebuilt (unit/crash). The long form takes all subsets of more parts:  FB_CRASH_LONG=1. */
#include "tests/unit/crash/states.h"

#include "proto/base/buf.h"
#include "proto/base/hash.h"
#include "proto/coord/coord.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define REVISIONS_MAX 64u

enum note {
    NOTE_COMMITTING, /* b = revision it will have */
    NOTE_COMMITTED,  /* a writer was told so */
    NOTE_SEEN,       /* a reader was told so */
};

struct store {
    char url[128];
    struct fb_coord *writer[2], *reader;
    uint64_t content[REVISIONS_MAX]; /* fingerprint of each revision */
    uint64_t revision;
    uint64_t looks;
};

static uint64_t content_of(struct fb_coord *c, uint64_t *revision)
{
    struct fb_coord_list l;
    struct fb_err err;
    uint64_t h = 1;
    if (fb_coord_list(c, "", &l, &err) != FB_OK)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < l.count; i++) {
        h = fb_hash64(l.kv[i].key, strlen(l.kv[i].key), h + l.kv[i].rev);
        h = fb_hash64(l.kv[i].value.p, l.kv[i].value.n, h);
    }
    *revision = l.rev;
    fb_coord_list_free(&l);
    return h;
}

/* Before each sync of the writer: somebody else looks. */
static void look(void *arg)
{
    struct store *s = arg;
    uint64_t revision;
    static bool busy; /* the look itself may sync */
    if (busy)
        return;
    busy = true;
    s->looks++;
    (void)content_of(s->reader, &revision);
    crash_note(NOTE_SEEN, 0, revision);
    busy = false;
}

static void commit(struct store *s, unsigned writer, const struct fb_coord_op *ops, size_t count)
{
    struct fb_err err;
    uint64_t revision;
    crash_note(NOTE_COMMITTING, 0, s->revision + 1);
    crash_before_sync(s->reader != NULL ? look : NULL, s);
    if (fb_coord_txn(s->writer[writer], ops, count, &revision, &err) != FB_OK)
        fail_msg("%s", err.msg);
    crash_before_sync(NULL, NULL);
    crash_note(NOTE_COMMITTED, 0, revision);
    assert_int_equal(revision, ++s->revision);
    s->content[revision] = content_of(s->writer[writer], &revision);
    assert_int_equal(revision, s->revision);
}

static void live(struct store *s)
{
    struct fb_err err;
    char text[1500];
    struct fb_coord_op one = {.key = "meta", .value = fb_bytes_str("first")};
    uint64_t revision;

    crash_note(NOTE_COMMITTING, 0, 1);
    assert_int_equal(fb_coord_open(s->url, true, &s->writer[0], &err), FB_OK);
    crash_note(NOTE_COMMITTED, 0, 1);
    s->revision = 1;
    s->content[1] = content_of(s->writer[0], &revision);
    commit(s, 0, &one, 1);
    assert_int_equal(fb_coord_open(s->url, false, &s->writer[1], &err), FB_OK);
    assert_int_equal(fb_coord_open(s->url, false, &s->reader, &err), FB_OK);
    assert_int_equal(fb_coord_session(s->writer[1], "node/node-1", &err), FB_OK);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (unsigned i = 0; i < 6; i++) {
        char key[16];
        struct fb_coord_op ops[2] = {
            {.key = key, .rev = 0, .value = fb_bytes_str("some")},
            {.key = "part/0", .rev = UINT64_MAX, .value = fb_bytes_str(text + i * 200)},
        };
        snprintf(key, sizeof(key), "part/%u", i + 1);
        ops[0].session = i % 2 == 1;
        commit(s, i % 2, ops, 2);
        assert_int_equal(fb_coord_txn(s->writer[0], ops, 2, NULL, &err), FB_EMISMATCH);
    }
    commit(s, 1, &(struct fb_coord_op){.key = "part/2", .rev = UINT64_MAX}, 1);
    fb_coord_close(s->writer[1]); /* the session ends */
    s->writer[1] = s->writer[0];
    commit(s, 0, &(struct fb_coord_op){.key = "meta", .rev = 2, .value = fb_bytes_str("z")}, 1);
}

struct checking {
    struct crash_plan plan;
    const struct store *store;
    uint64_t newest, oldest, absent; /* how the states ended */
};

static void check(void *arg, size_t ops)
{
    struct checking *c = arg;
    uint64_t committing = 0, reported = 0, revision, content;
    struct fb_coord *coord;
    struct fb_err err;
    char url[128];
    enum fb_status s;

    for (size_t i = 0; i < ops; i++) {
        const struct crash_op *op = &c->plan.record->ops[i];
        if (op->kind == CRASH_NOTE && op->note == NOTE_COMMITTING)
            committing = op->b;
        else if (op->kind == CRASH_NOTE && op->b > reported)
            reported = op->b;
    }
    snprintf(url, sizeof(url), "file://%s/store", c->plan.dir);
    s = fb_coord_open(url, false, &coord, &err);
    if (s == FB_ENOENT && reported == 0) { /* its making was never reported: it can be made again */
        c->absent++;
        if (fb_coord_open(url, true, &coord, &err) != FB_OK)
            fail_msg("%s", err.msg);
        fb_coord_close(coord);
        return;
    }
    if (s != FB_OK) {
        crash_state_print(&c->plan);
        fail_msg("%s", err.msg);
    }
    content = content_of(coord, &revision);
    if (revision < reported || revision > committing || content != c->store->content[revision]) {
        crash_state_print(&c->plan);
        fail_msg("revision %llu; %llu was reported, %llu begun", (unsigned long long)revision,
                 (unsigned long long)reported, (unsigned long long)committing);
    }
    c->newest += revision == committing;
    c->oldest += revision < committing;
    /* and it goes on from there */
    if (fb_coord_cas(coord, "meta", UINT64_MAX, fb_bytes_str("on"), &content, &err) != FB_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(content, revision + 1);
    fb_coord_close(coord);
}

static char *own_dir(char *out, size_t n)
{
    snprintf(out, n, "%s/forebay-coord-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}

static void power_loss(void **state)
{
    bool more = getenv("FB_CRASH_LONG") != NULL;
    const char *seed = getenv("FB_CRASH_SEED");
    struct store s = {0};
    char root[64], scratch[64];
    struct crash_record record;
    struct crash_tally t;
    struct checking c = {.store = &s};
    (void)state;

    own_dir(root, sizeof(root));
    own_dir(scratch, sizeof(scratch));
    snprintf(s.url, sizeof(s.url), "file://%s/store", root);
    crash_record(root);
    live(&s);
    record = crash_record_end();
    fb_coord_close(s.writer[0]);
    fb_coord_close(s.reader);

    c.plan = (struct crash_plan){.record = &record,
                                 .dir = scratch,
                                 .seed = seed != NULL ? strtoull(seed, NULL, 10) : 1,
                                 .every = 1,
                                 .all_below = more ? 14 : 7,
                                 .random = more ? 2000 : 20,
                                 .regular_max = 64,
                                 .pairs = more,
                                 .arg = &c,
                                 .check = check};
    t = crash_states(&c.plan);
    print_message("%zu operations, %llu states, %llu distinct, at most %u parts in doubt: "
                  "%llu absent, %llu the commit in flight, %llu the one before; %llu looks\n",
                  record.count, (unsigned long long)t.states, (unsigned long long)t.distinct,
                  t.unsynced_max, (unsigned long long)c.absent, (unsigned long long)c.newest,
                  (unsigned long long)c.oldest, (unsigned long long)s.looks);
    assert_true(c.absent > 5 && c.newest > 100 && c.oldest > 100 && s.looks > 10);
    crash_record_free(&record);
    crash_remove(root);
    crash_remove(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(power_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
