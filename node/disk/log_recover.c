/* Recovery: checks and replays every segment, tells a torn tail from corruption, seals what the
 * last start left open.
 *
 * Nothing is changed on disk before every segment was read and found good; then later segments that
 * hold nothing are removed and open ones are sealed where their batches end. So after a recovery
 * every segment on disk is sealed and synced, and only the newest generation can ever have a torn
 * tail.
 */
#include "node/disk/file.h"
#include "node/disk/log.h"
#include "node/disk/log_scan.h"
#include "node/disk/log_segment.h"

#include "proto/base/buf.h"
#include "proto/base/log.h"
#include "proto/base/mutant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PROGRESS_BYTES (UINT64_C(16) << 20)

/* To do once everything is found good. */
struct repair {
    const struct log_file *file;
    bool remove;
    bool sealed; /* it has its footer, which the process that died may not have synced */
    struct log_footer footer;
    uint64_t salt;
};

/* One lane of one generation. */
struct lane_scan {
    size_t first, end; /* files[first..end) */
    bool newest;       /* generation */
    bool any_header;
    uint64_t expect; /* next sequence */
    uint64_t synced_max;
    struct log_segment_header header; /* of the segment at hand; its salt is the lane's */
    bool sealed;                      /* the segment at hand */
    uint64_t batches;                 /* in it */
    uint64_t chain;
    uint64_t offset; /* in it */
    bool cut;        /* a torn tail was found: the lane ends at `offset` of the segment at hand */
};

struct recovery {
    struct log_recovery *r;
    struct log_file *files;
    size_t count;
    struct log_image image;
    uint8_t marks[LOG_LANES_MAX * LOG_MARK_BYTES]; /* zeros where there are none */
    struct repair *repairs;
    size_t repair_count;
    uint64_t done_bytes;
    uint64_t total_bytes;
    uint64_t shown_bytes;
};

static enum fb_status corrupt(const struct recovery *c, const struct log_file *f, uint64_t offset,
                              const char *what, struct fb_err *err)
{
    return fb_err_set(err, FB_ECORRUPT,
                      "log %s/%s is corrupt at offset %llu: %s. Nothing was changed. Check the "
                      "disk and keep a copy; then put the "
                      "file back from a backup, or start with an empty data_dir (changes not yet "
                      "in PostgreSQL are lost)",
                      c->r->dir, f->name, (unsigned long long)offset, what);
}

static void progress(struct recovery *c, uint64_t add)
{
    c->done_bytes += add;
    if (c->r->progress != NULL &&
        (c->done_bytes - c->shown_bytes >= PROGRESS_BYTES || c->done_bytes == c->total_bytes)) {
        c->shown_bytes = c->done_bytes;
        c->r->progress(c->r->arg, c->done_bytes, c->total_bytes);
    }
}

static void repair_later(struct recovery *c, const struct log_file *f, const struct lane_scan *l,
                         bool more)
{
    struct repair *p = &c->repairs[c->repair_count++];
    *p = (struct repair){.file = f, .salt = l->header.salt};
    p->footer = (struct log_footer){.more = more,
                                    .generation = f->generation,
                                    .lane = f->lane,
                                    .segment = f->segment,
                                    .batches = l->batches,
                                    .last_seq = l->expect - 1,
                                    .offset = l->offset,
                                    .chain = l->chain};
}

/* Segment `k` has no good batch at `offset` where sequence l->expect should be. PROTOCOL 16
 * decides. */
