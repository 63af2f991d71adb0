/* What forebayctl asks of a node: one JSON object each way (README.md lists the verbs). */
#include "node/io/worker.h"

#include "node/disk/snapshot_format.h"
#include "node/io/snapshotter.h"
#include "proto/base/log.h"
#include "proto/cluster/slot.h"
#include "proto/rt/admin.h"
#include "proto/rt/events.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A question to several lanes; the last one to answer sends the reply. */
struct call {
    struct node *node;
    struct fb_net_frame *frame; /* owns; its connection gets the answer */
    json_t *request;
    void (*ask)(struct call *c, struct worker *w, struct fb_buf *out);
    void (*answer)(struct call *c, struct fb_buf *json);
    _Atomic uint32_t left;
    struct fb_buf part[]; /* by worker, each written by that worker alone */
};

static void reply_json(struct node *n, struct fb_net_frame *frame, const struct fb_buf *json)
{
    struct fb_frame f = {.kind = FB_FRAME_ADMIN_REP, .src_inc = n->inc, .id = frame->f.id};
    struct fb_buf out = {0};
    size_t mark = fb_frame_begin(&out, &f);
    fb_buf_put_bytes(&out, fb_buf_view(json));
    fb_frame_end(&out, mark, 1);
    if (fb_conn_send(frame->conn, &out) != FB_OK)
        fb_conn_close(frame->conn);
    fb_buf_fini(&out);
}

static void reply_error(struct node *n, struct fb_net_frame *frame, const char *text)
{
    json_t *o = json_pack("{s:b, s:s}", "ok", 0, "error", text);
    char *s = json_dumps(o, JSON_COMPACT);
    struct fb_buf b = {0};
    fb_buf_put_str(&b, s ? s : "{\"ok\":false}");
    reply_json(n, frame, &b);
    fb_buf_fini(&b);
    free(s);
    json_decref(o);
}

static void call_free(struct call *c)
{
    for (uint32_t i = 0; i < c->node->worker_count; i++)
        fb_buf_fini(&c->part[i]);
    json_decref(c->request);
    fb_net_frame_free(c->frame);
    free(c);
}

static void call_lane(void *arg, struct worker *w)
{
    struct call *c = arg;
    c->ask(c, w, &c->part[w->index]);
    /* release our part, acquire everybody's: the last one reads them all */
    if (atomic_fetch_sub_explicit(&c->left, 1, memory_order_acq_rel) == 1) {
        struct fb_buf json = {0};
        fb_buf_put_str(&json, "{\"ok\":true");
        c->answer(c, &json);
        fb_buf_put_str(&json, "}");
        reply_json(c->node, c->frame, &json);
        fb_buf_fini(&json);
        call_free(c);
    }
}

/* lane UINT32_MAX = all. Takes frame and request. */
static void call_start(struct node *n, struct fb_net_frame *frame, json_t *request, uint32_t lane,
                       void (*ask)(struct call *, struct worker *, struct fb_buf *),
                       void (*answer)(struct call *, struct fb_buf *))
{
    struct call *c = fb_xcalloc(1, sizeof(*c) + n->worker_count * sizeof(c->part[0]));
    c->node = n;
    c->frame = frame;
    c->request = request;
    c->ask = ask;
    c->answer = answer;
    atomic_store(&c->left, lane == UINT32_MAX ? n->worker_count : 1);
    for (uint32_t i = 0; i < n->worker_count; i++) {
        struct job *j;
        if (lane != UINT32_MAX && i != lane)
            continue;
        j = job_new(JOB_CALL);
        j->call = call_lane;
        j->arg = c;
        worker_post(n->workers[i], j);
    }
}

/* Each lane's part is a JSON array's inside: join them with commas. */
static void join_parts(struct call *c, struct fb_buf *json)
{
    bool first = true;
    for (uint32_t i = 0; i < c->node->worker_count; i++) {
        if (c->part[i].n == 0)
            continue;
        if (!first)
            fb_buf_put_str(json, ",");
        fb_buf_put_bytes(json, fb_buf_view(&c->part[i]));
        first = false;
    }
}

