/* A snapshot is only there when the log has on disk what it shows: half of a group would be left by
 * a power loss, and objects whose older version the snapshot has not and whose newer one the log
 * has not (I13, I14). */
#include "tests/sim/node_check_impl.h"

#include "node/disk/log_format.h"
#include "node/disk/log_internal.h"
#include "node/disk/snapshot.h"

enum fb_status __wrap_snapshot_create(const char *dir, const struct snapshot_info *info,
                                      struct snapshot_writer **out, struct fb_err *err);
enum fb_status __real_snapshot_create(const char *dir, const struct snapshot_info *info,
                                      struct snapshot_writer **out, struct fb_err *err);
enum fb_status __wrap_snapshot_create(const char *dir, const struct snapshot_info *info,
                                      struct snapshot_writer **out, struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    c->snapshot.part = info->part;
    c->snapshot.start = c->snapshot.shown = info->start_ver;
    return __real_snapshot_create(dir, info, out, err);
}

enum fb_status __wrap_snapshot_append(struct snapshot_writer *w, struct fb_bytes items,
                                      struct fb_err *err);
enum fb_status __real_snapshot_append(struct snapshot_writer *w, struct fb_bytes items,
                                      struct fb_err *err);
enum fb_status __wrap_snapshot_append(struct snapshot_writer *w, struct fb_bytes items,
                                      struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    struct fb_reader in = fb_reader(items);
    while (in.n > 0) {
        struct fb_record r;
        if (fb_record_decode(&in, &r) != FB_OK)
            sim_violation(c->sim, "record", "a snapshot holds what is no record");
        if (r.ver > c->snapshot.shown)
            c->snapshot.shown = r.ver;
    }
    return __real_snapshot_append(w, items, err);
}

/* What a slice shows is in the log: it is taken between two ticks. (For a copy it is taken within
 * one, and shows what is committed.) */
void __wrap_lane_snapshot_slice(struct lane *l, struct lane_snapshot *s, struct fb_buf *out,
                                size_t max_bytes);
void __real_lane_snapshot_slice(struct lane *l, struct lane_snapshot *s, struct fb_buf *out,
                                size_t max_bytes);
void __wrap_lane_snapshot_slice(struct lane *l, struct lane_snapshot *s, struct fb_buf *out,
                                size_t max_bytes)
{
    struct node_check *c = node_check_mine();
    if (!ledger_copies(c->ledger) && (l->fx.log.n > 0 || l->pending.n > 0))
        sim_violation(
            c->sim, "I13",
            "a slice of a snapshot of partition %u is taken while records of the tick are "
            "not in the log",
            s->part);
    __real_lane_snapshot_slice(l, s, out, max_bytes);
}

static bool batch_durable(const struct node_check *c, const struct batch *b)
{
    char name[LOG_NAME_BYTES];
    log_name_format(name, b->generation, b->lane, b->segment);
    if (b->checked || fs_child(c->proc->fs, b->dir, name) == NULL)
        return true; /* it was, or it was trimmed */
    return fs_durable(b->file, b->at, b->n) && fs_name_durable(c->proc->fs, b->dir, name);
}

enum fb_status __wrap_snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms,
                                      struct fb_err *err);
enum fb_status __real_snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms,
                                      struct fb_err *err);
enum fb_status __wrap_snapshot_commit(struct snapshot_writer *w, uint64_t wall_ms,
                                      struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    uint16_t part = c->snapshot.part;
    uint64_t start = c->snapshot.start;
    enum fb_status s;
    uint64_t before = c->parts[part].recovered; /* the last version in the batches before */
    for (uint32_t i = c->first_batch;
         i < c->batch_n && !c->proc->fs->lied && !c->parts[part].parted; i++) {
        const struct batch *b = &c->batches[i];
        for (uint32_t k = 0; k < b->mark_n && before < c->snapshot.shown; k++) {
            const struct mark *m = &c->marks[b->first_mark + k];
            if (m->part != part)
                continue;
            if (!batch_durable(c, b))
                sim_violation(c->sim, "I18",
                              "a snapshot of partition %u shows version %u/%llu and gets its name; "
                              "of the log that is on disk up to %u/%llu",
                              part, fb_ver_epoch(c->snapshot.shown),
                              (unsigned long long)fb_ver_counter(c->snapshot.shown),
                              fb_ver_epoch(before), (unsigned long long)fb_ver_counter(before));
            before = m->ver;
        }
    }
    s = __real_snapshot_commit(w, wall_ms, err);
    if (s == FB_OK)
        c->parts[part].saved = start;
    return s;
}
