/* The replica stream of the partitions of one lane, sans-IO: who leads, what is committed, what
 * goes to which node (PROTOCOL 2.3 to 6).
 *
 * A replica knows the shape of its partition's log and of the set; it never looks into objects. In
 * a tick:
 *   1. replica_record, replica_recv_*, replica_appended, replica_synced, replica_tick
 *   2. replica_flush: what primaries have to send goes into the nodes' buffers. A record may be on
 *      its way before it is in the own log: it is committed only when it is there, too.
 *   3. replica_lane.log (records taken from primaries) and the lane's own records are written, in
 *      the order of these calls
 *   4. replica_written: acknowledgements, commits
 *   5. the nodes' buffers are sent, the touched replicas looked at; replica_fx_clear
 *
 * Thread: the lane's writer. Time comes in: a clock that goes on while the machine sleeps
 * (CLOCK_BOOTTIME), as leases are measured with it. Nothing is allocated per record; a node's
 * buffers grow to the size of a tick and stay.
 */
#ifndef FB_NODE_CORE_REPLICA_H_
#define FB_NODE_CORE_REPLICA_H_

#include "proto/base/bounds.h"
#include "proto/cluster/record_next.h"
#include "proto/wire/replica.h"
#include "proto/wire/request.h"

#define REPLICA_NODE_NONE UINT16_MAX
/* What a tick sends to one node at most, and one record. */
#define REPLICA_SEND_BYTES (4u << 20)

struct replica_config {
    char node[FB_NAME_BYTES_MAX + 1]; /* this one */
    uint64_t inc;
    uint32_t partitions;
    size_t tail_bytes;     /* of newest records kept to be sent (again); power of two */
    uint64_t lease_ns;     /* what an acknowledgement promises; a primary uses 0.9 of it */
    uint64_t beat_ns;      /* a member hears something at least this often */
    uint64_t silence_ns;   /* a member silent for this long leaves the set */
    uint64_t cas_retry_ns; /* an unanswered compare-and-swap is asked for again */
};
#define REPLICA_LEASE_PERMILLE 900u

/* Another node, as this lane talks to it. */
struct replica_node {
    char name[FB_NAME_BYTES_MAX + 1];
    uint64_t inc;         /* of the process connected now, 0 = none */
    bool busy;            /* the caller's: its send queue is full, nothing more for now */
    uint64_t leaving_inc; /* the caller's: this process of it is about to stop and is in no set
                           * longer than it takes to leave it; it is none's hope either, 0 = none */
    /* Items for one frame each, to be sent and emptied by the caller after replica_written. */
    struct fb_buf appends, acks, hellos;
    uint32_t append_n, ack_n, hello_n;
};

enum replica_role {
    REPLICA_NONE, /* in no set that is known */
    REPLICA_LEARNER,
    REPLICA_BACKUP,
    REPLICA_CLOSED, /* primary, its EPOCH_START not committed */
    REPLICA_OPEN,   /* primary */
};

enum replica_fx_bit {
    REPLICA_FX_COMMITTED = 1 << 0, /* com_ver grew */
    REPLICA_FX_LEAD = 1 << 1, /* append EPOCH_START of `epoch` and tell it (replica_appended) */
    REPLICA_FX_OPENED = 1 << 2,
    REPLICA_FX_DOWN = 1 << 3, /* leads no more: what was not committed has an unknown outcome */
    REPLICA_FX_CUT = 1 << 4,  /* records above cut_to are gone from the log */
    REPLICA_FX_CAS = 1 << 5,  /* compare-and-swap `cas_event` into the record of revision cas_rev */
    REPLICA_FX_SYNC = 1 << 6, /* fsync soon: a change of the set waits for it */
};

struct replica;
struct replica_lane;

struct replica_lane *replica_lane_new(const struct replica_config *config);
void replica_lane_free(struct replica_lane *rl);
/* What the newest records take in memory; writer thread. */
size_t replica_tail_bytes(const struct replica_lane *rl);
/* Number of the node of this name, made when it is new. REPLICA_NODE_NONE: this node itself, or
 * more than FB_NODES_MAX. */
uint16_t replica_node_of(struct replica_lane *rl, const char *name);
struct replica_node *replica_node_at(struct replica_lane *rl, uint16_t node);
/* A connection to that process stands; a new one also after it was lost, as nothing is taken for
 * delivered. Down: what was not sent is dropped. */
