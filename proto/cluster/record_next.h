/* The coordinator's record of one partition, and the only function that makes new ones
 * (PROTOCOL 2.2, 5, 6, 8). Pure. */
#ifndef FB_PROTO_CLUSTER_RECORD_NEXT_H_
#define FB_PROTO_CLUSTER_RECORD_NEXT_H_

#include "proto/base/bounds.h"
#include "proto/base/buf.h"

struct fb_member {
    char node[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;
};

/* `/part/<p>` */
struct fb_part_record {
    uint32_t history; /* epoch of the last forced recovery, 0 = none; only grows */
    uint32_t epoch;   /* changes exactly when the primary changes or restarts; 0 = never assigned */
    struct fb_member primary;
    uint32_t isr_count;
    struct fb_member isr[FB_REPLICAS_MAX + 1]; /* always contains primary */
    uint32_t learner_count;
    char learners[FB_REPLICAS_MAX][FB_NAME_BYTES_MAX + 1];
    uint8_t min_isr;
    /* node of a member that its primary is to take out of the set, "" = none: a move is over but
     * for that (PROTOCOL 9, H5) */
    char leaving[FB_NAME_BYTES_MAX + 1];
    /* node of a member that its primary is to let lead, "" = none: of this epoch (PROTOCOL 9, H3)
     */
    char successor[FB_NAME_BYTES_MAX + 1];
};

enum fb_record_event_kind {
    FB_REC_ASSIGN = 1, /* first placement of an empty partition: member becomes primary, epoch 1 */
    FB_REC_PROMOTE =
        2, /* member of the isr becomes primary; `drop_old` removes the old one from the set */
    FB_REC_SHRINK = 3, /* the primary removes a member: a silent one, or the one that leaves */
    FB_REC_EXPAND = 4, /* the primary adds a caught-up learner */
    FB_REC_LEARNER_ADD = 5,
    FB_REC_LEARNER_DROP = 6,
    /* every node of the set restarted: member (its node must be in the isr) leads, isr = {it} */
    FB_REC_LAST_SET = 7,
    FB_REC_FORCE = 8,   /* operator: member leads whatever it has; new history */
    FB_REC_MIN_ISR = 9, /* another min_isr, at most as many as are in sync; member: the primary */
    FB_REC_LEAVE = 10,  /* controller: the primary is to remove this member, as soon as the rest
                         * suffices. It counts until then */
    FB_REC_STAY = 11,   /* controller: member, which was to leave, stays */
    /* the primary is to hold the partition and let this member lead; replaces an earlier wish */
    FB_REC_HAND_OVER = 12,
    FB_REC_KEEP = 13, /* controller: member, which was to lead, does not: the primary stays */
};

struct fb_record_event {
    enum fb_record_event_kind kind;
    struct fb_member member;
    bool drop_old;
    uint8_t min_isr; /* ASSIGN, MIN_ISR */
};

/* Next record, or FB_EREFUSED with the reason when the event is illegal in `old`. */
FB_MUST_USE enum fb_status fb_record_next(const struct fb_part_record *old,
                                          const struct fb_record_event *ev,
                                          struct fb_part_record *next, struct fb_err *err);
bool fb_member_same(const struct fb_member *a, const struct fb_member *b);
bool fb_part_record_has(const struct fb_part_record *r, const struct fb_member *m);
/* What holds for every record: NULL, or what is wrong with this one (static storage). */
const char *fb_part_record_broken(const struct fb_part_record *r);

/* JSON text, as stored in the coordinator (readable by people). Decode checks every field and
 * limit. */
void fb_part_record_encode(struct fb_buf *out, const struct fb_part_record *r);
FB_MUST_USE enum fb_status fb_part_record_decode(struct fb_bytes in, struct fb_part_record *out,
                                                 struct fb_err *err);

#endif