static enum fb_status judge(struct recovery *c, struct lane_scan *l, size_t k, uint64_t offset,
                            bool proven, struct fb_err *err)
{
    const struct log_file *f = &c->files[k];
    struct log_behind behind = {0};
    struct log_segment_header h = l->header;

    if (!l->newest)
        return corrupt(c, f, offset,
                       "a bad batch in a generation that was complete when the next one began",
                       err);
    for (size_t i = k; i < l->end; i++) {
        enum fb_status s = log_image_read(&c->image, c->r->dir, &c->files[i], err);
        if (s != FB_OK)
            return s;
        h.segment = c->files[i].segment;
        log_look_behind(&c->image, i == k ? offset : 0, &h, &behind);
        /* Good batches behind alone prove nothing: what was not synced gets to the disk in any
         * order, and a power loss leaves holes. A footer does: everything before it was synced. */
        if (behind.footer)
            return corrupt(c, f, offset,
                           i == k ? "a bad batch in a sealed segment"
                                  : "a bad batch, and a sealed segment behind it",
                           err);
        if ((behind.synced_max >= l->expect || l->synced_max >= l->expect) &&
            !FB_MUTANT(recover_cuts_synced))
            return corrupt(c, f, offset, "a bad batch that had been synced", err);
        if (i == k && proven && c->files[k].bytes != l->header.segment_bytes)
            return corrupt(c, f, c->files[k].bytes, "the file was cut short", err);
    }
    l->cut = true;
    if (behind.seq_max >= l->expect)
        FB_LOG(WARN, "the unsynced end of the log has a hole, as a power loss leaves it: cut there",
               FB_KS("file", f->name), FB_KU("offset", offset), FB_KU("from_batch", l->expect),
               FB_KU("to_batch", behind.seq_max));
    return FB_OK;
}

/* The same for the end of segment `k`, which is not sealed and has nothing bad in it: what follows
 * does not continue it. */
static enum fb_status judge_end(struct recovery *c, struct lane_scan *l, size_t k,
                                struct fb_err *err)
{
    enum fb_status s = judge(c, l, k, l->offset, false, err);
    c->r->torn_tails += l->cut;
    return s;
}

static enum fb_status check_header(struct recovery *c, struct lane_scan *l, size_t k,
                                   const struct log_segment_header *h, struct fb_err *err)
{
    const struct log_file *f = &c->files[k];
    if (h->generation != f->generation || h->lane != f->lane || h->segment != f->segment)
        return corrupt(c, f, 0, "name and header do not fit: the file was renamed or copied", err);
    if (l->any_header && (h->salt != l->header.salt || h->lanes != l->header.lanes))
        return corrupt(c, f, 0, "the header is of another log", err);
    if (h->segment == 1 && h->first_seq != 1)
        return corrupt(c, f, 0, "the first segment does not begin with sequence 1", err);
    if (h->lane >= h->lanes || h->first_seq == 0 || h->segment_bytes > LOG_SEGMENT_BYTES_MAX)
        return corrupt(c, f, 0, "the header is out of range", err);
    return FB_OK;
}

static enum fb_status check_footer(struct recovery *c, struct lane_scan *l, size_t k,
                                   const struct log_footer *t, struct fb_err *err)
{
    const struct log_file *f = &c->files[k];
    if (t->batches != l->batches || t->last_seq != l->expect - 1 || t->chain != l->chain)
        return corrupt(c, f, l->offset, "the totals of the footer do not match", err);
    if (t->more && k + 1 == l->end)
        return corrupt(c, f, l->offset, "the segment that follows this one is missing", err);
    if (!t->more && k + 1 < l->end)
        return corrupt(c, f, l->offset, "a segment follows the last one of its lane", err);
    return FB_OK;
}

/* Does the segment behind `k` begin with the sequence that is expected here? Then no batch of this
 * one is missing, and what is bad behind the last is a footer that a kill tore: segments are sealed
 * after the next one has begun. Overwrites the image. */
static bool next_continues(struct recovery *c, const struct lane_scan *l, size_t k)
{
    struct log_segment_header h;
    struct fb_err ignored = {0};
    return l->newest && k + 1 < l->end && c->files[k + 1].segment == c->files[k].segment + 1 &&
           log_image_read(&c->image, c->r->dir, &c->files[k + 1], &ignored) == FB_OK &&
           c->image.n >= LOG_HEADER_BYTES &&
           log_segment_header_decode(c->image.p, &h, &ignored) == FB_OK &&
           h.salt == l->header.salt && h.first_seq == l->expect;
}

/* For the mutant recover_cut_last: is nothing behind this batch? */
static bool last_of_log(const struct recovery *c, const struct lane_scan *l,
                        const struct log_item *item)
{
    struct log_item next;
    log_item_at(&c->image, l->offset + item->bytes, &l->header, &next);
    return l->newest && next.found == LOG_FOUND_ZERO;
}

