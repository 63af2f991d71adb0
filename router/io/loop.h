/* One loop thread: its libuv handles, its core, its connections. Shared by the files of the loop.
 */
#ifndef FB_ROUTER_IO_LOOP_H_
#define FB_ROUTER_IO_LOOP_H_

#include "router/io/process.h"

/* Wraps a frame while replies in it are awaited by clients. */
struct held_frame {
    struct router_frame frame;
    struct fb_net_frame *net;
    struct loop *loop;
    struct held_frame *next; /* free list */
};

enum event_kind { EVENT_STATE, EVENT_OPENED, EVENT_CLOSED, EVENT_KILL, EVENT_SETTINGS, EVENT_STOP };
struct event {
    struct fb_mail mail; /* first */
    enum event_kind kind;
    struct fb_cluster_state *state;
    struct peer *peer;
    struct fb_conn *conn; /* a reference */
    uint64_t inc;
    struct settings *settings; /* heap */
    char why[200];
};

/* The connection to one node. Loop thread, but `number` and `loop` are const. */
struct peer {
    struct loop *loop;
    uint32_t number;
    struct fb_conn *conn; /* dialing or open; referenced */
    bool open;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t backoff_ms, dial_at_ns; /* 0 = nothing to do */
};

struct client {
    uv_tcp_t tcp; /* data = client */
    struct loop *loop;
    struct client *prev, *next;
    struct router_session *session; /* NULL once closing */
    struct registered entry;
    struct fb_buf in;      /* bytes not taken yet */
    struct fb_buf writing; /* under uv_write */
    size_t writing_at;
    uv_write_t write;
    bool write_busy, reading, closing;
};

struct loop {
    struct process *process;
    uint32_t number;
    struct fb_thread *thread;
    struct router *core;
    struct settings settings;
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t holding; /* active while poll must not sleep, see router_holding */
    uv_timer_t timer;  /* the core's deadline and redials */
    uint64_t timer_at_ns;
    uv_timer_t second; /* housekeeping */
    uv_tcp_t listener;
    bool listening, stopping;
    uint64_t stop_at_ns;
    _Atomic bool sleeping; /* the thread is, or is about to be, in poll */
    struct fb_mailbox *events, *frames;
    struct peer peers[FB_NODES_MAX];
    uint64_t peers_at_ns; /* earliest dial_at_ns; NEVER = none */
    struct client *clients;
    struct held_frame *held_free;
    struct router_stats published;
    struct loop_memory { /* this thread writes once a second, any reads */
        _Atomic uint64_t clients, operations, batches, core;
    } memory;
    _Atomic uint32_t nodes_connected, ops_in_flight;
    uint8_t read_buf[ROUTER_READ_BYTES];
};

/* loop.c */
void loop_time(struct loop *l);
void loop_wake(struct loop *l); /* any thread, after a mailbox was filled */

/* client.c */
FB_MUST_USE enum fb_status client_listen(struct loop *l, struct fb_err *err);
void client_flush(struct client *c);
/* Take input that had to wait. */
void client_resume(struct client *c);
void client_close(struct client *c);
void clients_check(struct loop *l); /* idle, killed, draining */

/* peer.c */
void peers_sync(struct loop *l); /* after a map */
void peers_dial(struct loop *l); /* what is due */
void peer_opened(struct peer *p, struct fb_conn *c, uint64_t inc);
void peer_closed(struct peer *p, struct fb_conn *c, const char *why);
void peer_frame(struct loop *l, struct fb_net_frame *f);
void peers_send(struct loop *l);
void peers_close(struct loop *l);

#endif
