/* The router's core: what one loop thread knows and decides. Sans-IO: bytes of clients, frames of
 * nodes, maps and the time come in; bytes for clients and frames for nodes come out in buffers.
 *
 * Thread: everything here belongs to one thread, the loop that owns the struct router. Nothing
 * blocks. Loops share nothing: each has a core of its own with its part of the limits.
 *
 * A tick of the caller: router_time, then router_session_input / router_node_frame / router_map as
 * things arrive, then router_tick, which retries, closes batches and leaves work on the lists that
 * router_next_session and router_node_output give.
 */
#ifndef FB_ROUTER_CORE_CORE_H_
#define FB_ROUTER_CORE_CORE_H_

#include "proto/cluster/map.h"
#include "proto/wire/frame.h"
#include "proto/wire/request.h"
#include "router/resp/command.h"
#include "router/resp/parser.h"

#define ROUTER_CLIENT_NAME_BYTES_MAX 255u
#define ROUTER_NODE_NONE UINT8_MAX
#define ROUTER_OPS_MAX 65536u /* operations in flight of one core; also of one command */
#define ROUTER_TIME_NEVER UINT64_MAX

struct router;
struct router_session;

/* A frame of a node whose bytes replies point into. The caller embeds it and gives one reference
 * with router_node_frame; `free` runs when the last reply of it was written. */
struct router_frame {
    uint32_t refs;
    void (*free)(struct router_frame *f);
};

enum router_retry_reason {
    ROUTER_RETRY_NOT_PRIMARY, /* a node said so */
    ROUTER_RETRY_NOT_OPEN,    /* a node said RETRY */
    ROUTER_RETRY_NO_NODE,     /* no primary known or no connection to it */
    ROUTER_RETRY_LOST,        /* the connection broke under a read */
    ROUTER_RETRIES
};
enum router_reject_reason {
    ROUTER_REJECT_OUTPUT,        /* client output buffer at its limit: cut */
    ROUTER_REJECT_PROTOCOL,      /* malformed RESP: closed */
    ROUTER_REJECT_DEADLINE,      /* -CLUSTERDOWN after retrying in vain */
    ROUTER_REJECT_INDETERMINATE, /* connection lost or time up under a write */
    ROUTER_REJECT_AUTH,          /* NOAUTH, WRONGPASS */
    ROUTER_REJECT_MAXCLIENTS,
    ROUTER_REJECTS
};
const char *router_retry_reason_name(enum router_retry_reason r);
const char *router_reject_reason_name(enum router_reject_reason r);

#define ROUTER_LATENCY_BUCKETS 32 /* by powers of two of microseconds */

/* Written by the core's thread with plain stores; the caller publishes them from that thread. */
struct router_stats {
    uint64_t ok[RESP_CMDS];  /* commands answered */
    uint64_t err[RESP_CMDS]; /* commands answered with an error */
    uint64_t retries[ROUTER_RETRIES];
    uint64_t rejected[ROUTER_REJECTS];
    uint64_t latency_count[ROUTER_LATENCY_BUCKETS];
    uint64_t latency_ns[ROUTER_LATENCY_BUCKETS]; /* sum of each bucket */
    uint64_t hits, misses;                       /* reads answered from a node's memory, or not */
    uint64_t frames_out, ops_out;                /* ops_out / frames_out = size of a batch */
    uint64_t frames_in, bytes_in, bytes_out;     /* client bytes */
};

/* A slow command and where its time went, by the last of its operations that was answered. The
 * parts add up to total_us. */
struct router_slow {
    const struct router_session *session;
    uint16_t cmd;           /* enum resp_cmd */
    uint16_t part;          /* FB_PART_NONE for commands about nodes */
    const char *node;       /* that answered; "" none */
    uint32_t operations;    /* of the command */
    uint32_t retries;       /* of the operation */
    bool failed;            /* the answer is an error */
    struct fb_bytes key;    /* empty: a transaction, or about a node */
    uint64_t total_us;      /* from the arrival of the command */
    uint64_t router_us;     /* until the batch with the operation left, retries included */
    uint64_t network_us;    /* there and back */
    uint64_t queue_us;      /* received by the node, not taken up */
    uint64_t work_us;       /* evaluated with others of its tick, log written */
    uint64_t wait_us;       /* held back for wait_on */
    uint64_t unanswered_us; /* no answer came */
    uint8_t wait_on;        /* enum fb_wait_on */
};

/* What the core asks of the process around it while it answers a command. All are called on the
 * core's thread and must not block. */
