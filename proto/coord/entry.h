/* A key of this process in the coordinator, bound to its session: who it is, what it runs.
 *
 * It stays as this process wrote it: a transaction of an incarnation before may be carried out late
 * and leave that one's value, which is dead. Nobody would find this process by it any more, so the
 * agent looks at each list of keys and writes again what is not there.
 *
 * Thread: start-up until the agent has it (fb_agent_enter), then the agent's.
 */
#ifndef FB_PROTO_COORD_ENTRY_H_
#define FB_PROTO_COORD_ENTRY_H_

#include "proto/cluster/map.h"
#include "proto/coord/coord.h"

struct fb_entry;

struct fb_entry *fb_entry_new(struct fb_coord *c, const char *key);
void fb_entry_free(struct fb_entry *e);
/* What has to stand there from now on. Writes nothing yet. */
void fb_entry_set(struct fb_entry *e, struct fb_bytes value);
/* Writes it now. Errors: fb_coord_txn's; fb_entry_keep tries again. */
FB_MUST_USE enum fb_status fb_entry_write(struct fb_entry *e, struct fb_err *err);
/* A list of all keys that was read after the last write: does it show the value? */
void fb_entry_seen(struct fb_entry *e, const struct fb_coord_list *l);
/* Writes what does not stand there; a failure is logged once and tried again by the next call. */
void fb_entry_keep(struct fb_entry *e);

/* The entry of a process among the members, "<kind>/<name>", written. Caller frees *out, which is
 * NULL after an error. Errors: fb_coord_txn's. */
FB_MUST_USE enum fb_status fb_entry_of_member(struct fb_coord *c, const struct fb_member_info *m,
                                              struct fb_entry **out, struct fb_err *err);

struct fb_agent;
/* The agent keeps the entry from now on, until it is stopped. Any thread. */
void fb_agent_enter(struct fb_agent *a, struct fb_entry *e);

#endif
