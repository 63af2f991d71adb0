/* One question to etcd over HTTP: endpoints in turn, TLS, log-in, what an error means. With
 * etcd_watch.c the only user of libcurl. */
#ifndef FB_PROTO_COORD_ETCD_CALL_H_
#define FB_PROTO_COORD_ETCD_CALL_H_

#include "proto/coord/etcd_json.h"
#include "proto/coord/etcd_url.h"

#include <curl/curl.h>
#include <pthread.h>

#define ETCD_CALL_MS 5000u /* all endpoints together */

/* What all threads of one handle share. */
struct etcd_shared {
    struct etcd_url url;       /* const */
    _Atomic uint32_t endpoint; /* any thread: the one to ask; moved on by whoever saw it fail */
    pthread_mutex_t mtx;
    char token[ETCD_TOKEN_BYTES_MAX]; /* mtx: of the log-in, "" = none */
    uint64_t cluster_id;              /* mtx: of the first answer, 0 = none yet */
};

/* One thread's connection. */
struct etcd_link {
    struct etcd_shared *shared; /* const */
    CURL *easy;
    struct fb_buf answer;
    char why[CURL_ERROR_SIZE];
};

enum etcd_kind {
    ETCD_READ, /* may be asked again, at the next endpoint too */
    ETCD_WRITE /* is sent once: what became of it may stay unknown (PROTOCOL 6) */
};

FB_MUST_USE enum fb_status etcd_shared_init(struct etcd_shared *s, const char *url,
                                            struct fb_err *err);
void etcd_shared_fini(struct etcd_shared *s);
FB_MUST_USE enum fb_status etcd_link_init(struct etcd_link *l, struct etcd_shared *s,
                                          struct fb_err *err);
void etcd_link_fini(struct etcd_link *l);

/* Posts `body`; *answer lives until the next call on this link. Blocks for at most `timeout_ms`
 * (a log-in may add as much). Errors, each one line that says what to do:
 *   FB_EUNKNOWN  ETCD_WRITE only: it may have been carried out, or will be
 *   FB_ETIMEOUT  no endpoint answered; FB_ECLOSED: none can be reached. Nothing happened
 *   FB_EPERM     certificate, user or rights; FB_ENOENT: etcd says "not found" (a lease)
 *   FB_EREFUSED  etcd took the question for wrong or is full; FB_EFOREIGN: another etcd cluster */
FB_MUST_USE enum fb_status etcd_call(struct etcd_link *l, const char *path, struct fb_bytes body,
                                     enum etcd_kind kind, uint32_t timeout_ms,
                                     struct fb_bytes *answer, struct fb_err *err);
/* An answer's cluster is that of the first answer. */
FB_MUST_USE enum fb_status etcd_same_cluster(struct etcd_shared *s, const struct etcd_header *h,
                                             struct fb_err *err);

/* For the watch: a handle that posts `body` to `path` at endpoint number `at`; *headers is freed by
 * the caller behind the transfer. */
void etcd_prepare(struct etcd_shared *s, CURL *easy, uint32_t at, const char *path,
                  struct fb_bytes body, struct curl_slist **headers);
/* Ask the next endpoint from now on, if it is still `at` that is asked. */
void etcd_next_endpoint(struct etcd_shared *s, uint32_t at);
/* The log-in is not valid any more. */
void etcd_forget_login(struct etcd_shared *s);

#endif
