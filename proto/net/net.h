/* Connections between Forebay processes: frames over nng streams (tcp://, ipc://). The only user of
 * nng.
 *
 * A connection's first frame each way is HELLO, sent by this adapter from fb_net_config and checked
 * by it (protocol version, cluster uuid, and expected name when dialing); the owner sees a
 * connection only after that.
 *
 * Threads: callbacks run on nng's threads, serialised per connection; they must not block and are
 * not registered with RCU: move frames to a mailbox. fb_conn_send may be called from any thread.
 */
#ifndef FB_PROTO_NET_NET_H_
#define FB_PROTO_NET_NET_H_

#include "proto/wire/frame.h"

struct fb_net;
struct fb_conn;

/* A received frame: owns its bytes; f.tail points into them. Free with fb_net_frame_free (any
 * thread). `next` is for the receiver's mailbox (same layout as struct fb_mail). */
struct fb_net_frame {
    struct fb_net_frame *next;
    struct fb_conn *conn; /* holds a reference until freed */
    struct fb_frame f;
    uint64_t received_ns; /* monotonic */
};
void fb_net_frame_free(struct fb_net_frame *f);

struct fb_net_config {
    enum fb_role role;
    char name[FB_NAME_BYTES_MAX + 1];
    bool has_cluster;
    uint8_t cluster[FB_UUID_BYTES];
    uint64_t inc;
    uint32_t
        send_queue_bytes_max; /* per connection; more = fb_conn_send says FB_EFULL. 0 = 64 MiB */
    void *arg;
    /* After HELLO both ways. Set user data with fb_conn_set_user here. */
    void (*opened)(void *arg, struct fb_conn *c, const struct fb_hello *peer);
    /* Takes the frame. */
    void (*received)(void *arg, struct fb_conn *c, struct fb_net_frame *f);
    /* Exactly once per opened connection, or once per fb_net_dial that failed (opened was not
     * called). why: text. */
    void (*closed)(void *arg, struct fb_conn *c, const char *why);
};

FB_MUST_USE enum fb_status fb_net_open(const struct fb_net_config *config, struct fb_net **out,
                                       struct fb_err *err);
/* Closes everything; when it returns no callback runs or will run. Not from a callback, once.
 * fb_net_memory_bytes may still be asked, by threads that end later. */
void fb_net_shutdown(struct fb_net *n);
/* fb_net_shutdown if that was not called, then frees. References to connections and frames may
 * outlive it (fb_conn_put, fb_net_frame_free stay valid). NULL is allowed. */
void fb_net_close(struct fb_net *n);
/* url tcp://host:port, port 0 picks a free one; `bound` (FB_ADDRESS_BYTES_MAX+1) gets the real URL.
 */
FB_MUST_USE enum fb_status fb_net_listen(struct fb_net *n, const char *url, char *bound,
                                         struct fb_err *err);
/* Starts connecting (not blocking): later opened or closed. No automatic reconnect: the owner dials
 * again. It may be closed before this returns (*out and user are set before). The time for
 * connecting and HELLO is 5 s. expect_name may be NULL. The returned connection is referenced for
 * the caller (fb_conn_put). */
FB_MUST_USE enum fb_status fb_net_dial(struct fb_net *n, const char *url, const char *expect_name,
                                       void *user, struct fb_conn **out, struct fb_err *err);

/* Queue whole encoded frames (fb_frame_begin/end output, one or several). Takes the contents of
 * `frames` by swapping buffers (it comes back empty, possibly with recycled memory); what is queued
 * while a write is under way goes out with the next. Errors: FB_ECLOSED (also before `opened`),
 * FB_EFULL (an empty queue takes a buffer of any size): `frames` is untouched. Several frames in
 * one call are cheaper than one call each. */
FB_MUST_USE enum fb_status fb_conn_send(struct fb_conn *c, struct fb_buf *frames);
/* Connections with their buffers, and received frames wherever they are. Any thread. */
uint64_t fb_net_memory_bytes(struct fb_net *n);
size_t fb_conn_send_queue_bytes(const struct fb_conn *c);
void fb_conn_close(struct fb_conn *c); /* asynchronous; `closed` follows */
struct fb_conn *fb_conn_get(struct fb_conn *c);
void fb_conn_put(struct fb_conn *c);
void fb_conn_set_user(struct fb_conn *c, void *user);
void *fb_conn_user(const struct fb_conn *c);
const struct fb_hello *fb_conn_peer(const struct fb_conn *c); /* valid after opened */

#endif