/* Batches of the segment in memory up to its end; gives the bad place to judge(). */
static enum fb_status walk(struct recovery *c, struct lane_scan *l, size_t k, bool proven,
                           struct fb_err *err)
{
    struct log_item item;
    enum fb_status s;

    for (;;) {
        log_item_at(&c->image, l->offset, &l->header, &item);
        if (item.found == LOG_FOUND_FOOTER) {
            l->sealed = true;
            return check_footer(c, l, k, &item.footer, err);
        }
        if (item.found == LOG_FOUND_ZERO && c->image.n == l->header.segment_bytes)
            return FB_OK;
        if (item.found != LOG_FOUND_BATCH && next_continues(c, l, k))
            return FB_OK;
        if (item.found != LOG_FOUND_BATCH || item.batch.seq != l->expect) {
            s = judge(c, l, k, l->offset, proven, err);
            c->r->torn_tails += l->cut;
            return s;
        }
        if (FB_MUTANT(recover_cut_last) && last_of_log(c, l, &item)) {
            l->cut = true;
            return FB_OK;
        }
        if (item.batch.synced >= item.batch.seq)
            return corrupt(c, &c->files[k], l->offset,
                           "a batch claims to be synced before it was written", err);
        s = c->r->batch(c->r->arg, item.batch.generation, item.batch.lane, item.batch.seq,
                        item.payload, err);
        if (s != FB_OK)
            return s;
        if (item.batch.synced > l->synced_max)
            l->synced_max = item.batch.synced;
        l->chain = log_chain(l->chain, item.batch.payload_checksum);
        l->batches++;
        l->expect++;
        l->offset += item.bytes;
        c->r->bytes += item.bytes;
    }
}

/* What the file of the marks says about the lane: its last sequence reported as synced, 0 = nothing
 * is known. */
static uint64_t marked(const struct recovery *c, const struct log_segment_header *h)
{
    struct log_mark m;
    if (h->lane >= LOG_LANES_MAX ||
        !log_mark_decode(c->marks + (size_t)h->lane * LOG_MARK_BYTES, &m, h->salt) ||
        m.generation != h->generation || m.lane != h->lane)
        return 0;
    return m.seq;
}

/* Opens segment k: header, order, continuity. Leaves l->cut set when the lane ended before it. */
static enum fb_status enter(struct recovery *c, struct lane_scan *l, size_t k, bool proven,
                            struct fb_err *err)
{
    const struct log_file *f = &c->files[k];
    struct log_segment_header h = {0};
    struct fb_err why;
    enum fb_status s;
    bool readable;

    if (k > l->first && f->segment != c->files[k - 1].segment + 1) {
        if (proven)
            return corrupt(c, f, 0, "the segment before this one is missing", err);
        return judge_end(c, l, k - 1, err); /* names get to the disk in any order, too */
    }
    s = log_image_read(&c->image, c->r->dir, f, err);
    if (s != FB_OK)
        return s;
    s = c->image.n < LOG_HEADER_BYTES
            ? fb_err_set(&why, FB_ECORRUPT, "the file is shorter than a header")
            : log_segment_header_decode(c->image.p, &h, &why);
    if (s == FB_EUNSUPPORTED)
        return fb_err_set(err, s, "log %s/%s: %s", c->r->dir, f->name, why.msg);
    readable = s == FB_OK;
    if (!readable && proven)
        return corrupt(c, f, 0, why.msg, err);
    if (readable) {
        s = check_header(c, l, k, &h, err);
        if (s != FB_OK)
            return s;
    }
    if (l->any_header && (!readable || h.first_seq != l->expect)) {
        /* The tail of the segment before, or this header, never got to the disk. */
        if (proven)
            return corrupt(c, f, 0, "the sequence does not continue that of the segment before",
                           err);
        return judge_end(c, l, k - 1, err);
    }
    if (l->any_header && !l->sealed)
        repair_later(c, &c->files[k - 1], l, true);
    if (!l->any_header)
        l->synced_max = marked(c, &h);
    l->any_header = true;
    l->header = h;
    l->expect = h.first_seq;
    l->sealed = false;
    l->batches = 0;
    l->chain = 0;
    l->offset = LOG_HEADER_BYTES;
    return FB_OK;
}

