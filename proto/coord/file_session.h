/* Sessions of the file back end: sessions/<name>.lock, write-locked (OFD) by the live holder,
 * "<pid> <token>" inside.
 *
 * A key is bound to "<name>:<token>": alive while the lock is held and the token is the holder's.
 * The token tells a process from one of the same name before it. The files stay for ever: removing
 * one would let two processes hold "the" lock.
 */
#ifndef FB_PROTO_COORD_FILE_SESSION_H_
#define FB_PROTO_COORD_FILE_SESSION_H_

#include "proto/coord/coord.h"

#define SESSION_ID_BYTES 128

/* Takes the lock; *fd holds it until closed, `id` is what keys are bound to. `name` was
 * checked. Errors: FB_EBUSY, FB_EIO. */
FB_MUST_USE enum fb_status file_session_take(int dirfd, const char *name, int *fd,
                                             char id[SESSION_ID_BYTES], struct fb_err *err);
/* Is the session `id` held by anybody, this process included? */
bool file_session_alive(int dirfd, const char *id);

#endif
