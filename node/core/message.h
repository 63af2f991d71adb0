/* Messages of sync processes: checked where they arrive, handed to the lane they are for.
 *
 * What a lane is told it believes to be well-formed; so everything that a peer could send otherwise
 * is refused here, once.
 */
#ifndef FB_NODE_CORE_MESSAGE_H_
#define FB_NODE_CORE_MESSAGE_H_

#include "node/core/lane.h"
#include "proto/wire/frame.h"

/* Takes the next item of a FEED_REQ, FEED_POS, LOAD_REP or VERDICT frame off the reader: its
 * partition, and its bytes (a view). False: malformed, or a frame of another kind; the connection
 * should be closed. The partition may be any number. Pure; any thread. */
FB_MUST_USE bool lane_message_next(struct fb_reader *in, enum fb_frame_kind kind, uint16_t *part,
                                   struct fb_bytes *bytes);
/* One item that lane_message_next let pass, of a partition below the cluster's number of them.
 * Takes it off the reader. Writer thread. */
void lane_message(struct lane *l, struct feed_dest *dest, enum fb_frame_kind kind,
                  struct fb_reader *in);

#endif
