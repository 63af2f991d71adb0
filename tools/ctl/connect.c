/* Connections of the CLI: the coordinator, and one question at a time to a process. */
#include "proto/base/clock.h"
#include "proto/base/random.h"
#include "proto/cluster/slot.h"
#include "proto/net/http_get.h"
#include "proto/net/net.h"
#include "proto/wire/request.h"
#include "tools/ctl/ctl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Everything in the coordinator, in one consistent view. */
static enum fb_status read_state(struct ctl *c, struct fb_cluster_state **out, struct fb_err *err)
{
    uint64_t since = fb_mono_ns();
    enum fb_status s = fb_cluster_state_read(c->coord, out, err);
    ctl_trace(c, since, "coordinator %s: everything%s%s", c->cluster_url, s == FB_OK ? "" : ": ",
              s == FB_OK ? "" : err->msg);
    return s;
}

int ctl_open(struct ctl *c)
{
    struct fb_err err;
    enum fb_status s;
    uint64_t wanted = c->epoch;
    if (c->cluster != NULL)
        return 0;
    if (c->cluster_url == NULL || c->cluster_url[0] == '\0')
        return ctl_fail(CTL_USAGE, "which cluster? say --cluster URL or set FOREBAY_CLUSTER "
                                   "(file:///directory or etcd://host:port/cluster)");
    if (c->coord == NULL) {
        s = fb_coord_open(c->cluster_url, false, &c->coord, &err);
        if (s != FB_OK)
            return ctl_fail(s == FB_EINVAL ? CTL_USAGE : CTL_UNREACHABLE, "coordinator %s: %s",
                            c->cluster_url, err.msg);
    }
    s = read_state(c, &c->cluster, &err);
    if (s != FB_OK)
        return ctl_fail(CTL_UNREACHABLE, "coordinator %s: %s", c->cluster_url, err.msg);
    c->epoch = 0;
    if (wanted != 0 && wanted != c->cluster->map->rev)
        return ctl_fail(CTL_REFUSED,
                        "--epoch %llu: the cluster is at revision %llu by now; look at forebayctl "
                        "status again. Nothing was changed",
                        (unsigned long long)wanted, (unsigned long long)c->cluster->map->rev);
    return 0;
}

enum fb_status ctl_http_json(struct ctl *c, const struct fb_member_info *m, const char *path,
                             json_t **reply, struct fb_err *err)
{
    uint64_t ms = c->timeout_ms < 5000 ? c->timeout_ms : 5000, since = fb_mono_ns();
    struct fb_buf body = {0};
    struct fb_err why = {0};
    char url[1024];
    enum fb_status s;

    snprintf(url, sizeof(url), "http://%s%s", m->admin, path);
    s = fb_http_get(url, (uint32_t)ms, &body, &why);
    *reply = s == FB_OK ? json_loadb((const char *)body.p, body.n, 0, NULL) : NULL;
    fb_buf_fini(&body);
    ctl_trace(c, since, "%s at %s%s%s", m->name, url, s == FB_OK ? "" : ": ",
              s == FB_OK ? "" : why.msg);
    if (s != FB_OK)
        return fb_err_set(err, s, "%s is asked at its admin port, and that failed: %s", m->name,
                          why.msg);
    if (*reply == NULL)
        return fb_err_set(err, FB_EPROTO, "%s answered something that is not JSON at %s", m->name,
                          url);
    return FB_OK;
}

bool ctl_try_refresh(struct ctl *c)
{
    struct fb_cluster_state *next = NULL;
    struct fb_err err;

    if (read_state(c, &next, &err) != FB_OK)
        return false;
    fb_cluster_state_put(c->cluster);
    c->cluster = next;
    return true;
}

int ctl_refresh(struct ctl *c)
{
    if (c->cluster != NULL)
        fb_cluster_state_put(c->cluster);
    c->cluster = NULL;
    return ctl_open(c);
}

/* One conversation: opened, answered or closed, told by nng's threads. */
struct talk {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool opened, closed;
    char why[256];
    uint32_t wanted; /* answers: an admin reply is one, a frame of replies as many as it holds */
    uint32_t got;
    struct fb_buf answers; /* tails of the frames, one behind the other */
};

static void opened_cb(void *arg, struct fb_conn *conn, const struct fb_hello *peer)
{
    struct talk *t = arg;
    (void)conn;
    (void)peer;
    pthread_mutex_lock(&t->mutex);
    t->opened = true;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mutex);
}

