/* The audit of PostgreSQL's content against the node's log. A module of the world (world.h). */
#ifndef FB_TESTS_SIM_PG_CHECK_H_
#define FB_TESTS_SIM_PG_CHECK_H_

#include "tests/sim/pg_model.h"

extern const struct world_module pg_check_module;
/* A sync process wrote this row of a mapped table in transaction xid. */
void pg_check_ours(struct fb_bytes key, enum pg_table t, uint64_t xid);
/* The newest version of a key without table that PostgreSQL has taken, deletes included; 0 = none.
 */
uint64_t pg_check_row_version(struct fb_bytes key);
/* fn is called when a version reaches PostgreSQL after the log that had it was lost with its disk.
 */
void pg_check_on_revived(void (*fn)(void *arg, const char *key), void *arg);
/* A standby has taken over. */
void pg_check_failed_over(void);

#endif