static enum fb_status scan_lane(struct recovery *c, struct lane_scan *l, struct fb_err *err)
{
    size_t k = l->first, last;

    for (; k < l->end && !l->cut; k++) {
        /* A first segment, and one that follows a sealed one, was durable with its header before
         * anything was in it. */
        bool proven = k == l->first || l->sealed;
        enum fb_status s = enter(c, l, k, proven, err);
        if (s != FB_OK)
            return s;
        if (l->cut) {
            k--; /* the segment before is where the lane ends */
            break;
        }
        s = walk(c, l, k, proven, err);
        if (s != FB_OK)
            return s;
        if (l->sealed && l->newest)
            c->repairs[c->repair_count++] = (struct repair){.file = &c->files[k], .sealed = true};
        progress(c, c->files[k].bytes);
        if (l->cut)
            break;
    }
    last = l->cut ? k : l->end - 1;
    if (l->synced_max >= l->expect && !FB_MUTANT(recover_cuts_synced) &&
        !FB_MUTANT(recover_cut_last))
        return corrupt(c, &c->files[last], l->offset, "batches that had been synced are missing",
                       err);
    for (size_t i = l->end; i-- > last + 1;)
        c->repairs[c->repair_count++] = (struct repair){.file = &c->files[i], .remove = true};
    if (!l->sealed && !l->newest)
        return corrupt(c, &c->files[last], l->offset,
                       "the footer is missing in a generation that was complete", err);
    if (!l->sealed)
        repair_later(c, &c->files[last], l, false);
    return FB_OK;
}

/* files[first..end) are one generation; `before` is the generation before it on disk, 0 = none. */
static enum fb_status scan_generation(struct recovery *c, size_t first, size_t end, uint64_t before,
                                      struct fb_err *err)
{
    bool newest = end == c->count, any_batch = false;
    uint32_t lanes = 0, seen = 0;

    for (size_t i = first; i < end;) {
        struct lane_scan l = {.first = i, .end = i, .newest = newest};
        enum fb_status s;
        while (l.end < end && c->files[l.end].lane == c->files[i].lane)
            l.end++;
        s = scan_lane(c, &l, err);
        if (s != FB_OK)
            return s;
        if (before != 0 && l.header.previous_generation != before)
            return corrupt(c, &c->files[i], 0,
                           "a generation between this one and the one before it is missing", err);
        if (seen > 0 && l.header.lanes != lanes)
            return corrupt(c, &c->files[i], 0,
                           "the lanes of this generation disagree about their number", err);
        lanes = l.header.lanes;
        any_batch = any_batch || l.expect > 1;
        seen++;
        i = l.end;
    }
    /* A start that ended before all lanes were made has written nothing yet. Older generations may
     * be half deleted. */
    if (newest && any_batch && seen < lanes)
        return corrupt(c, &c->files[first], 0,
                       "the segments of another lane of this generation are missing", err);
    return FB_OK;
}

static enum fb_status scan_all(struct recovery *c, struct fb_err *err)
{
    uint64_t before = 0;
    for (size_t i = 0; i < c->count;) {
        size_t end = i;
        enum fb_status s;
        while (end < c->count && c->files[end].generation == c->files[i].generation)
            end++;
        s = scan_generation(c, i, end, before, err);
        if (s != FB_OK)
            return s;
        before = c->files[i].generation;
        i = end;
    }
    c->r->last_generation = before;
    return FB_OK;
}

static void remove_one(const struct repair *p, int dir_fd)
{
    if (unlinkat(dir_fd, p->file->name, 0) != 0 || fsync(dir_fd) != 0)
        disk_die(p->file->name, "remove", errno);
    FB_LOG(WARN, "log segment without any batch removed", FB_KS("file", p->file->name));
}

