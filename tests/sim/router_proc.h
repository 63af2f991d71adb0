/* forebay-router in the simulator: the real router/core and router/resp in loops on virtual time,
 * as router/io has them, with connections to the node over the simulated network and to clients by
 * byte streams. A module of the world (world.h).
 *
 * One loop a router. What router/io does around the core is done here in the same order: clients'
 * bytes, frames, then what happened to connections and maps; tick; output; what was stalled.
 */
#ifndef FB_TESTS_SIM_ROUTER_PROC_H_
#define FB_TESTS_SIM_ROUTER_PROC_H_

#include "tests/sim/world.h"

extern const struct world_module router_module;

struct router_set; /* world.router */
struct router_tcp; /* a client's connection */

/* Callbacks of a client's end, each as an event. After `closed`, or after router_tcp_close, there
 * are none any more and the connection is gone. */
struct router_tcp_client {
    void *arg;
    void (*received)(void *arg, const uint8_t *p, size_t n);
    void (*closed)(void *arg, const char *why);
};

uint32_t router_count(const struct world *w);
bool router_is_up(const struct world *w, uint32_t router);
/* NULL: it is down. */
struct router_tcp *router_tcp_connect(struct world *w, uint32_t router,
                                      const struct router_tcp_client *client);
/* Arrives in pieces, in order, later. */
void router_tcp_send(struct router_tcp *t, struct fb_bytes bytes);
/* The client goes away: what it sent arrives or not, what comes back is lost. */
void router_tcp_close(struct router_tcp *t);
/* The client does not read for a while (its replies pile up at the router). */
void router_tcp_pause(struct router_tcp *t, bool paused);

#endif
