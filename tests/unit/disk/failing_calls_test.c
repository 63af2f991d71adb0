/* Goal: whichever call on a file fails, and how: the caller is told, or the process ends with one
 * line that names a path; never anything else; and the next start works and has everything that was
 * reported as synced before.
 * Method: two lives of a data directory and a look at its snapshots, in a child process, with call
 * number 1, 2, 3 ... failing with each of several errors, until a child meets no failure. */
#include "tests/unit/crash/failing.h"
#include "tests/unit/disk/disk_util.h"

#include "node/disk/data_dir.h"
#include "node/disk/dump.h"
#include "node/disk/snapshot.h"

#include "proto/base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#define LANES 2u

enum kind {
    PLAIN,
    HALF_MADE, /* an earlier start ended while it made the directory, and one while it made the log
                */
    FULL,      /* no room for new segments once the log is open */
    SPARSE,    /* a file system without preallocation */
    TORN,      /* the first life is cut off, and the end of its log has a hole */
    KINDS
};

struct shared {
    enum kind kind;
    char dir[96];
    _Atomic uint64_t synced[UTIL_GENERATIONS_MAX][LANES];
    _Atomic uint64_t snapshot; /* committed */
    uint64_t generation;       /* of the life at hand */
    uint64_t dropped;          /* generations up to this were trimmed */
};

static const uint8_t cluster[16] = "failing calls";

static void on_synced(void *arg, uint32_t lane, uint64_t seq)
{
    struct shared *s = arg;
    atomic_store(&s->synced[s->generation][lane], seq);
}

/* Appends until an error, at most up to `last`. */
static void append(struct log *log, uint64_t generation, uint32_t lane, uint64_t *seq, unsigned n)
{
    struct fb_buf b = {0};
    struct fb_err err;
    for (; n > 0; n--) {
        util_payload(generation, lane, *seq + 1, util_payload_bytes(*seq + 1), &b);
        if (log_append(log, lane, *seq + 1, fb_buf_view(&b), false, &err) == FB_OK ||
            log_append(log, lane, *seq + 1, fb_buf_view(&b), true, &err) == FB_OK)
            ++*seq;
    }
    fb_buf_fini(&b);
}

static void wait_synced(struct log *log, uint32_t lane, uint64_t seq)
{
    const struct timespec pause = {.tv_nsec = 50000};
    log_sync_soon(log, lane);
    while (log_synced_seq(log, lane) < seq)
        nanosleep(&pause, NULL);
}

static bool write_snapshot(const char *dir, uint64_t ver)
{
    struct snapshot_info info = {.part = 1, .start_ver = ver};
    struct snapshot_writer *w;
    struct fb_err err;
    if (snapshot_create(dir, &info, &w, &err) != FB_OK)
        return false;
    if (snapshot_append(w, fb_bytes_str("some items"), &err) != FB_OK) {
        snapshot_abandon(w);
        return false;
    }
    return snapshot_commit(w, 1, &err) == FB_OK;
}

static void look(const struct data_dir *d)
{
    struct snapshot_info *list, info;
    FILE *out = fopen("/dev/null", "w");
    struct fb_err err;
    size_t count;
    if (snapshot_list(d->snapshot_path, &list, &count, &err) == FB_OK) {
        for (size_t i = 0; i < count; i++) {
            char path[5000];
            (void)!snapshot_read(d->snapshot_path, list[i].name, &info, NULL, NULL, &err);
            snprintf(path, sizeof(path), "%s/%s", d->snapshot_path, list[i].name);
            (void)!disk_dump(path, DISK_DUMP_BLOCKS, out, &err);
        }
        free(list);
    }
    for (unsigned g = 1; g <= 2; g++) {
        char path[5000];
        snprintf(path, sizeof(path), "%s/%08x-00-00000001.seg", d->log_path, g);
        (void)!disk_dump(path, DISK_DUMP_BLOCKS, out, &err);
    }
    fclose(out);
}

