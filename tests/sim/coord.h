/* The coordinator as a model: a linearizable compare-and-swap store, for real processes through
 * proto/coord/backend.h (blocking calls of coroutines), for modelled ones by the functions here.
 *
 * Faults: it is slow, does not answer for a while, gives an unknown outcome (done or not), executes
 * a transaction long after the caller was told "unknown", and watches miss or delay changes.
 */
#ifndef FB_TESTS_SIM_COORD_H_
#define FB_TESTS_SIM_COORD_H_

#include "proto/coord/coord.h"
#include "tests/sim/proc.h"

struct sim_coord;
struct sim_wire;
#define SIM_COORD_NAME "coordinator" /* on the wire, for its cuts */

/* "meta" (uuid, partitions, seed of placement), "config" (the cluster file) are there from the
 * start. */
struct sim_coord *sim_coord_new(struct sim *s, const uint8_t cluster[16], uint32_t partitions,
                                const char *config);
/* Where what is cut off from everybody, or from it, does not reach it. */
void sim_coord_wire(struct sim_coord *c, const struct sim_wire *w);
void sim_coord_free(struct sim_coord *c);

/* All keys, as of now; free with fb_coord_list_free. Never fails, takes no time. */
void sim_coord_list(struct sim_coord *c, struct fb_coord_list *out);
/* NULL deletes. Unconditional, takes no time. */
void sim_coord_put(struct sim_coord *c, const char *key, const char *value);
/* fn(arg) some time after each change (an event of its own; several changes may give one). */
void sim_coord_watch(struct sim_coord *c, sim_fn fn, void *arg);
uint64_t sim_coord_rev(const struct sim_coord *c);
/* The partitions' epochs into epoch[], unless nothing has changed since *rev, which is moved on. As
 * a client's view of the map; takes no time. */
void sim_coord_epochs(struct sim_coord *c, uint64_t *rev, uint32_t *epoch);
/* How many copies of a partition its record says are in sync; takes no time. */
uint32_t sim_coord_in_sync(struct sim_coord *c, uint32_t part);
/* How many calls of real processes got no definite answer so far. */
uint64_t sim_coord_failures(const struct sim_coord *c);
/* Puts a value in place unseen by the checks on what processes write: an operator restores it. */
void sim_coord_force(struct sim_coord *c, const char *key, struct fb_bytes value);
/* Who knows the newest epoch that the log of partition `part` has. */
void sim_coord_log_epochs(struct sim_coord *c, uint32_t (*epoch)(void *arg, uint16_t part),
                          void *arg);
/* It does not answer real processes until then. */
void sim_coord_away_until(struct sim_coord *c, uint64_t ns);

#endif
