/* A connection from the inside. Private to net: others use net.h.
 *
 * Life: created by a dial or an accept (DIALING or HELLO), OPEN after both HELLOs, CLOSING from the
 * first failure on. The one that makes it CLOSING closes the stream (operations end early) and
 * hands the connection to the reaper thread, which alone may wait for nng: it stops both aios,
 * frees them and the stream, calls `closed` and drops the live reference. So no nng callback ever
 * waits for another, and nothing runs on a connection after `closed`.
 */
#ifndef FB_PROTO_NET_CONN_H_
#define FB_PROTO_NET_CONN_H_

#include "proto/net/net.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/thread.h"

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>

#include <pthread.h>
#include <stdatomic.h>

#define NET_READ_BYTES (64u << 10)
#define NET_HELLO_BYTES_MAX 4096u
#define NET_HELLO_TIMEOUT_MS 5000u
#define NET_CONNS_MAX 4096u
#define NET_WHY_BYTES 384

enum conn_state { CONN_DIALING, CONN_HELLO, CONN_OPEN, CONN_CLOSING };

struct frame_box;

struct fb_conn {
    struct fb_mail reap; /* reaper's mailbox, once CLOSING */
    struct fb_net *net;  /* const; valid until `closed` returned */
    _Atomic uint32_t refs;
    _Atomic(void *) user;
    bool dialed;                        /* const */
    char expect[FB_NAME_BYTES_MAX + 1]; /* const; "" = any */
    char url[FB_ADDRESS_BYTES_MAX + 1]; /* const; "" when accepted */
    uint64_t hello_deadline_ns;         /* const */
    struct fb_conn *next, *prev;        /* net->mtx: live connections */

    pthread_mutex_t mtx;
    pthread_cond_t idle;   /* submits became 0 */
    enum conn_state state; /* mtx */
    bool opened;           /* mtx: `opened` was called */
    uint32_t
        submits; /* mtx: threads between their state check and the end of their call into nng */
    char why[NET_WHY_BYTES];       /* mtx, then const */
    bool sending;                  /* mtx: a write is under way, `out` is the writer's */
    _Atomic bool close_after_send; /* refusal is on its way; written under mtx */
    struct fb_buf pending;         /* mtx: goes out with the next write */
    _Atomic size_t queued;         /* bytes in out and pending; written under mtx */

    struct fb_buf out; /* whoever set sending */
    size_t out_done;
    uint64_t write_ns; /* whoever set sending: when the last first write began */

    nng_stream_dialer *dialer; /* const while not CLOSING; reaper frees */
    nng_stream *stream;        /* set once in DIALING */
    nng_aio *recv_aio;         /* also dials */
    nng_aio *send_aio;
    nng_aio *try_aio; /* without callback, see write_lone */

    uint8_t *read;         /* recv callback: NET_READ_BYTES */
    size_t read_n;         /* recv callback */
    struct frame_box *big; /* recv callback: frame that is read straight into its own memory */
    size_t big_n;          /* recv callback: bytes of it that are there */
    struct fb_hello peer;  /* recv callback until opened, then const */

    struct frame_box *free_local; /* recv callback */
    _Atomic(struct frame_box *)
        free_returned; /* pushed by whoever frees a frame, taken whole by the recv callback */
    _Atomic uint32_t free_count;
};

struct frame_box {
    struct fb_net_frame frame; /* first: fb_net_frame_free gets this */
    struct frame_box *next_free;
    size_t cap;
    size_t n;
    _Alignas(16) uint8_t bytes[];
};

/* frame_pool.c: boxes of small frames go round; recv callback only / conn's destruction. */
/* NULL: no memory, which a peer asked for; it loses its connection. */
struct frame_box *frame_box_new(struct fb_conn *c, size_t n);
void frame_box_drop(struct frame_box *b); /* was never delivered */
void frame_pool_fini(struct fb_conn *c);
uint64_t frame_pool_bytes(void); /* of all boxes of the process, in pools and in hands */

/* conn.c */
struct fb_conn *conn_new(struct fb_net *n, bool dialed);
/* First failure wins: the connection becomes CLOSING and `closed` follows. Any thread, no lock
 * held. */
void conn_fail(struct fb_conn *c, const char *fmt, ...) FB_PRINTF(2, 3);
/* Bracket around a call into nng on this connection from outside its own aio callbacks. False:
 * CLOSING, do not call. */
FB_MUST_USE bool conn_submit_begin(struct fb_conn *c);
void conn_submit_end(struct fb_conn *c);
/* Frees a connection that nothing was started on yet. */
void conn_discard(struct fb_conn *c);
/* Stops and frees what nng has of it, tells the owner. Reaper thread. */
void conn_reap(struct fb_conn *c);

/* conn_recv.c */
void conn_recv_cb(void *arg);
void conn_recv_start(struct fb_conn *c);

/* conn_send.c */
void conn_send_cb(void *arg);
/* Sends before the connection is open: HELLO, at most one write under way. `close` ends the
 * connection afterwards. */
void conn_send_hello(struct fb_conn *c, const char *error, bool close);

/* hello.c: is the peer one of ours? Else FB_EFOREIGN, FB_EPROTO or FB_EREFUSED with the text for
 * the owner; `tell` says whether the peer should be told. */
FB_MUST_USE enum fb_status hello_check(const struct fb_net_config *config, const char *expect,
                                       const struct fb_frame *f, bool *tell, struct fb_err *err);
void hello_encode(const struct fb_net_config *config, const char *error, struct fb_buf *out);

/* net.c */
const struct fb_net_config *net_config(const struct fb_net *n);
void net_foreign_frame(struct fb_net *n); /* counts it */
/* False: the net closes or has too many connections. */
FB_MUST_USE bool net_add(struct fb_net *n, struct fb_conn *c);
void net_remove(struct fb_net *n, struct fb_conn *c);
void net_reap(struct fb_net *n, struct fb_conn *c);

#endif
