/* The fake node. */
#include "tests/unit/sync/fake_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void send_frame(struct fb_conn *c, enum fb_frame_kind kind, uint64_t id,
                       const struct fb_buf *tail, uint32_t items)
{
    struct fb_frame f = {.kind = kind, .id = id};
    struct fb_buf out = {0};
    size_t mark = fb_frame_begin(&out, &f);

    fb_buf_put(&out, tail->p, tail->n);
    fb_frame_end(&out, mark, items);
    (void)!fb_conn_send(c, &out);
    fb_buf_fini(&out);
}

static void opened(void *arg, struct fb_conn *c, const struct fb_hello *peer)
{
    struct fake_node *n = arg;

    pthread_mutex_lock(&n->mtx);
    if (fb_conn_user(c) != NULL) { /* the connection of an admin request */
        n->admin_open = true;
        pthread_cond_broadcast(&n->changed);
        pthread_mutex_unlock(&n->mtx);
        return;
    }
    if (n->sync != NULL)
        fb_conn_put(n->sync);
    n->sync = fb_conn_get(c);
    (void)snprintf(n->sync_name, sizeof(n->sync_name), "%s", peer->name);
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mtx);
}

static void closed(void *arg, struct fb_conn *c, const char *why)
{
    struct fake_node *n = arg;

    (void)why;
    pthread_mutex_lock(&n->mtx);
    if (n->sync == c) {
        fb_conn_put(n->sync);
        n->sync = NULL;
    }
    pthread_mutex_unlock(&n->mtx);
}

static void answer_feed(struct fake_node *n, struct fb_conn *c, const struct fb_feed_req *q)
{
    struct fb_buf objects = {0}, out = {0};
    struct fb_feed_batch b = {.part = q->part,
                              .ns = q->ns,
                              .from_ver = q->from_ver,
                              .scan_end = q->from_ver,
                              .last = true};

    for (size_t i = 0; i < n->count; i++) {
        struct fake_object *o = &n->objects[i];
        struct fb_feed_object f = {.ver = o->ver,
                                   .kind = o->kind,
                                   .flags = o->parked ? FB_OBJECT_PARKED : 0,
                                   .changed = UINT64_MAX >> 1,
                                   .id = fb_bytes_str(o->id),
                                   .value = fb_buf_view(&o->value)};
        if (o->ver <= q->from_ver || !fb_bytes_is(q->ns, o->ns))
            continue;
        if (b.count == q->max) {
            b.last = false;
            break;
        }
        b.scan_end = o->ver;
        fb_feed_object_encode(&objects, &f);
        b.count++;
    }
    b.objects = fb_buf_view(&objects);
    fb_feed_batch_encode(&out, &b);
    send_frame(c, FB_FRAME_FEED_DATA, 0, &out, 1);
    fb_buf_fini(&objects);
    fb_buf_fini(&out);
}

static void take_verdict(struct fake_node *n, struct fb_conn *c, const struct fb_verdict *v)
{
    struct fb_verdict_ack ack = {.part = v->part, .id64 = v->id64, .status = FB_OK, .ver = v->ver};
    struct fb_buf out = {0};

    n->parks += v->verdict == FB_VERDICT_PARK;
    n->retries += v->verdict == FB_VERDICT_RETRY;
    n->discards += v->verdict == FB_VERDICT_DISCARD;
    n->refreshes += v->verdict == FB_VERDICT_REFRESH;
    for (size_t i = 0; v->verdict == FB_VERDICT_PARK && i < n->count; i++)
        if (n->objects[i].ver == v->ver && fb_bytes_is(v->ns, n->objects[i].ns))
            n->objects[i].parked = true;
    fb_verdict_ack_encode(&out, &ack);
    send_frame(c, FB_FRAME_VERDICT_ACK, 0, &out, 1);
    fb_buf_fini(&out);
}

static void take_item(struct fake_node *n, struct fb_conn *c, enum fb_frame_kind kind,
                      struct fb_reader *in)
{
    struct fb_feed_req q;
    struct fb_feed_pos p;
    struct fb_verdict v;
    struct fb_load_rep r;

