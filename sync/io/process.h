/* A sync process: its threads and what they share.
 *
 *   agent     reads the coordinator, hands over cluster states
 *   event     owns the core, the links to the nodes and the admin requests under way; fed by one
 * mailbox apply i   one PostgreSQL connection: carries out operations of lane i load i    one
 * PostgreSQL connection: answers loads, straight from the connection callbacks control   one
 * PostgreSQL connection: probes whether PostgreSQL is there, reads catalogs and dead letters
 */
#ifndef FB_SYNC_IO_PROCESS_H_
#define FB_SYNC_IO_PROCESS_H_

#include "proto/coord/applied.h"
#include "proto/net/net.h"
#include "proto/rt/mailbox.h"
#include "proto/rt/metrics.h"
#include "proto/rt/thread.h"
#include "sync/core/core.h"

#include <pthread.h>
#include <stdatomic.h>

#define SYNC_LOADERS_MAX 16u
#define SYNC_PARALLEL_LOADS_MAX 65536u /* frames waiting per load thread */
#define SYNC_EVENTS_QUEUE_MAX 65536u

struct sync_engine;
struct sync_control;
struct sync_loader;

struct sync_process {
    /* const after start */
    char name[FB_NAME_BYTES_MAX + 1];
    char zone[FB_NAME_BYTES_MAX + 1];
    char application[128];
    uint64_t inc;
    uint8_t cluster[FB_UUID_BYTES];
    struct pg_config pg;
    uint32_t appliers, loaders;
    struct fb_coord *coord;
    struct fb_agent *agent;
    struct fb_entry *entry;     /* in the coordinator; the agent keeps it */
    struct fb_applied *applied; /* the event thread; loads read the newest state for each round */
    struct fb_net *net;
    struct sync_engine *_Atomic engine;
    struct sync_control *control;
    struct sync_loader *loader[SYNC_LOADERS_MAX];
    /* any thread */
    _Atomic uint64_t memory_feeds, memory_batches, memory_loads; /* their threads write */
    _Atomic uint64_t dead_letters;                               /* the control thread writes */
    _Atomic bool db_up;
    _Atomic uint32_t next_loader;
    _Atomic uint64_t conninfo_gen;  /* grows with each new connection string */
    pthread_mutex_t mtx;            /* guards what follows */
    struct fb_cluster_state *state; /* newest; NULL before the first */
    struct fb_buf status;           /* JSON of statusz, written by the event thread */
    char db_problem[400];
    struct fb_buf conninfo; /* in force, NUL-terminated */
};

/* The connection string from now on; false when it is the same. Each thread takes it over by itself
 * (sync_process_pg). Any thread. */
bool sync_process_set_conninfo(struct sync_process *p, const char *text);
bool sync_process_conninfo_is(struct sync_process *p, const char *text);
/* Between two uses of its connection a thread brings it up to date: disconnects when there is a new
 * connection string since `gen`, and says so. */
bool sync_process_pg(struct sync_process *p, struct pg *pg, uint64_t *gen);

/* The newest cluster state with a reference for the caller (fb_cluster_state_put). Any thread. */
struct fb_cluster_state *sync_process_state(struct sync_process *p);
/* What keeps PostgreSQL from answering; "" = nothing known. Any thread. */
void sync_process_db_problem(struct sync_process *p, const char *text);

/* engine.c */
FB_MUST_USE enum fb_status sync_engine_start(struct sync_process *p, struct fb_err *err);
/* Lets the transactions under way end and tells the nodes, then stops the threads. The connections
 * must still be open. */
void sync_engine_stop(struct sync_process *p);
/* After every other thread has ended. */
void sync_engine_free(struct sync_process *p);
/* Callbacks of fb_net and the agent; arg is the process. */
void sync_engine_opened(void *arg, struct fb_conn *c, const struct fb_hello *peer);
void sync_engine_received(void *arg, struct fb_conn *c, struct fb_net_frame *f);
void sync_engine_closed(void *arg, struct fb_conn *c, const char *why);
void sync_engine_state(void *arg, struct fb_cluster_state *s);
/* From the control thread: what PostgreSQL said when asked at asked_ms (monotonic). */
void sync_engine_standbys(struct sync_process *p, const struct pg_standbys *seen,
                          uint64_t asked_ms);
/* From the control thread: PostgreSQL answers again. */
void sync_engine_db_answers(struct sync_process *p);
/* From the control thread: send this verdict to the primary of v->part and answer the admin request
 * `f` (taken) after the ack. Views of v are copied. */
void sync_engine_operator(struct sync_process *p, const struct fb_verdict *v,
                          struct fb_net_frame *f);

/* load.c */
FB_MUST_USE enum fb_status sync_loader_start(struct sync_process *p, uint32_t i,
                                             struct fb_err *err);
void sync_loader_stop(struct sync_loader *l);
/* Takes the LOAD_REQ frame. Any thread. */
void sync_load(struct sync_process *p, struct fb_net_frame *f);

/* control.c */
/* new before the engine starts (it may be asked from then on), start after. */
struct sync_control *sync_control_new(struct sync_process *p);
FB_MUST_USE enum fb_status sync_control_start(struct sync_control *c, struct fb_err *err);
void sync_control_stop(struct sync_control *c);
void sync_control_free(struct sync_control *c);
/* Somebody's connection broke: look whether PostgreSQL is there. Any thread. */
void sync_control_suspect(struct sync_control *c);
/* Read the catalog of all mapped namespaces again. Any thread. */
void sync_control_read_schemas(struct sync_control *c);
/* An admin request that needs PostgreSQL; takes the frame. Any thread. */
void sync_control_admin(struct sync_control *c, struct fb_net_frame *f);

#endif
