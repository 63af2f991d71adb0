/* The network between simulated processes: connections that carry whole frames, as proto/net/net.h.
 *
 * HELLO is exchanged as the real adapter does it: the owner sees a connection after it. Within one
 * direction of one connection frames keep their order; nothing is lost as long as the connection
 * lives. Faults: delay, a direction that stalls, resets that lose what is in flight either way,
 * refused dials, ends that learn of a dead peer late.
 *
 * Handles (struct sim_conn) stay valid until the end of the world; calls on a closed one answer
 * FB_ECLOSED or do nothing. Callbacks of a process run as events; none after sim_net_kill.
 */
#ifndef FB_TESTS_SIM_NET_H_
#define FB_TESTS_SIM_NET_H_

#include "proto/wire/frame.h"
#include "tests/sim/kernel.h"

struct sim_wire; /* the network of a world */
struct sim_net;  /* one process (incarnation) on it */
struct sim_conn; /* one end of a connection */

struct sim_wire *sim_wire_new(struct sim *s);
void sim_wire_free(struct sim_wire *w);

struct sim_net_config {
    enum fb_role role;
    char name[FB_NAME_BYTES_MAX + 1];
    bool has_cluster;
    uint8_t cluster[FB_UUID_BYTES];
    uint64_t inc;
    uint32_t send_queue_bytes_max; /* per connection and direction; 0 = 64 MiB */
    void *arg;
    void (*opened)(void *arg, struct sim_conn *c, const struct fb_hello *peer);
    /* `f` and the bytes it views are valid during the call. */
    void (*received)(void *arg, struct sim_conn *c, const struct fb_frame *f);
    /* Exactly once per opened connection, or once per sim_net_dial that failed. */
    void (*closed)(void *arg, struct sim_conn *c, const char *why);
};

struct sim_net *sim_net_open(struct sim_wire *w, const struct sim_net_config *config);
/* One listener an address; a dead process's is free again at once. */
void sim_net_listen(struct sim_net *n, const char *address);
/* Starts connecting: later `opened` or `closed`. expect_name may be NULL. */
struct sim_conn *sim_net_dial(struct sim_net *n, const char *address, const char *expect_name,
                              void *user);
/* The process is gone. What it had sent may still arrive (a part of it, in order). `machine`: the
 * whole machine went: peers hear nothing for long (up to a minute when they send nothing). */
void sim_net_kill(struct sim_net *n, bool machine);
/* The process ends its connections in order and goes: what it had sent arrives. `closed` is called
 * for each before this returns, then no callback runs any more. */
void sim_net_close(struct sim_net *n);
/* SIGSTOP, SIGCONT: nothing is received meanwhile; it comes in order afterwards. */
void sim_net_pause(struct sim_net *n, bool paused);

/* Until then nothing passes from the process named `from` to that named `to` (NULL: to and from
 * everybody): frames wait, dials get no answer. */
void sim_wire_cut(struct sim_wire *w, const char *from, const char *to, uint64_t until_ns);
/* Until when nothing passes from one to the other; 0: it does. */
uint64_t sim_wire_cut_until(const struct sim_wire *w, const char *from, const char *to);

/* Queue whole encoded frames, one or several; takes the bytes of `frames` (it comes back empty).
 * Errors: FB_ECLOSED, FB_EFULL: `frames` is untouched. */
FB_MUST_USE enum fb_status sim_conn_send(struct sim_conn *c, struct fb_buf *frames);
size_t sim_conn_queue_bytes(const struct sim_conn *c);
void sim_conn_close(struct sim_conn *c);        /* `closed` follows, as an event */
uint32_t sim_conn_id(const struct sim_conn *c); /* unique in a world */
bool sim_conn_open(const struct sim_conn *c);
void sim_conn_set_user(struct sim_conn *c, void *user);
void *sim_conn_user(const struct sim_conn *c);
const struct fb_hello *sim_conn_peer(const struct sim_conn *c);

#endif
