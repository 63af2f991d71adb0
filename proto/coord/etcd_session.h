/* A session in etcd: the key ".session/<name>", bound to a lease that a thread of its own keeps
 * alive, whatever the other threads do. A hint of liveness (PROTOCOL 7), never a lock. */
#ifndef FB_PROTO_COORD_ETCD_SESSION_H_
#define FB_PROTO_COORD_ETCD_SESSION_H_

#include "proto/coord/etcd_call.h"
#include "proto/rt/thread.h"

#define ETCD_SESSION_TTL_S 5u

struct etcd_session {
    struct etcd_link link;    /* start: caller; then the session's thread */
    struct fb_thread *thread; /* NULL = no session */
    char *name;               /* const after start */
    char value[ETCD_SESSION_BYTES_MAX +
               128];                 /* const after start: "<token> <host> <boot> <pid> .." */
    char id[ETCD_SESSION_BYTES_MAX]; /* const after start: what keys are bound to */
    uint64_t lease;                  /* as link; 0 = none */
    uint64_t rev;                    /* as link: of the key */
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool stop; /* mtx */
    bool said; /* session's thread: that it was lost */
};

FB_MUST_USE enum fb_status etcd_session_init(struct etcd_session *s, struct etcd_shared *shared,
                                             struct fb_err *err);
/* Takes the name and starts the thread. A holder on this host that has ended makes place at once,
 * one elsewhere when its lease runs out, which is waited for. Blocks for up to 2 leases. Errors:
 * FB_EBUSY says who holds it. */
FB_MUST_USE enum fb_status etcd_session_start(struct etcd_session *s, const char *name,
                                              struct fb_err *err);
/* Ends the session, at once for everybody if etcd answers, and frees. */
void etcd_session_fini(struct etcd_session *s);

#endif