static void received_cb(void *arg, struct fb_conn *conn, struct fb_net_frame *f)
{
    struct talk *t = arg;
    (void)conn;
    pthread_mutex_lock(&t->mutex);
    if ((f->f.kind == FB_FRAME_ADMIN_REP || f->f.kind == FB_FRAME_REP) && t->got < t->wanted) {
        fb_buf_put_bytes(&t->answers, f->f.tail);
        t->got += f->f.kind == FB_FRAME_REP ? f->f.count : 1;
        pthread_cond_broadcast(&t->cond);
    }
    pthread_mutex_unlock(&t->mutex);
    fb_net_frame_free(f);
}

static void closed_cb(void *arg, struct fb_conn *conn, const char *why)
{
    struct talk *t = arg;
    (void)conn;
    pthread_mutex_lock(&t->mutex);
    t->closed = true;
    snprintf(t->why, sizeof(t->why), "%s", why ? why : "");
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mutex);
}

/* Until opened (or all answers) or closed or time is up; mutex held. */
static void wait_talk(struct talk *t, const struct timespec *until, const bool *flag)
{
    while (!*flag && t->got < t->wanted && !t->closed)
        if (pthread_cond_timedwait(&t->cond, &t->mutex, until) == ETIMEDOUT)
            return;
}

/* Sends `frames` (whole frames, of which `what` tells with -v) to `m` and waits for `wanted`
 * answers, whose bytes replace the contents of `frames`. */
static enum fb_status converse(struct ctl *c, const struct fb_member_info *m, const char *what,
                               uint32_t wanted, struct fb_buf *frames, struct fb_err *err)
{
    struct talk t = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wanted = wanted};
    struct fb_net_config nc = {.role = FB_ROLE_CTL,
                               .has_cluster = true,
                               .inc = fb_random_u64(),
                               .arg = &t,
                               .opened = opened_cb,
                               .received = received_cb,
                               .closed = closed_cb};
    static const bool never = false;
    uint64_t since = fb_mono_ns();
    struct fb_net *net;
    struct fb_conn *conn;
    struct timespec until;
    pthread_condattr_t attr;
    enum fb_status s;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t.cond, &attr);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(c->timeout_ms / 1000) + 1;
    snprintf(nc.name, sizeof(nc.name), "forebayctl");
    memcpy(nc.cluster, c->cluster->map->cluster, sizeof(nc.cluster));
    s = fb_net_open(&nc, &net, err);
    if (s != FB_OK)
        return s;
    s = fb_net_dial(net, m->listen, m->name, NULL, &conn, err);
    if (s == FB_OK) {
        pthread_mutex_lock(&t.mutex);
        wait_talk(&t, &until, &t.opened);
        if (t.opened && !t.closed) {
            pthread_mutex_unlock(&t.mutex);
            s = fb_conn_send(conn, frames);
            pthread_mutex_lock(&t.mutex);
            if (s == FB_OK)
                wait_talk(&t, &until, &never);
        }
        if (t.got >= t.wanted)
            s = FB_OK;
        else if (t.closed)
            s = fb_err_set(err, FB_ECLOSED, "%s at %s: %s", m->name, m->listen, t.why);
        else
            s = fb_err_set(err, FB_ETIMEOUT, "%s at %s did not answer in %llu s", m->name,
                           m->listen, (unsigned long long)c->timeout_ms / 1000);
        pthread_mutex_unlock(&t.mutex);
        fb_conn_put(conn);
    }
    fb_net_close(net);
    ctl_trace(c, since, "%s at %s: %s%s%s", m->name, m->listen, what, s == FB_OK ? "" : ": ",
              s == FB_OK ? "" : err->msg);
    fb_buf_clear(frames);
    fb_buf_put_bytes(frames, fb_buf_view(&t.answers));
    fb_buf_fini(&t.answers);
    pthread_cond_destroy(&t.cond);
    return s;
}

enum fb_status ctl_ask(struct ctl *c, const struct fb_member_info *m, json_t *request,
                       json_t **reply, struct fb_err *err)
{
    struct fb_frame f = {.kind = FB_FRAME_ADMIN_REQ, .id = 1};
    struct fb_buf b = {0};
    char *text = json_dumps(request, JSON_COMPACT);
    size_t mark = fb_frame_begin(&b, &f);
    json_error_t je;
    enum fb_status s;

    *reply = NULL;
    fb_buf_put_str(&b, text);
    fb_frame_end(&b, mark, 1);
    free(text);
    s = converse(c, m, json_string_value(json_object_get(request, "verb")), 1, &b, err);
    if (s == FB_OK) {
        *reply = json_loadb((const char *)b.p, b.n, JSON_DECODE_ANY, &je);
        if (*reply == NULL)
            s = fb_err_set(err, FB_EPROTO, "%s answered something that is not JSON: %s", m->name,
                           je.text);
        else if (json_is_false(json_object_get(*reply, "ok"))) {
            const char *e = json_string_value(json_object_get(*reply, "error"));
            bool away = json_is_true(json_object_get(*reply, "unreachable"));
            s = fb_err_set(err, away ? FB_ECLOSED : FB_EREFUSED, "%s: %s", m->name,
                           e ? e : "refused");
            json_decref(*reply);
            *reply = NULL;
        }
    }
    fb_buf_fini(&b);
    return s;
}

