/* The log loses only what snapshots have: of a segment that is deleted nothing may be above the
 * newest snapshot of its partition (I13). */
#include "tests/sim/node_check_impl.h"

#include "node/disk/log_internal.h"

static bool is_there(const struct node_check *c, const struct batch *b)
{
    char name[LOG_NAME_BYTES];
    log_name_format(name, b->generation, b->lane, b->segment);
    return fs_child(c->proc->fs, b->dir, name) == b->file;
}

static void deleted(const struct node_check *c, const struct batch *b)
{
    for (uint32_t i = 0; i < b->mark_n; i++) {
        const struct mark *m = &c->marks[b->first_mark + i];
        const struct part_view *v = &c->parts[m->part];
        /* what a loss had taken before is not looked for */
        if (m->ver > v->saved && node_check_seen(v, m->ver) != NULL)
            sim_violation(c->sim, "I13",
                          "the log is trimmed up to version %u/%llu of partition %u, whose newest "
                          "snapshot begins at %u/%llu",
                          fb_ver_epoch(m->ver), (unsigned long long)fb_ver_counter(m->ver), m->part,
                          fb_ver_epoch(v->saved), (unsigned long long)fb_ver_counter(v->saved));
    }
}

enum fb_status __wrap_log_trim(struct log *log, uint32_t lane, uint64_t keep_seq, bool drop_older,
                               struct fb_err *err);
enum fb_status __real_log_trim(struct log *log, uint32_t lane, uint64_t keep_seq, bool drop_older,
                               struct fb_err *err);
enum fb_status __wrap_log_trim(struct log *log, uint32_t lane, uint64_t keep_seq, bool drop_older,
                               struct fb_err *err)
{
    struct node_check *c = node_check_mine();
    uint32_t n = c->batch_n; /* others are written meanwhile */
    enum fb_status s;

    if (ledger_copies(c->ledger)) /* what is lost here, others have */
        return __real_log_trim(log, lane, keep_seq, drop_older, err);
    for (uint32_t i = 0; i < n; i++)
        c->batches[i].kept = !c->batches[i].trimmed && is_there(c, &c->batches[i]);
    s = __real_log_trim(log, lane, keep_seq, drop_older, err);
    for (uint32_t i = 0; i < n; i++) {
        struct batch *b = &c->batches[i];
        if (!b->kept || is_there(c, b))
            continue;
        b->trimmed = true;
        deleted(c, b);
    }
    return s;
}