static void ask_key(struct call *c, struct worker *w, struct fb_buf *out)
{
    json_t *key = json_object_get(c->request, "key");
    lane_inspect_key(w->lane, fb_bytes(json_string_value(key), json_string_length(key)), out);
}

static void answer_key(struct call *c, struct fb_buf *json)
{
    fb_buf_put_str(json, ",\"key\":");
    join_parts(c, json);
}

static void ask_partition(struct call *c, struct worker *w, struct fb_buf *out)
{
    lane_inspect_partition(
        w->lane, (uint16_t)json_integer_value(json_object_get(c->request, "partition")), out);
}

static void answer_partition(struct call *c, struct fb_buf *json)
{
    fb_buf_put_str(json, ",\"partition\":");
    join_parts(c, json);
}

static void ask_partitions(struct call *c, struct worker *w, struct fb_buf *out)
{
    (void)c;
    for (uint32_t p = w->index; p < w->node->partitions; p += w->node->worker_count) {
        if (!lane_partition_open(w->lane, (uint16_t)p))
            continue;
        if (out->n > 0)
            fb_buf_put_str(out, ",");
        lane_inspect_partition(w->lane, (uint16_t)p, out);
    }
}

static void answer_partitions(struct call *c, struct fb_buf *json)
{
    fb_buf_put_str(json, ",\"partitions\":[");
    join_parts(c, json);
    fb_buf_put_str(json, "]");
}

static void ask_status(struct call *c, struct worker *w, struct fb_buf *out)
{
    const struct fb_nsset *set = w->config ? w->config->state->namespaces : NULL;
    (void)c;
    for (uint32_t i = 0; set != NULL && i < set->count; i++) {
        struct lane_namespace_stats st;
        lane_namespace_stats(w->lane, i, &st);
        if (out->n > 0)
            fb_buf_put_str(out, ",");
        fb_buf_printf(
            out,
            "{\"namespace\":\"%s\",\"dirty\":%llu,\"parked\":%llu,\"oldest_dirty_age_ms\":%llu}",
            set->ns[i].name, (unsigned long long)st.dirty, (unsigned long long)st.parked,
            (unsigned long long)st.oldest_dirty_age_ms);
    }
}

static void answer_status(struct call *c, struct fb_buf *json)
{
    fb_buf_put_str(json, ",\"status\":");
    node_status(c->node, json);
    fb_buf_put_str(json, ",\"lanes_namespaces\":[");
    join_parts(c, json);
    fb_buf_put_str(json, "]");
}

static void ask_flush(struct call *c, struct worker *w, struct fb_buf *out)
{
    const char *ns = json_string_value(json_object_get(c->request, "namespace"));
    uint32_t index = UINT32_MAX;
    (void)out;
    if (ns != NULL && w->config != NULL) {
        index = fb_nsset_find(w->config->state->namespaces, fb_bytes_str(ns));
        if (index == UINT32_MAX)
            return;
    }
    lane_flush(w->lane, index);
}

static void answer_nothing(struct call *c, struct fb_buf *json)
{
    (void)c;
    (void)json;
}

static void events_verb(struct node *n, struct fb_net_frame *frame, json_int_t since)
{
    struct fb_buf b = {0};
    fb_events_json(&b, since > 0 ? (uint64_t)since : 0);
    reply_json(n, frame, &b);
    fb_buf_fini(&b);
}