/* Syncs the segment, or gives it its footer (which syncs, too). */
static enum fb_status sync_one(const struct recovery *c, const struct repair *p, int dir_fd,
                               bool seal, struct fb_err *err)
{
    int e = 0, fd = openat(dir_fd, p->file->name, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return fb_err_set(err, fb_status_of_errno(errno), "open %s/%s to seal it: %s", c->r->dir,
                          p->file->name, strerror(errno));
    if (seal)
        e = FB_MUTANT(recover_no_seal) ? 0
                                       : log_segment_seal(fd, p->file->name, &p->footer, p->salt);
    else if (fdatasync(fd) != 0)
        disk_die(p->file->name, "fdatasync", errno);
    close(fd);
    if (e != 0 && !disk_is_full(e))
        disk_die(p->file->name, "seal", e);
    if (e != 0)
        return fb_err_set(err, FB_ENOSPC, "seal %s/%s: %s: free some space and start again",
                          c->r->dir, p->file->name, strerror(e));
    return FB_OK;
}

/* Empty files go first: a last segment has none behind it. Then the names and contents that were
 * found, which the process that died may not have synced, are: a footer says that all before it is
 * on disk. Then the footers, the last segment of a lane before the one in front of it: "more
 * follows" says that what follows is there and whole. */
static enum fb_status repair_all(struct recovery *c, struct fb_err *err)
{
    int dir_fd;
    enum fb_status s = disk_open_dir(c->r->dir, &dir_fd, err);

    if (s != FB_OK)
        return s;
    for (size_t i = 0; i < c->repair_count; i++)
        if (c->repairs[i].remove)
            remove_one(&c->repairs[i], dir_fd);
    if (fsync(dir_fd) != 0)
        disk_die(c->r->dir, "fsync of the directory", errno);
    for (size_t i = 0; s == FB_OK && i < c->repair_count; i++)
        if (!c->repairs[i].remove && !FB_MUTANT(recover_no_sync))
            s = sync_one(c, &c->repairs[i], dir_fd, false, err);
    for (size_t i = c->repair_count; s == FB_OK && i-- > 0;)
        if (!c->repairs[i].remove && !c->repairs[i].sealed)
            s = sync_one(c, &c->repairs[i], dir_fd, true, err);
    close(dir_fd);
    return s;
}

/* Lacking or short: nothing is known about what was synced last. */
static enum fb_status read_marks(struct recovery *c, struct fb_err *err)
{
    int dir_fd, fd, e;
    enum fb_status s = disk_open_dir(c->r->dir, &dir_fd, err);

    if (s != FB_OK)
        return s;
    fd = openat(dir_fd, LOG_MARKS_NAME, O_RDONLY | O_CLOEXEC);
    e = errno;
    close(dir_fd);
    if (fd < 0 && e == ENOENT)
        return FB_OK;
    if (fd >= 0) {
        s = disk_pread(fd, c->marks, sizeof(c->marks), 0);
        e = errno;
        close(fd);
        if (s != FB_EIO)
            return FB_OK;
    }
    return fb_err_set(err, fb_status_of_errno(e), "read %s/%s: %s", c->r->dir, LOG_MARKS_NAME,
                      strerror(e));
}

enum fb_status log_recover(struct log_recovery *r, struct fb_err *err)
{
    struct recovery c = {.r = r};
    struct fb_err own;
    enum fb_status s;

    if (err == NULL)
        err = &own;
    r->last_generation = r->bytes = r->torn_tails = 0;
    s = log_dir_list(r->dir, &c.files, &c.count, err);
    if (s != FB_OK)
        return s;
    c.repairs = fb_xcalloc(c.count + 1, sizeof(*c.repairs));
    for (size_t i = 0; i < c.count; i++)
        c.total_bytes += c.files[i].bytes;
    s = read_marks(&c, err);
    if (s == FB_OK)
        s = scan_all(&c, err);
    if (s == FB_OK && r->complete != NULL)
        s = r->complete(r->arg, err);
    if (s == FB_OK)
        s = repair_all(&c, err);
    log_image_fini(&c.image);
    free(c.repairs);
    free(c.files);
    return s;
}