static int one_life(struct shared *s, uint64_t generation)
{
    struct log_config c = {.lanes = LANES,
                           .segment_bytes = 4096,
                           .generation = generation,
                           .sync_interval_ms = 60000,
                           .arg = s,
                           .synced = on_synced};
    struct util_seen seen = {.first = 1};
    uint64_t seq[LANES] = {0};
    struct data_dir d;
    struct log *log = NULL;
    struct fb_err err;
    int rc = 1;

    s->generation = generation;
    if (data_dir_open(s->dir, cluster, "node-1", &d, &err) != FB_OK)
        return 1;
    c.dir = d.log_path;
    if (s->kind == HALF_MADE) {
        char path[4300];
        int fd;
        snprintf(path, sizeof(path), "%s/%08x-00-00000001.seg.tmp", d.log_path,
                 (unsigned)generation);
        fd = creat(path, 0600);
        if (fd >= 0)
            close(fd);
    }
    if (util_recover(d.log_path, &seen, NULL, &err) != FB_OK)
        goto out;
    if (log_open(&c, &log, &err) != FB_OK)
        goto out;
    if (s->kind == FULL)
        failing_always("fallocate", ENOSPC);
    append(log, generation, 0, &seq[0], 30);
    append(log, generation, 1, &seq[1], 3);
    wait_synced(log, 0, seq[0]);
    for (uint64_t i = 1; i <= 3; i++)
        if (write_snapshot(d.snapshot_path, generation * 10 + i))
            atomic_store(&s->snapshot, generation * 10 + i);
    append(log, generation, 0, &seq[0], 25);
    wait_synced(log, 0, seq[0]);
    s->dropped = s->kind == HALF_MADE ? generation - 1 : 0;
    (void)!log_trim(log, 0, seq[0] > 10 ? seq[0] - 10 : 0, s->kind == HALF_MADE, &err);
    look(&d);
    failing_always(NULL, 0);
    log_close(log);
    log = NULL;
    rc = 0;
out:
    fb_buf_fini(&seen.expect);
    data_dir_close(&d, rc == 0 ? generation : 0);
    return rc;
}

static int two_lives(void *arg)
{
    struct shared *s = arg;
    int rc;
    if (s->kind == SPARSE)
        failing_always("fallocate", EOPNOTSUPP);
    if (s->kind == TORN) /* the first was prepared */
        return one_life(s, 2);
    rc = one_life(s, 1);
    return rc != 0 ? rc : one_life(s, 2);
}

/* A life without an end, which never rolled a segment to the disk: two segments, the first with a
 * hole that nothing says was synced. */
static void prepare_torn(struct shared *s)
{
    static const char zeros[64];
    struct data_dir d;
    struct util_image im;
    struct fb_err err;
    struct log *log;
    size_t first = 0;

    assert_int_equal(data_dir_open(s->dir, cluster, "node-1", &d, &err), FB_OK);
    log = util_open(d.log_path, 1, LANES, 4096);
    util_append(log, 1, 0, 1, 50);
    util_image_take(&im, d.log_path);
    log_close(log);
    while (strcmp(im.file[first].name, "00000001-00-00000001.seg") != 0)
        first++;
    memcpy(im.file[first].p + 2000, zeros, sizeof(zeros));
    util_image_put(&im, d.log_path);
    util_image_free(&im);
    data_dir_close(&d, 0);
}

