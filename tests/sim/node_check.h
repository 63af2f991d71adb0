/* What a node may never do, checked from outside: every record that reaches its log is kept here as
 * well, and what the node publishes, sends and recovers is held against that (I2, I3, I9, I11, I13,
 * I17-I22, I25, I26, I28, I30-I33).
 */
#ifndef FB_TESTS_SIM_NODE_CHECK_H_
#define FB_TESTS_SIM_NODE_CHECK_H_

#include "node/io/node.h"
#include "tests/sim/ledger.h"
#include "tests/sim/net.h"
#include "tests/sim/os.h"

struct node_check;

struct node_check *node_check_new(struct sim *s, struct ledger *l, uint32_t partitions,
                                  const struct fb_nsset *namespaces);
void node_check_free(struct node_check *c);
/* A process starts; what it may find missing. `fs_lied`: durability of this incarnation proves
 * nothing. */
void node_check_start(struct node_check *c, struct sim_proc *p, enum node_loss loss);
void node_check_end(struct node_check *c);
/* Has this incarnation come through its recovery? What it may find missing is judged there. */
bool node_check_recovered(const struct node_check *c);
/* Frames of routers and sync processes on their way in, and out. */
void node_check_received(struct node_check *c, const struct sim_conn *conn,
                         const struct fb_frame *f);
struct node_sent {
    uint32_t fed, verdicts; /* feed batches, acknowledgements of verdicts */
};
struct node_sent node_check_sent(struct node_check *c, const struct sim_conn *conn,
                                 struct fb_bytes frames);
/* The state of the lanes against the records: between two events. */
void node_check_state(struct node_check *c);
/* Of a partition: newest version written to the log, and newest known to be on the platter. */
uint64_t node_check_written(const struct node_check *c, uint16_t part);
uint64_t node_check_durable(const struct node_check *c, uint16_t part);
/* Does its log, as it stands, have the version (with several copies: on the disk, were it killed
 * now)? */
bool node_check_has(const struct node_check *c, uint16_t part, uint64_t ver);
/* The node's struct, once recovery ran; NULL when none. */
struct node *node_check_node(struct node_check *c);
/* Was all that the node wrote to this log file synced? */
bool node_check_whole(const struct node_check *c, uint32_t file);
/* Has every partition with records in this log file later ones in another that is there, so that
 * the lack of it shows? */
bool node_check_followed(const struct node_check *c, const struct fs_node *dir, uint32_t file);
/* A bit that a recovery has to notice is turned round: it may not succeed. */
void node_check_must_refuse(struct node_check *c, bool yes);
/* A place in a log file whose bytes a recovery must notice when they change: a batch behind which
 * others follow, in a file that is still there. False: none. */
bool node_check_vital_place(struct node_check *c, struct fs_node **f, uint64_t *at);

#endif
