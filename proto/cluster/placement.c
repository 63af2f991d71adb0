/* Placement: weighted rendezvous hashing with bounded load and zones, in integers.
 *
 * Weights. With h uniform in (0,1), -log2(h)/w is an exponential variable of rate proportional to
 * w, and the node with the smallest one is chosen with probability w / sum of w ("logarithmic
 * method": Schindelhauer and Schomaker, Weighted Distributed Hash Tables, SPAA 2005). log2 is taken
 * bit by bit in fixed point by repeated squaring (Turner, A Fast Binary Logarithm Algorithm, IEEE
 * Signal Processing Magazine 27(5), 2010): integer multiplications and shifts only, hence the same
 * on every machine. Ties are broken by the node's name.
 *
 * Bounded load. Pairs (partition, node) are taken in the order of their score, best first, as long
 * as the node has room and the partition needs a copy. As both sides rank a pair by the same score,
 * this is the stable matching between partitions and places (Gale and Shapley 1962); it depends on
 * no order of partitions or nodes, and a change of one node disturbs only those that its places
 * chain to. Room is the fair share by weight plus 1/ROOM_SLACK, rounded up, for primaries and for
 * all copies alike.
 *
 * Zones. A copy goes to a zone that the partition does not use yet, where there is one; this is
 * worth more than even load, so a zone with few nodes may exceed its room.
 */
#include "proto/cluster/placement.h"

#include "proto/base/buf.h"
#include "proto/base/hash.h"

#include <stdlib.h>

#define ROOM_SLACK 20u /* 5 %, measured: see tests/unit/cluster/placement_test.c */
#define LOG_BITS 32
#define SCORE_SHIFT 24
#define WEIGHT_MAX 1000000u

/* log2(x) * 2^32 for x >= 1, rounded down in each bit. */
static uint64_t log2_fixed(uint64_t x)
{
    unsigned whole = 63u - (unsigned)__builtin_clzll(x);
    uint64_t z = x << (63 - whole); /* in [1, 2) with 63 fraction bits */
    uint64_t out = whole;
    for (int i = 0; i < LOG_BITS; i++) {
        unsigned __int128 sq = (unsigned __int128)z * z; /* in [1, 4) with 126 fraction bits */
        out <<= 1;
        if (sq >> 127) {
            out |= 1;
            z = (uint64_t)(sq >> 64);
        } else {
            z = (uint64_t)(sq >> 63);
        }
    }
    return out;
}

/* Smaller is better. */
static uint64_t score(const struct fb_place_node *n, uint32_t part, uint64_t seed)
{
    uint8_t in[4 + FB_NAME_BYTES_MAX];
    size_t len = strlen(n->name);
    uint64_t h, log;
    fb_put_u32(in, part);
    memcpy(in + 4, n->name, len);
    h = fb_hash64(in, 4 + len, seed);
    log = (UINT64_C(64) << LOG_BITS) - log2_fixed(h | 1); /* -log2(h / 2^64), at most 2^38 */
    return (log << SCORE_SHIFT) / n->weight;
}

struct pair {
    uint64_t score;
    uint16_t part;
    uint16_t node; /* index into place.order, so that it sorts by name */
};

struct place {
    const struct fb_place_node *nodes;
    uint16_t order[FB_NODES_MAX]; /* nodes with weight, by name: index into nodes */
    uint16_t zone[FB_NODES_MAX];  /* of order[i]; a node without zone is a zone of its own */
    uint32_t room[FB_NODES_MAX];  /* of the level being placed */
    uint32_t load[FB_NODES_MAX];
    uint32_t count, zones, partitions;
    uint64_t weight;
    struct pair *pairs;
    size_t pair_count;
    struct fb_placement *out; /* holds indexes into order until the end */
};

static int by_score(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->part < y->part ? -1 : x->part > y->part;
}

static void sort_nodes(struct place *p, uint32_t node_count)
{
    for (uint32_t i = 0; i < node_count; i++) {
        uint32_t at = p->count;
        if (p->nodes[i].weight == 0)
            continue;
        while (at > 0 && strcmp(p->nodes[p->order[at - 1]].name, p->nodes[i].name) > 0) {
            p->order[at] = p->order[at - 1];
            at--;
        }
        p->order[at] = (uint16_t)i;
        p->count++;
        p->weight += p->nodes[i].weight;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        const char *name = p->nodes[p->order[i]].zone;
        uint32_t j = 0;
        while (j < i && (name[0] == '\0' || strcmp(p->nodes[p->order[j]].zone, name) != 0))
            j++;
        p->zone[i] = j < i ? p->zone[j] : (uint16_t)p->zones++;
    }
}