void replica_node_up(struct replica_lane *rl, uint16_t node, uint64_t inc);
void replica_node_down(struct replica_lane *rl, uint16_t node);

uint32_t replica_node_count(const struct replica_lane *rl); /* known: 0 .. count - 1 */
const struct replica_config *replica_lane_config(const struct replica_lane *rl);

/* Recovery: what of the log is on this disk, from its oldest known version on. Then start. com_ver:
 * known to be committed, at most the end. Everything is taken for synced. */
struct replica *replica_get(struct replica_lane *rl, uint16_t part); /* made when it is new */
void replica_recovered(struct replica *r, uint64_t ver, uint64_t prev);
/* The same with its encoding, which is kept to be sent; what conflicts with it was cut off. */
void replica_recovered_record(struct replica *r, uint64_t ver, uint64_t prev,
                              struct fb_bytes record);
/* The log ends there and nothing else is known of it: a snapshot. */
void replica_recovered_end(struct replica *r, uint64_t ver);
void replica_start(struct replica *r, uint64_t history, uint64_t com_ver);

/* The coordinator's record was read. Older revisions than seen are ignored. FB_ESTALE: it is behind
 * what this node has accepted (I34), or another's in an epoch that this one leads; FB_EINVAL: no
 * record is like this; FB_EFULL: more than FB_NODES_MAX names. Nothing is done then. This alone
 * resolves a compare-and-swap. */
FB_MUST_USE enum fb_status replica_record(struct replica *r, const struct fb_part_record *rec,
                                          uint64_t rev, uint64_t now_ns);
/* Primary: a record was appended to the log (not written yet); its encoding is copied. */
void replica_appended(struct replica *r, uint64_t ver, uint64_t prev, struct fb_bytes record);
/* fsync returned for everything of this partition's log up to ver. */
void replica_synced(struct replica *r, uint64_t ver);

/* Messages, from a process of the node that calls itself src_inc and meant this one. FB_EPROTO: no
 * node says this, end the connection. `log`: where records that were taken go, to be written in
 * this tick. */
FB_MUST_USE enum fb_status replica_recv_append(struct replica_lane *rl, uint16_t node,
                                               uint64_t src_inc, const struct fb_append *m,
                                               struct fb_buf *log, uint64_t now_ns);
FB_MUST_USE enum fb_status replica_recv_ack(struct replica_lane *rl, uint16_t node,
                                            uint64_t src_inc, const struct fb_append_ack *m,
                                            uint64_t now_ns);
FB_MUST_USE enum fb_status replica_recv_hello(struct replica_lane *rl, uint16_t node,
                                              uint64_t src_inc, const struct fb_replica_hello *m,
                                              uint64_t now_ns);
/* A copy for a learner that needs more than is kept to be sent. No log is replaced while a process
 * of its node is in the set, or in the one asked for: a recovery of the whole set counts on it.
 * Primary: wanted (false: by nobody), begin, then slice after slice, each when the one before was
 * acknowledged (recv_copied: true: it is from that learner), end: records follow from `ver` on. It
 * is over when replica_copying says so: the connection was lost, another process, another epoch. */
bool replica_copy_wanted(const struct replica *r, uint16_t *node, uint64_t *inc);
void replica_copy_begin(struct replica *r, uint16_t node, uint64_t inc);
void replica_copy_end(struct replica *r, uint16_t node, uint64_t inc, uint64_t ver);
void replica_copy_stop(struct replica *r, uint16_t node, uint64_t inc);
bool replica_copying(const struct replica *r, uint16_t node, uint64_t inc);
void replica_copy_send(struct replica *r, uint16_t node, uint64_t slice, uint64_t ver, bool last,
                       struct fb_bytes items, uint32_t count);
bool replica_recv_copied(struct replica_lane *rl, uint16_t node, uint64_t src_inc,
                         const struct fb_append_ack *m, uint64_t now_ns);
/* Learner: a slice came, to be taken or not; what it had is gone; the copy of `ver` is whole, in
 * the log by the end of the tick; the slice is written. */
FB_MUST_USE enum fb_status replica_recv_copy(struct replica_lane *rl, uint16_t node,
                                             uint64_t src_inc, const struct fb_append *m,
                                             uint64_t now_ns, bool *take);
