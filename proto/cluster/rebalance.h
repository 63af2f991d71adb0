/* What to move so that the cluster is even again, or so that a node can go: a plan. Pure: the same
 * map, nodes and sizes give the same plan, whatever order the nodes come in.
 *
 * Promised of the state behind the last move, and asserted by tests/unit/cluster/rebalance_test.c:
 * - every partition has `copies` copies on as many nodes, none on a node that drains or is gone,
 *   and in as many zones as there can be;
 * - the copies on each node are floor or ceil of its fair share by weight (fair_share.h); so are
 *   the primaries, as far as the places of the copies let them be;
 * - no other plan that ends so copies less often. Hence a plan for an even cluster is empty.
 * And at every step of it, in the order of the moves and within each move add, promote, drop: no
 * partition has fewer copies or zones than the fewer of before and after, a copy that is to lead is
 * in the set, and none that leads is dropped.
 */
#ifndef FB_PROTO_CLUSTER_REBALANCE_H_
#define FB_PROTO_CLUSTER_REBALANCE_H_

#include "proto/cluster/map.h"
#include "proto/cluster/placement.h"

enum fb_plan_state {
    FB_PLAN_UP,    /* takes its share; weight 0 makes it drain */
    FB_PLAN_DRAIN, /* runs, and is to hold nothing in the end */
    FB_PLAN_GONE,  /* what it held is lost with it */
};

enum fb_plan_goal {
    FB_PLAN_BALANCE, /* even load */
    FB_PLAN_NEEDED,  /* only what has to move: off nodes that drain, instead of copies that are lost
                      * or missing, into zones that have none. Nobody gets more than even load */
    FB_PLAN_REPLACE, /* all that `from` holds to `to`, and nothing else as far as zones let it */
};

enum fb_move_reason {
    FB_MOVE_MISSING, /* too few copies */
    FB_MOVE_GONE,    /* instead of one that is lost */
    FB_MOVE_ZONE,    /* two were in one zone */
    FB_MOVE_DRAIN,
    FB_MOVE_REPLACE,
    FB_MOVE_BALANCE,
    FB_MOVE_PRIMARIES, /* nothing is copied: another copy leads */
    FB_MOVE_SPARE,     /* a copy too many */
};
#define FB_MOVE_REASONS (FB_MOVE_SPARE + 1)
const char *fb_move_reason_name(enum fb_move_reason r);

struct fb_plan_size {
    uint64_t objects, bytes, dirty_bytes; /* of one copy */
};

#define FB_PLAN_NO_NODE UINT8_MAX

/* Up to three steps in this order: `to` gets a copy and joins the set, `lead` becomes primary, the
 * copy on `from` is dropped. Nodes are indexes of fb_plan.node. */
struct fb_move {
    uint16_t part;
    uint8_t from, to, lead; /* FB_PLAN_NO_NODE: no such step */
    enum fb_move_reason reason;
    uint32_t epoch; /* of the partition's record when the plan was made */
    struct fb_plan_size size;
};

struct fb_plan_load {
    uint32_t primaries, copies;
    uint64_t bytes;
};

struct fb_plan_node {
    struct fb_place_node place;
    enum fb_plan_state state;
    struct fb_plan_load before, after; /* by the planner */
};

struct fb_plan {
    uint8_t cluster[16];
    uint64_t rev; /* of the map it was made from */
    enum fb_plan_goal goal;
    uint32_t partitions, copies; /* copies of each partition in the end */
    uint32_t lost; /* partitions all of whose copies are on nodes that are gone: left as they are */
    uint32_t node_count;
    struct fb_plan_node *node; /* by name */
    uint32_t move_count, left; /* `left`: moves that max_moves kept out */
    struct fb_move *move; /* urgent ones first; those of one partition stand together, in order */
};

struct fb_rebalance_in {
    const struct fb_map *map;
    const struct fb_plan_node *nodes; /* all that the records name, and those that are new */
    uint32_t node_count;
    const struct fb_plan_size *sizes; /* of each partition; NULL: all the same */
    uint32_t copies;                  /* wanted of each partition, 1 + backups */
    enum fb_plan_goal goal;
    const char *from, *to; /* REPLACE */
    uint32_t max_moves;    /* 0: all */
    bool fewer; /* partitions may end with fewer copies than they have, for want of nodes */
};

#define FB_PLAN_MOVES_MAX ((size_t)FB_PARTITIONS_MAX * 2 * (FB_REPLICAS_MAX + 1))

/* Caller frees *out with fb_plan_free; it is NULL after an error. Errors: FB_EINVAL a node twice or
 * a number out of range; FB_EREFUSED nothing sensible can be planned, err says why and what to do;
 * FB_ENOMEM. */
FB_MUST_USE enum fb_status fb_rebalance(const struct fb_rebalance_in *in, struct fb_plan **out,
                                        struct fb_err *err);
void fb_plan_free(struct fb_plan *p);
/* Index of a node in the plan; FB_PLAN_NO_NODE. */
uint8_t fb_plan_find(const struct fb_plan *p, const char *name);

/* Can the plan still be carried out on this map? It can when nothing changed where it moves
 * something. Errors: FB_EFOREIGN it is another cluster's; FB_ESTALE err names what changed. */
FB_MUST_USE enum fb_status fb_plan_check(const struct fb_plan *p, const struct fb_map *map,
                                         struct fb_err *err);

/* JSON, for files and for the coordinator. Decode checks every field, and that each move can be
 * one; caller frees *out, which is NULL after an error. Errors: FB_EPROTO. */
#define FB_PLAN_BYTES_MAX (24u << 20)
void fb_plan_encode(struct fb_buf *out, const struct fb_plan *p);
FB_MUST_USE enum fb_status fb_plan_decode(struct fb_bytes in, struct fb_plan **out,
                                          struct fb_err *err);

#endif