    if (kind == FB_FRAME_FEED_REQ) {
        fb_assert(fb_feed_req_decode(in, &q) == FB_OK);
        answer_feed(n, c, &q);
    } else if (kind == FB_FRAME_FEED_POS) {
        fb_assert(fb_feed_pos_decode(in, &p) == FB_OK);
        *(fb_bytes_is(p.ns, "user") ? &n->pos_user : &n->pos_default) = p.ver;
    } else if (kind == FB_FRAME_VERDICT) {
        fb_assert(fb_verdict_decode(in, &v) == FB_OK);
        take_verdict(n, c, &v);
    } else if (kind == FB_FRAME_LOAD_REP) {
        fb_assert(fb_load_rep_decode(in, &r) == FB_OK);
        n->loaded = true;
        n->load_status = r.status;
        (void)snprintf(n->load_value, sizeof(n->load_value), "%.*s", (int)r.value.n,
                       (const char *)r.value.p);
    }
}

static void received(void *arg, struct fb_conn *c, struct fb_net_frame *f)
{
    struct fake_node *n = arg;
    struct fb_reader in = fb_reader(f->f.tail);

    pthread_mutex_lock(&n->mtx);
    if (f->f.kind == FB_FRAME_ADMIN_REP) {
        (void)snprintf(n->reply, sizeof(n->reply), "%.*s", (int)f->f.tail.n,
                       (const char *)f->f.tail.p);
        n->replied = true;
    } else {
        for (uint32_t i = 0; i < f->f.count; i++)
            take_item(n, c, f->f.kind, &in);
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mtx);
    fb_net_frame_free(f);
}

void fake_node_open(struct fake_node *n, const uint8_t cluster[16])
{
    struct fb_net_config config = {.role = FB_ROLE_NODE,
                                   .name = "node-1",
                                   .has_cluster = true,
                                   .inc = 5,
                                   .arg = n,
                                   .opened = opened,
                                   .received = received,
                                   .closed = closed};
    struct fb_err err = {0};

    memset(n, 0, sizeof(*n));
    (void)pthread_mutex_init(&n->mtx, NULL);
    (void)pthread_cond_init(&n->changed, NULL);
    memcpy(config.cluster, cluster, 16);
    fb_assert(fb_net_open(&config, &n->net, &err) == FB_OK);
    fb_assert(fb_net_listen(n->net, "tcp://127.0.0.1:0", n->listen, &err) == FB_OK);
}

void fake_node_close(struct fake_node *n)
{
    struct fb_conn *c;

    pthread_mutex_lock(&n->mtx);
    c = n->sync;
    n->sync = NULL;
    pthread_mutex_unlock(&n->mtx);
    if (c != NULL)
        fb_conn_put(c);
    fb_net_close(n->net);
    for (size_t i = 0; i < n->count; i++)
        fb_buf_fini(&n->objects[i].value);
}

void fake_node_write(struct fake_node *n, const char *ns, const char *id, uint8_t kind,
                     struct fb_bytes value)
{
    struct fake_object *o;

    pthread_mutex_lock(&n->mtx);
    fb_assert(n->count < FAKE_OBJECTS);
    o = &n->objects[n->count++];
    o->ver = (UINT64_C(1) << 40) + n->count;
    o->kind = kind;
    (void)snprintf(o->ns, sizeof(o->ns), "%s", ns);
    (void)snprintf(o->id, sizeof(o->id), "%s", id);
    fb_buf_put_bytes(&o->value, value);
    pthread_mutex_unlock(&n->mtx);
}

static void deadline(struct timespec *t)
{
    (void)clock_gettime(CLOCK_REALTIME, t);
    t->tv_sec += 20;
}

/* With the lock held. */
static bool wait_changed(struct fake_node *n, const struct timespec *until)
{
    return pthread_cond_timedwait(&n->changed, &n->mtx, until) == 0;
}