struct router_hooks {
    void *arg;
    /* CLIENT LIST / INFO: append one line per client ("id=1 addr=..."), without the final line end
     * when only one is asked for. `only`: this session alone; NULL = all of the process. */
    void (*client_lines)(void *arg, struct fb_buf *out, const struct router_session *only,
                         const uint64_t *ids, size_t id_count);
    /* CLIENT KILL: how many were marked for closing. Zero-length views match all. id 0 = any. */
    uint32_t (*client_kill)(void *arg, const struct router_session *self, uint64_t id,
                            struct fb_bytes addr, struct fb_bytes laddr, bool skip_self);
    /* Session's name or library changed: CLIENT LIST of other loops shows it. */
    void (*client_changed)(void *arg, const struct router_session *s);
    /* A command took longer than slow_ns. Borrows everything. */
    void (*slow)(void *arg, const struct router_slow *w);
    /* SLOWLOG: append an array of at most `count` entries, newest first; how many; forget all. */
    void (*slowlog_get)(void *arg, struct fb_buf *out, uint32_t count);
    size_t (*slowlog_len)(void *arg);
    void (*slowlog_reset)(void *arg);
    /* Append INFO's sections from `names` (lower case, "default" "all" "everything" understood). */
    void (*info)(void *arg, struct fb_buf *out, const struct fb_bytes *names, size_t n);
};

struct router_config {
    uint32_t inflight_per_client; /* commands; the socket is not read when reached */
    uint32_t inflight_max;        /* operations of this core, at most ROUTER_OPS_MAX */
    uint64_t output_bytes_max;    /* per client, not yet taken by the socket */
    uint64_t retry_deadline_ns;   /* from the arrival of a command */
    uint64_t request_timeout_ns;  /* sent and not answered: indeterminate */
    uint32_t window;              /* batches in flight to a node before the next waits */
    uint64_t window_wait_ns;      /* ... but at most so long */
    uint64_t hold_ns;             /* a batch may wait so long for company, see hold.c; 0 = never */
    char password[512];           /* "" = none */
    uint64_t seed;                /* for RANDOMKEY and back-off */
    uint64_t inc;                 /* of this process, goes into frames */
    uint32_t databases_shown, maxclients_shown;
    uint64_t slow_ns; /* commands that took so long are told (hooks.slow); 0 = none */
    struct router_hooks hooks;
};

/* Values shown to people about one client. Fields are the core's thread's. */
struct router_session {
    /* the core's, readable by the caller */
    struct router *router;
    uint64_t id;
    uint8_t proto; /* 2 or 3 */
    char name[ROUTER_CLIENT_NAME_BYTES_MAX + 1];
    char lib_name[64], lib_ver[64];
    char addr[FB_ADDRESS_BYTES_MAX + 1], laddr[FB_ADDRESS_BYTES_MAX + 1];
    uint64_t created_ns, last_ns;
    uint16_t last_cmd; /* enum resp_cmd */
    bool in_multi;
    uint32_t multi_count; /* commands queued */
    uint32_t watch_count;
    bool no_evict, no_touch;
    struct fb_buf out; /* reply bytes; the caller takes them away */
    bool stalled;      /* takes no input now: stop reading; it comes back by router_next_resume */
    bool close;        /* close once `out` is written */
    bool cut;          /* close at once */
    void *user;        /* the caller's */

    /* private */
    struct resp_parser parser;
    struct router_slot *ring; /* commands in order of arrival: [head, tail) modulo ring_cap */
    uint32_t ring_cap, head, tail;
    uint32_t ops;           /* operations in the pool that are this session's */
    uint32_t sent;          /* ... of them, on their way: queued for or sent to a node */
    uint32_t waiting;       /* ... of them, waiting for a retry */
    uint32_t writes;        /* ... of them, writes */
    uint32_t map_gen;       /* generation under which `sent` were routed */
    uint32_t active_period; /* in which it sent something last */
    uint32_t watch_pending, exec_pending; /* replies the next command depends on */
    bool authed, dead, ending, on_ready, on_stalled, on_resume, on_retry;
    bool reply_off, reply_skip, reply_skip_next;
    bool multi_dirty, watch_failed;
    uint8_t level;                        /* enum fb_level of FB.REQUIRE */
    uint8_t wrote[FB_PARTITIONS_MAX / 8]; /* bits of the partitions it has written to: for WAIT */
    struct router_txn *txn;
    struct router_session *next_ready, *next_stalled, *next_resume, *next_retry;
    struct router_session *prev_all, *next_all;
    uint32_t retry_first, retry_last; /* waiting operations, in the order of commands */
    uint64_t retry_due_ns, retry_wait_ns;
    size_t out_pending; /* bytes the caller took and has not written yet */
};

