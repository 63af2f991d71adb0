/* Inside of the simulated routers: what router_proc.c and router_tcp.c share. */
#ifndef FB_TESTS_SIM_ROUTER_IMPL_H_
#define FB_TESTS_SIM_ROUTER_IMPL_H_

#include "router/core/core.h"
#include "tests/sim/clock.h"
#include "tests/sim/router_proc.h"

#define ROUTERS_MAX 3u

enum router_event_kind {
    ROUTER_EVENT_OPENED,
    ROUTER_EVENT_CLOSED,
    ROUTER_EVENT_FRAME,
    ROUTER_EVENT_MAP
};

struct router_event {
    struct router_event *next;
    enum router_event_kind kind;
    struct router_peer *peer;
    struct sim_conn *conn;
    uint64_t inc;
    struct fb_frame frame; /* tail: in `bytes` */
    struct fb_buf bytes;
};

struct router_peer {
    uint32_t number;
    struct sim_conn *conn; /* dialing or open */
    bool open;
    char url[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t backoff_ms, dial_at_ns; /* of the router's monotonic clock, 0 = nothing to do */
};

struct sim_router {
    struct world *world;
    struct sim *sim;
    char name[8];
    struct sim_clock clock;
    bool up, paused, stopped;
    uint64_t pauses, client_ids;
    struct router *core;
    struct sim_net *net;
    struct router_peer peers[FB_NODES_MAX];
    struct router_event *frames, *events; /* mailboxes */
    uint64_t loop_at_ns, loop_tag;
    struct router_tcp *tcps; /* all, also closed ones: events may still name them */
};

struct router_set {
    uint32_t n;
    struct sim_router r[ROUTERS_MAX];
};

struct sim_router *router_of(const struct world *w, uint32_t router);
/* Something came in: the loop runs soon. */
void router_loop_wake(struct sim_router *r);

/* router_tcp.c: as router/io/client.c */
void router_clients_read(struct sim_router *r);
void router_client_flush(struct router_tcp *t);
void router_client_resume(struct router_tcp *t);
/* The process is gone, and with it every connection. */
void router_clients_end(struct sim_router *r);
void router_tcps_free(struct sim_router *r);

#endif