static void prepare(struct shared *s)
{
    char path[128];
    if (s->kind == TORN)
        prepare_torn(s);
    if (s->kind != HALF_MADE)
        return;
    assert_int_equal(mkdir(s->dir, 0700), 0);
    snprintf(path, sizeof(path), "%s/log", s->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/snapshot", s->dir);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* The next start, without a failure. */
static void check(struct shared *s, const char *what)
{
    struct util_seen seen = {.first = 1};
    struct snapshot_info *list, info;
    struct data_dir d;
    struct fb_err err;
    size_t count;

    if (data_dir_open(s->dir, cluster, "node-1", &d, &err) != FB_OK)
        fail_msg("%s: %s", what, err.msg);
    if (util_recover(d.log_path, &seen, NULL, &err) != FB_OK)
        fail_msg("%s: %s", what, err.msg);
    for (uint64_t g = s->dropped + 1; g <= 2; g++)
        for (uint32_t lane = 0; lane < LANES; lane++)
            if (seen.last[g][lane] < s->synced[g][lane])
                fail_msg("%s: generation %d lane %u has %d, synced was %d", what, (int)g, lane,
                         (int)seen.last[g][lane], (int)s->synced[g][lane]);
    if (snapshot_list(d.snapshot_path, &list, &count, &err) != FB_OK)
        fail_msg("%s: %s", what, err.msg);
    if (s->snapshot != 0 && (count == 0 || list[0].start_ver < s->snapshot))
        fail_msg("%s: snapshot %d is missing", what, (int)s->snapshot);
    for (size_t i = 0; i < count; i++)
        if (snapshot_read(d.snapshot_path, list[i].name, &info, NULL, NULL, &err) != FB_OK)
            fail_msg("%s: %s", what, err.msg);
    free(list);
    fb_buf_fini(&seen.expect);
    data_dir_close(&d, 0);
}

struct counts {
    unsigned ended, told, borne;
};

/* Call n of a life; false when there was no such call any more. */
static bool one_failure(struct shared *s, enum kind kind, unsigned n, int error, struct counts *c)
{
    char root[64], what[128];
    struct failing_end end;

    memset(s, 0, sizeof(*s));
    s->kind = kind;
    snprintf(s->dir, sizeof(s->dir), "%s/data", util_dir(root, sizeof(root)));
    prepare(s);
    end = failing_run(n, error, two_lives, s);
    snprintf(what, sizeof(what), "kind %d, call %u, %s, fails with %d", (int)kind, n, end.call,
             error);
    if (end.aborted && strstr(end.text, "msg=\"storage failed") == NULL)
        fail_msg("%s: ended by %s", what, end.text);
    if (!end.hit && (end.aborted || end.status != 0))
        fail_msg("without a failure: kind %d, status %d %s", (int)kind, end.status, end.text);
    c->ended += end.aborted;
    c->told += !end.aborted && end.status != 0;
    c->borne += !end.aborted && end.status == 0;
    check(s, what);
    util_remove(root);
    return end.hit;
}

static const char *const kind_name[KINDS] = {"plain", "half_made", "full", "sparse", "torn"};
static enum kind kind_at_hand;

/* EIO for each call of a plain life and of one on a full disk; the rest for some calls, in the long
 * form (FB_FAILING_LONG) for all. */
static void each_call_fails(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EINTR, FAILING_SHORT_COUNT, EACCES};
    enum kind kind = kind_at_hand;
    bool in_long = getenv("FB_FAILING_LONG") != NULL;
    unsigned step = in_long ? 1 : 19;
    struct shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct counts c = {0};
    (void)state;

    assert_true(s != MAP_FAILED);
    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        bool all = (kind == PLAIN || kind == FULL) && errors[e] == EIO;
        unsigned n = all ? 1 : 1 + (unsigned)((int)kind * 5 + (int)e) % step;
        while (one_failure(s, kind, n, errors[e], &c))
            n += all ? 1 : step;
        print_message("%s, error %d: %u calls\n", kind_name[kind], errors[e], n - 1);
    }
    print_message("%u ends with one line, %u told to the caller, %u borne\n", c.ended, c.told,
                  c.borne);
    if (in_long || kind == PLAIN || kind == FULL)
        assert_true(c.ended > 50 && c.told > 50 && c.borne > 50);
    assert_true(c.ended > 0 && c.told > 0 && c.borne > 0);
    munmap(s, sizeof(*s));
}

/* The kind of life is the argument: each is a test of its own, so that each ends in time. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_call_fails)};
    int kind = 0;

    while (kind < KINDS && (argc != 2 || strcmp(argv[1], kind_name[kind]) != 0))
        kind++;
    if (kind == KINDS) {
        fprintf(stderr, "usage: %s plain|half_made|full|sparse|torn\n", argv[0]);
        return 2;
    }
    kind_at_hand = (enum kind)kind;
    fb_log_set_level(FB_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