enum fb_status ctl_request(struct ctl *c, struct fb_req *req, struct fb_rep *rep,
                           struct fb_buf *payload, struct fb_err *err)
{
    const struct fb_map *map = c->cluster->map;
    struct fb_frame f = {.kind = FB_FRAME_REQ};
    const struct fb_member_info *m;
    struct fb_buf b = {0};
    struct fb_reader r;
    size_t mark;
    enum fb_status s;

    req->part = fb_key_partition(req->key, map->partitions);
    req->epoch = map->parts[req->part].epoch;
    req->seq = 1;
    if (req->epoch == 0)
        return fb_err_set(err, FB_EAGAIN, "partition %u is not assigned to a node yet", req->part);
    m = fb_map_member(map, FB_MEMBER_NODE, map->parts[req->part].primary.node);
    if (m == NULL || !m->alive)
        return fb_err_set(err, FB_ECLOSED, "node %s, which has this key, is not running",
                          map->parts[req->part].primary.node);
    mark = fb_frame_begin(&b, &f);
    fb_req_encode(&b, req);
    fb_frame_end(&b, mark, 1);
    s = converse(c, m, fb_op_name(req->op), 1, &b, err);
    if (s == FB_OK) {
        fb_buf_put_bytes(payload, fb_buf_view(&b));
        r = fb_reader(fb_buf_view(payload));
        s = fb_rep_decode(&r, rep);
        if (s != FB_OK)
            s = fb_err_set(err, s, "%s answered with a malformed reply", m->name);
        else if (rep->type == FB_REP_ERR)
            s = fb_err_set(err, FB_EREFUSED, "%.*s", (int)rep->payload.n,
                           rep->payload.n ? (const char *)rep->payload.p
                                          : "the partition moved; try again");
    }
    fb_buf_fini(&b);
    return s;
}

enum fb_status ctl_request_many(struct ctl *c, const struct fb_member_info *m, struct fb_req *reqs,
                                uint32_t count, struct fb_rep *reps, struct fb_buf *payload,
                                struct fb_err *err)
{
    const struct fb_map *map = c->cluster->map;
    struct fb_frame f = {.kind = FB_FRAME_REQ};
    size_t mark = fb_frame_begin(payload, &f);
    struct fb_reader r;
    struct fb_rep rep;
    enum fb_status s;

    for (uint32_t i = 0; i < count; i++) {
        struct fb_req *q = &reqs[i];
        if (q->part != FB_PART_NONE) {
            q->part = fb_key_partition(q->key, map->partitions);
            q->epoch = map->parts[q->part].epoch;
        }
        q->seq = i;
        reps[i] = (struct fb_rep){.type = FB_REP_ERR, .num = FB_REP_ERR_NOT_PRIMARY};
        fb_req_encode(payload, q);
    }
    fb_frame_end(payload, mark, count);
    s = converse(c, m, count > 0 ? fb_op_name(reqs[0].op) : "nothing", count, payload, err);
    r = fb_reader(fb_buf_view(payload));
    while (s == FB_OK && r.n > 0) {
        s = fb_rep_decode(&r, &rep);
        if (s == FB_OK && rep.seq < count)
            reps[rep.seq] = rep;
        else
            s = fb_err_set(err, FB_EPROTO, "%s answered with a malformed reply", m->name);
    }
    return s;
}

const struct fb_member_info *ctl_any_sync(struct ctl *c)
{
    for (uint32_t i = 0; i < c->cluster->map->member_count; i++)
        if (c->cluster->map->members[i].kind == FB_MEMBER_SYNC && c->cluster->map->members[i].alive)
            return &c->cluster->map->members[i];
    return NULL;
}

void ctl_close(struct ctl *c)
{
    if (c->cluster != NULL)
        fb_cluster_state_put(c->cluster);
    if (c->coord != NULL)
        fb_coord_close(c->coord);
}
