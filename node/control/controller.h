/* What the cluster should do about its partition records: first placement, refilling of copies,
 * recovery of whole sets, planned hand-over by the controller; promotion by the in-sync backups.
 * Pure: the map and hints in, compare-and-swaps out (PROTOCOL 5, 7, 8, 9).
 *
 * Every new record is made by fb_record_next and compares the revision it was made from, so that
 * two controllers, old maps and wrong hints do no harm: at worst a step is refused by the
 * coordinator. What a step must never rest on is liveness; what it does rest on is said at each.
 */
#ifndef FB_NODE_CONTROL_CONTROLLER_H_
#define FB_NODE_CONTROL_CONTROLLER_H_

#include "proto/cluster/map.h"
#include "proto/cluster/placement.h"

/* A node as this process sees it: all of it hints. */
struct control_node {
    struct fb_place_node place; /* name, zone, weight; weight 0 = it is to be emptied */
    uint64_t inc;               /* as entered in the coordinator */
    bool alive;                 /* has a session there */
    bool leaving;               /* alive, and about to stop: it is expected back */
    uint64_t gone_ns;           /* not alive: for how long */
    bool silent;                /* not alive, and does not answer when asked directly */
    bool drains;                /* what it has counts, and it gets nothing more */
};

/* What a node says that it recovered of a partition, under the incarnation it has now. It stays
 * true while the recorded set has a member of that node: a learner is not filled before that one is
 * out of the set, as a copy that is just being filled anew has less than its node had told. */
struct control_report {
    uint16_t part;
    struct fb_member member;
    uint32_t history, epoch; /* the highest in its log */
    uint64_t last_ver, synced_ver;
    bool damaged;
};

enum {
    CONTROL_MOVE = 1 << 0,  /* a move is under way: its learner is not one too many */
    CONTROL_EXTRA = 1 << 1, /* the partition has one copy more than wanted meanwhile */
    CONTROL_ACTS = 1 << 2,  /* the move changes the record now, so nobody else does */
};

struct control_in {
    uint32_t replicas; /* backups wanted */
    bool settled;      /* the set of live nodes has not changed for a while: partitions that were
                        * never placed may be */
    uint64_t heal_after_ns; /* a node that is gone is waited for so long before its copies are made
                             * elsewhere */
    const struct control_node *nodes;
    uint32_t node_count;
    const struct control_report *reports;
    uint32_t report_count;
    /* By partition, of CONTROL_*: what a move that is under way needs. NULL: no moves (move.h). */
    const uint8_t *moves;
    /* By partition: for how long this process has seen its record name the successor it names. */
    const uint64_t *successor_ns;
};

/* A primary that was asked to hand over and has not is not waited for any longer: it holds the
 * partition for less (core/copy_hold.c). */
#define CONTROL_HAND_OVER_NS UINT64_C(5000000000)

struct control_step {
    uint16_t part;
    enum fb_record_event_kind kind; /* the first event that led to `next` */
    uint64_t rev;                   /* compare */
    struct fb_part_record next;     /* put */
};

struct control_plan {
    struct control_step *steps; /* caller's, room for map->partitions: at most one a partition */
    uint32_t count;
    bool held;         /* most nodes vanished at once: nothing is moved until they are asked */
    uint32_t waiting;  /* partitions whose whole set died, and not all of it has reported */
    uint32_t damaged;  /* the same, and one is damaged: only an operator can force one of them */
    uint32_t refused;  /* the coordinator is behind what a node has (I34): nothing is done there */
    uint32_t degraded; /* fewer copies in sync than wanted */
};

/* What the controller should do now. Errors: FB_ENOMEM; FB_EINVAL of fb_place. */
FB_MUST_USE enum fb_status control_plan(const struct fb_map *map, const struct control_in *in,
                                        struct control_plan *plan, struct fb_err *err);

struct control_self {
    struct fb_member me;
    uint64_t t_primary_ns; /* a primary that was not heard for so long is followed */
    uint64_t rank_ns;      /* and so much later for each backup before this one in the set */
    /* per partition: since its primary was heard last, or became known as the primary of this
     * epoch: each has its time, or backups would overtake each other for ever; UINT64_MAX = another
     * incarnation of its node is entered in the coordinator, so it is known to be gone */
    const uint64_t *silent_ns;
    const uint32_t *last_epoch; /* per partition: the highest this node has accepted */
};

/* What an in-sync backup should do about silent primaries: lead itself. Safe whoever is right about
 * them, as a member of the set has all that was committed (I8). The old primary stays in the set
 * and is taken out when this one opens: a set that falls to one has to sync all it has first. Fills
 * `steps` (room for map->partitions), *count. */
void control_promote(const struct fb_map *map, const struct control_self *self,
                     struct control_step *steps, uint32_t *count);

#endif
