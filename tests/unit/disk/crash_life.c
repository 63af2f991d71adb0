/* See crash_life.h. */
#include "tests/unit/disk/crash_life.h"
#include "tests/unit/crash/recorder.h"

#include "node/disk/snapshot.h"

static void on_synced(void *arg, uint32_t lane, uint64_t seq)
{
    const struct life *l = arg;
    crash_note(NOTE_SYNCED, l->number << 8 | lane, seq);
}

void life_append(struct life *l, uint32_t lane, unsigned count)
{
    while (count-- > 0) {
        l->seq[lane]++;
        crash_note(NOTE_APPENDING, l->number << 8 | lane, l->seq[lane]);
        util_append(l->log, l->number, lane, l->seq[lane], l->seq[lane]);
    }
}

/* In the fsync thread, before each of its syncs: the writer's turn. */
static void give_turn(void *arg)
{
    struct life *l = arg;
    if (pthread_equal(pthread_self(), l->writer))
        return;
    sem_post(&l->syncing);
    sem_wait(&l->go_on);
}

void life_sync(struct life *l, uint32_t lane, unsigned more, unsigned turns)
{
    uint64_t goal = l->seq[lane];
    struct timespec pause = {.tv_nsec = 50000};
    crash_before_sync(give_turn, l);
    log_sync_soon(l->log, lane);
    while (log_synced_seq(l->log, lane) < goal) {
        if (sem_trywait(&l->syncing) != 0) {
            nanosleep(&pause, NULL);
            continue;
        }
        if (l->syncs_left > 0 && --l->syncs_left == 0) {
            l->dead = true;
            break;
        }
        if (turns > 0) {
            turns--;
            life_append(l, lane, more);
        }
        sem_post(&l->go_on);
    }
    crash_before_sync(NULL, NULL);
}

static void snapshot(struct life *l, const char *dir)
{
    struct snapshot_info info = {.part = LIFE_PART, .generation = l->number};
    struct snapshot_writer *w;
    struct fb_buf b = {0};
    struct fb_err err;

    l->version += 10;
    info.start_ver = l->version;
    info.start_log_seq = l->seq[0];
    crash_note(NOTE_SNAPSHOT_BEGUN, 0, l->version);
    assert_int_equal(snapshot_create(dir, &info, &w, &err), FB_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        util_payload(l->version, LIFE_PART, i, 400, &b);
        assert_int_equal(snapshot_append(w, fb_buf_view(&b), &err), FB_OK);
    }
    assert_int_equal(snapshot_commit(w, 1, &err), FB_OK);
    crash_note(NOTE_SNAPSHOT, 0, l->version);
    fb_buf_fini(&b);
}

/* The same version again, as of a partition that nobody wrote to. */
static void snapshot_again(struct life *l, const char *dir)
{
    l->version -= 10;
    snapshot(l, dir);
}

static void trim(struct life *l, uint32_t lane, uint64_t keep, bool older)
{
    struct fb_err err;
    crash_note(NOTE_TRIMMING, l->number << 8 | lane, keep);
    if (older)
        crash_note(NOTE_DROPPING, l->number, 0);
    assert_int_equal(log_trim(l->log, lane, keep, older, &err), FB_OK);
}

const uint8_t life_cluster[16] = "crash states";

void life_begin(struct life *l, struct data_dir *d, const char *root, uint64_t number,
                uint64_t version)
{
    char path[128];
    struct util_seen seen = {.first = 1};
    struct fb_err err;
    struct log_config c = {.lanes = LIFE_LANES,
                           .segment_bytes = LIFE_SEGMENT,
                           .generation = number,
                           .sync_interval_ms = 60000,
                           .arg = l,
                           .synced = on_synced};

    *l = (struct life){.number = number, .version = version, .writer = pthread_self()};
    sem_init(&l->syncing, 0, 0);
    sem_init(&l->go_on, 0, 0);
    snprintf(path, sizeof(path), "%s/data", root);
    crash_note(NOTE_OPENING, number, 0);
    if (data_dir_open(path, life_cluster, "node-1", d, &err) != FB_OK)
        fail_msg("%s", err.msg);
    crash_note(NOTE_OPENED, number, 0);
    assert_int_equal(util_recover(d->log_path, &seen, NULL, &err), FB_OK);
    for (uint64_t g = 1; g < number; g++) /* what was replayed will be served, so it must stay */
        for (uint32_t lane = 0; lane < LIFE_LANES; lane++)
            if (seen.last[g][lane] != 0)
                crash_note(NOTE_SYNCED, g << 8 | lane, seen.last[g][lane]);
    c.dir = d->log_path;
    assert_int_equal(log_open(&c, &l->log, &err), FB_OK);
    fb_buf_fini(&seen.expect);
}

bool life_live(struct life *l, const struct data_dir *d, bool older)
{
    life_append(l, 0, 12);
    life_append(l, 1, 5);
    life_sync(l, 0, 9, 3);
    life_append(l, 1, 9);
    if (!l->dead)
        life_sync(l, 1, 2, 1);
    if (l->dead)
        return false;
    snapshot(l, d->snapshot_path);
    life_append(l, 0, 31); /* rolls twice without a sync */
    life_sync(l, 0, 10, 4);
    if (l->dead)
        return false;
    snapshot(l, d->snapshot_path);
    life_append(l, 0, 6);
    life_sync(l, 0, 0, 0);
    if (l->dead)
        return false;
    trim(l, 0, l->seq[0] - 20, older);
    snapshot_again(l, d->snapshot_path);
    snapshot(l, d->snapshot_path);
    snapshot_again(l, d->snapshot_path);
    trim(l, 0, l->seq[0], older);
    life_append(l, 0, 14);
    life_append(l, 1, 7);
    return true;
}
