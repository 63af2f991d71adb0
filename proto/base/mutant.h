/* Mutants: places where a build for testing the tests can be told to leave out one check.
 *
 * `FB_MUTANT(name)` is false at compile time in every build but one made with -DFB_MUTANTS=ON
 * (tools/build mutants), where it is true while the mutant of that name is the chosen one. Each
 * leaves out one thing that the protocol needs; the simulator has to find each of them
 * (tools/soak --mutants), those that begin with control_ the simulation of the control plane
 * (tests/unit/node/control_sim.c, which builds the code it tests with mutants), those that begin
 * with cluster_ in worlds of several nodes (forebay-sim --copies). A name that no code asks for is
 * a finding of tools/tidy.
 */
#ifndef FB_PROTO_BASE_MUTANT_H_
#define FB_PROTO_BASE_MUTANT_H_

#include <stdbool.h>

/* X(name, what is left out) */
#define FB_MUTANT_LIST(X)                                                                          \
    X(none, "nothing: for trying the flag itself")                                                 \
    X(log_no_fdatasync, "the log is not synced before it is said to be")                           \
    X(log_fdatasync_error, "a failed fdatasync of the log is taken for a good one")                \
    X(log_no_dir_sync, "the name of a new segment is not synced")                                  \
    X(log_write_error, "a failed or short write of the log is taken for a good one")               \
    X(recover_cuts_synced, "damage of batches that were synced is taken for a torn tail")          \
    X(recover_no_sync, "what recovery read from the page cache is taken for durable")              \
    X(recover_cut_last, "recovery gives up the last batch of a log, too")                          \
    X(recover_no_seal, "recovery leaves the last segments as they are")                            \
    X(dir_parent_no_sync, "the name of a new data directory is not synced")                        \
    X(snapshot_no_fsync, "a snapshot gets its name before its bytes are on disk")                  \
    X(trim_unsaved, "the log is trimmed as if a partition without snapshot needed none of it")     \
    X(snapshot_unsynced, "a snapshot is completed before the log has what it shows")               \
    X(call_unwritten, "a slice of a snapshot is taken in the middle of a tick")                    \
    X(publish_unwritten, "versions are visible before they are in the log")                        \
    X(open_unwritten, "a partition is open to other workers before its epoch is in the log")       \
    X(inc_reused, "a node is the same incarnation at each start")                                  \
    X(reload_unheard, "workers are not told that a reload has changed the memory")                 \
    X(dirty_kept, "a tombstone that goes is counted as dirty for ever")                            \
    X(register_once, "an entry that a late transaction overwrote is not written again")            \
    X(durable_unsynced, "durable is answered before the fsync")                                    \
    X(feed_unsynced, "a feed gives out versions before their fsync")                               \
    X(feed_replaced, "a checkpoint passes versions whose newer ones are not synced")               \
    X(feed_scan_ahead, "a feed says that it has scanned what is not synced")                       \
    X(evict_unsafe, "clean copies above dsafe are evicted")                                        \
    X(evict_dirty, "objects that are not in PostgreSQL are evicted")                               \
    X(dirty_unlimited, "writes above max_dirty_bytes are taken")                                   \
    X(node_unlimited, "writes above the node's max_dirty_bytes are taken")                         \
    X(txn_unlimited, "transactions are taken above every limit")                                   \
    X(restored_followed, "a node acts on records older than its log")                              \
    X(load_purged, "a load older than what was evicted is installed")                              \
    X(reload_forgets, "a copy that a row replaces is not noted as dropped")                        \
    X(snapshot_forgets, "what a snapshot leaves out is not noted as dropped")                      \
    X(load_token, "any answer to a load is taken, also one to a load before")                      \
    X(recover_prev, "recovery does not look whether a record follows the one before")              \
    X(snapshot_unsorted, "dirty objects of a snapshot stay in the order of their slots")           \
    X(ptime_back, "the time of a record may be before that of the one before")                     \
    X(write_resent, "a router sends a write again whose connection was lost")                      \
    X(reply_unawaited, "a router answers commands whose replies have not come")                    \
    X(read_unordered, "a read does not wait for the writes before it")                             \
    X(partial_definite, "MSET and DEL answer the error of one key for all")                        \
    X(refused_after_append, "a write is carried out before it is refused")                         \
    X(answer_before_write, "answers leave before the log is written")                              \
    X(epoch_unchecked, "requests of another epoch are carried out")                                \
    X(eval_published, "a write is evaluated on the published version, not the newest")             \
    X(watch_uncompared, "EXEC does not compare the versions that WATCH saw")                       \
    X(watch_absent_zero, "all absences of a key look the same to WATCH")                           \
    X(level_missed_ok, "time up at level database is answered as success")                         \
    X(past_set_ignored, "SET with a time that is over forgets what is only in PostgreSQL")         \
    X(wait_replaced, "level database is answered for a version that no batch had")                 \
    X(expiry_unseen, "readers do not look whether a copy has expired")                             \
    X(expire_pending, "an object expires although a newer version of it is on its way")            \
    X(clock_unheld, "time of the objects follows a clock far ahead of PostgreSQL's")               \
    X(clock_unasked, "a start believes a clock far ahead of the last record")                      \
    X(checkpoint_compare, "a checkpoint is moved from wherever it is (model of PostgreSQL)")       \
    X(unknown_done, "a COMMIT of unknown outcome is taken for done")                               \
    X(lost_done, "a lost compare of the checkpoint is taken for a commit")                         \
    X(conflict_done, "a conflict is taken for a commit")                                           \
    X(park_unacked, "the checkpoint passes a refused object before its PARK is committed")         \
    X(park_unsynced, "the checkpoint passes a refused object before its PARK is on disk")          \
    X(park_any, "the first object of a refused batch is parked")                                   \
    X(letter_unlooked, "a parked object is passed whose letter a fail-over took")                  \
    X(position_ahead, "a node is told a checkpoint that PostgreSQL has not reached")               \
    X(snapshot_unsafe_rows, "a snapshot leaves out clean rows that PostgreSQL may lose")           \
    X(reload_unsafe, "a copy that PostgreSQL may lose is replaced by the row because of its age")  \
    X(safe_at_once, "what is committed counts as safe from a fail-over")                           \
    X(synced_newer, "a checkpoint cleans versions above it")                                       \
    X(replica_epoch, "a backup takes records of an older epoch")                                   \
    X(replica_inc, "a restarted member is taken for the one in the set")                           \
    X(replica_prev, "a backup does not look whether records follow what it has")                   \
    X(replica_union, "a commit needs the known set alone while a change of it is open")            \
    X(replica_certain, "members count as sure while a change may have removed them")               \
    X(replica_open_early, "a new primary serves before its first record is committed")             \
    X(replica_promise, "a new primary opens while an older one may read under its lease")          \
    X(replica_lease_arrival, "a lease counts from the arrival of the acknowledgement")             \
    X(replica_token_old, "a read is confirmed by what was sent before it began")                   \
    X(replica_ack_early, "a backup acknowledges before it has written")                            \
    X(replica_cut_to_commit, "a backup cuts its log to what it knows as committed")                \
    X(replica_cas_forget, "an unanswered compare-and-swap is taken for a failed one")              \
    X(replica_shrink_unsynced, "a set falls to one member that has not synced all it has")         \
    X(replica_local_unsynced, "a degraded partition answers before its fsync")                     \
    X(control_not_all, "a set recovers although one of its nodes has not reported")                \
    X(control_not_greatest, "a set recovers from the node that has the least")                     \
    X(control_damaged, "a set recovers from a damaged log")                                        \
    X(control_unsynced, "a set falls to a member that has not synced what it has")                 \
    X(control_no_refill, "copies that are gone are not made anew")                                 \
    X(control_old_report, "a set recovers from what an incarnation before had told")               \
    X(control_drop_old, "a backup takes over alone before it has synced what it has")              \
    X(control_leave_early, "a copy leaves before the others suffice")                              \
    X(control_spare_move, "the copy that a move makes is dropped as one too many")                 \
    X(control_epoch_kept, "a new primary starts no epoch")                                         \
    X(control_no_hold, "a move leads past a primary that could hold the partition first")          \
    X(control_hand_over_waits, "a primary that does not hand over is waited for")                  \
    X(copy_publish_early, "versions are visible before they are committed")                        \
    X(copy_reply_early, "writes are answered before they are committed")                           \
    X(copy_level_missed, "a write that reaches less than was asked for is a success")              \
    X(copy_seen_early, "a reply that shows an uncommitted version does not wait for it")           \
    X(copy_read_unleased, "the writer answers reads without lease or confirmation")                \
    X(copy_group_split, "a transaction is applied as far as it is committed")                      \
    X(copy_group_kept, "what is there of a transaction whose rest was lost is applied")            \
    X(copy_note_ahead, "the log says that all in it is committed")                                 \
    X(copy_feed_uncommitted, "a feed says that it has scanned what is not committed")              \
    X(copy_half, "half a copy counts as one after a restart")                                      \
    X(copy_fill_member, "a log is replaced while its node counts in the set")                      \
    X(copy_hold_kept, "a partition that was not handed over stays held")                           \
    X(copy_hold_short, "another leads before who was let in is answered")                          \
    X(cluster_tail_left, "what recovery keeps back stays in logs that are trimmed")                \
    X(cluster_report_once, "what a node recovered is told once, whatever becomes of it")           \
    X(copy_snapshot_ahead, "a snapshot says that it has what is not committed")

#ifdef FB_MUTANTS
enum fb_mutant {
#define X(name, text) FB_MUTANT_##name,
    FB_MUTANT_LIST(X)
#undef X
        FB_MUTANT_COUNT
};
extern enum fb_mutant fb_mutant_chosen; /* set before anything runs; proto/base/mutant.c */
#define FB_MUTANT(name) (fb_mutant_chosen == FB_MUTANT_##name)
#else
#define FB_MUTANT(name) false
#endif

/* Choose one; false when there is none of that name, or when this build has no mutants. Thread: at
 * start, before there are others. */
bool fb_mutant_choose(const char *name);
/* The n-th name and what it leaves out; false at the end of the list. Any build. */
bool fb_mutant_at(unsigned n, const char **name, const char **text);

#endif
