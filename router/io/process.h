/* The router process: what its loop threads share, and the loops themselves. */
#ifndef FB_ROUTER_IO_PROCESS_H_
#define FB_ROUTER_IO_PROCESS_H_

#include "proto/base/options.h"
#include "proto/coord/applied.h"
#include "proto/net/net.h"
#include "proto/rt/admin.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"
#include "router/core/core.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#define ROUTER_LOOPS_MAX 64u
#define ROUTER_READ_BYTES (64u << 10)

struct loop;

/* What options say, as numbers. */
struct settings {
    char name[FB_NAME_BYTES_MAX + 1];
    char zone[FB_NAME_BYTES_MAX + 1];
    char host[FB_ADDRESS_BYTES_MAX + 1]; /* of the RESP port */
    uint16_t port;                       /* 0 until the first listener is bound */
    char password[512];
    uint32_t threads, max_clients, inflight_per_client, inflight_max, window;
    bool slow_keys;
    uint64_t slow_ms; /* 0 = none */
    uint64_t output_bytes_max, retry_deadline_ms, request_timeout_ms, idle_timeout_ms,
        drain_timeout_ms, window_wait_us, hold_us;
};

/* One client as other threads see it: CLIENT LIST and KILL. */
struct registered {
    struct registered *prev, *next;                                         /* registry lock */
    struct loop *loop;                                                      /* const */
    uint64_t id, created_ns;                                                /* const */
    int fd;                                                                 /* const */
    char addr[FB_ADDRESS_BYTES_MAX + 1], laddr[FB_ADDRESS_BYTES_MAX + 1];   /* const */
    char name[ROUTER_CLIENT_NAME_BYTES_MAX + 1], lib_name[64], lib_ver[64]; /* registry lock */
    _Atomic uint64_t last_ns;                                               /* loop thread writes */
    _Atomic uint32_t last_cmd;                                              /* likewise */
    _Atomic uint32_t state; /* likewise: proto | multi << 8 | watch << 20 */
    _Atomic bool kill;
};

struct process {
    struct settings settings; /* as at the start, const; what each loop goes by is in the loop */
    struct settings next;     /* of a reload, main thread */
    _Atomic uint32_t max_clients; /* any thread */
    uint64_t inc, started_wall_ms, started_ns;
    uint32_t pid;
    struct fb_options *options; /* main thread */
    struct fb_coord *coord;
    struct fb_agent *agent;
    struct fb_entry *entry;     /* in the coordinator; the agent keeps it */
    struct fb_applied *applied; /* a part for each loop */
    struct fb_net *net;
    struct fb_admin *admin;
    char admin_bound[FB_ADDRESS_BYTES_MAX + 1];
    char client_bound[FB_ADDRESS_BYTES_MAX + 1];

    struct loop *loops[ROUTER_LOOPS_MAX]; /* const after start */
    uint32_t loop_count;

    pthread_mutex_t registry_lock;
    struct registered *clients; /* registry lock */
    _Atomic uint64_t next_client_id;
    _Atomic uint32_t client_count;

    /* figures: loops write, anybody reads */
    _Atomic uint64_t connections_total, commands_total, bytes_in, bytes_out, hits, misses, rejected;
    _Atomic uint64_t map_rev;
    _Atomic bool map_complete;
    _Atomic uint32_t map_nodes, map_partitions;
    _Atomic bool stopping;
};

/* --- settings.c --- */
extern const struct fb_option router_options[];
extern const size_t router_option_count;
extern const char *const router_all_sections[];
/* Errors: FB_EINVAL an address that cannot be used; FB_EIO the password file. */
FB_MUST_USE enum fb_status settings_load(struct settings *s, const struct fb_options *o,
                                         struct fb_err *err);
/* `next` is `start` with what may change while the router runs. Errors: FB_EIO, FB_EINVAL the
 * password file. */
FB_MUST_USE enum fb_status settings_reload(const struct settings *start, struct settings *next,
                                           const struct fb_options *o, struct fb_err *err);

/* --- loop.c: one thread, one core, one listener --- */
/* state: what was read at the start, so that no client comes before the first map. Borrowed. */
FB_MUST_USE enum fb_status loop_start(struct process *p, uint32_t number,
                                      struct fb_cluster_state *state, struct loop **out,
                                      struct fb_err *err);
/* Any thread. Takes a reference of its own. */
void loop_post_state(struct loop *l, struct fb_cluster_state *state);
/* Copied. Any thread. */
void loop_post_settings(struct loop *l, const struct settings *s);
void loop_post_kill(struct loop *l); /* look for clients marked by CLIENT KILL */
/* End of a loop: ask to drain; wait for the thread; and free it after fb_net_close, since
 * connections call back into it until then. */
void loop_post_stop(struct loop *l);
void loop_join(struct loop *l);
void loop_free(struct loop *l);
uint32_t loop_nodes_connected(const struct loop *l);
uint32_t loop_ops_in_flight(const struct loop *l);
/* Adds what the loop counted last. Any thread. */
void loop_memory_add(const struct loop *l, struct router_memory *m);
/* Callbacks of the process's fb_net; arg is the process. nng threads. */
void loop_net_opened(void *arg, struct fb_conn *c, const struct fb_hello *peer);
void loop_net_received(void *arg, struct fb_conn *c, struct fb_net_frame *f);
void loop_net_closed(void *arg, struct fb_conn *c, const char *why);

/* --- registry.c --- any thread; a lock is held for the length of a list of clients --- */
void registry_add(struct process *p, struct registered *c);
void registry_remove(struct process *p, struct registered *c);
void registry_rename(struct process *p, struct registered *c, const struct router_session *s);
void registry_lines(struct process *p, struct fb_buf *out, const struct registered *only,
                    const uint64_t *ids, size_t n);
uint32_t registry_kill(struct process *p, const struct registered *self, uint64_t id,
                       struct fb_bytes addr, struct fb_bytes laddr, bool skip_self);

/* --- slowlog.c --- any thread; a lock is held for one entry, or to write them all --- */
void slowlog_register(void); /* metrics */
/* Keeps it, and logs it: ten lines a second when they come all the time. */
void slowlog_add(const struct router_slow *w, bool keys);
void slowlog_get(struct fb_buf *out, uint32_t count);
size_t slowlog_len(void);
void slowlog_reset(void);

/* --- info.c --- */
void info_append(struct process *p, struct fb_buf *out, const struct fb_bytes *names, size_t n);

/* --- metrics.c --- */
void metrics_register(struct process *p);
/* Add what changed since `last` to the process's figures; `last` is brought up to date. Loop
 * thread. */
void metrics_publish(struct process *p, const struct router_stats *now, struct router_stats *last);

/* --- status.c: admin port --- */
bool status_ready(void *arg, struct fb_buf *why);
void status_json(void *arg, struct fb_buf *json);

#endif