void replica_wiped(struct replica *r);
/* In no set, as far as read here, and its log is gone: it is refused as a member (FB_ESTALE) until
 * it has been filled as a learner, whatever older record is read late. */
void replica_dropped(struct replica *r);
/* In no set, as far as read here, in a record that is not older than this log, and no primary was
 * heard since `since_ns`; the set has what level `replicated` asks for: nobody needs what is here.
 */
bool replica_unneeded(const struct replica *r, uint64_t since_ns);
void replica_installed(struct replica *r, uint64_t ver);
void replica_copy_ack(struct replica *r, uint64_t slice);
/* Heartbeats, silent members, compare-and-swaps again. Every beat_ns / 4 at least. */
void replica_tick(struct replica_lane *rl, uint64_t now_ns);
void replica_flush(struct replica_lane *rl, uint64_t now_ns);
void replica_written(struct replica_lane *rl, uint64_t now_ns);

/* Touched since the last clear: the next one after `r` (NULL: the first), NULL at the end. */
struct replica *replica_touched(struct replica_lane *rl, struct replica *r);
uint32_t replica_fx(const struct replica *r);
/* Those of `bits` that are set, which are not from then on. */
uint32_t replica_fx_take(struct replica *r, uint32_t bits);
void replica_fx_clear(struct replica_lane *rl);

uint16_t replica_part(const struct replica *r);
enum replica_role replica_role(const struct replica *r);
uint32_t replica_epoch(const struct replica *r);
uint64_t replica_history(const struct replica *r);
uint64_t replica_rev(const struct replica *r);
uint64_t replica_com_ver(const struct replica *r);
uint64_t replica_last_ver(const struct replica *r);
uint64_t replica_synced_ver(const struct replica *r);
uint64_t replica_cut_to(const struct replica *r);
/* Is the version in the log, as far back as is known? */
bool replica_has(const struct replica *r, uint64_t ver);
/* What REPLICA_FX_CAS asks for. */
const struct fb_record_event *replica_cas_event(const struct replica *r, uint64_t *rev);

/* The member that the record wants to lead in this one's place, and that can: this one is open, and
 * that process is connected, not silent, and not about to stop. */
bool replica_successor(const struct replica *r, uint64_t now_ns, struct fb_member *out);
/* A change of the set is wanted, or its outcome is not known yet. */
bool replica_changing(const struct replica *r);

/* The level a write of this primary has reached (I13): NONE, LOCAL, REPLICATED or DURABLE. */
enum fb_level replica_level(const struct replica *r, uint64_t ver);
/* Other members of the recorded set that have written, or synced, everything up to ver. */
uint32_t replica_copies(const struct replica *r, uint64_t ver, bool synced);
/* Fewer copies are sure than min_isr: what is written now can only reach LOCAL. */
bool replica_degraded(const struct replica *r);
/* Reads. lease: the committed versions may be returned; to be asked after they were copied.
 * confirmed: begin gives a token; the read may be answered with what is committed once done says
 * so for it and the epoch is still the one it began in. */
bool replica_lease_holds(const struct replica *r, uint64_t now_ns);
uint64_t replica_lease_until(const struct replica *r); /* 0: none; UINT64_MAX: needs none */
uint64_t replica_read_begin(struct replica *r);
bool replica_read_done(const struct replica *r, uint32_t epoch, uint64_t token);
/* Members of the set that a commit needs at this moment, besides this one: up to FB_REPLICAS_MAX +
 * 1 of them into out. For status and checks. */
uint32_t replica_members(const struct replica *r, struct fb_member *out);
/* The i-th other member or learner as a primary sees it; false: there is no i-th. */
struct replica_peer {
    uint16_t node;
    bool learner;
    bool lost;    /* needs more than is kept to be sent */
    uint64_t inc; /* 0: a learner that is not connected */
    uint64_t acked_ver, synced_ver, heard_ns;
};
bool replica_peer(const struct replica *r, uint32_t i, struct replica_peer *out);
/* When a backup heard its primary last, or of a primary of this epoch first. */
uint64_t replica_heard_ns(const struct replica *r);
/* Messages that no correct node would have sent, of this lane. */
uint64_t replica_bad_messages(const struct replica_lane *rl);

#endif
