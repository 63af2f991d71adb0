/* Start: snapshots, then the log, into the lanes. Shows progress in the log and on /statusz. */
#include "node/io/node.h"

#include "node/disk/snapshot.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/version.h"

#include <stdlib.h>

/* The newest snapshot of a partition that could not be used. */
struct damaged {
    uint64_t start_ver;
    char name[64];
};

struct recovery {
    struct damaged *damaged; /* by partition; no name = none */
    struct node *node;
    struct lane **lanes;
    uint64_t records;
    uint64_t last_report_ns;
};

static enum fb_status snapshot_items(void *arg, uint16_t part, struct fb_bytes items,
                                     struct fb_err *err)
{
    struct recovery *r = arg;
    return lane_recover_snapshot(r->lanes[node_lane_of(r->node, part)], part, items, err);
}

/* The newest snapshot of each partition that is whole; a damaged one is named and the one before it
 * is taken (the log behind it is still there). */
static enum fb_status recover_snapshots(struct recovery *r, struct fb_err *err)
{
    struct snapshot_info *list = NULL;
    size_t count = 0;
    int loaded_part = -1;
    enum fb_status s = snapshot_list(r->node->dir.snapshot_path, &list, &count, err);

    for (size_t i = 0; s == FB_OK && i < count; i++) {
        struct snapshot_info info;
        if (list[i].part >= r->node->partitions) {
            s = fb_err_set(err, FB_ECORRUPT,
                           "snapshot %s is of partition %u but the cluster has %u partitions",
                           list[i].name, list[i].part, r->node->partitions);
            break;
        }
        if ((int)list[i].part == loaded_part)
            continue;
        s = snapshot_read(r->node->dir.snapshot_path, list[i].name, &info, NULL, NULL, err);
        if (s == FB_ECORRUPT) {
            struct damaged *d = &r->damaged[list[i].part];
            FB_LOG(WARN, "snapshot is damaged, taking the one before it",
                   FB_KS("file", list[i].name), FB_KS("error", err->msg));
            if (d->name[0] == '\0') {
                d->start_ver = list[i].start_ver;
                memcpy(d->name, list[i].name, sizeof(d->name));
            }
            s = FB_OK;
            continue;
        }
        if (s == FB_OK)
            s = snapshot_read(r->node->dir.snapshot_path, list[i].name, &info, snapshot_items, r,
                              err);
        if (s == FB_OK)
            loaded_part = list[i].part;
    }
    free(list);
    return s;
}

static enum fb_status log_batch(void *arg, uint64_t generation, uint32_t lane, uint64_t seq,
                                struct fb_bytes records, struct fb_err *err)
{
    struct recovery *r = arg;
    struct fb_reader in = fb_reader(records);

    while (in.n > 0) {
        struct fb_record rec;
        enum fb_status s = fb_record_decode(&in, &rec);
        if (s == FB_OK && rec.part >= r->node->partitions)
            s = FB_EPROTO;
        if (s != FB_OK)
            return fb_err_set(err, FB_ECORRUPT,
                              "log generation %llu lane %u batch %llu: record is malformed",
                              (unsigned long long)generation, lane, (unsigned long long)seq);
        s = lane_recover_record(r->lanes[node_lane_of(r->node, rec.part)], &rec, err);
        if (s != FB_OK)
            return fb_err_wrap(err, s, "log generation %llu lane %u batch %llu",
                               (unsigned long long)generation, lane, (unsigned long long)seq);
        r->records++;
    }
    return FB_OK;
}

static void log_progress(void *arg, uint64_t done, uint64_t total)
{
    struct recovery *r = arg;
    uint64_t now = fb_mono_ns();
    atomic_store(&r->node->recovered_bytes, done);
    atomic_store(&r->node->recovery_total_bytes, total);
    if (now - r->last_report_ns < UINT64_C(1000000000))
        return;
    r->last_report_ns = now;
    FB_LOG(INFO, "recovering", FB_KU("bytes", done), FB_KU("of", total),
           FB_KU("percent", total ? done * 100 / total : 100));
}

/* An older snapshot and the log behind it must come at least to where a damaged one began, or else
 * what only that one had is gone. */
static enum fb_status check_damaged(void *arg, struct fb_err *err)
{
    const struct recovery *r = arg;

    for (uint32_t p = 0; p < r->node->partitions; p++) {
        const struct damaged *d = &r->damaged[p];
        struct lane *lane = r->lanes[node_lane_of(r->node, (uint16_t)p)];
        if (d->name[0] != '\0' && lane_last_ver(lane, (uint16_t)p) < d->start_ver)
            return fb_err_set(err, FB_ECORRUPT,
                              "snapshot %s/%s is damaged, and neither an older one nor the log has "
                              "what was in it. Check the disk and keep a copy; then put the file "
                              "back from a backup, or start with an empty data_dir (changes not "
                              "yet in PostgreSQL are lost)",
                              r->node->dir.snapshot_path, d->name);
    }
    return FB_OK;
}

enum fb_status node_recover(struct node *n, struct lane **lanes, uint64_t *last_generation,
                            struct fb_err *err)
{
    struct recovery r = {.node = n, .lanes = lanes, .last_report_ns = fb_mono_ns()};
    struct log_recovery lr = {.dir = n->dir.log_path,
                              .arg = &r,
                              .batch = log_batch,
                              .complete = check_damaged,
                              .progress = log_progress};
    uint64_t start = fb_mono_ns();
    enum fb_status s;

    r.damaged = fb_xcalloc(n->partitions, sizeof(*r.damaged));
    s = recover_snapshots(&r, err);
    if (s == FB_OK)
        s = log_recover(&lr, err);
    free(r.damaged);
    if (s != FB_OK)
        return fb_err_wrap(err, s, "recover %s", n->dir.path);
    for (uint32_t i = 0; i < n->worker_count; i++)
        lane_recovered(lanes[i]);
    for (uint32_t p = 0; p < n->partitions; p++) {
        const struct lane *lane = lanes[node_lane_of(n, (uint16_t)p)];
        n->recovered_parts[p].last_ver = lane_last_ver(lane, (uint16_t)p);
        n->recovered_parts[p].history = lane_history(lane, (uint16_t)p);
        n->last_epoch[p] = fb_ver_epoch(n->recovered_parts[p].last_ver);
    }
    *last_generation = lr.last_generation;
    n->recovery_ms = (fb_mono_ns() - start) / 1000000;
    if (r.records > 0)
        FB_LOG(INFO, "recovered", FB_KU("records", r.records), FB_KU("log_bytes", lr.bytes),
               FB_KU("torn_tails", lr.torn_tails), FB_KU("ms", n->recovery_ms));
    return FB_OK;
}
