/* The end of a log that is one of several copies: records that may still be cut off, until they are
 * known to be committed (PROTOCOL 3). */
#include "node/core/lane_impl.h"

#include "proto/base/mutant.h"

#define COMPACT_BYTES (64u << 10)

void log_tail_push(struct part *p, struct fb_bytes record)
{
    struct log_tail *t = &p->tail;

    if (t->head >= COMPACT_BYTES && t->head >= t->bytes.n / 2) {
        fb_buf_consume(&t->bytes, t->head);
        t->head = 0;
    }
    fb_buf_put_bytes(&t->bytes, record);
}

static struct fb_reader unread(const struct log_tail *t)
{
    return fb_reader(fb_bytes(t->bytes.p + t->head, t->bytes.n - t->head));
}

static bool next(struct fb_reader *in, struct fb_record *r)
{
    enum fb_status st;

    if (in->n == 0)
        return false;
    st = fb_record_decode(in, r);
    fb_assert(st == FB_OK); /* it was decoded before it was put in */
    return true;
}

bool log_tail_has(const struct part *p, uint64_t ver)
{
    struct fb_reader in = unread(&p->tail);
    struct fb_record r;

    if (ver == p->tail.ver)
        return true;
    while (next(&in, &r))
        if (r.ver == ver)
            return true;
    return false;
}

void log_tail_cut(struct part *p, uint64_t ver)
{
    struct log_tail *t = &p->tail;
    struct fb_reader in = unread(t);
    struct fb_record r;
    size_t left = in.n;

    fb_assert(ver >= t->ver); /* I10: what is published is committed */
    while (next(&in, &r) && r.ver <= ver)
        left = in.n;
    t->bytes.n -= left;
}

void log_tail_drop(struct part *p, size_t bytes, uint64_t ver, uint64_t ptime)
{
    struct log_tail *t = &p->tail;

    fb_assert(bytes <= t->bytes.n - t->head && ver > t->ver);
    t->head += bytes;
    t->ver = ver;
    t->ptime = ptime;
    if (t->head == t->bytes.n) {
        fb_buf_clear(&t->bytes);
        fb_buf_shrink(&t->bytes, COMPACT_BYTES);
        t->head = 0;
    }
}

enum group { GROUP_WHOLE, GROUP_OPEN, GROUP_BROKEN };

/* Are the records of the GROUP all there and committed? An epoch that starts within it says that
 * its rest was lost with the primary that wrote it: it was never committed, and what is there of it
 * never happened. */
static enum group group_of(struct fb_reader in, const struct fb_record *g, uint64_t com_ver,
                           bool end)
{
    struct fb_record r;

    for (uint32_t i = 0; i < g->count; i++) {
        if (!next(&in, &r))
            return end ? GROUP_BROKEN : GROUP_OPEN;
        if (r.type == FB_RECORD_EPOCH_START)
            return r.ver <= com_ver ? GROUP_BROKEN : GROUP_OPEN;
        if (r.ver > com_ver)
            return GROUP_OPEN;
    }
    return GROUP_WHOLE;
}

void log_tail_apply(struct lane *l, struct part *p, uint64_t com_ver, bool end)
{
    struct log_tail *t = &p->tail;
    struct fb_reader in = unread(t);
    struct fb_record r;
    bool broken = false;
    size_t done = in.n;

    while (next(&in, &r) && r.ver <= com_ver) {
        if (r.type == FB_RECORD_EPOCH_START)
            broken = false;
        if (r.type == FB_RECORD_GROUP && !broken) {
            enum group g = group_of(in, &r, com_ver, end);
            if (g == GROUP_OPEN && !FB_MUTANT(copy_group_split))
                break;
            broken = g == GROUP_BROKEN && !FB_MUTANT(copy_group_kept);
        }
        if (!broken)
            record_apply(l, p, &r);
        log_tail_drop(p, done - in.n, r.ver, r.ptime_ms);
        done = in.n;
        in = unread(t); /* it may have been emptied */
    }
}

void lane_recovered(struct lane *l)
{
    lane_check_writer(l);
    for (uint32_t i = 0; i < l->config.partitions; i++) {
        struct part *p = l->parts[i];
        struct log_tail *t = p == NULL ? NULL : &p->tail;
        if (t == NULL || !t->kept || t->bytes.n == t->head)
            continue;
        log_tail_note(l, p, LOG_NOTE_COMMITTED);
        if (!FB_MUTANT(cluster_tail_left))
            fb_buf_put(&l->fx.log, t->bytes.p + t->head, t->bytes.n - t->head);
        t->log_seq = l->fx.log_seq;
    }
}

void log_tail_fini(struct part *p)
{
    fb_buf_fini(&p->tail.bytes);
}

void log_tail_note(struct lane *l, struct part *p, enum log_note note)
{
    struct fb_record r = {.type = FB_RECORD_META,
                          .flags = p->tail.kept ? FB_RECORD_COPIES : 0,
                          .part = p->id,
                          .ver = 1, /* of epoch 0, which no log has */
                          .count = note,
                          .obj_ver = FB_MUTANT(copy_note_ahead) ? p->last_ver : p->tail.ver};
    fb_record_encode(&l->fx.log, &r);
    if (note == LOG_NOTE_WIPED || note == LOG_NOTE_COPY)
        p->tail.voided = true;
}
