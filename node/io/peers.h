/* The replica stream between nodes, as a worker sees it: frames to lanes, lanes to frames. Worker's
 * thread. */
#ifndef FB_NODE_IO_PEERS_H_
#define FB_NODE_IO_PEERS_H_

#include "node/io/worker.h"

/* The connection of another node stands, ended. opened: at JOB_OPENED or the first frame, whichever
 * is seen first. */
void peers_opened(struct worker *w, struct peer *p);
void peers_closed(struct worker *w, struct peer *p);
/* APPEND, APPEND_ACK, REPLICA_HELLO that came in here; and items that another worker sorted out. */
void peers_frame(struct worker *w, struct peer *p, const struct fb_frame *f);
void peers_items(struct worker *w, struct peer *p, enum fb_frame_kind kind, struct fb_bytes items,
                 uint32_t count);
/* Before lane_copies_written: who takes no more for now. After it: what is to be sent is sent. */
void peers_busy(struct worker *w);
void peers_send(struct worker *w);

#endif
