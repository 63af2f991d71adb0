/* The stream of changes below the cluster's prefix: tells that there is something new, never what.
 *
 * It begins behind a revision that was listed and goes on only by events it got: neither a header's
 * revision nor a progress notice moves it, since etcd may tell those before the events.
 */
#ifndef FB_PROTO_COORD_ETCD_WATCH_H_
#define FB_PROTO_COORD_ETCD_WATCH_H_

#include "proto/coord/etcd_call.h"

/* Waiting thread only, but for wake. */
struct etcd_watch {
    struct etcd_shared *shared; /* const */
    CURLM *multi;               /* const */
    CURL *easy;                 /* NULL = no stream is open */
    struct curl_slist *headers;
    struct fb_buf line; /* received, up to the next newline */
    uint32_t at;        /* endpoint */
    uint64_t from;      /* first revision asked for */
    uint64_t revision;  /* highest of an event */
    uint64_t again_ns;  /* not opened before: a stream that fails at once is no busy loop */
    bool created;       /* etcd said that it watches */
    bool over;          /* etcd ended it, or it is not understood */
    _Atomic bool woken;
};

FB_MUST_USE enum fb_status etcd_watch_init(struct etcd_watch *w, struct etcd_shared *s,
                                           struct fb_err *err);
void etcd_watch_fini(struct etcd_watch *w);
/* As fb_coord_wait. FB_OK also when the stream ended: then only a look tells. */
FB_MUST_USE enum fb_status etcd_watch_wait(struct etcd_watch *w, uint64_t seen_rev,
                                           uint32_t timeout_ms);
void etcd_watch_wake(struct etcd_watch *w); /* any thread */

#endif
