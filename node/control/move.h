/* How a rebalance is carried out, move by move: a copy is added, fills, joins the set; who is to
 * lead is promoted; the old copy leaves (PROTOCOL 9). Pure: the map, the run's texts and hints in,
 * compare-and-swaps and a new cursor out.
 *
 * What a move that is under way has to do next follows from its partition's record alone, and is
 * asked for until the record shows it. So it does not matter who asks, how often, from how old a
 * map, nor whether one that had asked is still there: a crash of the controller, of any node or of
 * the coordinator is no case of its own. The cursor tells which moves have begun and which are
 * over; steps are taken for those alone that it shows as begun.
 *
 * Cancel: a move whose new copy has not joined the set is undone, one whose copy has is finished,
 * as that copies nothing any more. Either way the partition has all its copies throughout: one is
 * asked to leave only while the others that live are as many as there are to be.
 */
#ifndef FB_NODE_CONTROL_MOVE_H_
#define FB_NODE_CONTROL_MOVE_H_

#include "node/control/controller.h"
#include "proto/cluster/run.h"

/* Nodes that are gone for so long are not waited for. */
#define MOVE_GIVE_UP_NS UINT64_C(60000000000)

struct move_now {
    char state; /* enum fb_move_state: it is begun still, or has ended so */
    bool acts;  /* `event` is to be put into the partition's record */
    struct fb_record_event event;
    bool extra;       /* until it is over the partition has one copy more than it is to have */
    const char *step; /* what it does or waits for, in words; static storage */
};

/* One move that has begun. Of `in`: nodes. */
void move_look(const struct fb_run *run, const struct fb_run_move *m,
               const struct fb_part_record *rec, const struct control_in *in, bool cancel,
               struct move_now *out);

struct moves_in {
    const struct fb_map *map;
    const struct fb_run *run;
    const struct fb_run_wish *wish;
    const struct fb_run_cursor *cursor;
    const struct control_in *control;
    uint64_t now_ns, now_ms;
};

struct moves_out {
    struct control_step *steps; /* caller's, room for map->partitions: at most one a partition */
    uint32_t count;
    uint8_t *moves; /* caller's, by partition: for control_in */
    char *state;    /* caller's, as long as the cursor's: the next one */
    bool changed;   /* the cursor is to be written with `state` and `ended_ms` */
    uint64_t ended_ms;
    uint32_t remaining;    /* moves that are not over */
    uint64_t next_ns;      /* a move waits for the rate until then; UINT64_MAX: none does */
    uint64_t begin_not_ns; /* in and out: no move begins before; the caller keeps it, 0 at first */
};

/* What a run needs now. Nothing of it when wish or cursor are of another run. */
void moves_plan(const struct moves_in *in, struct moves_out *out);

#endif