static void make_pairs(struct place *p, uint64_t seed)
{
    p->pair_count = (size_t)p->partitions * p->count;
    p->pairs = fb_xcalloc(p->pair_count, sizeof(*p->pairs));
    for (uint32_t part = 0; part < p->partitions; part++)
        for (uint32_t n = 0; n < p->count; n++)
            p->pairs[(size_t)part * p->count + n] = (struct pair){
                score(&p->nodes[p->order[n]], part, seed), (uint16_t)part, (uint16_t)n};
    qsort(p->pairs, p->pair_count, sizeof(*p->pairs), by_score);
}

/* Room of each node for `copies` copies of every partition in all. */
static void set_room(struct place *p, uint32_t copies)
{
    for (uint32_t n = 0; n < p->count; n++) {
        uint64_t share =
            (uint64_t)p->partitions * copies * p->nodes[p->order[n]].weight * (ROOM_SLACK + 1);
        uint64_t by = p->weight * ROOM_SLACK;
        uint64_t room = (share + by - 1) / by;
        p->room[n] = room > p->partitions ? p->partitions : (uint32_t)room;
    }
}

static bool holds(const struct place *p, uint32_t part, uint16_t node)
{
    for (uint32_t c = 0; c < p->out->count[part]; c++)
        if (p->out->node[part][c] == node)
            return true;
    return false;
}

static bool zone_used(const struct place *p, uint32_t part, uint16_t node)
{
    for (uint32_t c = 0; c < p->out->count[part]; c++)
        if (p->zone[p->out->node[part][c]] == p->zone[node])
            return true;
    return false;
}

/* One sweep for copy number `level`. Gives how many partitions still lack it. */
static uint32_t sweep(struct place *p, uint32_t level, bool bounded, bool new_zone)
{
    uint32_t missing = 0;
    for (uint32_t part = 0; part < p->partitions; part++)
        missing += p->out->count[part] == level;
    for (size_t i = 0; i < p->pair_count && missing > 0; i++) {
        const struct pair *pair = &p->pairs[i];
        if (p->out->count[pair->part] != level ||
            (bounded && p->load[pair->node] >= p->room[pair->node]) ||
            holds(p, pair->part, pair->node) || (new_zone && zone_used(p, pair->part, pair->node)))
            continue;
        p->out->node[pair->part][p->out->count[pair->part]++] = pair->node;
        p->load[pair->node]++;
        missing--;
    }
    return missing;
}

static void place_level(struct place *p, uint32_t level)
{
    set_room(p, level + 1);
    if (sweep(p, level, true, true) == 0)
        return;
    /* a zone is worth more than even load, even load more than the best score */
    if (level < p->zones && sweep(p, level, false, true) == 0)
        return;
    if (sweep(p, level, true, false) > 0)
        (void)sweep(p, level, false, false);
}

static enum fb_status check(const struct fb_place_node *nodes, uint32_t node_count,
                            uint32_t partitions, uint32_t copies, struct fb_err *err)
{
    bool any = false;
    if (node_count > FB_NODES_MAX)
        return fb_err_set(err, FB_EINVAL, "%u nodes are more than %u", node_count, FB_NODES_MAX);
    if (partitions < 1 || partitions > FB_PARTITIONS_MAX)
        return fb_err_set(err, FB_EINVAL, "%u partitions, 1 to %u are allowed", partitions,
                          FB_PARTITIONS_MAX);
    if (copies < 1 || copies > FB_REPLICAS_MAX + 1)
        return fb_err_set(err, FB_EINVAL, "%u copies, 1 to %u are allowed", copies,
                          FB_REPLICAS_MAX + 1);
    for (uint32_t i = 0; i < node_count; i++) {
        any = any || nodes[i].weight > 0;
        if (nodes[i].weight > WEIGHT_MAX)
            return fb_err_set(err, FB_EINVAL, "weight of node %.63s is more than %u", nodes[i].name,
                              WEIGHT_MAX);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(nodes[i].name, nodes[j].name) == 0)
                return fb_err_set(err, FB_EINVAL, "node %.63s is there twice", nodes[i].name);
    }
    return any ? FB_OK : fb_err_set(err, FB_EINVAL, "no node has weight");
}

enum fb_status fb_place(const struct fb_place_node *nodes, uint32_t node_count, uint32_t partitions,
                        uint32_t copies, uint64_t seed, struct fb_placement *out,
                        struct fb_err *err)
{
    struct place p = {.nodes = nodes, .partitions = partitions, .out = out};
    enum fb_status st = check(nodes, node_count, partitions, copies, err);
    if (st != FB_OK)
        return st;
    memset(out, 0, sizeof(*out));
    sort_nodes(&p, node_count);
    make_pairs(&p, seed);
    out->copies = copies < p.count ? copies : p.count;
    for (uint32_t level = 0; level < out->copies; level++)
        place_level(&p, level);
    free(p.pairs);
    for (uint32_t part = 0; part < partitions; part++) {
        fb_assert(out->count[part] == out->copies);
        for (uint32_t c = 0; c < out->copies; c++)
            out->node[part][c] = p.order[out->node[part][c]];
    }
    return FB_OK;
}