struct router *router_new(const struct router_config *config);
/* Other limits and another password from the next command on; seed and inc stay, and so does who
 * has authenticated already. */
void router_configure(struct router *r, const struct router_config *config);
/* No session may be left. */
void router_free(struct router *r);
const struct router_stats *router_stats(const struct router *r);
struct router_memory {
    uint64_t clients;    /* sessions, their rings and replies */
    uint64_t operations; /* pool of those in flight */
    uint64_t batches;    /* bytes kept until all in them is answered */
    uint64_t core;       /* the rest */
};
/* Walks the sessions: about once a second. */
void router_memory(const struct router *r, struct router_memory *m);
void router_count_reject(struct router *r, enum router_reject_reason why);

/* The clocks of everything that follows: monotonic ns, Unix ms. Never backwards in mono. */
void router_time(struct router *r, uint64_t mono_ns, uint64_t wall_ms);

/* --- the map --- */

/* Take over what the map says; nothing of it is kept by reference. `relaxed`: MULTI runs as a
 * pipeline. Node numbers (router_node_*) stay the same for a name as long as it is in use. */
void router_map(struct router *r, const struct fb_map *map, bool relaxed);
uint64_t router_map_rev(const struct router *r);
/* Is every partition of the map assigned? False before the first map. */
bool router_map_complete(const struct router *r);
/* Nodes are numbered 0 .. router_node_count-1, with holes: name "" = unused. `url` "" = gone from
 * the map: disconnect. Views are valid until the next router_map. */
uint32_t router_node_count(const struct router *r);
const char *router_node_name(const struct router *r, uint32_t node);
const char *router_node_url(const struct router *r, uint32_t node);

/* --- nodes --- */

void router_node_up(struct router *r, uint32_t node, uint64_t peer_inc);
/* The connection is gone: reads are tried again, writes that were handed over are indeterminate. */
void router_node_down(struct router *r, uint32_t node);
bool router_node_is_up(const struct router *r, uint32_t node);
/* Whole frames to send now, empty when none; the caller takes the contents (fb_conn_send) or
 * leaves them for the next time. NULL when down. */
struct fb_buf *router_node_output(struct router *r, uint32_t node);
/* A REP frame from this node. Takes the caller's reference on `owner`. Errors: FB_EPROTO, the peer
 * is talking nonsense: close the connection. */
FB_MUST_USE enum fb_status router_node_frame(struct router *r, uint32_t node,
                                             const struct fb_frame *f, struct router_frame *owner);

/* --- clients --- */

struct router_session *router_session_new(struct router *r, uint64_t id, const char *addr,
                                          const char *laddr, void *user);
/* The connection is gone. The memory goes when the last operation in flight was answered. */
void router_session_gone(struct router_session *s);
/* Parse and run commands from p[0..n); returns how many bytes are done with. Fewer than all: the
 * rest is an incomplete command, or the session is stalled: keep it and come again with more or
 * after router_next_resume. Bytes not taken must stay the same. */
size_t router_session_input(struct router_session *s, const uint8_t *p, size_t n);
/* `written` more bytes went to the socket; of the bytes taken from s->out, `pending` are not
 * written yet: they count for the limit. */
void router_session_output(struct router_session *s, size_t written, size_t pending);
/* Is a command of this session unanswered? */
bool router_session_busy(const struct router_session *s);
/* A hint for sizing the next read, see resp_parser_wants. */
size_t router_session_wants(const struct router_session *s, size_t n);

/* Everything that is due: retries, time-outs, batches to nodes. */
void router_tick(struct router *r);
/* A batch became full while commands were read: take it (router_node_output) before more are read,
 * so that the node works at the same time. True once for each time. */
bool router_output_due(struct router *r);
/* A batch waits for company, for some microseconds: look for input and call router_tick again
 * within 20 us or so. */
bool router_holding(const struct router *r);
/* When router_tick has something to do at the latest; ROUTER_TIME_NEVER if nothing. */
uint64_t router_deadline_ns(const struct router *r);
/* Sessions with new output or a wish to be closed, each once; NULL at the end. */
struct router_session *router_next_session(struct router *r);
/* Sessions that may take input again. NULL at the end. */
struct router_session *router_next_resume(struct router *r);

uint32_t router_ops_in_flight(const struct router *r);
uint32_t router_session_count(const struct router *r);

#endif
