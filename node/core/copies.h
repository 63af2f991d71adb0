/* Partitions with several copies: the replica stream (replica.h) behind a lane's partitions.
 *
 * A partition that is told of by lane_copy_record is replicated from then on: it opens, follows and
 * closes as the records and the other nodes say. One that is opened by lane_open_partition has one
 * copy and never meets any of this. From one copy to several there is a way (lane_copy_record),
 * back there is none but a restart.
 *
 * A tick of the worker, with what is new beside lane.h:
 *   1. lane_now, lane_boot_now (CLOCK_BOOTTIME)
 *   2. requests and feeds as before; lane_copy_record, lane_node_*, lane_recv_*
 *   3. effects->log is written; if there was any, lane_written
 *   4. lane_boot_now again, then lane_copies_written, in every tick: commits, publication,
 *      acknowledgements, replies. The clock is read after all reads of the tick were evaluated.
 *   5. lane_copy_events are carried out; lane_node_at(...)->appends, acks and hellos are sent, one
 *      frame of a kind or several, and emptied (lane_node_sent); replies and feeds as before
 *   6. lane_effects_clear
 * fsync: lane_synced, as before. lane_deadline_ns includes heartbeats.
 *
 * Thread: the lane's writer, but for lane_read_until. Nothing is allocated per record or request in
 * the steady state.
 */
#ifndef FB_NODE_CORE_COPIES_H_
#define FB_NODE_CORE_COPIES_H_

#include "node/core/lane.h"
#include "node/core/replica.h"

/* Right after lane_new, before recovery: nothing below may be called without. Of newest
 * records at most config->tail_bytes are kept; they take memory as they come. */
void lane_copies_new(struct lane *l, const struct replica_config *config);
/* Time for leases, heartbeats and silence; never goes back. */
void lane_boot_now(struct lane *l, uint64_t boot_ns);

/* The coordinator's record of a partition, and its revision: after each that is new, and once
 * after start for every partition this node has or is to have. The outcome of a compare-and-swap
 * comes in by this alone. A record that no longer names this node ends its role. Errors as
 * replica_record; FB_EBUSY: the partition is open with one copy (lane_open_partition): close it,
 * then a record of a higher epoch makes it one of several; FB_EAGAIN: it was, and its log is not
 * synced yet.
 */
FB_MUST_USE enum fb_status lane_copy_record(struct lane *l, uint16_t part,
                                            const struct fb_part_record *rec, uint64_t rev);

/* Other nodes, numbered as they become known. up: a connection to this process of it stands, also
 * after the one before was lost (nothing is taken for delivered); down: it was lost. Connections
 * are the node's: each of its lanes is told. */
uint16_t lane_node(struct lane *l, const char *name); /* REPLICA_NODE_NONE: itself, or too many */
void lane_node_up(struct lane *l, uint16_t node, uint64_t inc);
void lane_node_down(struct lane *l, uint16_t node);
/* That process of the node is about to stop: it leaves the sets of the primaries here now, instead
 * of being waited for when it is gone. A hint: a process that stays is only missed in the sets. */
void lane_node_leaving(struct lane *l, uint16_t node, uint64_t inc);
/* What is to be sent to it: valid and final after lane_copies_written. `busy` is the caller's to
 * set while its send queue is long: nothing but acknowledgements is added then. */
struct replica_node *lane_node_at(struct lane *l, uint16_t node);
uint32_t lane_node_count(const struct lane *l); /* nodes are 0 .. count - 1 */
void lane_node_sent(struct lane *l, uint16_t node);

/* One item of a frame APPEND, APPEND_ACK or REPLICA_HELLO that came from the process src_inc of
 * that node and was meant for this one (the frame's dst_inc: checked by the caller, who also
 * decodes the items and hands each to the lane of its partition). Views need to live during the
 * call. FB_EPROTO: no node says this, end the connection. */
FB_MUST_USE enum fb_status lane_recv_append(struct lane *l, uint16_t node, uint64_t src_inc,
                                            const struct fb_append *m);
FB_MUST_USE enum fb_status lane_recv_ack(struct lane *l, uint16_t node, uint64_t src_inc,
                                         const struct fb_append_ack *m);
FB_MUST_USE enum fb_status lane_recv_hello(struct lane *l, uint16_t node, uint64_t src_inc,
                                           const struct fb_replica_hello *m);

/* Step 4 of a tick, see above. */
void lane_copies_written(struct lane *l);

enum lane_copy_event_kind {
    LANE_COPY_OPENED,   /* this node leads and serves `epoch` from now on */
    LANE_COPY_CLOSED,   /* it leads no more */
    LANE_COPY_HELD,     /* it is to hand over, and lets nothing in: who asks is to try again */
    LANE_COPY_RELEASED, /* it has not handed over, and serves `epoch` again */
    LANE_COPY_CAS,      /* fb_record_next(record of revision rev, change) is to be put in its place;
                           asked for again until another revision is told by lane_copy_record */
};
struct lane_copy_event {
    uint16_t part;
    uint8_t kind; /* enum lane_copy_event_kind */
    uint32_t epoch;
    uint64_t rev;
    struct fb_record_event change;
    uint64_t held_ns; /* CLOSED, RELEASED: for how long it was held before, 0 = it was not */
};
/* Of this tick, in order; valid until lane_effects_clear. */
const struct lane_copy_event *lane_copy_events(const struct lane *l, uint32_t *count);
/* Of this tick as well: for each tick and partition led here that was committed now, for how long
 * every copy in sync had to be waited for. Nanoseconds; valid until lane_effects_clear. */
const uint64_t *lane_commit_ns(const struct lane *l, uint32_t *count);

/* Until when (CLOCK_BOOTTIME, ns) any thread may answer from what is published of a partition, to
 * be compared with the clock read after the values were copied: UINT64_MAX for one copy, 0 when the
 * writer has to be asked. Any thread. */
uint64_t lane_read_until(const struct lane *l, uint16_t part);

/* One replicated partition as it stands: for status, reports and promotion. */
struct lane_copy_member {
    const char *node; /* valid as long as the lane */
    uint64_t inc;     /* 0: a learner that is not connected */
    bool learner;
    bool lost; /* needs more than is kept to be sent: has to be copied anew */
    uint64_t acked_ver, synced_ver;
    uint64_t silent_ns;
};
struct lane_copy {
    uint16_t part;
    uint8_t role; /* enum replica_role */
    uint32_t epoch;
    uint64_t history, rev;
    uint64_t com_ver, last_ver, synced_ver, published_ver;
    bool degraded;         /* primary: fewer sure copies than min_isr */
    bool held;             /* primary: it lets nothing in, as it is to hand over */
    uint64_t silent_ns;    /* backup: since its primary was heard or became known; else 0 */
    uint32_t member_count; /* primary: the others of the set, and learners */
    struct lane_copy_member members[16];
};
/* By number of the node, FB_NODES_MAX of them: bytes of records of the primaries here that its
 * copies in sync have not acknowledged. */
void lane_copy_lag(const struct lane *l, uint64_t *bytes);
/* False: the partition has one copy, or none here. */
bool lane_copy_status(const struct lane *l, uint16_t part, struct lane_copy *out);

#endif