static void snapshot_list_verb(struct node *n, struct fb_net_frame *frame)
{
    struct snapshot_info *all = NULL;
    struct fb_buf b = {0};
    struct fb_err err;
    size_t count = 0;

    if (snapshot_list_names(n->dir.snapshot_path, &all, &count, &err) != FB_OK) {
        reply_error(n, frame, err.msg);
        return;
    }
    fb_buf_put_str(&b, "{\"ok\":true,\"dir\":");
    fb_json_string(&b, n->dir.snapshot_path);
    fb_buf_put_str(&b, ",\"snapshots\":[");
    for (size_t i = 0; i < count; i++) {
        struct stat st = {0};
        char path[4300];
        snprintf(path, sizeof(path), "%s/%s", n->dir.snapshot_path, all[i].name);
        if (stat(path, &st) != 0)
            continue; /* two newer ones exist by now */
        fb_buf_printf(&b,
                      "%s{\"name\":\"%s\",\"partition\":%u,\"ver\":%llu,\"bytes\":%lld,"
                      "\"written_ms\":%lld}",
                      b.p[b.n - 1] == '[' ? "" : ",", all[i].name, all[i].part,
                      (unsigned long long)all[i].start_ver, (long long)st.st_size,
                      (long long)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
    }
    fb_buf_put_str(&b, "]}");
    reply_json(n, frame, &b);
    fb_buf_fini(&b);
    free(all);
}

static void snapshot_create_verb(struct node *n, struct fb_net_frame *frame)
{
    struct fb_buf b = {0};
    fb_buf_printf(&b, "{\"ok\":true,\"attempt\":%llu}",
                  (unsigned long long)snapshotter_now(n->snapshotter));
    reply_json(n, frame, &b);
    fb_buf_fini(&b);
}

void node_admin_request(struct node *n, struct fb_net_frame *frame)
{
    json_error_t je;
    json_t *o = json_loadb((const char *)frame->f.tail.p, frame->f.tail.n, 0, &je);
    const char *verb = json_string_value(json_object_get(o, "verb"));
    json_t *key = json_object_get(o, "key"), *part = json_object_get(o, "partition");

    if (verb == NULL) {
        reply_error(n, frame, "a request is one JSON object with a \"verb\"");
    } else if (strcmp(verb, "node.status") == 0) {
        call_start(n, frame, o, UINT32_MAX, ask_status, answer_status);
        return;
    } else if (strcmp(verb, "partition.list") == 0) {
        call_start(n, frame, o, UINT32_MAX, ask_partitions, answer_partitions);
        return;
    } else if (strcmp(verb, "sync.flush") == 0) {
        call_start(n, frame, o, UINT32_MAX, ask_flush, answer_nothing);
        return;
    } else if (strcmp(verb, "partition.describe") == 0) {
        json_int_t p = json_integer_value(part);
        if (json_is_integer(part) && p >= 0 && p < (json_int_t)n->partitions) {
            call_start(n, frame, o, node_lane_of(n, (uint16_t)p), ask_partition, answer_partition);
            return;
        }
        reply_error(n, frame,
                    "\"partition\" must be a number below the cluster's number of partitions");
    } else if (strcmp(verb, "key.inspect") == 0) {
        if (json_is_string(key) && json_string_length(key) <= FB_KEY_BYTES_MAX) {
            struct fb_bytes k = fb_bytes(json_string_value(key), json_string_length(key));
            call_start(n, frame, o, node_lane_of(n, fb_key_partition(k, n->partitions)), ask_key,
                       answer_key);
            return;
        }
        reply_error(n, frame, "\"key\" must be a string of at most 512 bytes");
    } else if (strcmp(verb, "snapshot.create") == 0) {
        snapshot_create_verb(n, frame);
    } else if (strcmp(verb, "snapshot.list") == 0) {
        snapshot_list_verb(n, frame);
    } else if (strcmp(verb, "events") == 0) {
        events_verb(n, frame, json_integer_value(json_object_get(o, "since")));
    } else {
        reply_error(n, frame,
                    "unknown verb; a node knows node.status partition.list partition.describe "
                    "key.inspect sync.flush "
                    "snapshot.create snapshot.list events");
    }
    json_decref(o);
    fb_net_frame_free(frame);
}