static struct fb_conn *sync_conn(struct fake_node *n)
{
    struct timespec until;
    struct fb_conn *c;

    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (n->sync == NULL && wait_changed(n, &until))
        ;
    fb_assert(n->sync != NULL);
    c = fb_conn_get(n->sync);
    pthread_mutex_unlock(&n->mtx);
    return c;
}

void fake_node_note(struct fake_node *n, const char *ns)
{
    struct fb_conn *c = sync_conn(n);
    struct fb_feed_note note = {
        .part = 1, .epoch = 1, .ns = fb_bytes_str(ns), .due = true, .age_ms = n->note_age_ms};
    struct fb_buf out = {0};

    pthread_mutex_lock(&n->mtx);
    note.dirty = n->count;
    note.last_ver = (UINT64_C(1) << 40) + n->count;
    pthread_mutex_unlock(&n->mtx);
    fb_feed_note_encode(&out, &note);
    send_frame(c, FB_FRAME_NOTE, 0, &out, 1);
    fb_buf_fini(&out);
    fb_conn_put(c);
}

bool fake_node_wait_u64(struct fake_node *n, const uint64_t *value, uint64_t wanted)
{
    struct timespec until;
    bool ok;

    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (*value != wanted && wait_changed(n, &until))
        ;
    ok = *value == wanted;
    pthread_mutex_unlock(&n->mtx);
    return ok;
}

bool fake_node_wait_u32(struct fake_node *n, const uint32_t *value, uint32_t wanted)
{
    struct timespec until;
    bool ok;

    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (*value != wanted && wait_changed(n, &until))
        ;
    ok = *value == wanted;
    pthread_mutex_unlock(&n->mtx);
    return ok;
}

bool fake_node_wait_sync(struct fake_node *n, const char *name)
{
    struct timespec until;
    bool ok;

    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (strcmp(n->sync_name, name) != 0 && wait_changed(n, &until))
        ;
    ok = strcmp(n->sync_name, name) == 0;
    pthread_mutex_unlock(&n->mtx);
    return ok;
}

uint8_t fake_node_load(struct fake_node *n, const char *ns, const char *id, const char **value)
{
    struct fb_conn *c = sync_conn(n);
    struct fb_load_req q = {.part = 1, .token = 3, .ns = fb_bytes_str(ns), .id = fb_bytes_str(id)};
    struct fb_buf out = {0};
    struct timespec until;

    pthread_mutex_lock(&n->mtx);
    n->loaded = false;
    pthread_mutex_unlock(&n->mtx);
    fb_load_req_encode(&out, &q);
    send_frame(c, FB_FRAME_LOAD_REQ, 0, &out, 1);
    fb_buf_fini(&out);
    fb_conn_put(c);
    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (!n->loaded && wait_changed(n, &until))
        ;
    fb_assert(n->loaded);
    pthread_mutex_unlock(&n->mtx);
    *value = n->load_value;
    return n->load_status;
}

const char *fake_node_admin(struct fake_node *n, const char *url, const char *json)
{
    struct fb_buf text = {0};
    struct fb_conn *c;
    struct fb_err err = {0};
    struct timespec until;
    static int mark;

    pthread_mutex_lock(&n->mtx);
    n->replied = n->admin_open = false;
    pthread_mutex_unlock(&n->mtx);
    fb_assert(fb_net_dial(n->net, url, NULL, &mark, &c, &err) == FB_OK);
    fb_buf_put_str(&text, json);
    deadline(&until);
    pthread_mutex_lock(&n->mtx);
    while (!n->admin_open && wait_changed(n, &until))
        ;
    fb_assert(n->admin_open);
    pthread_mutex_unlock(&n->mtx);
    send_frame(c, FB_FRAME_ADMIN_REQ, 1, &text, 1);
    pthread_mutex_lock(&n->mtx);
    while (!n->replied && wait_changed(n, &until))
        ;
    fb_assert(n->replied);
    pthread_mutex_unlock(&n->mtx);
    fb_buf_fini(&text);
    fb_conn_close(c);
    fb_conn_put(c);
    return n->reply;
}
