/* The file back end's data: one JSON text `state` in the directory, replaced as a whole by every
 * transaction.
 *
 * {"format": "forebay-coordinator-1", "revision": 7, "keys": {"meta": {"value": "...", "rev": 3,
 * "session": "node-1:5f.."}}}
 */
#ifndef FB_PROTO_COORD_FILE_STATE_H_
#define FB_PROTO_COORD_FILE_STATE_H_

#include "proto/coord/coord.h"

#include <jansson.h>
#include <sys/stat.h>

#define FILE_STATE_BYTES_MAX (256u << 20)

/* One owner (the handle's mutex). All-zero is "nothing read yet". */
struct file_state {
    json_t *keys; /* object of objects, checked; NULL = nothing read yet */
    uint64_t revision;
    uint64_t highest; /* highest revision ever seen here: going back is refused */
    struct stat id;   /* of the file that was read */
};

void file_state_fini(struct file_state *st);
/* Reads `dirfd/state` if it changed since. Errors: FB_ENOENT no such file; FB_ECORRUPT; FB_ESTALE
 * the revision went back; FB_EIO, FB_EPERM. On failure what was read before stays. */
FB_MUST_USE enum fb_status file_state_load(struct file_state *st, int dirfd, const char *dir,
                                           struct fb_err *err);
/* Replaces the file: temp, fsync, rename, fsync directory. The caller holds the store's lock.
 * Errors: FB_EUNKNOWN only when the rename happened but its durability is not known; all others:
 * nothing happened. */
FB_MUST_USE enum fb_status file_state_store(int dirfd, const char *dir, const json_t *keys,
                                            uint64_t revision, struct fb_err *err);

#endif
